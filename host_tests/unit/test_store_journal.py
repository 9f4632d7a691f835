import os

from perun.store import StoreError
from perun.store.journal import Journal
from perun.store.memory import MemoryStore
from support import Random, raises

PATH = "/tmp/uperun-journal-" + os.urandom(8).hex()


MARK = PATH + ".mark/mark"
HEADER = 20


def fresh():
    clean()
    return Journal(PATH)


def clean():
    for path in (PATH, PATH + ".new", MARK):
        try:
            os.remove(path)
        except OSError:
            pass
    try:
        os.rmdir(PATH + ".mark")
    except OSError:
        pass


def contents(store):
    return {key: store.get(key) for key in store.keys()}


def reopened():
    """What a journal finds in its files."""
    store = Journal(PATH)
    found = contents(store)
    store.close()
    return found


def read(path=PATH):
    with open(path, "rb") as file:
        return file.read()


def write(data, path=PATH):
    with open(path, "wb") as file:
        file.write(data)


def refused():
    """Opening fails, with an error that tells the owner what it means, and changes nothing."""
    before = read(), read(MARK)
    error = raises(StoreError, Journal, PATH)
    assert "damaged at byte" in str(error) and "nothing is signed" in str(error)
    assert (read(), read(MARK)) == before


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


def test_an_append_that_was_not_confirmed_is_dropped_at_every_byte():
    store = fresh()
    store.put(b"k", b"the old value")
    old, mark = read(), read(MARK)
    store.put(b"k", b"the new value, which is longer")
    store.close()
    new, confirmed = read(), read(MARK)
    for cut in range(len(old), len(new)):
        for noise in (b"", b"\x00" * 5, b"\xff" * 100):
            write(new[:cut] + noise)
            write(confirmed, MARK)
            refused()
            write(mark, MARK)
            assert reopened() == {b"k": b"the old value"}, cut
            torn = Journal(PATH)
            torn.put(b"n", b"next")
            torn.close()
            assert reopened() == {b"k": b"the old value", b"n": b"next"}, cut
    write(new)
    write(mark, MARK)
    assert reopened() == {b"k": b"the new value, which is longer"}  # it is whole
    assert read(MARK) == confirmed
    clean()


def sample():
    """Fills a journal: some records, one deleted. Returns its bytes and the mark's after each."""
    store = fresh()
    versions = [(read(), read(MARK))]
    for key, value in (
        (b"k", b"secret"),
        (b"c1", b"old state"),
        (b"c1", b"newer state"),
        (b"c2", b"another channel"),
        (b"c2", b""),
        (b"c1", b"newest state"),
    ):
        store.put(key, value)
        versions.append((read(), read(MARK)))
    store.close()
    return versions


NEWEST = {b"k": b"secret", b"c1": b"newest state"}


def test_a_changed_byte_is_never_an_old_state():
    data, mark = sample()[-1]
    for at in range(len(data)):
        for change in (0x01, 0x80, 0xFF, data[at] or 1):  # the last one makes it zero
            write(data[:at] + bytes((data[at] ^ change,)) + data[at + 1 :])
            refused()
    write(data)
    for at in range(4):
        write(mark[:at] + bytes((mark[at] ^ 4,)) + mark[at + 1 :], MARK)
        refused()
    clean()


def test_a_shorter_file_is_never_an_old_state():
    versions = sample()
    data, mark = versions[-1]
    for length in range(len(data)):  # the ends of the records are among them, and no bytes at all
        write(data[:length])
        refused()
    for older, _ in versions[:-1]:
        write(older)
        refused()
    write(data)
    for length in range(4):
        write(mark[:length], MARK)
        refused()
    clean()


def test_a_lost_file_is_not_a_new_device():
    data, mark = sample()[-1]
    os.remove(PATH)
    raises(StoreError, Journal, PATH)
    write(data)
    os.remove(MARK)
    raises(StoreError, Journal, PATH)
    write(mark, MARK)
    assert reopened() == NEWEST
    clean()


