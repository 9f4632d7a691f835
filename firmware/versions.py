"""Versions of the software side by side in the file system, and the switch between them.

    /app/ID/...        a version: its modules, and `manifest`, which names each with its hash
    /app/ID.part/...   one that is being written
    /app/current       the ID of the one that runs, and the one before it; replaced by a rename

Whenever the power fails, `current` names a complete version: the old one or the new one. An ID is
the beginning of the SHA-256 of its manifest. `main.py` in the root is the launcher (LAUNCHER): it
puts the current version in front of sys.path.

A tool sends this file over the REPL to a board that has nothing yet, so it stands alone.
"""

import hashlib
import os

ROOT = "/app"
MANIFEST = "manifest"
LAUNCHER = """\
# uPerun: runs the version that /app/current names. Written by `board deploy`.
import sys

try:
    with open("/app/current") as f:
        sys.path.insert(0, "/app/" + f.readline().strip())
    import main

    main.main()
except SystemExit:  # an exit would start the board anew, again and again
    pass
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
    with open(ROOT + "/current.new", "w") as file:
        file.write("%s\n%s\n" % (version, old or ""))
    os.rename(ROOT + "/current.new", ROOT + "/current")


def roll_back():
    """Run the version before this one again. Returns it, or None if there is none."""
    version, old = current()
    if old and manifest(old):
        switch(old)
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
    keep = set(keep) | {name for name in current() if name} | {"current"}
    try:
        names = [entry[0] for entry in os.ilistdir(ROOT)]
    except OSError:
        return
    for name in names:
        if name not in keep:
            remove(ROOT + "/" + name)
