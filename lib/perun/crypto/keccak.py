"""Keccak-256, which Ethereum hashes with, and SHA3-256, which Perun's nonces come from.

Both are the same sponge over Keccak-f[1600] with 136 bytes a block; they differ only in the
padding (FIPS 202). A sponge takes its input in pieces, so that an encoding can be hashed word by
word without ever being built.
"""

from perun.compat import const, native_module

_kernel = native_module("perun.crypto._keccak_viper")
if _kernel is None:
    from perun.crypto import _keccak_portable as _kernel

BACKEND = _kernel.NAME  # "viper" or "portable"

_RATE = const(136)
_STATE = const(200)
_CLOSED = const(-1)


class _Sponge:
    _PADDING = 0

    def __init__(self):
        self._state = bytearray(_STATE)
        self._at = 0

    def update(self, data):
        """Absorb bytes, a bytearray or a memoryview of bytes.

        Raises TypeError for anything else and ValueError after digest().
        """
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError("bytes expected")
        at = self._at
        if at == _CLOSED:
            raise ValueError("update after digest")
        state = self._state
        start = 0
        left = len(data)
        while left:
            count = min(left, _RATE - at)
            _kernel.absorb(state, at, data, start, count)
            at += count
            start += count
            left -= count
            if at == _RATE:
                _kernel.permute(state)
                at = 0
        self._at = at

    def digest(self):
        """The hash, 32 bytes. The sponge takes no more input afterwards."""
        state = self._state
        if self._at != _CLOSED:
            state[self._at] ^= self._PADDING
            state[_RATE - 1] ^= 0x80
            _kernel.permute(state)
            self._at = _CLOSED
        return bytes(state[:32])


class Keccak256(_Sponge):
    """Streaming Keccak-256, the hash of Ethereum."""

    _PADDING = 0x01


class SHA3_256(_Sponge):
    """Streaming SHA3-256 of FIPS 202."""

    _PADDING = 0x06


def keccak256(data):
    """Keccak-256 of bytes-like `data`, 32 bytes."""
    sponge = Keccak256()
    sponge.update(data)
    return sponge.digest()


def sha3_256(data):
    """SHA3-256 of bytes-like `data`, 32 bytes."""
    sponge = SHA3_256()
    sponge.update(data)
    return sponge.digest()
