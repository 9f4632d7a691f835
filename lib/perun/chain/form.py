"""The encoding of a state, kept to hash the next ones.

From payment to payment only the version and the balances of a state change: a few words among
dozens, and on a device the Python around a word costs more than its hash.
"""

from struct import pack_into

from perun.chain.abi import UINT64, UINT256, WORD
from perun.compat import const
from perun.crypto.keccak import keccak256

# Where they are: in the first words, which are an offset, the id, the version, two offsets, and
# whether the state is final.
_ID = const(32)
_VERSION = const(64)
_FINAL = const(191)

_SMALL = ">24xQ"


class StateForm:
    """What states have in common with one that was hashed: all but id, version, end, balances.

    The encoding is that of the state; its balances begin at byte `balances`: their number, the
    offset of each row, and the rows, each after its length.
    """

    def __init__(self, state, encoding, balances):
        allocation = state.allocation
        self._assets = allocation.assets
        self._parts = len(allocation.balances[0])
        self._locked = allocation.locked
        self._data = state.data
        self._encoding = encoding
        self._first = balances + (len(allocation.assets) + 2) * WORD

    def fits(self, state):
        """Whether the state differs in nothing else. What is malformed does not fit."""
        allocation = state.allocation
        if len(allocation.balances) != len(self._assets) or len(state.id) != WORD:
            return False
        for row in allocation.balances:
            if len(row) != self._parts:
                return False
        return (
            allocation.assets == self._assets
            and allocation.locked == self._locked
            and state.data == self._data
        )

    def hash(self, state):
        """The hash of a state that fits. Raises ValueError for a number out of range."""
        if not 0 <= state.version < UINT64:
            raise ValueError("number out of range")
        encoding = self._encoding
        encoding[_ID : _ID + WORD] = state.id
        pack_into(_SMALL, encoding, _VERSION, state.version)
        encoding[_FINAL] = 1 if state.is_final else 0
        at = self._first
        for row in state.allocation.balances:
            for amount in row:
                if not 0 <= amount < UINT256:
                    raise ValueError("number out of range")
                if amount < UINT64:
                    pack_into(_SMALL, encoding, at, amount)
                else:
                    encoding[at : at + WORD] = amount.to_bytes(WORD, "big")
                at += WORD
            at += WORD  # the length of the next row
        return keccak256(encoding)
