"""go-perun's own messages: protocol buffers in an Envelope, of both generations.

Generation 2 (go-perun 0.13 to 0.15) wraps every address in a map by backend and names the backend
of every asset; generation 1 (up to 0.12) does neither. The tables below are the ledger channels'
messages, `protobuf_gen1` and `protobuf_gen2` have what differs, `protobuf_subchannel` the rest:
each is loaded when it is needed. Encoder and decoder walk the same tables.

Where go-perun is lax this is strict: exact lengths, amounts of at most 32 bytes, one backend per
asset, no field twice. It does send `locked`, which go-perun reads but never sends.
"""

from perun.compat import const
from perun.model import State, SubAlloc, Transaction
from perun.model.rules import MAX_ASSETS, MAX_LOCKED, PARTICIPANTS
from perun.wire import WireError, kinds, messages
from perun.wire import control_messages as control
from perun.wire.protobuf_fields import fields, put_bytes, put_varint, varint

_FIRST = const(3)
_LAST = const(19)
_ETHEREUM = b"\0\0\0\x01"
_SUBCHANNEL = (9, 10, 11, 12, 15, 16)
_MESSAGES = ("message", "wrap", "optional", "convert", "map")  # what is never left out

# Kinds beyond those of `perun.wire.kinds`.
# message: class, check or None, how many of its values travel in a message of their own (the first
#     field), fields by number
# wrap: kind of field 1 of a message that has no other
# list: kind of a repeated field, least and greatest count
# optional: kind of a message that may be missing
# convert: kind on the wire, functions from and to its values, class, check
KINDS = {
    "text": ("text", 1024),
    "app": ("app", 0, 20, 20),
    "row": ("wrap", "pair"),
    "pair": ("list", "amount", PARTICIPANTS, PARTICIPANTS),
    "rows": ("wrap", "row_list"),
    "row_list": ("list", "row", 1, MAX_ASSETS),
    "amounts": ("wrap", "amount_list"),
    "amount_list": ("list", "amount", 1, MAX_ASSETS),
    "index_map": ("wrap", "indices"),
    "indices": ("packed", PARTICIPANTS),
    "sub_alloc": ("message", SubAlloc, None, 0, ((1, "id"), (2, "amounts"), (3, "index_map"))),
    "locked": ("list", "sub_alloc", 0, MAX_LOCKED),
    "asset": ("bin", 1, 1024, 1),
    "assets": ("list", "asset", 1, MAX_ASSETS),
    "state": (
        "message",
        State,
        kinds.check_state,
        0,
        ((1, "id"), (2, "u64"), (3, "app"), (4, "allocation"), (5, "data"), (6, "flag")),
    ),
    "some_sig": ("some_sig", 65, 65, 1),
    "some_sigs": ("list", "some_sig", PARTICIPANTS, PARTICIPANTS),
    "transaction": ("message", Transaction, None, 0, ((1, "state"), (2, "some_sigs"))),
    "some_transaction": ("optional", "transaction"),
    "change": ("message", tuple, None, 0, ((1, "state"), (2, "u16"))),
    "accepted": ("message", tuple, None, 0, ((1, "id"), (2, "id"))),
    "base": (
        "message",
        tuple,
        None,
        0,
        (
            (1, "id"),
            (2, "u64"),
            (3, "id"),
            (4, "app"),
            (5, "data"),
            (6, "allocation"),
            (7, "rows"),
            (8, "aux"),
        ),
    ),
    "peers": ("list", "wire_address", PARTICIPANTS, PARTICIPANTS),
}

# By field of the Envelope.
MESSAGES = {
    3: ("message", control.Ping, None, 0, ((1, "time"),)),
    4: ("message", control.Pong, None, 0, ((1, "time"),)),
    5: ("message", control.Shutdown, None, 0, ((1, "text"),)),
    6: ("message", control.AuthResponse, None, 0, ((1, "proof"),)),
    7: (
        "message",
        messages.LedgerChannelProposal,
        kinds.check_proposal,
        8,
        ((1, "base"), (2, "address"), (3, "peers")),
    ),
    8: ("message", messages.LedgerChannelProposalAcc, None, 2, ((1, "accepted"), (2, "address"))),
    13: ("message", messages.ChannelProposalRej, None, 0, ((1, "id"), (2, "text"))),
    14: ("message", messages.ChannelUpdate, None, 2, ((1, "change"), (2, "sig"))),
    17: ("message", messages.ChannelUpdateAcc, None, 0, ((1, "id"), (2, "u64"), (3, "sig"))),
    18: ("message", messages.ChannelUpdateRej, None, 0, ((1, "id"), (2, "u64"), (3, "text"))),
    19: ("message", messages.ChannelSync, None, 0, ((1, "u8"), (2, "some_transaction"))),
}


