"""ECDSA over secp256k1 as Ethereum's contracts accept it; the one interface of the curve.

A digest and a secret are 32 bytes, a public key is 64 (x, y), a signature is 65 (r, s, v). All
numbers are big endian.

This module has what no backend should repeat: the checks of everything that comes in and the
nonces of RFC 6979. A backend computes on arguments that have passed them (README.md).
"""

import sys

from perun.compat import MICROPYTHON, native_module


# The fastest backend that this machine can run. MicroPython has a number for the machine code
# that it loads. UMAAL is not in ARMv6-M and ARMv7-M (4, 5), which would take the module all the
# same: then that is not to be tried.
_kinds = ("umaal", "thumb", "viper")
if getattr(sys.implementation, "_mpy", 0) >> 10 & 15 < 6:
    _kinds = ("thumb", "viper")
if sys.maxsize >> 32:  # a computer, which has viper
    _kinds = ("viper64", "umaal", "thumb")
for _kind in _kinds:
    _kernel = native_module("perun.crypto._secp256k1_" + _kind)
    if _kernel:
        from perun.crypto._secp256k1_machine import Curve

        _backend = Curve(_kernel)
        break
else:
    from perun.crypto import _secp256k1_bigint as _backend

BACKEND = _backend.NAME  # "asm_thumb", "viper" or "bigint"

# Big-endian numbers of one length are ordered as their bytes are: ranges need no integers.
_ZERO = bytes(32)
_ORDER = bytes.fromhex("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141")
_HIGH_S = bytes.fromhex("7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a1")
_BYTES_LIKE = (bytes, bytearray, memoryview)


class SignatureError(ValueError):
    """A signature that the contracts would refuse, or that belongs to no key."""


class PreparedKey:
    """A public key that was checked, with a table that makes many verifications faster."""

    def __init__(self, public, table):
        self.public = public  # 64 bytes
        self.table = table  # the backend's


def public_key(secret):
    """The public key of a secret. Raises ValueError unless it is 32 bytes in 1 ... N - 1."""
    return _backend.public_key(_secret(secret))


def sign(digest, secret, entropy=b""):
    """Sign a digest: r || s || v with the nonce of RFC 6979 (HMAC-SHA256), low s, v 27 or 28.

    The same digest and secret always give the same signature, unless there is `entropy`: any
    bytes, which then go into the nonce (RFC 6979, section 3.6). They may even be known or bad.
    Raises ValueError for a digest that is not 32 bytes or an unusable secret, RuntimeError if the
    signature did not stand its check: it is not released.
    """
    digest = _exactly(digest, 32, "digest")
    secret = _secret(secret)
    tried = 0
    while True:
        nonce = _nonce(digest, secret, entropy, tried)
        signature = _ZERO < nonce < _ORDER and _backend.sign(digest, secret, nonce)
        again = _nonce(digest, secret, entropy, tried)
        undisturbed = again == nonce
        _wipe(nonce)
        _wipe(again)
        if not undisturbed:
            raise RuntimeError("disturbed: no signature")
        if signature:
            return signature
        tried += 1


def recover(digest, signature):
    """The public key that signed a digest.

    Raises SignatureError unless the signature is 65 bytes, v is 27 or 28, 1 <= r < N and
    1 <= s <= N / 2 (what the contracts demand), and some key has made it.
    """
    digest = _exactly(digest, 32, "digest")
    if not _is_strict(signature):
        raise SignatureError("not a strict signature")
    public = _backend.recover(digest, bytes(signature))
    if public is None:
        raise SignatureError("no key has made this signature")
    return public


def prepare(public):
    """Check a public key of 64 bytes and make a PreparedKey for verify().

    Raises ValueError if it is not a point of the curve.
    """
    public = _exactly(public, 64, "public key")
    return PreparedKey(public, _table(public, False))


def verify(digest, signature, key):
    """Whether recover(digest, signature) would give this very key.

    That includes v, which ECDSA itself does not look at: a contract recovers the signer with it.
    The key is a PreparedKey or 64 bytes. A malformed signature is False; a malformed digest or
    key is the caller's mistake, a ValueError.
    """
    digest = _exactly(digest, 32, "digest")
    if isinstance(key, PreparedKey):
        table = key.table
    else:
        table = _table(_exactly(key, 64, "public key"), True)
    return _is_strict(signature) and _backend.verify(digest, bytes(signature), table)


def _table(public, once):
    table = _backend.prepare(public, once)
    if table is None:
        raise ValueError("public key is not on the curve")
    return table


def _exactly(value, length, name):
    if not isinstance(value, _BYTES_LIKE) or len(value) != length:
        raise ValueError(f"{name} must be {length} bytes")
    return bytes(value)


def _secret(value):
    value = _exactly(value, 32, "secret")
    if not _ZERO < value < _ORDER:
        raise ValueError("secret is out of range")
    return value


def _is_strict(signature):
    return (
        isinstance(signature, _BYTES_LIKE)
        and len(signature) == 65
        and signature[64] in (27, 28)
        and _is_within(signature, 0, _ORDER)
        and _is_within(signature, 32, _HIGH_S)
    )


def _is_within(signature, at, end):
    """Whether the number there is 1 or more, below `end`; its first byte nearly always tells."""
    if 0 < signature[at] < end[0]:
        return True
    return _ZERO < bytes(signature[at : at + 32]) < end


def _nonce(digest, secret, entropy, tried):
    """The next candidate of RFC 6979, section 3.2, after those that were tried."""
    if digest >= _ORDER:
        digest = int.from_bytes(digest, "big") - int.from_bytes(_ORDER, "big")
        digest = digest.to_bytes(32, "big")
    return _backend.nonce(digest, secret, entropy, tried)


def _wipe(data):
    """Overwrite 32 bytes that nobody else has, where the machine allows it."""
    if MICROPYTHON:
        import uctypes

        uctypes.bytearray_at(uctypes.addressof(data), 32)[:] = _ZERO
