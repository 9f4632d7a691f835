"""The power fails in every operation of a flash, in the whole life of a channel.

The life is lived once, with real signatures; then each device's store lives it again for every n
on a flash that stops in operation n, is started again, and must keep the rules of life.py.
"""

from mounted import ROOT, format, mount, unmount
from chip import HALF, NOISE, NOTHING, Flash
from life import ALICE, BOB, record
from perun.store.flash import FlashJournal
from perun.store.journal import Journal
from support import Random

LIFE = record()
_checked = set()  # (device, moment, whether the interrupted record counts): rules that hold


class File:
    """The journal in a file on LittleFS 2."""

    earlier = 30  # records after which it will soon be rewritten

    def new_chip(self):
        """A flash as a board has it at its first boot."""
        flash = Flash()
        format(flash)
        return flash.image

    def open(self, flash):
        """The board starts with this flash: its store."""
        mount(flash)
        return Journal(ROOT + "/perun.journal")

    def leave(self, store):
        """The board is off: what it had in memory is gone."""
        if store:
            try:
                store.close()
            except OSError:
                pass
        unmount()


class Partition:
    """The journal on flash of its own."""

    earlier = 27

    def new_chip(self):
        return Flash(blocks=8).image

    def open(self, flash):
        return FlashJournal(flash)

    def leave(self, store):
        if store:
            store.close()


def contents(store):
    return {key: store.get(key) for key in store.keys()}


class Cuts:
    """The tests of one medium."""

    def __init__(self, medium, least):
        self._medium = medium
        self._least = least  # operations that a life has at least

    def used_chip(self, who):
        """A flash that has seen other channels come and go: it will soon be rewritten."""
        flash = Flash(image=self._medium.new_chip())
        store = self._medium.open(flash)
        store.put(b"k", LIFE.contents(who, len(LIFE.log))[b"k"])
        random = Random(who)
        for _ in range(self._medium.earlier):
            store.put(b"c" + bytes(32), random.bytes(400))
        store.put(b"c" + bytes(32), b"")
        self._medium.leave(store)
        return flash.image

    def live(self, flash, who, since):
        """Repeat what this device stored from the log's entry `since` on. Returns the entry at
        which its power failed, or None."""
        store = None
        moments = [moment for moment in LIFE.puts(who) if moment >= since]
        moment = moments[0]
        try:
            store = self._medium.open(flash)
            for moment in moments:
                store.put(*LIFE.log[moment][1:])
            return None
        except OSError:
            assert flash.dead
            return moment
        finally:
            self._medium.leave(store)

    def look(self, image, who, moment):
        """Start again after the power failed while the log's entry `moment` was being stored.
        True if what was being stored is there."""
        flash = Flash(image=image)
        store = self._medium.open(flash)
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
        self._medium.leave(store)

    def every_cut(self, who, image, since, how):
        """Cut the power in operation n, for every n, and look at what is left."""
        n = 0
        while True:
            flash = Flash(image=image)
            flash.fail_after(n, how, n + 1)
            moment = self.live(flash, who, since)
            if moment is None:
                break
            self.look(flash.image, who, moment)
            n += 1
        print("cuts:", n)
        assert n > self._least

    def first_boot(self, who, how):
        self.every_cut(who, self._medium.new_chip(), 0, how)

    def old_device(self, who, how):
        self.every_cut(who, self.used_chip(who), 2, how)

    def rewritten(self):
        """Old devices rewrite their store: else the tests above would not cut the power there."""
        for who in (ALICE, BOB):
            flash = Flash(image=self.used_chip(who))
            store = self._medium.open(flash)
            before = store.stats()[1]
            self._medium.leave(store)
            assert self.live(flash, who, 2) is None
            store = self._medium.open(flash)
            assert store.stats()[1] > before
            self._medium.leave(store)

    def again_and_again(self, operations):
        """The power fails once more while the device recovers, and again, the whole life long."""
        random = Random(99)
        cuts = 0
        for life in range(80):
            who = life % 2
            image = self.used_chip(who) if life & 2 else self._medium.new_chip()
            since = 2 if life & 2 else 0
            while True:
                flash = Flash(image=image)
                how = random.choice((NOTHING, HALF, NOISE))
                flash.fail_after(random.below(operations), how, cuts + 1)
                moment = self.live(flash, who, since)
                image = flash.image
                if moment is None:
                    break
                cuts += 1
                self.look(image, who, moment)
                since = moment
        print("cuts:", cuts)
        return cuts
