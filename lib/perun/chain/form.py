"""The encoding of a state, kept to hash the next ones.

From payment to payment only the version and the balances of a state change: a few words among
dozens, and on a device the Python around a word costs more than its hash.
"""

from struct import pack_into

from perun.chain.abi import SMALL, UINT64, UINT256, WORD, address_word
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

    `assets` and `balances` are where the first of them stand in the encoding, an asset's chain and
    address `stride` bytes before the next one's. Unless `plain`, the assets stay.
    """

    def __init__(self, state, encoding, assets, stride, balances, plain):
        allocation = state.allocation
        self._assets = None if plain else allocation.assets
        self._count = len(allocation.assets)
        self._parts = len(allocation.balances[0])
        self._locked = allocation.locked
        self._data = state.data
        self._encoding = encoding
        self._at = assets, stride, balances
        self._plain = plain

    def fits(self, state):
        """Whether the state can be written here. What is malformed does not fit."""
        assets, balances, locked = state.allocation
        if len(balances) != self._count or len(state.id) != WORD:
            return False
        for row in balances:
            if len(row) != self._parts:
                return False
        if locked != self._locked or state.data != self._data:
            return False
        return assets == self._assets or (
            self._plain and len(assets) == self._count and is_plain(assets)
        )

    def _write_assets(self, assets):
        at, stride, _ = self._at
        self._assets = None
        for asset in assets:
            if not 0 <= asset.chain_id < UINT256:
                raise ValueError("number out of range")
            self._encoding[at : at + WORD] = asset.chain_id.to_bytes(WORD, "big")
            self._encoding[at + WORD : at + 2 * WORD] = address_word(asset.holder)
            at += stride
        self._assets = assets

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
        at = self._at[2]
        for row in state.allocation.balances:
            for amount in row:
                if not 0 <= amount < UINT256:
                    raise ValueError("number out of range")
                if amount < UINT64:
                    pack_into(SMALL, encoding, at, amount)
                else:
                    encoding[at : at + WORD] = amount.to_bytes(WORD, "big")
                at += WORD
            at += WORD  # the length of the next row
        return keccak256(encoding)


def is_plain(assets):
    """Whether all are Ethereum's: a chain, and the address of an asset holder."""
    for asset in assets:
        if asset.backend != BACKEND_ETHEREUM:
            return False
    return True
