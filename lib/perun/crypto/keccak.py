"""Keccak-256, which Ethereum hashes with, and SHA3-256, which Perun's nonces come from.

Both are the same sponge over Keccak-f[1600] with 136 bytes a block; they differ only in the
padding (FIPS 202). README.md says what a kernel is.
"""

from perun.compat import const, native_module

_kernel = native_module("perun.crypto._keccak_thumb") or native_module(
    "perun.crypto._keccak_viper"
)
if not _kernel:
    from perun.crypto import _keccak_portable as _kernel

absorb = _kernel.absorb
BACKEND = _kernel.NAME  # "asm_thumb", "viper" or "portable"

# A sponge is one buffer, so that a kernel needs nothing else: the state, then the place of the
# next byte in its block.
_RATE = const(136)
_AT = const(200)
_SPONGE = const(201)

_BYTES_LIKE = (bytes, bytearray, memoryview)
_LAST = b"\x80"  # the last bit of the padding, which fills the block


def keccak256(data):
    """Keccak-256 of bytes-like `data`, 32 bytes. Raises TypeError for anything else."""
    return _hash(data, 0x01)


def sha3_256(data):
    """SHA3-256 of bytes-like `data`, 32 bytes."""
    return _hash(data, 0x06)


def _hash(data, padding):
    if not isinstance(data, _BYTES_LIKE):
        raise TypeError("bytes expected")
    sponge = bytearray(_SPONGE)
    absorb(sponge, data, len(data))
    sponge[sponge[_AT]] ^= padding
    sponge[_AT] = _RATE - 1
    absorb(sponge, _LAST, 1)
    return bytes(sponge[:32])
