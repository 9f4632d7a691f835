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


def test_an_append_that_was_never_completed_is_dropped_at_every_byte():
    # On a computer all but the head of a record is written first, after the old seal.
    store = fresh()
    store.put(b"k", b"the old value")
    old = read()
    store.put(b"k", b"the new value")
    store.close()
    new = read()
    for cut in range(len(old), len(new) + 1):
        write(old + new[len(old) : cut])
        torn = Journal(PATH)
        assert contents(torn) == {b"k": b"the old value"}, cut
        torn.put(b"n", b"next")
        torn.close()
        assert contents(Journal(PATH)) == {b"k": b"the old value", b"n": b"next"}, cut
    clean()


def sample():
    """The bytes of a journal: some records, a deleted one, and where each append ended."""
    store = fresh()
    ends = [len(read())]
    for key, value in (
        (b"k", b"secret"),
        (b"c1", b"old state"),
        (b"c1", b"newer state"),
        (b"c2", b"another channel"),
        (b"c2", b""),
        (b"c1", b"newest state"),
    ):
        store.put(key, value)
        ends.append(len(read()))
    store.close()
    return read(), ends


def test_a_changed_byte_is_never_an_old_state():
    data, _ = sample()
    for at in range(len(data)):
        for change in (0x01, 0x80, 0xFF, data[at] or 1):  # the last one makes it zero
            write(data[:at] + bytes((data[at] ^ change,)) + data[at + 1 :])
            error = raises(StoreError, Journal, PATH)
            assert "damaged at byte" in str(error) and "nothing is signed" in str(error)
    clean()


def test_a_shorter_file_is_never_an_old_state():
    data, ends = sample()
    assert ends[-1] == len(data)
    for length in range(len(data)):  # the ends of the records are among them, and no bytes at all
        write(data[:length])
        raises(StoreError, Journal, PATH)
        assert read() == data[:length]  # it is left as it was found
    clean()


def test_a_lost_or_moved_record_is_never_an_old_state():
    data, ends = sample()
    records = [data[begin - 7 : end - 7] for begin, end in zip(ends, ends[1:])]
    header, seal = data[: ends[0] - 7], data[-7:]
    assert header + b"".join(records) + seal == data
    for i in range(len(records)):
        write(header + b"".join(records[:i] + records[i + 1 :]) + seal)
        raises(StoreError, Journal, PATH)
        for j in range(i):
            moved = records[:]
            moved[i], moved[j] = moved[j], moved[i]
            write(header + b"".join(moved) + seal)
            raises(StoreError, Journal, PATH)
    clean()


def test_a_block_that_is_erased_or_full_of_noise_is_never_an_old_state():
    data, _ = sample()
    random = Random(3)
    for size in (8, 32, 64):
        for at in range(0, len(data), 8):
            for block in (bytes(size), b"\xff" * size, random.bytes(size)):
                changed = (data[:at] + block + data[at + size :])[: len(data)]
                if changed != data:
                    write(changed)
                    raises(StoreError, Journal, PATH)
    clean()


def test_what_is_no_journal_is_left_alone():
    for data in (b"", b"\x00" * 100, b"\xff" * 4096, b"uPJ2" + sample()[0][4:], b'{"json": 1}'):
        write(data)
        raises(StoreError, Journal, PATH)
        assert read() == data
    clean()
    raises(StoreError, Journal, "/tmp")
    raises(StoreError, Journal, PATH + "/missing/journal")


def test_a_half_made_new_file_is_nothing():
    # The power was cut while the journal was made, or rewritten.
    data, _ = sample()
    for size in (0, 10, len(data) - 1):
        clean()
        with open(PATH + ".new", "wb") as file:
            file.write(data[:size])
        store = Journal(PATH)
        assert contents(store) == {}
        store.close()
        write(data)
        with open(PATH + ".new", "wb") as file:
            file.write(data[:size])
        store = Journal(PATH)
        assert contents(store) == {b"k": b"secret", b"c1": b"newest state"}
        store.close()
    clean()


def test_closed_is_closed():
    store = fresh()
    store.put(b"k", b"v" * 4000)
    for _ in range(3):
        store.put(b"k", b"w" * 4000)  # the next one would rewrite the file
    store.close()
    data = read()
    for work in (lambda: store.put(b"k", b"v"), lambda: store.get(b"k")):
        assert "closed" in str(raises(StoreError, work))
    store.close()
    assert read() == data
    clean()


def test_a_failed_write_closes_it():
    store = fresh()
    store.put(b"k", b"old")
    data = read()
    store._file.close()  # what follows cannot be written
    store._file = open(PATH, "rb")
    assert "nothing is signed" in str(raises(StoreError, store.put, b"k", b"new"))
    assert "closed" in str(raises(StoreError, store.put, b"k", b"new"))
    assert read() == data
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
        assert len(read()) < 20000
    assert contents(store) == expected
    written, compactions = store.stats()
    assert written > 40000 and compactions > 2
    store.close()
    again = Journal(PATH)
    assert contents(again) == expected and again.stats() == (written, compactions)
    clean()


def test_it_counts_its_wear():
    store = fresh()
    assert store.stats() == (16 + 7, 0)  # a header and a seal
    for i in range(3):
        before = store.stats()[0]
        store.put(b"key", b"value")
        assert store.stats() == (before + 7 + 3 + 5, 0)
    assert store.stats()[0] == len(read())
    clean()


def test_too_long_is_refused():
    store = fresh()
    raises(StoreError, store.put, b"", b"x")
    raises(StoreError, store.put, b"k" * 256, b"x")
    raises(StoreError, store.put, b"k", b"x" * 4097)
    assert store.keys() == []
    assert len(read()) == 16 + 7
    store.close()
    clean()
