"""The device's key: made on the device at its first boot, kept in the store, never shown."""

import os
import time

from perun.chain.account import Account
from perun.compat import const
from perun.crypto.keccak import Keccak256

_KEY = b"k"
_SAMPLES = const(256)


class IdentityError(ValueError):
    """There is no usable key, and none is made: what the store holds might be worth money."""


def load(store):
    """The Account of this device; the first call makes its key. Raises IdentityError."""
    secret = store.get(_KEY)
    if secret is None:
        if store.keys():
            raise IdentityError("the store has channels but no key: restore the right store")
        secret = new_secret()
        store.put(_KEY, secret)
    try:
        return Account(secret)
    except ValueError:
        raise IdentityError("the stored key is damaged: restore the right store") from None


def new_secret(urandom=os.urandom):
    """32 secret bytes from all that this device has to offer. urandom: n -> n random bytes.

    Each source goes into one Keccak sponge, so the result is at least as good as the best of
    them. Raises IdentityError when the system's generator obviously does not work.
    """
    while True:
        pool = Keccak256()
        for name, data in _sources(urandom):
            pool.update(b"%s:%d:" % (name, len(data)))
            pool.update(data)
        secret = pool.digest()
        try:
            Account(secret)
            return secret
        except ValueError:  # zero or above the order of the curve: once in 2**127 boots
            continue


def _sources(urandom):
    first, second = urandom(32), urandom(32)
    if first == second or len(set(first)) < 8:
        raise IdentityError("os.urandom does not give random bytes on this board")
    yield b"urandom", first + second
    yield b"jitter", _jitter()
    yield b"time", str(time.time_ns()).encode()
    # Public, but no two boards share it: equal noise still makes different keys.
    yield b"board", _unique_id()


def _jitter():
    """Low bytes of a clock around work whose time depends on caches, flash and interrupts."""
    clock = getattr(time, "ticks_cpu", None) or getattr(time, "ticks_us", None) or time.time_ns
    samples = bytearray(_SAMPLES)
    for i in range(_SAMPLES):
        _ = sum(samples[: 16 + samples[i - 1] % 64])
        samples[i] = clock() & 0xFF
    return bytes(samples)


def _unique_id():
    try:
        import machine

        return machine.unique_id()
    except (ImportError, AttributeError):
        return b""
