"""The encoding of a state, kept to hash the next ones.

From payment to payment only the version and the balances of a state change: a few words among
dozens, and on a device the Python around a word costs more than its hash.
"""

from struct import pack_into

from perun.chain.abi import ADDRESS, SMALL, UINT64, UINT256, WORD
from perun.compat import const
from perun.crypto.keccak import keccak256
from perun.model import BACKEND_ETHEREUM

# Where they are: in the first words, which are an offset, the id, the version, two offsets, and
# whether the state is final.
_ID = const(32)
_VERSION = const(64)
_FINAL = const(191)


class StateForm:
    """The encoding of a state, and of those like it: all but id, version, end and balances are the
    same, and assets if all are Ethereum's.

    `places` are where the first asset stands in the encoding, its chain and its address, how many
    bytes the next one follows later, where the first balance stands, and whether all assets are
    Ethereum's: else they stay.
    """

    def __init__(self, state, encoding, places):
        assets, balances, locked = state.allocation
        at_assets, stride, at_balances, plain = places
        self._encoding = encoding
        self._assets = None if plain else assets
        # In one piece: on a device each attribute more makes the object slower to make.
        self._fixed = (
            len(assets),
            len(balances[0]),
            locked,
            state.data,
            at_assets,
            stride,
            at_balances,
            plain,
        )

    def fits(self, state):
        """Whether the state can be written here. What is malformed does not fit."""
        assets, balances, locked = state.allocation
        count, parts, same_locked, same_data, _, _, _, plain = self._fixed
        if len(balances) != count or len(state.id) != WORD:
            return False
        for row in balances:
            if len(row) != parts:
                return False
        if locked != same_locked or state.data != same_data:
            return False
        return assets == self._assets or (plain and len(assets) == count and is_plain(assets))

    def _write_assets(self, assets):
        at, stride = self._fixed[4:6]
        self._assets = None
        for asset in assets:
            self._write(at, asset.chain_id)
            if len(asset.holder) != ADDRESS:
                raise ValueError("an address has 20 bytes")
            self._encoding[at + 2 * WORD - ADDRESS : at + 2 * WORD] = asset.holder
            at += stride
        self._assets = assets

    def _write(self, at, number):
        if 0 <= number < UINT64:
            pack_into(SMALL, self._encoding, at, number)
        elif UINT64 <= number < UINT256:
            self._encoding[at : at + WORD] = number.to_bytes(WORD, "big")
        else:
            raise ValueError("number out of range")

    def hash(self, state):
        """The hash of a state that fits. Raises ValueError for a number out of range."""
        if not 0 <= state.version < UINT64:
            raise ValueError("number out of range")
        encoding = self._encoding
        if state.allocation.assets != self._assets:
            self._write_assets(state.allocation.assets)
        encoding[_ID : _ID + WORD] = state.id
        pack_into(SMALL, encoding, _VERSION, state.version)
        encoding[_FINAL] = 1 if state.is_final else 0
        at = self._fixed[6]
        for row in state.allocation.balances:
            for amount in row:
                self._write(at, amount)
                at += WORD
            at += WORD  # the length of the next row
        return keccak256(encoding)


def is_plain(assets):
    """Whether all are Ethereum's: a chain, and the address of an asset holder."""
    for asset in assets:
        if asset.backend != BACKEND_ETHEREUM:
            return False
    return True


# The words of a usual state before its balances, their lowest bytes: offsets, counts, a backend
_USUAL = (
    b"\x20\x00\x00\xa0\x00\x00"  # the state; that of its data follows
    b"\x80\x60\xa0\x00"  # assets, backends, balances; that of what is locked follows
    b"\x01\x20\x00\x00\x60\x20\x00\x01\x01\x01\x20\x00"
)


def usual_form(state):
    """The form of nearly every state of generation 2: one asset of Ethereum's, nothing locked, no
    data. Put together beforehand, for the first payment waits for it. None for others."""
    assets, balances, locked = state.allocation
    if locked or state.data or len(assets) != 1 or len(balances) != 1 or len(state.id) != WORD:
        return None
    parts = len(balances[0])
    if parts > 255 or assets[0].backend != BACKEND_ETHEREUM:
        return None
    encoding = bytearray((24 + parts) * WORD)
    at = WORD - 1
    for low in _USUAL:
        encoding[at] = low
        at += WORD
    encoding[at - WORD] = parts
    encoding[8 * WORD - 2] = encoding[9 * WORD - 2] = 1
    pack_into(">H", encoding, 5 * WORD - 2, (22 + parts) * WORD)  # where data and
    pack_into(">H", encoding, 10 * WORD - 2, (16 + parts) * WORD)  # what is locked begin
    return StateForm(state, encoding, (12 * WORD, 0, 22 * WORD, True))
