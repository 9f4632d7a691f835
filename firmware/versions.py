"""Versions of the software side by side in the file system, and the switch between them.

    /app/ID/...        a version: its modules, and its manifest
    /app/ID.part/...   one that is being written (receiver.py)
    /app/current       the ID of the one that runs, and the one before it; replaced by a rename
    /app/trial         how often a new version was started, its ID, perhaps "away"; gone when it
                       has proved itself
    /app/failed        why one on trial did not start, until the next update

    manifest:  "reads" and "writes", each with words for formats of the store, then for each file
               its SHA-256, size and name: a line each

Whenever the power fails, `current` names a complete version: the old one or the new one. An ID is
the beginning of the SHA-256 of its manifest. `main.py` in the root is the launcher (LAUNCHER): it
puts the current version in front of sys.path. A version is on trial after a switch: three starts
that end with an error or a reset, and the one before it runs again. It has proved itself when it
has run for a minute (trial.py), or ended in order. "away": nobody is there to see to it. Then what
its owner must fix is an error as well, and he must reach it for the trial to end.

A switch is refused unless the new version reads what is stored, and the version to go back to
reads what the new one writes: so a failed trial never leaves a store that nobody understands.

A tool sends this file over the REPL to a board that has nothing yet, so it stands alone.
"""

import hashlib
import os
import sys

ROOT = "/app"
MANIFEST = "manifest"
TRIAL = ROOT + "/trial"
JOURNAL = "perun.journal"  # as start.py names it
# What versions read and write whose manifests do not say it yet.
_EARLIER = "channel1 channel2 key1 uPF1 uPJ1"
LAUNCHER = """\
# uPerun: runs the version that /app/current names. Written by `board deploy`.
import os
import sys


def read(name):
    try:
        with open("/app/" + name) as f:
            return f.read().split()
    except OSError:
        return []


def write(name, words):
    with open("/app/" + name + ".new", "w") as f:
        f.write("\\n".join(words) + "\\n")
    os.rename("/app/" + name + ".new", "/app/" + name)


names, trial = read("current"), read("trial")
if trial[1:2] != names[:1]:  # none, or the power failed before the switch
    trial = []
    try:
        os.remove("/app/trial")
    except OSError:
        pass
if trial and int(trial[0]) > 2 and len(names) > 1:
    print("uPerun:", names[0], "does not start: back to", names[1])
    names, trial = names[1:], []
    write("current", names)
    os.remove("/app/trial")
elif trial:
    write("trial", [str(int(trial[0]) + 1)] + trial[1:])
sys.path.insert(0, "/app/" + names[0])
try:
    import main

    main.main()
    failed = None
except SystemExit as error:  # an exit would start the board anew, again and again
    failed = "away" in trial and error
except Exception as error:
    sys.print_exception(error)
    failed = trial and error
if failed:
    import machine

    try:
        with open("/app/failed", "w") as f:
            sys.print_exception(failed, f)
    except OSError:
        pass
    machine.reset()
if read("trial"):
    os.remove("/app/trial")
"""


def _hex(data):
    return "".join("%02x" % byte for byte in data)


def digest(path):
    """The SHA-256 of a file as text, or None if there is none."""
    sha, buffer = hashlib.sha256(), bytearray(256)
    try:
        with open(path, "rb") as file:
            while True:
                count = file.readinto(buffer)
                if not count:
                    return _hex(sha.digest())
                sha.update(memoryview(buffer)[:count])
    except OSError:
        return None


def current():
    """(the version that runs, the one before it); None where there is none."""
    try:
        with open(ROOT + "/current") as file:
            names = file.read().split()
    except OSError:
        names = []
    return (names + [None, None])[0], (names + [None, None])[1]


def folder(version, part=False):
    """Where a version is."""
    return "%s/%s%s" % (ROOT, version, ".part" if part else "")


def listed(path):
    """(name, SHA-256 as text, size) of each file in a manifest; the size is -1 in earlier ones."""
    with open(path) as file:
        for line in file:
            words = line.split()
            if 1 < len(words) < 4 and len(words[0]) == 64:
                yield words[-1], words[0], int(words[1]) if len(words) > 2 else -1


def make_folders(path):
    """All folders that a file needs."""
    at = path.find("/", 1)
    while at > 0:
        try:
            os.mkdir(path[:at])
        except OSError as error:
            if error.errno != 17:  # it is there
                raise
        at = path.find("/", at + 1)


def adopt(version, name, source):
    """Copy a file of an earlier version, which has the same hash, into the one being written."""
    target, buffer = folder(version, True) + "/" + name, bytearray(512)
    make_folders(target)
    with open(folder(source) + "/" + name, "rb") as old:
        with open(target, "wb") as new:
            while True:
                count = old.readinto(buffer)
                if not count:
                    break
                new.write(memoryview(buffer)[:count])


def broken(version):
    """Names of the files of a version that are not there, or not as its manifest says."""
    place = folder(version) + "/"
    if (digest(place + MANIFEST) or "")[:10] != version:
        return [MANIFEST]
    return [name for name, sha, _ in listed(place + MANIFEST) if digest(place + name) != sha]


# -- formats ----------------------------------------------------------------------------------


class Refused(ValueError):
    """What was asked for would do harm. Nothing was changed."""


