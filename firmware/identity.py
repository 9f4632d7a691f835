"""The device's key: made on the device at its first boot, kept in the store, never shown.

With a PIN it lies there encrypted (vault.py). Set the PIN when the key is made: flash that has
held the bare key may keep it in sectors that are not erased yet.
"""

import os
import sys
import time

from perun.chain.account import Account
from perun.compat import const
from perun.crypto.keccak import keccak256

_KEY = b"k"
_CHANNELS = (b"c", b"s")  # how the keys of channels begin in the store
_SAMPLES = const(256)


class IdentityError(ValueError):
    """There is no usable key, and none is made: what the store holds might be worth money."""


class Locked(IdentityError):
    """The key needs a PIN. address: 20 bytes."""

    def __init__(self, address):
        super().__init__("the key needs its PIN")
        self.address = address


def load(store, pin=None, tell=None, feed=None):
    """The Account of this device; the first call makes its key.

    tell: called with the names of the sources when a key is made; feed: called now and then while
    a PIN is worked on. Raises Locked when there is a PIN and none is given, vault.WrongPin, and
    IdentityError.
    """
    record = store.get(_KEY)
    if record is None:
        account, sources = make(store)
        if tell:
            tell(sources)
        return account
    if len(record) == 32:
        return _account(record)
    vault = _vault(record)
    if pin is None:
        raise Locked(vault.address(record))
    return _account(vault.unlock(store, record, pin, feed))


def make(store, pin=None, extra=b"", seconds=2, feed=None):
    """Make the key: (Account, names of the sources). extra: random bytes from whoever provisions
    the device; seconds: what a try of the PIN costs. Raises IdentityError when there is one."""
    if store.get(_KEY) is not None:
        raise IdentityError("there is a key already: it may be worth money")
    for key in store.keys():
        if key[:1] in _CHANNELS:
            raise IdentityError("the store has channels but no key: restore the right store")
    secret, sources = new_secret(extra=extra)
    account = Account(secret)
    if pin:
        import vault

        secret = vault.seal(secret, account.address, pin, seconds, feed)
    store.put(_KEY, secret)
    return account, sources


def change_pin(store, old, new, seconds=2, feed=None):
    """Set another PIN. old: None while there is none; new: None to do without.

    Raises vault.WrongPin, ValueError for what cannot be a PIN; nothing has changed then.
    """
    import vault

    record = store.get(_KEY)
    if record is None:
        raise IdentityError("there is no key yet")
    if new:
        vault.check_pin(new)
    sealed = len(record) != 32
    if sealed != bool(old):
        raise IdentityError("the key needs its PIN" if sealed else "there is no PIN yet")
    secret = _vault(record).unlock(store, record, old, feed) if sealed else record
    address = _account(secret).address
    store.put(_KEY, vault.seal(secret, address, new, seconds, feed) if new else secret)
    if hasattr(store, "compact"):
        store.compact()  # nothing of the old record stays in the file


def _account(secret):
    try:
        return Account(secret)
    except ValueError:
        raise IdentityError("the stored key is damaged: restore the right store") from None


def _vault(record):
    import vault

    if not vault.is_sealed(record):
        raise IdentityError("the stored key is damaged: restore the right store")
    return vault


# -- randomness -----------------------------------------------------------------------------------


def new_secret(urandom=os.urandom, extra=b""):
    """32 secret bytes from all that this device has to offer, and the names of what that was.

    Each source goes into one hash, so the result is at least as good as the best of
    them. Raises IdentityError when the system's generator obviously does not work.
    """
    while True:
        pool = []
        names = []
        for name, data in _sources(urandom, extra):
            if data:
                names.append(name)
                pool += [b"%s:%d:" % (name.encode(), len(data)), data]
        secret = keccak256(b"".join(pool))
        try:
            Account(secret)
            return secret, names
        except ValueError:  # zero or above the order of the curve: once in 2**127 boots
            continue


def _sources(urandom, extra):
    radio = _radio_on()
    first, second = urandom(32), urandom(32)
    if first == second or len(set(first)) < 8:
        raise IdentityError("os.urandom does not give random bytes on this board")
    # An ESP32's generator is fed by the noise of its radio, if that is on.
    yield "urandom with radio" if radio else "urandom", first + second
    yield "host", extra
    yield "adc", _noise()
    yield "jitter", _jitter()
    yield "time", str(time.time_ns()).encode()
    # Public, but no two boards share it: equal noise still makes different keys.
    yield "board", _unique_id()


def _radio_on():
    """Whether an ESP32's radio is on; it is switched on if need be."""
    if sys.platform != "esp32":
        return False
    try:
        import network

        station = network.WLAN(network.STA_IF)
        station.active(True)
        return station.active()
    except (ImportError, OSError):
        return False


def _noise():
    """The lowest bits of analog measurements: the chip's temperature, or an open input."""
    try:
        from machine import ADC
    except ImportError:
        return b""
    for channel in (getattr(ADC, "CORE_TEMP", None), 4, 32, 0):
        try:
            adc = ADC(channel)
            return bytes(adc.read_u16() >> 4 & 0xFF for _ in range(_SAMPLES))
        except (ValueError, TypeError, OSError, AttributeError):
            pass  # not on this board
    return b""


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
