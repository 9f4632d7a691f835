"""The key of a device: made once, kept, never shown, never replaced."""

import os

import identity
from perun.store.memory import MemoryStore
from support import raises


def test_made_once():
    store = MemoryStore()
    first = identity.load(store)
    assert identity.load(store).address == first.address
    assert len(store.get(b"k")) == 32


def test_two_devices_differ():
    assert identity.load(MemoryStore()).address != identity.load(MemoryStore()).address


def test_never_shown():
    store = MemoryStore()
    account = identity.load(store)
    assert store.get(b"k").hex() not in repr(account) + str(account.__dict__.keys())


def test_damaged_key_is_kept():
    for value in (b"", b"x", bytes(32), b"\xff" * 32, b"\x01" * 33):
        store = MemoryStore()
        store.put(b"k", value)
        error = raises(identity.IdentityError, identity.load, store)
        assert "damaged" in str(error)
        assert store.get(b"k") == value


def test_no_new_key_beside_channels():
    store = MemoryStore()
    store.put(b"c" + bytes(32), b"channel")
    assert "no key" in str(raises(identity.IdentityError, identity.load, store))
    assert store.get(b"k") is None


def test_useless_generator():
    for generator in (lambda n: bytes(n), lambda n: bytes(range(n))):
        assert "random" in str(raises(identity.IdentityError, identity.new_secret, generator))


def test_other_sources_count():
    """With the same output of the generator keys still differ, by jitter and time."""

    def generator(calls):
        def take(n):
            calls.append(n)
            return bytes((i * 7 + 11 * len(calls)) & 0xFF for i in range(n))

        return take

    assert identity.new_secret(generator([])) != identity.new_secret(generator([]))
    assert identity.new_secret(os.urandom) != identity.new_secret(os.urandom)
