"""Ethereum addresses as people read them: 0x and 40 digits whose case is a checksum (EIP-55)."""

from perun.crypto.keccak import keccak256


def to_checksum(address):
    """The EIP-55 text of a 20-byte address."""
    if len(address) != 20:
        raise ValueError("an address has 20 bytes")
    digits = address.hex()
    check = keccak256(digits.encode()).hex()
    return "0x" + "".join(
        digit.upper() if nibble > "7" else digit for digit, nibble in zip(digits, check)
    )


def from_text(text):
    """The 20 bytes of an address text, with or without 0x.

    Mixed case must be a right checksum, so that a mistyped address is found; all lower or all
    upper case carries none. Raises ValueError.
    """
    digits = text[2:] if text[:2] == "0x" else text
    if len(digits) != 40:
        raise ValueError("an address has 40 hexadecimal digits")
    for digit in digits:
        if digit not in "0123456789abcdefABCDEF":
            raise ValueError("an address has 40 hexadecimal digits")
    address = bytes.fromhex(digits)
    if digits not in (digits.lower(), digits.upper()) and to_checksum(address)[2:] != digits:
        raise ValueError("address with a wrong checksum: a digit is mistyped")
    return address
