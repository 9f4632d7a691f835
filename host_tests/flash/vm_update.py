# timeout: 300
# heapsize: 8m
"""Another version comes in: power cuts in every operation of the flash, wrong pieces, no room."""

import hashlib
import os

import receiver
import versions
from chip import HALF, NOISE, NOTHING, Flash
from mounted import ROOT, format, mount, unmount
from receiver import Receiver
from support import Random
from versions import Refused

for module in (versions, receiver):
    module.ROOT = ROOT + "/app"
versions.TRIAL = versions.ROOT + "/trial"
versions.JOURNAL = ROOT + "/perun.journal"
PIECE = 700


def text_of(data):
    return versions._hex(hashlib.sha256(data).digest())


class Version:
    """files: name -> bytes; head: what its manifest says of formats; lines: its other lines."""

    def __init__(self, files, head="reads\nwrites\n", lines=None):
        if lines is None:
            lines = ""
            for name in sorted(files):
                lines += "%s %d %s\n" % (text_of(files[name]), len(files[name]), name)
        manifest = (head + lines).encode()
        self.files = dict(files)
        self.files["manifest"] = manifest
        self.sha = text_of(manifest)
        self.id = self.sha[:10]

    def begin(self, taking):
        return taking.begin(self.sha, len(self.files["manifest"]))

    def piece(self, name, offset, size=PIECE):
        return self.files[name][offset : offset + size]

    def bring(self, taking, sizes=None):
        """All of it, as a tool does; how many bytes came."""
        came = 0
        wanted = self.begin(taking)
        while wanted:
            if not wanted[0]:
                wanted = taking.wanted()
                continue
            piece = self.piece(*wanted, sizes() if sizes else PIECE)
            came += len(piece)
            wanted = taking.piece(*wanted, piece)
        return came


RANDOM = Random(7)
OLD = Version(
    {
        "main.py": b"one",
        "perun/large.mpy": RANDOM.bytes(9000),
        "perun/same.mpy": RANDOM.bytes(6000),
    }
)
NEW = Version(
    {
        "empty.py": b"",
        "main.py": b"two",
        "perun/deep/small.mpy": RANDOM.bytes(300),
        "perun/large.mpy": RANDOM.bytes(9000),
        "perun/same.mpy": OLD.files["perun/same.mpy"],
    }
)


def install(version):
    """Over the air, as far as versions.py goes."""
    taking = Receiver()
    came = version.bring(taking)
    versions.switch(taking.finish(), None, True)
    return came


def board():
    """The image of a flash with the old version, which has proved itself."""
    flash = Flash(blocks=48)
    format(flash)
    mount(flash)
    install(OLD)
    unmount()
    return flash.image


BOARD = board()


def running():
    """The version that would run now. Whatever happened, all of it is there."""
    name, before = versions.current()
    assert name in (OLD.id, NEW.id)
    assert versions.broken(name) == []
    if name == NEW.id:
        assert before == OLD.id and versions.broken(before) == [] and versions.on_trial()
    return name


def cut(image, operations, how):
    """An update whose power fails in this operation: (the image, did it go through)."""
    flash = Flash(image=image)
    flash.fail_after(operations, how, operations + 1)
    done = False
    try:
        mount(flash)
        install(NEW)
        done = True
    except OSError:
        assert flash.dead
    try:
        unmount()
    except OSError:
        pass
    return flash.image, done


def every_cut(how):
    """After each cut the old version or the new one runs, and the update can be completed."""
    operations, seen = 0, []
    while True:
        image, done = cut(BOARD, operations, how)
        mount(Flash(image=image))
        seen.append(running() == NEW.id)
        if done:
            break
        if not seen[-1]:
            install(NEW)
            assert running() == NEW.id
        unmount()
        operations += 1
    unmount()
    print("cuts:", operations)
    assert operations > 60 and seen == sorted(seen) and not seen[-4]


def test_every_cut():
    every_cut(NOTHING)


def test_every_cut_with_half_an_operation():
    every_cut(HALF)


def test_every_cut_with_a_noisy_operation():
    every_cut(NOISE)


