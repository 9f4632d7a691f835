import os

from perun.store import StoreError
from perun.store.journal import Journal, MemoryStore
from support import Random, raises

PATH = "/tmp/uperun-journal-" + os.urandom(8).hex()


def fresh():
    clean()
    return Journal(PATH)


def clean():
    for path in (PATH, PATH + ".new"):
        try:
            os.remove(path)
        except OSError:
            pass


def contents(store):
    return {key: store.get(key) for key in store.keys()}


def read():
    with open(PATH, "rb") as file:
        return file.read()


def write(data):
    with open(PATH, "wb") as file:
        file.write(data)


def test_what_is_put_comes_back():
    for store in (fresh(), MemoryStore()):
        assert store.get(b"k") is None and store.keys() == []
        store.put(b"k", b"one")
        store.put(b"k2", b"x" * 4096)
        store.put(b"k", b"two")
        assert contents(store) == {b"k": b"two", b"k2": b"x" * 4096}
        store.delete(b"k2")
        store.delete(b"k2")
        assert contents(store) == {b"k": b"two"}
        store.close()
    clean()


def test_it_survives_a_restart():
    store = fresh()
    store.put(b"a", b"1")
    store.put(b"b", b"2")
    store.delete(b"a")
    store.put(b"b", b"3")
    store.close()
    again = Journal(PATH)
    assert contents(again) == {b"b": b"3"}
    again.put(b"c", b"4")
    again.close()
    assert contents(Journal(PATH)) == {b"b": b"3", b"c": b"4"}
    clean()


def test_a_torn_last_record_is_dropped_at_every_byte():
    store = fresh()
    store.put(b"k", b"the old value")
    whole = len(read())
    store.put(b"k", b"the new value")
    store.close()
    data = read()
    for cut in range(whole, len(data)):
        write(data[:cut])
        torn = Journal(PATH)
        assert contents(torn) == {b"k": b"the old value"}, cut
        torn.put(b"n", b"next")
        torn.close()
        assert contents(Journal(PATH)) == {b"k": b"the old value", b"n": b"next"}, cut
    clean()


def test_a_corrupted_record_is_never_an_old_state():
    store = fresh()
    store.put(b"k", b"old")
    first = len(read())
    store.put(b"k", b"new")
    store.put(b"other", b"value")
    store.close()
    data = read()
    for at in range(first + 3, first + 7 + 4):  # the checksum and the payload of the middle record
        write(data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :])
        raises(StoreError, Journal, PATH)
    clean()


def test_it_compacts_itself():
    store = fresh()
    expected = {}
    random = Random(7)
    for i in range(600):
        key = bytes((random.below(5) + 1,))
        expected[key] = random.bytes(random.between(1, 200))
        store.put(key, expected[key])
        if i % 97 == 0:
            store.delete(key)
            del expected[key]
    assert contents(store) == expected
    assert len(read()) < 40000
    store.close()
    assert contents(Journal(PATH)) == expected
    clean()


def test_too_long_is_refused():
    store = fresh()
    raises(StoreError, store.put, b"", b"x")
    raises(StoreError, store.put, b"k" * 256, b"x")
    raises(StoreError, store.put, b"k", b"x" * 4097)
    assert store.keys() == [] and read() == b""
    store.close()
    clean()
