"""Secrets between two ends: HMAC-SHA256, AES-256, and a secret that both compute.

Loaded for a PIN and for the owner's link, and forgotten afterwards.
"""

import hashlib

from perun.compat import MICROPYTHON, const
from perun.crypto import secp256k1

_BLOCK = const(64)
_N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141  # the curve's order


def pads(key):
    """The inner and the outer pad of HMAC-SHA256 for a key of at most 64 bytes."""
    key = key + bytes(_BLOCK - len(key))
    return bytes(byte ^ 0x36 for byte in key), bytes(byte ^ 0x5C for byte in key)


def hmac(key, *parts):
    """HMAC-SHA256 (RFC 2104) of the parts together, with a key of at most 64 bytes."""
    return tag(pads(key), *parts)


def tag(padded, *parts):
    """hmac() with the pads() of a key that is used many times."""
    inner = hashlib.sha256(padded[0])
    for part in parts:
        inner.update(part)
    return hashlib.sha256(padded[1] + inner.digest()).digest()


def same(one, other):
    """Whether both are equal, in a time that does not tell where they differ."""
    difference = len(one) ^ len(other)
    for a, b in zip(one, other):
        difference |= a ^ b
    return not difference


def aes(key, iv, data, encrypt):
    """AES in CBC mode, what every board's cryptolib has. data: whole blocks of 16 bytes."""
    if MICROPYTHON:
        from cryptolib import aes as cipher

        cipher = cipher(key, 2, iv)
        return cipher.encrypt(data) if encrypt else cipher.decrypt(data)
    else:
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

        cipher = Cipher(algorithms.AES(key), modes.CBC(iv))
        return (cipher.encryptor() if encrypt else cipher.decryptor()).update(data)


def ephemeral(random):
    """A key for one agreement: (its secret, the x of its point for the other end, 32 bytes).

    random: function, n -> n random bytes.
    """
    while True:
        secret = random(32)
        try:
            return secret, secp256k1.public_key(secret)[:32]
        except ValueError:  # once in 2**127 times
            continue


def agree(secret, x):
    """The secret that two ephemeral keys have in common: ECDH (SEC 1, 3.3.1), the x of its point.

    A recovery is s/r times the point with this x when the digest is zero, so with s = r * secret
    it is the product, whichever of the two points with this x is taken. How long it takes may
    depend on the secret: use each for one agreement. Raises ValueError for what is no point.
    """
    r = int.from_bytes(x, "big")
    s = int.from_bytes(secret, "big") * r % _N
    s = min(s, _N - s)
    return secp256k1.recover(bytes(32), x + s.to_bytes(32, "big") + b"\x1b")[:32]