def formats(path):
    """(words that a version reads, words that it writes) by its manifest."""
    found = {"reads": _EARLIER.split(), "writes": _EARLIER.split()}
    with open(path) as file:
        for line in file:
            words = line.split()
            if not words or words[0] not in found:
                break
            found[words[0]] = words[1:]
    return set(found["reads"]), set(found["writes"])


def held(store=None, place=None):
    """Words for the formats of what this device has stored. store: the open one of a device that
    runs; else what can be read of the file and of the partition, without changing anything, by the
    version that runs, or by what is in the folder `place`."""
    words = set()
    place = folder(current()[0]) if current()[0] else place
    if place and place not in sys.path:
        sys.path.insert(0, place)
    for head, form, where in _stores():
        words.add(head)
        try:
            values = store or __import__("perun.store." + form, None, None, ("*",)).salvage(where)
        except ImportError:  # a damaged version; the new one is on trial, and looks itself
            values = {}
        for key in values.keys():
            value = values.get(key)
            if key[:1] in (b"c", b"s") and len(value) > 1:
                words.add("channel%d" % value[1])
            elif key == b"k" and len(value) != 32:
                words.add("key%d" % value[0])
    return words


def _stores():
    """(the word of its kind, the module that reads it, where it is) of each store there is. One
    with a damaged beginning has none: no version makes anything of it."""
    try:
        with open(JOURNAL, "rb") as file:
            head = file.read(4)
        if head[:3] == b"uPJ":
            yield head.decode(), "salvage", JOURNAL
    except OSError:
        pass
    try:
        device = __import__("partition").channels()
    except ImportError:
        return
    head = bytearray(10)
    for sector in range(device.ioctl(4, 0) if device else 0):
        device.readblocks(sector, head, 0)
        if head[6:9] == b"uPF":
            yield bytes(head[6:]).decode(), "salvage_flash", device
            return


def check(version, part=False, store=None):
    """Raises Refused unless this version reads what is stored, and the one to go back to reads
    what it writes."""
    reads, writes = formats(folder(version, part) + "/" + MANIFEST)
    unknown = held(store, folder(version, part)) - reads
    if unknown:
        raise Refused(
            "version %s does not read what the store holds: %s"
            % (version, ", ".join(sorted(unknown)))
        )
    back = way_back(version)
    if back:
        unknown = writes - formats(folder(back) + "/" + MANIFEST)[0]
        if unknown:
            raise Refused(
                "version %s writes what the one to go back to, %s, does not read: %s; first "
                "deploy one that reads it and does not write it yet"
                % (version, back, ", ".join(sorted(unknown)))
            )


# -- the switch -------------------------------------------------------------------------------


def complete(version):
    """All files are there and checked, and the manifest: give the version its name."""
    os.rename(folder(version, True), folder(version))


def on_trial():
    """Whether the version that runs has not proved itself yet."""
    return _trial()[1:2] == [current()[0]]


def _trial():
    try:
        with open(TRIAL) as file:
            return file.read().split()
    except OSError:
        return []


def way_back(version):
    """The version that runs again when `version` fails, or None: the last one that has proved
    itself."""
    name, older = current()
    if on_trial():
        name = older
    return name if name != version and name and _exists(folder(name)) else None


def switch(version, store=None, away=False):
    """From now on this version runs; the one before it stays for a way back. Raises Refused.

    away: its owner is not there.
    """
    if version == current()[0]:
        return
    check(version, False, store)
    back = way_back(version)
    if back:  # without a version to go back to there is no trial
        _try(0, version, away)
    _run(version, back)
    if not back:
        remove(TRIAL)


def confirm():
    """The owner has reached the version that is on trial."""
    if on_trial():
        _try(_trial()[0], current()[0])


def roll_back():
    """Run the version before this one again. Returns it, or None if there is none.

    Raises Refused when it does not read what is stored by now.
    """
    version, old = current()
    if not old or not _exists(folder(old)):
        return None
    unknown = held() - formats(folder(old) + "/" + MANIFEST)[0]
    if unknown:
        raise Refused(
            "version %s does not read what the store holds by now: %s"
            % (old, ", ".join(sorted(unknown)))
        )
    _run(old, version)
    remove(TRIAL)  # it ran before
    return old


def _try(count, version, away=False):
    with open(TRIAL, "w") as file:
        file.write("%s %s%s" % (count, version, " away" if away else ""))


def _run(version, back):
    with open(ROOT + "/current.new", "w") as file:
        file.write("%s\n%s\n" % (version, back or ""))
    os.rename(ROOT + "/current.new", ROOT + "/current")


def _exists(path):
    try:
        os.stat(path)
        return True
    except OSError:
        return False


def remove(path):
    """Remove a folder with all that is in it, or a file."""
    try:
        if os.stat(path)[0] & 0x4000:
            for entry in os.ilistdir(path):
                remove(path + "/" + entry[0])
            os.rmdir(path)
        else:
            os.remove(path)
    except OSError as error:
        if error.errno != 2:
            raise


def tidy(keep=()):
    """Remove every version but the current one, the one before it, and those to keep."""
    keep = set(keep) | {name for name in current() if name} | {"current", "trial"}
    try:
        names = [entry[0] for entry in os.ilistdir(ROOT)]
    except OSError:
        return
    for name in names:
        if name not in keep:
            remove(ROOT + "/" + name)
