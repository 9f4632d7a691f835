"""The key of a device: made once, kept, never shown, never replaced."""

import os

import identity
import vault
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

    assert identity.new_secret(generator([]))[0] != identity.new_secret(generator([]))[0]
    assert identity.new_secret(os.urandom)[0] != identity.new_secret(os.urandom)[0]


def test_sources_are_named():
    names = identity.new_secret()[1]
    assert "urandom" in names and "jitter" in names and "host" not in names
    assert "host" in identity.new_secret(extra=b"from the provisioning computer")[1]
    told = []
    store = MemoryStore()
    identity.load(store, None, told.append)
    assert told == [names]
    identity.load(store, None, told.append)
    assert len(told) == 1  # only when it is made


# -- with a PIN -----------------------------------------------------------------------------------


def with_pin(pin):
    store = MemoryStore()
    account, _ = identity.make(store, pin, b"", 0)
    return store, account


def test_a_key_under_a_pin():
    store, account = with_pin("2580")
    secret = account._secret
    assert all(secret not in store.get(key) for key in store.keys())
    error = raises(identity.Locked, identity.load, store)
    assert error.address == account.address
    assert identity.load(store, "2580").address == account.address
    before = store.get(b"k")
    raises(vault.WrongPin, identity.load, store, "2581")
    assert store.get(b"k") == before


def test_no_second_key():
    store, account = with_pin("2580")
    raises(identity.IdentityError, identity.make, store, "0000")
    assert identity.load(store, "2580").address == account.address
    beside_channels = MemoryStore()
    beside_channels.put(b"s" + bytes(4), b"settled")
    raises(identity.IdentityError, identity.make, beside_channels)


def test_changing_the_pin():
    store = MemoryStore()
    address = identity.load(store).address
    raises(identity.IdentityError, identity.change_pin, store, "2580", "0000")  # there is none
    identity.change_pin(store, None, "2580", 0)
    assert len(store.get(b"k")) != 32
    raises(identity.IdentityError, identity.change_pin, store, None, "0000")  # there is one
    raises(vault.WrongPin, identity.change_pin, store, "2581", "0000", 0)
    raises(ValueError, identity.change_pin, store, "2580", "1")
    assert identity.load(store, "2580").address == address
    identity.change_pin(store, "2580", "words-not-digits", 0)
    raises(vault.WrongPin, identity.load, store, "2580")
    assert identity.load(store, "words-not-digits").address == address
    identity.change_pin(store, "words-not-digits", None)
    assert identity.load(store).address == address


def test_damaged_sealed_key():
    store, _ = with_pin("2580")
    record = store.get(b"k")
    for bad in (record[:-1], record + b"x", b"\x02" + record[1:]):
        store.put(b"k", bad)
        error = raises(identity.IdentityError, identity.load, store, "2580")
        assert "damaged" in str(error) and store.get(b"k") == bad
