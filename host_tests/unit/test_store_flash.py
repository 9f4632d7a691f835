# timeout: 400
# heapsize: 24m
"""The journal on flash of its own: cut short anywhere, damaged anywhere, full, worn."""

from chip import BLOCK, HALF, NOISE, NOTHING, PAGE, Flash
from perun.store import StoreError
from perun.store.delta import apply, changes
from perun.store.flash import FlashJournal
from perun.store.salvage_flash import salvage
from support import Random, raises

PAGES = BLOCK // PAGE
BLOCKS = 6


def contents(store):
    return {key: store.get(key) for key in store.keys()}


def opened(image):
    """(the journal on this image of a chip, the chip)"""
    flash = Flash(image=image)
    return FlashJournal(flash), flash


def found(image):
    """What a journal finds there; None if it refuses, and then it must not have changed it."""
    flash = Flash(image=image)
    try:
        return contents(FlashJournal(flash))
    except StoreError as error:
        assert "nothing is signed" in str(error)
        assert flash.image == image
        return None


def record(number):
    """A value like a channel's record: much stays, some changes."""
    random = Random(number)
    return bytes(range(200)) + number.to_bytes(8, "big") + bytes(60) + random.bytes(65) + b"end"


def work():
    """Puts as a device makes them, long ones and deletions among them: (key, value)."""
    yield b"k", b"secret"
    yield b"c" + bytes(32), record(0)
    for i in range(1, 50):
        yield b"c" + bytes(32), record(i)
        if i % 9 == 0:
            yield b"r" + bytes(32), record(i)[:140]
            yield b"s\0\0\0" + bytes((i,)), record(i) * 2
        if i % 9 == 1:
            yield b"r" + bytes(32), b""


WORK = list(work())


def after(count):
    """What is stored after so many puts."""
    values = {}
    for key, value in WORK[:count]:
        values[key] = value
        if not value:
            del values[key]
    return values


def live(flash, since=0):
    """Do the work; the number of the put at which the power failed, or None."""
    number = since
    try:
        store = FlashJournal(flash)
        while number < len(WORK):
            store.put(*WORK[number])
            number += 1
        return None
    except StoreError:
        assert flash.dead
        return number


def lived(blocks=BLOCKS):
    """A chip on which all the work was done."""
    flash = Flash(blocks=blocks)
    assert live(flash) is None
    return flash


def test_what_is_put_comes_back():
    store, flash = opened(Flash(blocks=8).image)
    assert store.get(b"k") is None and store.keys() == []
    store.put(b"k", b"one")
    store.put(b"k2", b"x" * 4096)
    store.put(b"k" * 255, b"two")
    store.put(b"k", b"two")
    expected = {b"k": b"two", b"k2": b"x" * 4096, b"k" * 255: b"two"}
    assert contents(store) == expected
    assert found(flash.image) == expected
    store.delete(b"k2")
    store.delete(b"k2")
    store.put(b"nothing", b"")
    store.put(b"c", b"new")
    assert contents(store) == {b"k": b"two", b"k" * 255: b"two", b"c": b"new"}
    assert found(flash.image) == contents(store)
    store.close()
    assert "closed" in str(raises(StoreError, store.put, b"k", b"three"))
    assert "closed" in str(raises(StoreError, store.get, b"k"))


def test_too_long_is_refused():
    store, flash = opened(Flash(blocks=8).image)
    for key, value in ((b"", b"x"), (b"k" * 256, b"x"), (b"k", b"x" * 4097)):
        raises(StoreError, store.put, key, value)
    assert store.keys() == [] == list(found(flash.image))


def test_the_same_value_costs_nothing():
    store, flash = opened(Flash().image)
    store.put(b"c", record(1))
    programs = flash.programs
    store.put(b"c", record(1))
    assert flash.programs == programs


