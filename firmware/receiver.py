"""Takes in a version of the software (versions.py), piece by piece, whoever brings the pieces.

    begin(SHA-256, size)        of the manifest, which is the first file that comes
    wanted()                    what comes next, see below
    piece(name, offset, data)   this comes; wanted()
    finish()                    all is there and checked: the version's ID, for versions.switch()

What comes next is (name, offset); ("", 0) when a file was there already: ask again; None when all
is there. The device decides that by what lies on its flash, so a transfer that was cut short, by
the line or by the power, goes on where it was. Nothing outside of the version's folder is
written, and the versions that run and ran are left alone. Loaded for an update only.

A tool sends this file after versions.py over the REPL, without its import of it.
"""

import os

from versions import (
    MANIFEST,
    ROOT,
    Refused,
    adopt,
    check,
    complete,
    current,
    digest,
    folder,
    listed,
    make_folders,
    on_trial,
    remove,
    tidy,
)

_BLOCK = 4096  # of LittleFS
_INLINE = 512  # smaller files lie in their folder's pair of blocks
_LARGEST = 32768  # bytes of a manifest
_NAME = 64


def _is_name(name):
    """Whether a file of a version may have this name."""
    return (
        0 < len(name) <= _NAME
        and name != MANIFEST
        and all(part.strip(".") for part in name.split("/"))
        and not any(char in "\\:\0" for char in name)
    )


def _size(path):
    """Bytes of a file, -1 without one."""
    try:
        return os.stat(path)[6]
    except OSError:
        return -1


class Receiver:
    """store: the open one of a device that runs. Its methods raise Refused, and OSError for what
    the flash does not do; whatever happens, begin() may come again."""

    def __init__(self, store=None):
        self._store = store
        self.version = None
        self._parts = []  # of the file that is coming, until they fill a block of the flash

    def begin(self, sha, size):
        """What is wanted for the version whose manifest this is."""
        self.close()
        self.version = None
        if len(sha) != 64 or sha.strip("0123456789abcdef") or not 0 < size <= _LARGEST:
            raise Refused("that is no manifest's SHA-256 and size")
        version = sha[:10]
        if version == current()[0]:
            raise Refused("version %s runs already" % version)
        tidy((version, version + ".part"))
        self._part = _size(folder(version)) < 0
        if not self._part:
            remove(folder(version, True))
        self._sha, self._length = sha, size
        self._line = None  # where the line after the next file's begins; None: no manifest
        self._entry = None
        self.version = version
        make_folders(self._place(MANIFEST))
        return self.wanted()

    def wanted(self):
        """(name, offset), ("", 0), or None. Looks at one file at most: it does not take long."""
        if not self.version:
            raise Refused("no update has begun")
        if self._line is None:
            if self._parts or not self._is_there(MANIFEST, self._sha, self._length):
                return self._from(MANIFEST)
            self._inspect()
        elif not self._entry:
            return None
        else:
            name, sha, size = self._entry
            if self._parts or not self._is_there(name, sha, size):
                if self._parts or _size(self._place(name)) >= 0 or not self._adopt(name, sha):
                    return self._from(name)
        self._entry = self._following()
        return ("", 0) if self._entry else None

    def piece(self, name, offset, data):
        """Write what is wanted, and say what is wanted then."""
        wanted = self.wanted()
        if (name, offset) != wanted:
            raise Refused("the piece that comes next is %s" % (wanted,))
        size = self._length if self._line is None else self._entry[2]
        if not data and size or offset + len(data) > size:
            raise Refused("a piece of %s with a wrong length" % name)
        self._parts.append(data)
        self._name, self._offset = name, offset + len(data)
        if self._offset == size or self._offset // _BLOCK != offset // _BLOCK:
            self._write()
        return self.wanted()

    def finish(self):
        """The ID of the version, which is complete now."""
        wanted = ("", 0)
        while wanted:
            if wanted[0]:
                raise Refused("the version is not complete: %s is missing" % wanted[0])
            wanted = self.wanted()
        self._check()
        if self._part:
            complete(self.version)
            self._part = False
        return self.version

    def close(self):
        """Nothing is lost of what has come."""
        try:
            if self._parts:
                self._write()
        except OSError:
            pass  # it will be seen

    def _write(self):
        # No file stays open: nobody would close it when the line breaks.
        parts, self._parts = self._parts, []
        path = self._place(self._name)
        make_folders(path)
        with open(path, "ab" if _size(path) > 0 else "wb") as file:
            for part in parts:
                file.write(part)

    def _place(self, name):
        return folder(self.version, self._part) + "/" + name

    def _from(self, name):
        return name, self._offset if self._parts else max(0, _size(self._place(name)))

    def _is_there(self, name, sha, size):
        """Whether all of a file is there. One that is something else is removed."""
        path = self._place(name)
        have = _size(path)
        if have == size and digest(path) == sha:
            return True
        if not self._part:  # so it is not complete
            os.rename(folder(self.version), folder(self.version, True))
            self._part = True
            path = self._place(name)
        if have >= size:
            remove(path)
        return False

    def _adopt(self, name, sha):
        """Copy it from the version that runs, if that has the same. What rotted there is not."""
        source = current()[0]
        try:
            for other, hashed, _ in listed(folder(source) + "/" + MANIFEST):
                if other == name and hashed == sha:
                    adopt(self.version, name, source)
                    if digest(self._place(name)) == sha:
                        return True
                    remove(self._place(name))
        except (OSError, ValueError, TypeError):
            remove(self._place(name))
        return False

    def _following(self):
        """(name, SHA-256, size) of the next file, or None."""
        with open(self._place(MANIFEST), "rb") as file:
            file.seek(self._line)
            for line in file:
                self._line += len(line)
                words = line.decode().split()
                if words and len(words[0]) == 64:
                    return words[2], words[0], int(words[1])

    # -- what a manifest may ask for ----------------------------------------------------------

    def _inspect(self):
        """Before any file comes: names, sizes, formats, room."""
        last, blocks, inline, folders = "", 0, 0, {""}
        try:
            for name, _, size in listed(self._place(MANIFEST)):
                if not _is_name(name) or name <= last or size < 0:
                    raise Refused("no version has such a file: %s, %d bytes" % (name, size))
                last = name
                have = _size(self._place(name))
                if have < size and size > _INLINE:
                    blocks += -(-size // _BLOCK) - max(0, have) // _BLOCK
                elif have < size:
                    inline += 64 + size
                folders.add(name.rpartition("/")[0])
        except ValueError as error:
            text = str(error) if isinstance(error, Refused) else "the manifest is none"
            remove(self._place(MANIFEST))
            raise Refused(text)
        if not last:
            remove(self._place(MANIFEST))
            raise Refused("the manifest names no files")
        self._check()
        # A folder's pair of blocks is begun anew when it is half full.
        self._make_room(_BLOCK * (blocks + 2 * len(folders) + 2 * (inline // (_BLOCK // 2))))
        self._line = 0

    def _check(self):
        check(self.version, self._part, self._store)

    def _make_room(self, need):
        older = current()[1]
        if need > _free() and older not in (None, self.version) and not on_trial():
            remove(folder(older))  # without a way back, if there is no room for it
        if need > _free():
            raise Refused(
                "the flash is full: %d KB are needed and %d KB free"
                % (need // 1024, _free() // 1024)
            )


def _free():
    about = os.statvfs(ROOT)
    return about[0] * about[3]
