"""Keccak-256 over an Ethereum ABI encoding that is never built.

The words of the encoding go into the sponge one by one, in order. The writer computes offsets from
sizes beforehand, so hashing a state costs one 32-byte scratch word instead of its whole encoding.

Source: Solidity's ABI specification, argument encoding.
"""

from struct import pack_into

from perun.compat import const
from perun.crypto.keccak import Keccak256

WORD = const(32)
ADDRESS = const(20)

UINT16 = 1 << 16  # limits of the types: one more than what they hold
UINT64 = 1 << 64
UINT256 = 1 << 256

_ZEROS = bytes(WORD)
_BEFORE_ADDRESS = bytes(WORD - ADDRESS)


def padded(length):
    """The size of `length` bytes in an encoding: a multiple of 32."""
    return (length + WORD - 1) // WORD * WORD


def array_size(length):
    """The size of an array with `length` one-word elements."""
    return WORD + length * WORD


class AbiHash:
    """The hash of one encoding. Every writer raises ValueError for what its type cannot hold.

    With `text`, a bytearray, the encoding is appended to that instead of being hashed.
    """

    def __init__(self, text=None):
        if text is None:
            self._sponge = Keccak256()
            self._put = self._sponge.update
        else:
            self._put = text.extend
        self._word = bytearray(WORD)  # all zero but for its last 8 bytes

    def uint(self, value, limit=UINT256):
        """An unsigned integer below `limit`, one of the UINT constants."""
        # Checked here: not every conversion of MicroPython complains about what it cuts off.
        if not 0 <= value < limit:
            raise ValueError("number out of range")
        if value < UINT64:
            pack_into(">Q", self._word, WORD - 8, value)
            self._put(self._word)
        else:
            self._put(value.to_bytes(WORD, "big"))

    def flag(self, value):
        self.uint(1 if value else 0)

    def bytes32(self, value):
        if len(value) != WORD:
            raise ValueError("32 bytes expected")
        self._put(value)

    def address(self, value):
        if len(value) != ADDRESS:
            raise ValueError("an address has 20 bytes")
        self._put(_BEFORE_ADDRESS)
        self._put(value)

    def blob(self, value):
        """A byte string's tail: its length, then the bytes, padded."""
        self.uint(len(value))
        self._put(value)
        if len(value) % WORD:
            self._put(_ZEROS[len(value) % WORD :])

    def uints(self, values, limit=UINT256):
        """An array's tail: its length, then its elements."""
        self.uint(len(values))
        for value in values:
            self.uint(value, limit)

    def offsets(self, sizes):
        """The head of consecutive dynamic parts with these sizes: where each begins, from here."""
        offset = len(sizes) * WORD
        for size in sizes:
            self.uint(offset)
            offset += size

    def digest(self):
        return self._sponge.digest()
