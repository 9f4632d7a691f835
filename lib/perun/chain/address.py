"""Ethereum addresses as people read them: 0x and 40 digits whose case is a checksum (EIP-55)."""

from perun.compat import const
from perun.crypto.keccak import keccak256

_NINE = const(57)  # the character
_TO_UPPER = const(32)  # from a lower-case letter


def to_checksum(address):
    """The EIP-55 text of a 20-byte address."""
    if len(address) != 20:
        raise ValueError("an address has 20 bytes")
    # Numbers instead of characters: MicroPython would keep each character for ever, as a name.
    digits = bytearray(address.hex().encode())
    check = keccak256(digits)
    for i, digit in enumerate(digits):
        nibble = check[i // 2] >> (4 - i % 2 * 4) & 15
        if nibble > 7 and digit > _NINE:
            digits[i] = digit - _TO_UPPER
    return "0x" + str(digits, "ascii")


def from_text(text):
    """The 20 bytes of an address text, with or without 0x.

    Mixed case must be a right checksum, so that a mistyped address is found; all lower or all
    upper case carries none. Raises ValueError.
    """
    digits = text[2:] if text[:2] == "0x" else text
    try:
        address = bytes.fromhex(digits)
    except ValueError:
        address = b""
    if len(digits) != 40 or len(address) != 20:
        raise ValueError("an address has 40 hexadecimal digits")
    if digits not in (digits.lower(), digits.upper()) and to_checksum(address)[2:] != digits:
        raise ValueError("address with a wrong checksum: a digit is mistyped")
    return address
