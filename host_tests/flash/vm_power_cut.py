# timeout: 200
# heapsize: 8m
"""The power fails in every operation of the flash, in the whole life of a channel, on LittleFS 2.

The life is lived once, with real signatures; then each device's store lives it again for every n
on a flash that stops in operation n, is started again, and must keep the rules of life.py.
"""

from board import HALF, NOISE, NOTHING, ROOT, Flash, format, mount, unmount
from life import ALICE, BOB, record
from perun.store.journal import Journal
from support import Random

PATH = ROOT + "/perun.journal"
LIFE = record()
_checked = set()  # (device, moment, whether the interrupted record counts): rules that hold


def contents(store):
    return {key: store.get(key) for key in store.keys()}


def new_chip():
    """A flash as a board has it at its first boot."""
    flash = Flash()
    format(flash)
    return flash.image


def used_chip(who):
    """A flash that has seen other channels come and go: the journal will soon be rewritten."""
    flash = Flash(image=new_chip())
    mount(flash)
    store = Journal(PATH)
    store.put(b"k", LIFE.contents(who, len(LIFE.log))[b"k"])
    for i in range(30):
        store.put(b"c" + bytes(32), bytes((i,)) * 400)
    store.put(b"c" + bytes(32), b"")
    store.close()
    unmount()
    return flash.image


def live(flash, who, since):
    """Repeat what this device stored from the log's entry `since` on. Returns the entry at which
    its power failed, or None."""
    store = None
    moments = [moment for moment in LIFE.puts(who) if moment >= since]
    moment = moments[0]
    try:
        mount(flash)
        store = Journal(PATH)
        for moment in moments:
            store.put(*LIFE.log[moment][1:])
        return None
    except OSError:
        assert flash.dead
        return moment
    finally:
        leave(store)


def leave(store):
    """The board is off: what it had in memory is gone."""
    if store:
        try:
            store.close()
        except OSError:
            pass
    unmount()


def look(image, who, moment):
    """Start again after the power failed while the log's entry `moment` was being stored."""
    flash = Flash(image=image)
    mount(flash)
    store = Journal(PATH)
    found = contents(store)
    before, after = (LIFE.contents(who, moment + i) for i in (0, 1))
    if b"k" in found:
        before.setdefault(b"k", after.get(b"k"))  # a used chip has the key from the start
        after.setdefault(b"k", found[b"k"])
    assert found in (before, after), (moment, found.keys())
    case = (who, moment, found == after)
    if case not in _checked:
        LIFE.check(who, moment, found)
        _checked.add(case)
    store.put(b"x", b"it can be written again")
    assert store.get(b"x")
    store.delete(b"x")
    assert contents(store) == found
    store.close()
    unmount()
    return flash.image


def every_cut(who, image, since, how):
    """Cut the power in operation n, for every n, and look at what is left."""
    n = 0
    while True:
        flash = Flash(image=image)
        flash.fail_after(n, how, n + 1)
        moment = live(flash, who, since)
        if moment is None:
            break
        look(flash.image, who, moment)
        n += 1
    print("cuts:", n)
    assert n > 250


def first_boot(who, how):
    every_cut(who, new_chip(), 0, how)


def old_device(who, how):
    every_cut(who, used_chip(who), 2, how)


def test_the_life_goes_through():
    assert len(LIFE.log) > 80
    for who in (ALICE, BOB):
        for moment in LIFE.puts(who) + [len(LIFE.log)]:
            LIFE.check(who, moment, LIFE.contents(who, moment))
        assert not [key for key in LIFE.contents(who, len(LIFE.log)) if key[:1] == b"c"]  # over


def test_the_check_finds_an_older_store():
    """The rules would notice if a store came back with the record before the newest one."""
    noticed = 0
    for who in (ALICE, BOB):
        puts = LIFE.puts(who)
        for before, moment in zip(puts, puts[1:]):
            lost = LIFE.contents(who, before)
            if LIFE.released(who, moment) != LIFE.released(who, before):
                try:
                    LIFE.check(who, moment, lost)
                except (AssertionError, KeyError):
                    noticed += 1
    assert noticed > 20, noticed


def test_the_payers_first_boot():
    first_boot(ALICE, NOTHING)


def test_the_payers_first_boot_with_half_an_operation():
    first_boot(ALICE, HALF)


def test_the_payers_first_boot_with_a_noisy_operation():
    first_boot(ALICE, NOISE)


def test_the_payees_first_boot():
    first_boot(BOB, NOTHING)


def test_the_payees_first_boot_with_half_an_operation():
    first_boot(BOB, HALF)


def test_the_payees_first_boot_with_a_noisy_operation():
    first_boot(BOB, NOISE)


def test_an_old_payer():
    old_device(ALICE, NOTHING)


def test_an_old_payer_with_half_an_operation():
    old_device(ALICE, HALF)


def test_an_old_payer_with_a_noisy_operation():
    old_device(ALICE, NOISE)


def test_an_old_payee():
    old_device(BOB, NOTHING)


def test_an_old_payee_with_half_an_operation():
    old_device(BOB, HALF)


def test_an_old_payee_with_a_noisy_operation():
    old_device(BOB, NOISE)


def test_the_file_is_rewritten_in_between():
    """The journals of old devices are: else the tests above would not cut the power there."""
    for who in (ALICE, BOB):
        flash = Flash(image=used_chip(who))
        assert live(flash, who, 2) is None
        mount(flash)
        store = Journal(PATH)
        assert store.stats()[1] > 0
        store.close()
        unmount()


def test_again_and_again():
    """The power fails once more while the device recovers, and again, the whole life long."""
    random = Random(99)
    cuts = 0
    for life in range(80):
        who = life % 2
        image = used_chip(who) if life & 2 else new_chip()
        since = 2 if life & 2 else 0
        while True:
            flash = Flash(image=image)
            flash.fail_after(random.below(40), random.choice((NOTHING, HALF, NOISE)), cuts + 1)
            moment = live(flash, who, since)
            image = flash.image
            if moment is None:
                break
            cuts += 1
            look(image, who, moment)
            since = moment
    print("cuts:", cuts)
    assert cuts > 500
