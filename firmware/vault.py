"""The device's secret under a PIN, so that a copy of the flash is not yet the money.

    sealed: format (u8, 1), iterations (u32), address (20), salt (16), IV (16), the secret by
            AES-256 in CBC mode (32), HMAC-SHA256 of all that precedes it (32); big-endian

The two keys come from PBKDF2-HMAC-SHA256 of the PIN, as many iterations as take this board about
two seconds. That is a delay for somebody at the console and little more for somebody with a copy
of the flash and a computer: README.md says what a PIN is worth.

Imported when there is a PIN only.
"""

import hashlib
import os
import struct
import time

from perun.compat import borrowed, const
from perun.crypto.keccak import keccak256

_cipher = borrowed("perun.crypto.cipher")
hmac = _cipher.hmac

TRIES = b"p"  # the key in the store: wrong PINs since the last right one, a byte
_FORMAT = const(1)
_HEAD = ">BI20s16s16s"
_HEAD_SIZE = const(57)
_SIZE = const(121)
_LEAST = const(1000)  # iterations
_MOST = const(10000000)  # a damaged record must not keep a board busy for days
_SAMPLE = const(50)  # iterations that are measured
_FREE_TRIES = const(3)
_LONGEST = const(900)  # seconds
_BLOCK = const(64)


class WrongPin(ValueError):
    """The PIN is wrong; it is counted, nothing else has changed."""


def is_sealed(record):
    """Whether this can be a sealed secret."""
    return len(record) == _SIZE and record[0] == _FORMAT


def address(record):
    """The 20-byte address that belongs to the sealed secret. Known without a PIN."""
    return struct.unpack_from(_HEAD, record)[2]


def check_pin(pin):
    """Raises ValueError for what cannot be a PIN."""
    if not isinstance(pin, str) or not 4 <= len(pin.encode()) <= 64 or pin.split() != [pin]:
        raise ValueError("a PIN is 4 to 64 characters without blanks; six random words are better")


def seal(secret, owner, pin, seconds=2, feed=None):
    """The sealed secret. owner: its address, 20 bytes; seconds: how long a try takes here."""
    check_pin(pin)
    # Salt and IV must differ, no more; they mix in the secret for boards with a poor generator.
    salt = keccak256(os.urandom(32) + secret + b"salt")[:16]
    iv = keccak256(os.urandom(32) + secret + b"iv")[:16]
    iterations = _calibrate(seconds)
    cipher_key, mac_key = _keys(pin, salt, iterations, feed)
    head = struct.pack(_HEAD, _FORMAT, iterations, owner, salt, iv)
    body = head + _cipher.aes(cipher_key, iv, secret, True)
    return body + hmac(mac_key, body)


def unseal(record, pin, feed=None):
    """The secret, or None when the PIN is wrong (or the record is damaged)."""
    _, iterations, _, salt, iv = struct.unpack_from(_HEAD, record)
    if not _LEAST <= iterations <= _MOST:
        return None
    cipher_key, mac_key = _keys(pin, salt, iterations, feed)
    body = record[:-32]
    if not _cipher.same(hmac(mac_key, body), record[-32:]):
        return None
    return _cipher.aes(cipher_key, iv, body[_HEAD_SIZE:], False)


def unlock(store, record, pin, feed=None):
    """The secret. Counts wrong PINs in the store, before it looks: a power cut gives no free try.

    Raises WrongPin.
    """
    tries = wrong_tries(store) + 1
    store.put(TRIES, bytes((min(tries, 255),)))
    secret = unseal(record, pin, feed)
    if secret is None:
        wait = pause(tries)
        raise WrongPin("wrong PIN, the %d. in a row; the next try is in %d s" % (tries, wait))
    store.delete(TRIES)
    return secret


def wrong_tries(store):
    """How many wrong PINs there were since the last right one."""
    return (store.get(TRIES) or b"\0")[0]


def pause(tries):
    """Seconds to wait after so many wrong PINs: some mistypings are free, then they double."""
    return min(1 << min(tries - _FREE_TRIES + 1, 30), _LONGEST) if tries >= _FREE_TRIES else 0


def pbkdf2(password, salt, iterations, feed=None):
    """32 bytes of PBKDF2-HMAC-SHA256 (RFC 8018). feed: called now and then, for a watchdog."""
    if len(password) > _BLOCK:
        password = hashlib.sha256(password).digest()
    inner, outer = _cipher.pads(password)
    sha256 = hashlib.sha256
    block = salt + b"\0\0\0\1"
    total = 0
    for i in range(iterations):
        block = sha256(outer + sha256(inner + block).digest()).digest()
        total ^= int.from_bytes(block, "big")
        if feed and not i & 63:
            feed()
    return total.to_bytes(32, "big")


def _keys(pin, salt, iterations, feed):
    """For the cipher, and for the MAC."""
    master = pbkdf2(pin.encode(), salt, iterations, feed)
    return hmac(master, b"uPerun cipher"), hmac(master, b"uPerun mac")


def _calibrate(seconds):
    clock = getattr(time, "ticks_us", None)
    start = clock() if clock else time.monotonic_ns() // 1000
    pbkdf2(b"measure", b"measure", _SAMPLE)
    if clock:
        spent = time.ticks_diff(clock(), start)
    else:
        spent = time.monotonic_ns() // 1000 - start
    return max(_LEAST, min(int(seconds * 1000000) * _SAMPLE // max(spent, 1), _MOST))