def test_again_and_again():
    """The power fails again and again, also while the update goes on where it was."""
    random = Random(3)
    cuts = 0
    for _ in range(20):
        image, done = BOARD, False
        while not done:
            image, done = cut(image, random.below(40), random.choice((NOTHING, HALF, NOISE)))
            mount(Flash(image=image))
            done = running() == NEW.id
            unmount()
            cuts += not done
    print("cuts:", cuts)
    assert cuts > 40


def test_it_goes_on_at_any_byte():
    """Pieces of any length; what has come is not wanted again."""
    random = Random(5)
    mount(Flash(image=BOARD))
    size = lambda: 1 + random.below(2000)
    wanted = NEW.begin(Receiver())
    came = 0
    while wanted:
        taking = Receiver()  # the line broke, and somebody else came
        wanted = NEW.begin(taking)
        for _ in range(random.below(4)):
            while wanted == ("", 0):
                wanted = taking.wanted()
            if not wanted:
                break
            piece = NEW.piece(*wanted, size())
            came += len(piece)
            wanted = taking.piece(*wanted, piece)
        taking.close()
        while wanted == ("", 0):
            wanted = taking.wanted()
    total = sum(len(data) for data in NEW.files.values()) - len(NEW.files["perun/same.mpy"])
    assert came == total, (came, total)  # what is the same was copied here
    assert taking.finish() == NEW.id and versions.current()[0] == OLD.id
    versions.switch(NEW.id)
    assert running() == NEW.id
    unmount()


def refused(operation, *arguments):
    try:
        result = operation(*arguments)
    except Refused as error:
        return str(error)
    raise AssertionError("not refused but %r" % (result,))


def everything(path=ROOT):
    """All that is on the flash but what is being taken in."""
    found = {}
    for entry in os.ilistdir(path):
        name = path + "/" + entry[0]
        if entry[1] & 0x4000:
            if not name.endswith(".part"):
                found.update(everything(name))
        else:
            with open(name, "rb") as file:
                found[name] = file.read()
    return found


def test_wrong_pieces():
    """Other files, orders, lengths, and contents."""
    mount(Flash(image=BOARD))
    before = everything()
    taking = Receiver()
    refused(taking.wanted)
    refused(taking.piece, "main.py", 0, b"x")
    for sha, size in (("", 5), ("g" * 64, 5), ("0" * 64, 0), ("0" * 64, 1 << 20), ("0" * 63, 9)):
        assert "no manifest" in refused(taking.begin, sha, size)
    assert "runs already" in refused(taking.begin, OLD.sha, len(OLD.files["manifest"]))
    refused(taking.wanted)
    assert NEW.begin(taking) == ("manifest", 0)
    manifest = NEW.files["manifest"]
    refused(taking.piece, "main.py", 0, b"two")
    refused(taking.piece, "manifest", 1, manifest[1:9])
    refused(taking.piece, "manifest", 0, manifest + b"x")
    refused(taking.piece, "manifest", 0, b"")
    refused(taking.finish)
    # Another manifest than was announced is wanted anew.
    assert taking.piece("manifest", 0, bytes(len(manifest))) == ("manifest", 0)
    assert taking.piece("manifest", 0, manifest) == ("", 0)
    assert taking.wanted() == ("empty.py", 0)
    assert taking.piece("empty.py", 0, b"") == ("", 0)
    assert taking.wanted() == ("main.py", 0)
    for name in ("perun/large.mpy", "/main.py", "../main.py", "manifest"):
        refused(taking.piece, name, 0, b"two")
    refused(taking.piece, "main.py", 0, b"long")
    assert taking.piece("main.py", 0, b"2wo") == ("main.py", 0)  # not what it is to be
    assert taking.piece("main.py", 0, b"t") == ("main.py", 1)
    refused(taking.piece, "main.py", 0, b"t")
    assert taking.piece("main.py", 1, b"wo") == ("", 0)
    refused(taking.finish)
    assert everything() == before and versions.current()[0] == OLD.id
    unmount()


