"""Ethereum ABI encodings, built from words: each a number or 32 bytes.

Source: Solidity's ABI specification, argument encoding.
"""

from struct import pack_into

from perun.compat import const

WORD = const(32)
ADDRESS = const(20)

UINT16 = 1 << 16  # limits of the types: one more than what they hold
UINT64 = 1 << 64
UINT256 = 1 << 256

SMALL = ">24xQ"  # a number below UINT64 as a word, for struct

_ZEROS = bytes(WORD)
_BEFORE_ADDRESS = bytes(WORD - ADDRESS)


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
            # Checked here: not every conversion of MicroPython complains about what it cuts off.
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