def test_a_delta_makes_the_new_value():
    random = Random(5)
    for _ in range(400):
        old = random.bytes(random.below(700))
        new = bytearray()
        for _ in range(random.below(6)):
            at = random.below(len(old) + 1)
            new.extend(old[at : at + random.below(300)])
            new.extend(random.bytes(random.below(80)))
        new = bytes(new)
        delta = changes(old, new)
        assert apply(old, delta) == new
        assert len(delta) <= len(new) + 4 * (len(new) // 255 + 1)
    long = random.bytes(4096)
    for new in (b"", long, long[:-1], b"x" + long[1:], bytes(4096)):
        assert apply(long, changes(long, new)) == new
    assert len(changes(record(1), record(2))) < 90


def test_a_change_takes_one_page():
    flash = Flash()
    store = FlashJournal(flash)
    store.put(b"c" + bytes(32), record(0))
    for i in range(1, 100):
        before = flash.programs, flash.erases
        store.put(b"c" + bytes(32), record(i))
        if flash.erases == before[1]:
            assert flash.programs == before[0] + 1


def test_no_page_is_programmed_twice_and_all_sectors_wear_alike():
    flash = Flash(blocks=8)
    store = FlashJournal(flash)
    for i in range(3000):
        store.put(b"c" + bytes(32), record(i))  # the chip refuses to program a page twice
    assert max(flash.wear) - min(flash.wear) <= 1
    assert store.stats() == (flash.programs * PAGE, max(flash.wear))
    again = FlashJournal(Flash(image=flash.image))
    assert contents(again) == contents(store) and again.stats() == store.stats()


def every_cut(image, since, how):
    """Cut the power in operation n, for every n, and look at what is left."""
    n = 0
    while True:
        flash = Flash(image=image)
        flash.fail_after(n, how, n + 1)
        number = live(flash, since)
        if number is None:
            break
        store, again = opened(flash.image)
        assert contents(store) in (after(number), after(number + 1)), n
        store.put(b"x", b"it can be written again")
        store.delete(b"x")
        values = contents(store)
        assert found(again.image) == values
        n += 1
    assert n > 60


def used():
    """The image of a chip that has been in use for long: all its sectors were erased before."""
    flash = Flash(blocks=BLOCKS)
    store = FlashJournal(flash)
    for i in range(200):
        store.put(b"c", record(i))
    store.delete(b"c")
    return flash.image


def test_a_cut_in_every_operation():
    every_cut(Flash(blocks=BLOCKS).image, 0, NOTHING)


def test_half_an_operation():
    every_cut(Flash(blocks=BLOCKS).image, 0, HALF)


def test_a_noisy_operation():
    every_cut(Flash(blocks=BLOCKS).image, 0, NOISE)


def test_a_cut_on_a_used_chip():
    every_cut(used(), 0, NOTHING)


def test_half_an_operation_on_a_used_chip():
    every_cut(used(), 0, HALF)


def test_a_noisy_operation_on_a_used_chip():
    every_cut(used(), 0, NOISE)


def test_again_and_again():
    """The power fails once more while the journal recovers, and again; it is never worn out."""
    random = Random(99)
    cuts = 0
    for life in range(40):
        image = used() if life & 1 else Flash(blocks=BLOCKS).image
        since = 0
        while True:
            flash = Flash(image=image)
            flash.fail_after(random.below(120), random.choice((NOTHING, HALF, NOISE)), cuts + 1)
            number = live(flash, since)
            image = flash.image
            if number is None:
                break
            cuts += 1
            values = found(image)
            assert values in (after(number), after(number + 1))
            since = number + (values == after(number + 1) and values != after(number))
    assert cuts > 40


def test_a_changed_byte_is_never_an_old_state():
    image = lived().image
    newest = after(len(WORK))
    places = written(image)
    end = places[-1]
    sector = end // BLOCK * BLOCK
    every = (sector, places[0], end, end + PAGE)  # a header, records, what is erased
    for at in range(len(image)):
        if at % 37 and at // PAGE * PAGE not in every:
            continue
        for change in (0x01, 0xFF, image[at] or 1)[at % 3 :][:1]:  # the last one makes it zero
            damaged = bytearray(image)
            damaged[at] ^= change
            values = found(damaged)
            if values is None:
                assert end + PAGE <= at < sector + BLOCK  # what is erased, and should be
            else:
                assert values == newest, at


def written(image):
    """The pages with records that count, oldest first: offsets in the image."""
    store = FlashJournal(Flash(image=image))
    places = []
    for number in range(store._tail, store._number + 1):
        start = number % BLOCKS * BLOCK
        for at in range(start + PAGE, start + BLOCK - PAGE, PAGE):
            if image[at : at + PAGE] != b"\xff" * PAGE:
                places.append(at)
    return places


def test_a_lost_page_is_never_an_old_state():
    """Only for the newest one this is like one that was never
    there, or was cut short: see the store's README."""
    image = lived().image
    places = written(image)
    random = Random(4)
    for at in places:
        for page in (b"\xff" * PAGE, bytes(PAGE), random.bytes(PAGE)):
            damaged = bytearray(image)
            damaged[at : at + PAGE] = page
            values = found(damaged)
            if at == places[-1]:
                assert values == after(len(WORK) - 1)
            else:
                assert values is None, at
    assert len(places) > 10


def test_three_quarters_of_a_page_are_enough():
    image = lived().image
    newest = after(len(WORK))
    random = Random(4)
    for at in written(image):
        for quarter in range(at, at + PAGE, 64):
            for content in (b"\xff" * 64, bytes(64), random.bytes(64)):
                damaged = bytearray(image)
                damaged[quarter : quarter + 64] = content
                assert found(damaged) == newest


def test_a_sector_that_is_lost_or_old_is_never_an_old_state():
    """Erased, filled with noise, or as they were before: each one that counts is missed."""
    flash = Flash(blocks=BLOCKS)
    store = FlashJournal(flash)
    images = []
    for i in range(4 * BLOCKS * PAGES):
        store.put(b"c" + bytes(32), record(i))
        images.append(bytes(flash.image))
    image = images[-1]
    newest = contents(store)
    counting = [n % BLOCKS for n in range(store._tail, store._number + 1)]
    random = Random(6)
    for place in range(BLOCKS):
        start = place * BLOCK
        versions = {b"\xff" * BLOCK, bytes(BLOCK), random.bytes(BLOCK)}
        current = image[start : start + BLOCK]
        for older in images:
            old = older[start : start + BLOCK]
            if place != counting[-1] or old[:PAGE] != current[:PAGE]:  # or as it was just now
                versions.add(old)
        versions.discard(current)
        for content in versions:
            damaged = bytearray(image)
            damaged[start : start + BLOCK] = content
            values = found(damaged)
            if values is not None:
                # It did not count, or lost nothing but records that a rewrite had copied.
                assert values == newest, place
                assert place not in counting or content[PAGE:-PAGE] == current[PAGE:-PAGE]
    assert len(counting) > 2


def test_sectors_that_changed_places():
    image = lived().image
    newest = after(len(WORK))
    for a in range(BLOCKS):
        for b in range(a):
            moved = bytearray(image)
            moved[a * BLOCK : (a + 1) * BLOCK] = image[b * BLOCK : (b + 1) * BLOCK]
            moved[b * BLOCK : (b + 1) * BLOCK] = image[a * BLOCK : (a + 1) * BLOCK]
            assert found(moved) in (None, newest)


def test_what_is_no_journal_is_left_alone():
    random = Random(8)
    for at in (0, BLOCK - 1, BLOCK + PAGE, BLOCKS * BLOCK - 1):
        image = Flash(blocks=BLOCKS).image
        image[at] = 0x7F
        assert found(image) is None
    for content in (bytes(BLOCKS * BLOCK), random.bytes(BLOCKS * BLOCK)):
        assert found(bytearray(content)) is None
    image = lived().image
    image = bytearray(bytes(image).replace(b"uPF1", b"uPF2"))  # another format
    assert found(image) is None
    for blocks in (1, 3):
        raises(StoreError, FlashJournal, Flash(blocks=blocks))


def test_a_cut_at_the_first_boot_is_no_other_content():
    for how in (NOTHING, HALF, NOISE):
        for seed in range(20):
            flash = Flash(blocks=BLOCKS)
            flash.fail_after(seed % 2, how, seed)
            raises(StoreError, FlashJournal, flash)
            assert found(flash.image) == {}
    image = Flash(blocks=BLOCKS).image
    image[BLOCK : BLOCK + PAGE] = bytes(PAGE)  # not even half of that
    assert found(image) is None


def test_a_full_partition():
    flash = Flash(blocks=BLOCKS)
    store = FlashJournal(flash)
    store.put(b"k", b"secret")
    values = {b"k": b"secret"}
    for i in range(100):
        value = Random(i).bytes(1000)
        try:
            store.put(bytes((i + 1,)), value)
        except StoreError as error:
            assert "full" in str(error) and "nothing is signed" in str(error)
            break
        values[bytes((i + 1,))] = value
    assert 2 < i < 10
    assert "closed" in str(raises(StoreError, store.put, b"c", b"x"))
    assert found(flash.image) == values
    store = FlashJournal(Flash(image=flash.image))
    for _ in range(100):  # what is there can still be changed, and be deleted
        store.put(b"k", b"other!" if store.get(b"k") == b"secret" else b"secret")
    store.delete(b"\x01")
    store.put(b"new", bytes(1000))


def test_a_read_only_flash():
    image = lived().image
    flash = Flash(image=image, writable=False)
    store = FlashJournal(flash)
    assert contents(store) == after(len(WORK))
    raises(StoreError, store.put, b"k", b"another")
    raises(StoreError, store.get, b"k")
    raises(StoreError, FlashJournal, Flash(writable=False))
    assert found(image) == after(len(WORK))


class Worn(Flash):
    """One cell is broken: it stays erased."""

    at = None

    def _program(self, start, page):
        super()._program(start, page)
        if self.at is not None and start <= self.at < start + PAGE:
            self.image[self.at] |= 0x10


def test_what_the_flash_did_not_take_is_not_confirmed():
    image = lived().image
    place = written(image)[-1] + PAGE
    flash = Worn(image=image)
    flash.at = place + 60
    store = FlashJournal(flash)
    values = contents(store)
    broken = 0
    for i in range(200):
        try:
            store.put(b"c" + bytes(32), record(1000 + i))
            values[b"c" + bytes(32)] = record(1000 + i)
        except StoreError as error:
            assert "does not hold" in str(error)
            broken = 1
            break
    assert broken
    after_it = found(flash.image)
    values2 = dict(values)
    values2[b"c" + bytes(32)] = record(1000 + i)  # the parity tells it
    assert after_it in (values, values2)


class Signals(Flash):
    """Some ports raise, and give nothing back."""

    def readblocks(self, block, buffer, offset=0):
        if super().readblocks(block, buffer, offset):
            raise OSError(5)

    def writeblocks(self, block, buffer, offset=0):
        if super().writeblocks(block, buffer, offset):
            raise OSError(5)


def test_ports_that_raise():
    flash = Signals(blocks=BLOCKS)
    flash.fail_after(60)
    number = live(flash)
    assert number and found(flash.image) in (after(number), after(number + 1))


def test_too_many_keys():
    store = FlashJournal(Flash(blocks=64))
    for i in range(256):
        store.put(b"k" + bytes((i,)), b"v")
    raises(StoreError, store.put, b"one more", b"v")


def test_what_can_be_salvaged():
    """Each page in turn is lost: what is found is what was once stored, and all that the damage
    does not touch; nothing is written."""
    image = lived().image
    once = {}
    for key, value in WORK:
        once.setdefault(key, []).append(value)
    newest = after(len(WORK))
    assert salvage(Flash(image=image)) == newest
    kept = 0
    for at in written(image):
        damaged = bytearray(image)
        damaged[at : at + PAGE] = Random(at).bytes(PAGE)
        flash = Flash(image=damaged, writable=False)
        values = salvage(flash)
        for key, value in values.items():
            assert value in once[key], at
        kept += len(values)
    assert kept > 3 * len(written(image))
    damaged = bytearray(image)
    for place in range(BLOCKS):
        damaged[place * BLOCK : place * BLOCK + PAGE] = bytes(PAGE)
    assert salvage(Flash(image=damaged)) == salvage(Flash(blocks=2)) == {}
    assert salvage(Flash(blocks=BLOCKS)) == {}