def test_manifests_that_ask_for_more_than_a_version_has():
    mount(Flash(image=BOARD))
    before = everything()
    sha = "0" * 64
    for lines in (
        sha + " 3 ../main.py\n",
        sha + " 3 /main.py\n",
        sha + " 3 perun/../../main.py\n",
        sha + " 3 perun//main.py\n",
        sha + " 3 .\n",
        sha + " 3 perun/...\n",
        sha + " 3 manifest\n",
        sha + " 3 c:main.py\n",
        sha + " 3 " + "x" * 65 + "\n",
        sha + " -3 main.py\n",
        sha + " three main.py\n",
        sha + " main.py\n",
        sha + " 3 b.py\n" + sha + " 3 a.py\n",
        sha + " 3 a.py\n" + sha + " 3 a.py\n",
        "",
        "nothing\n",
    ):
        version = Version({}, lines=lines)
        text = refused(version.bring, Receiver())
        assert "no version has" in text or "manifest" in text, (lines, text)
        assert everything() == before
    # Too much: all of it is refused before any of it comes.
    version = Version({}, lines=sha + " 100000 large.py\n")
    assert "flash is full" in refused(version.bring, Receiver())
    many = "".join(sha + " 3000 m%02d.py\n" % number for number in range(40))
    version = Version({}, lines=many)
    assert "flash is full" in refused(version.bring, Receiver())
    assert everything() == before
    unmount()


def test_formats():
    """Before any file comes, and once more before the switch: the store may have changed."""

    class Store:
        values = {b"c" + bytes(32): bytes((0, 1)), b"k": bytes(32), b"rx": b"receipt"}

        def keys(self):
            return self.values.keys()

        def get(self, key):
            return self.values.get(key)

    mount(Flash(image=BOARD))
    with open(versions.JOURNAL, "wb") as file:
        file.write(b"uPJ1" + bytes(16))
    version = Version({"main.py": b"two"}, "reads channel1 uPJ1\nwrites\n")
    taking = Receiver(Store())
    version.bring(taking)
    Store.values[b"s" + bytes(4)] = bytes((0, 7))
    assert "channel7" in refused(taking.finish)
    del Store.values[b"s" + bytes(4)]
    taking.finish()
    Store.values[b"k"] = bytes((2,)) + bytes(120)  # a PIN, of another format
    assert "key2" in refused(versions.switch, version.id, Store())
    assert running() == OLD.id
    Store.values[b"k"] = bytes(32)
    versions.switch(version.id, Store())
    assert versions.current() == (version.id, OLD.id)
    unmount()


def test_the_way_back():
    """A version on trial is no way back: the one before it stays until another has proved
    itself."""
    mount(Flash(image=BOARD))
    install(NEW)
    third = Version({"main.py": b"three"})
    install(third)
    assert versions.current() == (third.id, OLD.id) and versions.on_trial()
    os.remove(versions.TRIAL)  # now it has
    install(NEW)
    assert versions.current() == (NEW.id, third.id)
    versions.confirm()
    with open(versions.TRIAL) as file:
        assert file.read() == "0 " + NEW.id
    assert versions.roll_back() == third.id
    assert versions.current() == (third.id, NEW.id) and not versions.on_trial()
    unmount()


def test_what_rotted_is_not_copied():
    """A file of the version that runs is damaged: the new one gets it over the line."""
    mount(Flash(image=BOARD))
    with open(versions.folder(OLD.id) + "/perun/same.mpy", "r+b") as file:
        file.write(b"rotten")
    came = install(NEW)
    assert came == sum(len(data) for data in NEW.files.values())
    assert versions.current()[0] == NEW.id and versions.broken(NEW.id) == []
    unmount()


def test_a_full_flash():
    """The estimate said yes and somebody else needed the room: nothing has changed."""
    mount(Flash(image=BOARD))
    taking = Receiver()
    NEW.begin(taking)
    taking.piece("manifest", 0, NEW.files["manifest"])
    with open(ROOT + "/other", "wb") as file:
        try:
            for _ in range(200):
                file.write(bytes(1024))
                file.flush()
        except OSError:
            pass
    try:
        NEW.bring(taking)
        raise AssertionError("there was room")
    except (OSError, Refused) as error:
        assert getattr(error, "errno", 0) == 28 or "full" in str(error), error
    assert running() == OLD.id
    os.remove(ROOT + "/other")
    install(NEW)
    assert running() == NEW.id
    unmount()