def test_an_old_mark_is_no_old_state():
    versions = sample()
    data, mark = versions[-1]
    for _, older in versions:
        write(older, MARK)
        assert reopened() == NEWEST
        assert read(MARK) == mark
        # But behind it only the next record may be a torn one.
        write(older, MARK)
        write(data[:-1])
        if older == versions[-2][1]:
            assert reopened()[b"c1"] == b"newer state"
        elif older != mark:
            refused()
        write(data)
    clean()


def test_a_lost_or_moved_record_is_never_an_old_state():
    versions = sample()
    data = versions[-1][0]
    ends = [len(version) for version, _ in versions]
    records = [data[begin:end] for begin, end in zip(ends, ends[1:])]
    for i in range(len(records)):
        write(data[:HEADER] + b"".join(records[:i] + records[i + 1 :]))
        refused()
        for j in range(i):
            moved = records[:]
            moved[i], moved[j] = moved[j], moved[i]
            write(data[:HEADER] + b"".join(moved))
            refused()
    clean()


def test_a_block_that_is_erased_or_full_of_noise_is_never_an_old_state():
    data, _ = sample()[-1]
    random = Random(3)
    for size in (8, 32, 64):
        for at in range(0, len(data), 8):
            for block in (bytes(size), b"\xff" * size, random.bytes(size)):
                changed = (data[:at] + block + data[at + size :])[: len(data)]
                if changed != data:
                    write(changed)
                    refused()
    clean()


def test_what_is_no_journal_is_left_alone():
    data, _ = sample()[-1]
    for other in (b"", b"\x00" * 100, b"\xff" * 4096, b"uPJ2" + data[4:], b'{"json": 1}'):
        write(other)
        refused()
    clean()
    for path in ("/tmp", PATH + "/missing/journal"):
        raises(StoreError, Journal, path)
    write(b"a file without a mark")
    raises(StoreError, Journal, PATH)
    assert read() == b"a file without a mark"
    clean()


def test_a_cut_while_the_file_is_made():
    store = fresh()
    store.close()
    mark = read(MARK)
    for half in (b"", b"uPJ1", None):
        for marked in (None, b"", mark):
            clean()
            if marked is not None:
                os.mkdir(PATH + ".mark")
                write(marked, MARK)
            if half is not None:
                write(half, PATH + ".new")
            assert reopened() == {}
            assert reopened() == {}
    clean()


def test_a_cut_while_the_file_is_rewritten():
    def fill(store):
        for i in range(11):
            store.put(b"k", b"secret")
            store.put(b"c", bytes((i,)) * 2000)

    store = fresh()
    fill(store)
    old, mark = read(), read(MARK)
    store.put(b"c", b"this one has it rewritten first")
    assert store.stats()[1] == 1
    store.close()
    expected = {b"k": b"secret", b"c": b"\x0a" * 2000}
    new = read()[: -7 - 1 - len("this one has it rewritten first")]
    for half in (0, 10, len(new) - 1, len(new)):  # before the rename: the old file counts
        write(old)
        write(mark, MARK)
        write(new[:half], PATH + ".new")
        assert reopened() == expected
    write(new)  # after it, with the mark of the old one
    assert reopened() == expected
    assert read(MARK) != mark
    write(mark, MARK)
    for at in range(len(new)):  # nothing of it is taken for an append that was cut short
        write(new[:at] + bytes((new[at] ^ 1,)) + new[at + 1 :])
        refused()
    for length in (0, HEADER - 1, HEADER + 1, len(new) - 1):
        write(new[:length])
        refused()
    clean()


def test_closed_is_closed():
    store = fresh()
    store.put(b"k", b"v" * 4000)
    for _ in range(6):
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
    for i in range(150):
        key = bytes((random.below(5) + 1,))
        expected[key] = random.bytes(random.between(1, 1000))
        store.put(key, expected[key])
        if i % 31 == 0:
            store.delete(key)
            del expected[key]
        assert len(read()) < 30000
    assert contents(store) == expected
    written, compactions = store.stats()
    assert written > 60000 and compactions >= 2
    store.close()
    again = Journal(PATH)
    assert contents(again) == expected and again.stats() == (written, compactions)
    clean()


def test_it_counts_its_wear():
    store = fresh()
    assert store.stats() == (HEADER, 0)
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
    assert len(read()) == HEADER
    store.close()
    clean()
