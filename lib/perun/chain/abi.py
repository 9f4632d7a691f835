"""Ethereum ABI encodings: hashed without being built, or built from words.

AbiHash is for what is hashed now and then: words go into the sponge one by one, in order, and the
writer computes offsets from sizes beforehand. What is hashed with every payment, a state, keeps
its encoding (perun.chain.form), which the functions here build.

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

SMALL = ">24xQ"  # a number below UINT64 as a word, for struct

_ZEROS = bytes(WORD)
_BEFORE_ADDRESS = bytes(WORD - ADDRESS)


def padded(length):
    """The size of `length` bytes in an encoding: a multiple of 32."""
    return (length + WORD - 1) // WORD * WORD


def array_size(length):
    """The size of an array with `length` one-word elements."""
    return WORD + length * WORD


# An encoding that is kept, in words: each a number or 32 bytes.


def joined(parts):
    """The words of consecutive dynamic parts: where each begins, from here, then the parts."""
    if len(parts) == 1:
        return [WORD] + parts[0]
    offset = len(parts) * WORD
    words = []
    for part in parts:
        words.append(offset)
        offset += len(part) * WORD
    for part in parts:
        words += part
    return words


def blob(value):
    """The words of a byte string: its length, then the bytes, padded."""
    words = [len(value)]
    for at in range(0, len(value), WORD):
        piece = value[at : at + WORD]
        words.append(piece if len(piece) == WORD else piece + _ZEROS[len(piece) :])
    return words


def address_word(value):
    if len(value) != ADDRESS:
        raise ValueError("an address has 20 bytes")
    return _BEFORE_ADDRESS + value


def encoded(words):
    """The bytes of words. Raises ValueError for what is no word."""
    encoding = bytearray(len(words) * WORD)
    at = 0
    for word in words:
        if isinstance(word, int):
            if not 0 <= word < UINT256:
                raise ValueError("number out of range")
            if word < UINT64:
                if word:
                    pack_into(SMALL, encoding, at, word)
                at += WORD
                continue
            word = word.to_bytes(WORD, "big")
        if len(word) != WORD:
            raise ValueError("32 bytes expected")
        encoding[at : at + WORD] = word
        at += WORD
    return encoding


class AbiHash:
    """The hash of one encoding. Every writer raises ValueError for what its type cannot hold."""

    def __init__(self):
        self._sponge = Keccak256()
        self._put = self._sponge.update
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
