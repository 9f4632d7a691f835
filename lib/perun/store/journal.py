"""A small key-value store as an append-only, checksummed journal in one file of a file system.

    header: "uPJ1", compactions (u32), bytes written to earlier files (u64), the checksum at the
            end of the file before this one (u32); big-endian
    record: length (u16) and key length (u8) of what follows, checksum (u32), key, value
    mark:   PATH.mark/mark, a second file: the checksum of the newest record that was confirmed

The newest record of a key counts, an empty value deletes the key. A record's checksum is the
CRC-32 of all that precedes it: chained, so that a changed, lost or replaced byte shows wherever it
is. The mark is written after each record: what does not reach as far has lost something, and only
what lies behind the mark may be dropped. README.md says why this is safe.
"""

import binascii
import os
import struct

from perun.compat import const
from perun.store import Store, chained

_MAGIC = b"uPJ1"
_HEADER = ">4sIQI"
_HEADER_SIZE = const(20)
_HEAD = ">HBI"
_HEAD_SIZE = const(7)
_CHAIN = ">I"
_MAX_PAYLOAD = const(4351)
_COMPACT = const(16384)  # a file that is so much longer than twice its values is rewritten
_ENOENT = const(2)


def _head(key, value, chain):
    """The head of a record that follows the checksum `chain`, and the record's checksum."""
    length = len(key) + len(value)
    chain = binascii.crc32(value, chained(key, length << 8 | len(key), chain))
    return struct.pack(_HEAD, length, len(key), chain), chain


def _open(path):
    """The file, or None if there is none."""
    try:
        return open(path, "r+b")
    except OSError as error:
        if error.errno != _ENOENT:
            raise


def _write(file, at, *pieces):
    """Pieces, because a record in one would take memory when a device has least of it."""
    file.seek(at)
    for piece in pieces:
        file.write(piece)
    file.flush()  # LittleFS commits; MicroPython on a computer waits for the disk
    if hasattr(os, "fsync"):
        os.fsync(file.fileno())


class Journal(Store):
    """path: the file, made when it is missing. One process at a time."""

    def __init__(self, path):
        self._path = path
        self._file = self._mark = None
        super().__init__(path)

    def compact(self):
        """Write the file anew: values that were replaced or deleted are in it no more."""
        self._attempt(self._compact)

    def stats(self):
        """(bytes written since the first file was made, compactions): what wears the flash."""
        return self._earlier + self._end, self._compactions

    def release(self):
        for file in (self._mark, self._file):
            try:
                if file:
                    file.close()
            except OSError:
                pass  # what was confirmed is on the flash

    # -- reading ------------------------------------------------------------------------------

    def start(self):
        folder = self._path + ".mark"
        path = folder + "/mark"
        self._mark = _open(path)
        self._file = _open(self._path)
        if self._file:
            if not self._mark:
                self.damaged("byte", 0)
            return self._load()
        header = struct.pack(_HEADER, _MAGIC, 0, 0, 0)
        empty = struct.pack(_CHAIN, binascii.crc32(header))
        if not self._mark:
            try:
                os.mkdir(folder)
            except OSError:
                pass  # it is there, or open() says what is wrong
            self._mark = open(path, "w+b")
        elif self._mark.read(4) not in (b"", empty):
            self.damaged("byte", 0)  # there has been a file
        _write(self._mark, 0, empty)
        self._replace(header, ())

    def _load(self):
        self.index = {}  # key -> (where its value is, the value's length)
        self._living = 0  # bytes of all values
        for key, place, _ in self._records():
            self._note(key, place)
        if self._behind:
            _write(self._mark, 0, struct.pack(_CHAIN, self._chain))
        elif self._file.read(1):
            self._compact()

    def _records(self):
        """Every record: its key, the place of its value, its value."""
        self._mark.seek(0)
        mark = self._mark.read(4)
        file = self._file
        file.seek(0)
        header = file.read(_HEADER_SIZE)
        at = _HEADER_SIZE
        if len(header) < at or header[:4] != _MAGIC:
            self.damaged("byte", 0)
        _, self._compactions, self._earlier, before = struct.unpack(_HEADER, header)
        chain = binascii.crc32(header)
        # How many records are behind the mark; None before it. In a new file all of them are
        # behind the mark of the old one, and none may be missing.
        behind = 1 if self._compactions and mark == struct.pack(_CHAIN, before) else None
        while True:
            if mark == struct.pack(_CHAIN, chain):
                behind = 0
            head = file.read(_HEAD_SIZE)
            length, key_length = struct.unpack(">HB", (head + b"\0\0\0")[:3])
            length = min(length, _MAX_PAYLOAD)
            key = file.read(min(key_length, length))
            value = file.read(length - len(key)) if key else b""
            expected, following = _head(key, value, chain)
            if head != expected or not key:
                break
            chain = following
            at += _HEAD_SIZE
            yield key, (at + key_length, length - key_length), value
            at += length
            if behind is not None:
                behind += 1
        # What follows the mark immediately may be an append that was never confirmed.
        if behind is None or behind and head:
            self.damaged("byte", at)
        file.seek(at)
        self._behind = behind
        self._chain = chain
        self._end = at

    def _note(self, key, place):
        self._living += place[1] - self.index.pop(key, (0, 0))[1]
        if place[1]:
            self.index[key] = place

    def read(self, key):
        place = self.index.get(key)
        if not place:
            return None
        self._file.seek(place[0])
        return self._file.read(place[1])

    # -- writing ------------------------------------------------------------------------------

    def append(self, key, value):
        if self._end > _COMPACT + 2 * self._living:
            self._compact()
        head, chain = _head(key, value, self._chain)
        _write(self._file, self._end, head, key, value)
        _write(self._mark, 0, struct.pack(_CHAIN, chain))
        at = self._end + _HEAD_SIZE + len(key)
        self._note(key, (at, len(value)))
        self._chain = chain
        self._end = at + len(value)

    def _compact(self):
        written, compactions = self.stats()
        header = struct.pack(_HEADER, _MAGIC, compactions + 1, written, self._chain)
        self._replace(header, self._records())

    def _replace(self, header, records):
        """Write the living ones of `records` to a new file; the rename makes it count at once."""
        temporary = self._path + ".new"
        with open(temporary, "wb") as file:
            file.write(header)
            chain = binascii.crc32(header)
            for key, place, value in records:
                if self.index.get(key) == place:
                    head, chain = _head(key, value, chain)
                    file.write(head)
                    file.write(key)
                    file.write(value)
            _write(file, file.tell(), b"")
        if self._file:
            self._file.close()
        os.rename(temporary, self._path)
        self._file = _open(self._path)
        self._load()
