"""Keccak-256, which Ethereum hashes with, and SHA3-256, which Perun's nonces come from.

Both are the same sponge over Keccak-f[1600] with 136 bytes a block; they differ only in the
padding (FIPS 202). A sponge takes its input in pieces, so that an encoding can be hashed word by
word without ever being built. README.md says what a kernel is.
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
_CLOSED = const(255)  # a place that no block has

_BYTES_LIKE = (bytes, bytearray, memoryview)
_LAST = b"\x80"  # the last bit of the padding, which fills the block


class _Sponge:
    _PADDING = 0

    def __init__(self):
        self._sponge = bytearray(_SPONGE)

    def update(self, data):
        """Absorb bytes, a bytearray or a memoryview of bytes.

        Raises TypeError for anything else and ValueError after digest().
        """
        if not isinstance(data, _BYTES_LIKE):
            raise TypeError("bytes expected")
        sponge = self._sponge
        if sponge[_AT] == _CLOSED:
            raise ValueError("update after digest")
        absorb(sponge, data, len(data))

    def digest(self):
        """The hash, 32 bytes. The sponge takes no more input afterwards."""
        sponge = self._sponge
        if sponge[_AT] != _CLOSED:
            _close(sponge, self._PADDING)
        return bytes(sponge[:32])


class Keccak256(_Sponge):
    """Streaming Keccak-256, the hash of Ethereum."""

    _PADDING = 0x01


class SHA3_256(_Sponge):
    """Streaming SHA3-256 of FIPS 202."""

    _PADDING = 0x06


def keccak256(data):
    """Keccak-256 of bytes-like `data`, 32 bytes."""
    return _hash(data, Keccak256._PADDING)


def sha3_256(data):
    """SHA3-256 of bytes-like `data`, 32 bytes."""
    return _hash(data, SHA3_256._PADDING)


def _hash(data, padding):
    """Without an object for the sponge, which costs a device as much as a block."""
    if not isinstance(data, _BYTES_LIKE):
        raise TypeError("bytes expected")
    sponge = bytearray(_SPONGE)
    absorb(sponge, data, len(data))
    _close(sponge, padding)
    return bytes(sponge[:32])


def _close(sponge, padding):
    sponge[sponge[_AT]] ^= padding
    sponge[_AT] = _RATE - 1
    absorb(sponge, _LAST, 1)
    sponge[_AT] = _CLOSED
