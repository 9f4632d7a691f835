"""Wire addresses of go-perun, generation 2: who a node says that it is.

Two kinds. `simple` (go-perun's net/simple): a name and an RSA-2048 key, whose owner signs the
handshake. `ethereum` (the Ethereum backend's wire address): 20 bytes, and a constant in place of a
signature.

What is signed is the signer's own address, always the same bytes: whoever was talked to once can
repeat it. A handshake tells friends apart; it keeps no enemy out.
"""

from __future__ import annotations

from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

AUTHENTICATE = b"Authenticate"  # what the Ethereum backend sends for a signature

_BITS = (2048, 3072, 4096)


class Simple(NamedTuple):
    """A net/simple address, taken apart."""

    name: bytes
    key: rsa.RSAPublicKey


def marshal_simple(name: str, key: rsa.RSAPublicKey) -> bytes:
    """u16 length, name, u16 length, modulus, i32 exponent, all big-endian."""
    numbers = key.public_numbers()
    modulus = numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8, "big")
    raw = name.encode()
    return b"".join(
        (
            len(raw).to_bytes(2, "big"),
            raw,
            len(modulus).to_bytes(2, "big"),
            modulus,
            numbers.e.to_bytes(4, "big"),
        )
    )


def parse_simple(address: bytes) -> Simple:
    """The parts of a marshalled net/simple address. Raises ValueError, also for one without a key:
    there is nothing that its owner could prove."""
    name, rest = _chunk(address)
    if not rest:
        raise ValueError("the address has no public key")
    modulus, rest = _chunk(rest)
    if len(rest) != 4 or modulus[:1] == b"\0":
        raise ValueError("the address is malformed")
    number, exponent = int.from_bytes(modulus, "big"), int.from_bytes(rest, "big", signed=True)
    if number.bit_length() not in _BITS or not 3 <= exponent or exponent % 2 == 0:
        raise ValueError("an RSA key of 2048, 3072 or 4096 bits is expected")
    try:
        return Simple(name, rsa.RSAPublicNumbers(exponent, number).public_key())
    except ValueError as error:
        raise ValueError("the address has no valid public key") from error


def _chunk(data: bytes) -> tuple[bytes, bytes]:
    end = 2 + int.from_bytes(data[:2], "big")
    if len(data) < max(2, end):
        raise ValueError("the address is cut off")
    return data[2:end], data[end:]


def check(kind: str, address: bytes) -> None:
    """Is this a wire address of the kind, with all that a proof needs? Raises ValueError."""
    if kind == "simple":
        parse_simple(address)
    elif len(address) != 20:
        raise ValueError("an Ethereum wire address has 20 bytes")


def signed_bytes(address: bytes) -> bytes:
    """What the owner of a net/simple address signs: the number of addresses in its map, one, and
    the address."""
    return b"\1" + address


def proven(kind: str, address: bytes, proof: bytes) -> bool:
    """Is `proof` what the owner of this address sends in its handshake?"""
    if kind != "simple":
        return proof == AUTHENTICATE
    try:
        key = parse_simple(address).key
        key.verify(proof, signed_bytes(address), padding.PKCS1v15(), hashes.SHA256())
    except (InvalidSignature, ValueError):
        return False
    return True


def order(kind: str, address: bytes) -> bytes:
    """What go-perun compares when it orders addresses: of a `simple` one the name."""
    return parse_simple(address).name if kind == "simple" else address