class Protobuf:
    """The codec of a link to a go-perun node.

    generation: 1 or 2; own, peer: the marshalled wire addresses of the two ends. An envelope that
    is not from the peer to us is a WireError.
    """

    def __init__(self, generation, own, peer):
        if generation == 1:
            from perun.wire.protobuf_gen1 import KINDS as special
        else:
            from perun.wire.protobuf_gen2 import KINDS as special
        self._special = special
        self._own = own
        self._peer = peer

    def encode(self, message):
        """The body of the frame for this message, or WireError."""
        number = self._number(type(message))
        out = bytearray()
        self._put(out, 1, "wire_address", self._own)
        self._put(out, 2, "wire_address", self._peer)
        put_bytes(out, number, self._dump(MESSAGES[number], message))
        if len(out) > kinds.MAX_BODY:
            raise WireError("the message is too long")
        return bytes(out)

    def decode(self, body):
        """The message in this body (bytes-like), or WireError."""
        sender, recipient, number, raw = self._envelope(body)
        if sender != self._peer or recipient != self._own:
            raise WireError("an envelope of somebody else")
        return self._load(MESSAGES[number], raw)

    def addresses(self, body):
        """(sender, recipient) that the envelope names: for whoever listens, before a link is."""
        return self._envelope(body)[:2]

    def _envelope(self, body):
        addresses = [None, None]
        found = None
        for number, value in fields(memoryview(body)):
            if number < _FIRST:
                if addresses[number - 1] is not None:
                    raise WireError("an envelope names an address twice")
                addresses[number - 1] = self._load(self._spec("wire_address"), value)
            elif number <= _LAST:
                if found:
                    raise WireError("an envelope with two messages")
                found = (number, value)
        if not found or None in addresses:
            raise WireError("an envelope without sender, recipient or a known message")
        _extend(found[0])
        if found[0] not in MESSAGES or type(found[1]) is int:
            raise WireError("an envelope with a message that is not known here")
        return addresses[0], addresses[1], found[0], found[1]

    def _number(self, cls):
        for extension in (0, _SUBCHANNEL[0]):
            _extend(extension)
            for number, spec in MESSAGES.items():
                if spec[1] is cls:
                    return number
        raise WireError("go-perun has no such message: %s" % cls.__name__)

    def _spec(self, kind):
        return self._special.get(kind) or KINDS.get(kind) or kinds.KINDS[kind]

    # -- encoding: values to bytes ----------------------------------------------------------------

    def _put(self, out, number, kind, value):
        # One field. proto3 leaves out zeros and what is empty, but no message and no element.
        spec = self._spec(kind)
        op = spec[0]
        if op == "list":
            for item in kinds.check_tuple(value, spec[2], spec[3]):
                put_bytes(out, number, self._dump(self._spec(spec[1]), item))
        elif op == "uint" or op == "flag":
            if op == "uint":
                kinds.check_uint(value, spec[1])
            elif type(value) is not bool:
                raise WireError("a boolean is expected")
            if value:
                put_varint(out, number << 3)
                put_varint(out, int(value))
        elif op != "optional" or value is not None:
            data = self._dump(spec, value)
            if data or op in _MESSAGES:
                put_bytes(out, number, data)

    def _dump(self, spec, value):
        # The bytes of a value, without number and length.
        op = spec[0]
        if op in _MESSAGES:
            return self._dump_message(spec, value)
        if op == "amount":
            return kinds.check_uint(value, 256).to_bytes(32, "big").lstrip(b"\0")
        if op == "text":
            return kinds.text_bytes(value, spec[1])
        if op == "some_sig" and value is None:
            return b""
        if op == "packed":
            out = bytearray()
            for index in kinds.check_tuple(value, 0, spec[1]):
                put_varint(out, kinds.check_uint(index, 16))
            return out
        if op == "zeros":
            return bytes(spec[1])
        return kinds.check_bin(value, spec)

    def _dump_message(self, spec, value):
        op = spec[0]
        if op == "optional":
            return self._dump_message(self._spec(spec[1]), value)
        if op == "map":
            entry = (_ETHEREUM, kinds.check_bin(value, spec))
            return self._dump_message(self._spec("address_map"), (entry,))
        if op == "convert":
            kinds.check_type(value, spec[4])
            data = self._dump_message(self._spec(spec[1]), spec[3](value))
            spec[5](value)
            return data
        out = bytearray()
        if op == "wrap":
            self._put(out, 1, spec[1], value)
            return out
        _, cls, check, head, table = spec
        kinds.check_type(value, cls)
        if check:
            check(value)
        if head:
            value = (tuple(value[:head]),) + tuple(value[head:])
        for (number, kind), item in zip(table, value):
            self._put(out, number, kind, item)
        return out

    # -- decoding: bytes to values ----------------------------------------------------------------

    def _load(self, spec, value):
        # The value in a field: `value` is an int, or a memoryview of bytes.
        op = spec[0]
        if (type(value) is int) != (op == "uint" or op == "flag"):
            raise WireError("a field has the wrong wire type")
        if op == "uint":
            return kinds.check_uint(value, spec[1])
        if op == "flag":
            return kinds.check_uint(value, 1) == 1
        if op in _MESSAGES:
            return self._load_message(spec, value)
        if op == "packed":
            return _load_packed(value, spec[1])
        raw = bytes(value)
        if op == "amount":
            if len(raw) > 32:
                raise WireError("an amount has more than 32 bytes")
            return int.from_bytes(raw, "big")
        if op == "text":
            if len(raw) > spec[1]:
                raise WireError("a text has more than %d bytes" % spec[1])
            return kinds.checked_text(raw)
        if op == "some_sig" and not raw:
            return None
        if op == "zeros":
            return kinds.check_bin(raw, (op, 0, spec[1], spec[1] or 1))
        kinds.check_bin(raw, spec)
        return raw if op != "app" or any(raw) else b""

    def _load_message(self, spec, raw):
        op = spec[0]
        if op == "optional":
            return self._load_message(self._spec(spec[1]), raw) if len(raw) else None
        if op == "map":
            entry = self._load_message(self._spec("address_map"), raw)[0]
            if entry[0] != _ETHEREUM:
                raise WireError("an address of another backend")
            return kinds.check_bin(entry[1], spec)
        if op == "convert":
            value = spec[2](*self._load_message(self._spec(spec[1]), raw))
            spec[5](value)
            return value
        if op == "wrap":
            return self._load_fields(((1, spec[1]),), raw)[0]
        _, cls, check, head, table = spec
        values = self._load_fields(table, raw)
        if head:
            values = list(values[0]) + values[1:]
        value = tuple(values) if cls is tuple else cls(*values)
        if check:
            check(value)
        return value

    def _load_fields(self, table, raw):
        # The values of the fields in `table`; fields that are not in it are passed over.
        values = [None] * len(table)
        for number, value in fields(raw):
            i = 0
            for known, kind in table:
                if known == number:
                    values[i] = self._add(values[i], self._spec(kind), value)
                    break
                i += 1
        for i in range(len(table)):
            spec = self._spec(table[i][1])
            op = spec[0]
            if op == "list":
                values[i] = kinds.check_tuple(tuple(values[i] or ()), spec[2], spec[3])
            elif values[i] is None and op != "optional":
                missing = 0 if op == "uint" or op == "flag" else memoryview(b"")
                values[i] = self._load(spec, missing)
        return values

    def _add(self, old, spec, value):
        # What a field is after one more of its number came along.
        if spec[0] != "list":
            if old is not None:
                raise WireError("a field comes twice")
            return self._load(spec, value)
        old = old or []
        if len(old) == spec[3]:
            raise WireError("more than %d values in a list" % spec[3])
        old.append(self._load(self._spec(spec[1]), value))
        return old


def _load_packed(raw, most):
    indices = []
    at = 0
    while at < len(raw):
        if len(indices) == most:
            raise WireError("more than %d values in a list" % most)
        index, at = varint(raw, at)
        indices.append(kinds.check_uint(index, 16))
    return tuple(indices)


def _extend(number):
    # The rarer messages cost no memory until one comes along, and a device may do without.
    if number not in _SUBCHANNEL:
        return
    try:
        from perun.wire import protobuf_subchannel as extension
    except ImportError:
        return
    KINDS.update(extension.KINDS)
    MESSAGES.update(extension.MESSAGES)
