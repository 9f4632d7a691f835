"""What a field of a message may be: the shapes that every codec checks, in both directions.

A kind is a name with (operation, arguments...). `uint`: bits; `bin`: least length, greatest
length, step between allowed lengths; `text`: greatest length in UTF-8 bytes.
"""

from perun.compat import const
from perun.wire import WireError

MAX_BODY = const(0xFFFF)

KINDS = {
    "u8": ("uint", 8),
    "u16": ("uint", 16),
    "u32": ("uint", 32),
    "u64": ("uint", 64),
    "time": ("uint", 63),
    "amount": ("amount",),
    "flag": ("flag",),
    "text": ("text", 255),
    "id": ("bin", 32, 32, 1),
    "sig": ("bin", 65, 65, 1),
    "address": ("bin", 20, 20, 1),
    "app": ("bin", 0, 20, 20),
    "aux": ("bin", 0, 256, 256),
    "data": ("bin", 0, MAX_BODY, 1),
    "holder": ("bin", 1, 255, 1),
    "proof": ("bin", 0, 1024, 1),
    "wire_address": ("bin", 1, 1024, 1),
}


def check_uint(value, bits):
    """An int (no bool) of at most so many bits, or WireError."""
    if type(value) is not int or value < 0 or value >> bits:
        raise WireError("a number is negative or has more than %d bits" % bits)
    return value


def check_bin(value, spec):
    """Bytes of an allowed length, or WireError."""
    if type(value) is not bytes:
        raise WireError("bytes are expected")
    extra = len(value) - spec[1]
    if not 0 <= extra <= spec[2] - spec[1] or extra % spec[3]:
        raise WireError("%d bytes where %d to %d are expected" % (len(value), spec[1], spec[2]))
    return value


def check_type(value, cls):
    """An instance of exactly this class, or WireError."""
    if type(value) is not cls:
        raise WireError("%s is expected" % cls.__name__)


def check_tuple(value, least, most):
    """A tuple with so many values, or WireError."""
    if type(value) is not tuple or not least <= len(value) <= most:
        raise WireError("a list of %d to %d values is expected" % (least, most))
    return value


def text_bytes(text, most):
    """UTF-8 of `text`, or WireError."""
    if type(text) is not str:
        raise WireError("a text is expected")
    try:
        raw = text.encode()
    except UnicodeError:  # CPython refuses lone surrogates, MicroPython does not
        raise WireError("a text is no Unicode")
    if len(raw) > most:
        raise WireError("a text has %d bytes, at most %d are allowed" % (len(raw), most))
    checked_text(raw)
    return raw


def checked_text(raw):
    """The str in these bytes of strict UTF-8, or WireError."""
    try:
        text = str(raw, "utf-8")
        # MicroPython takes overlong forms and surrogates for characters: build them anew.
        if len(text) != len(raw) and "".join([_character(c) for c in text]).encode() != raw:
            raise WireError("a text is not UTF-8")
    except ValueError:  # UnicodeError, and what chr() raises beyond the last character
        raise WireError("a text is not UTF-8")
    return text


def _character(character):
    code = ord(character)
    if 0xD800 <= code < 0xE000:
        raise ValueError
    return chr(code)


def check_asset(asset):
    """On Ethereum the holder is an address; a foreign asset has no chain id of ours."""
    if asset.backend == 1:
        if len(asset.holder) != 20:
            raise WireError("an asset holder is not 20 bytes")
    elif asset.chain_id:
        raise WireError("a foreign asset has no chain id")


def check_allocation(allocation):
    """One row per asset, and one locked amount per asset."""
    assets = len(allocation.assets)
    if len(allocation.balances) != assets:
        raise WireError("one row of balances per asset is expected")
    for sub in allocation.locked:
        if len(sub.balances) != assets:
            raise WireError("one locked amount per asset is expected")


def check_state(state):
    """Data belongs to an app."""
    if state.data and not state.app:
        raise WireError("data without an app")


def check_proposal(proposal):
    """Initial data belongs to an app."""
    if proposal.init_data and not proposal.app:
        raise WireError("data without an app")
