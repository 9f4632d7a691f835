"""Versions of the software side by side in the file system, and the switch between them.

    /app/ID/...        a version: its modules, and `manifest`, which names each with its hash
    /app/ID.part/...   one that is being written
    /app/current       the ID of the one that runs, and the one before it; replaced by a rename
    /app/trial         how often a new version was started; gone when it has proved itself

Whenever the power fails, `current` names a complete version: the old one or the new one. An ID is
the beginning of the SHA-256 of its manifest. `main.py` in the root is the launcher (LAUNCHER): it
puts the current version in front of sys.path. A version is on trial after a switch: three starts
that end with an error or a reset, and the one before it runs again. It has proved itself when it
has run for a minute (trial.py), or ended in order. What it cannot read of the store
is an error, too.

A tool sends this file over the REPL to a board that has nothing yet, so it stands alone.
"""

import hashlib
import os

ROOT = "/app"
MANIFEST = "manifest"
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
if trial and int(trial[0]) > 2 and len(names) > 1:
    print("uPerun:", names[0], "does not start: back to", names[1])
    names, trial = names[1:], []
    write("current", names)
    os.remove("/app/trial")
elif trial:
    write("trial", [str(int(trial[0]) + 1)])
sys.path.insert(0, "/app/" + names[0])
try:
    import main

    main.main()
except SystemExit:  # an exit would start the board anew, again and again
    pass
except Exception as error:
    sys.print_exception(error)
    if trial:
        import machine

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


def manifest(version):
    """{name: hash} of a version, or {} if it has none."""
    try:
        with open(folder(version) + "/" + MANIFEST) as file:
            return dict(reversed(line.strip().split(" ", 1)) for line in file)
    except (OSError, ValueError):
        return {}


def make_folders(path):
    """All folders that a file needs."""
    at = path.find("/", 1)
    while at > 0:
        try:
            os.mkdir(path[:at])
        except OSError:
            pass  # it is there, or writing the file says what is wrong
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


def broken(version, wanted, part=False):
    """Names of the files that are not there or not as `wanted`, {name: hash}, says."""
    place = folder(version, part) + "/"
    return [name for name in sorted(wanted) if digest(place + name) != wanted[name]]


def complete(version, text):
    """All files are there and checked: give the version its manifest and its name."""
    place = folder(version, True)
    with open(place + "/" + MANIFEST, "w") as file:
        file.write(text)
    os.rename(place, folder(version))


def switch(version):
    """From now on this version runs; the one before it stays for a way back."""
    old, older = current()
    if old == version:
        old = older
    elif old:  # without a version to go back to there is no trial
        with open(ROOT + "/trial", "w") as file:
            file.write("0")
    with open(ROOT + "/current.new", "w") as file:
        file.write("%s\n%s\n" % (version, old or ""))
    os.rename(ROOT + "/current.new", ROOT + "/current")


def roll_back():
    """Run the version before this one again. Returns it, or None if there is none."""
    version, old = current()
    if old and manifest(old):
        switch(old)
        remove(ROOT + "/trial")  # it ran before
        return old


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
