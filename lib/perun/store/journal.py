"""A small key-value store as an append-only, checksummed journal in one file.

    header: "uPJ1", compactions (u32), bytes written to earlier files (u64); big-endian
    record: length (u16) and key length (u8) of what follows, checksum (u32), key, value
    seal:   as the head of a record: two zeros, checksum; the end of the journal

The newest record of a key counts, an empty value deletes the key. A record's checksum is the
CRC-32 of all that precedes it: chained, so that a changed, lost or replaced byte shows wherever it
is. The seal holds the last one inverted, so a file that ends too early shows as well. A record
takes the place of the old seal and brings a new one. README.md says why this is safe.
"""

import binascii
import os
import struct

from perun.compat import const
from perun.store import StoreError

_MAGIC = b"uPJ1"
_HEADER = ">4sIQ"
_HEADER_SIZE = const(16)
_HEAD = ">HBI"
_HEAD_SIZE = const(7)
_MAX_VALUE = const(4096)
_MAX_PAYLOAD = const(4351)
_COMPACT = const(16384)  # bytes of outdated records that are worth a rewrite
_ENOENT = const(2)


def _head(payload, key_length, chain):
    """The head of a record that follows the checksum `chain`, and the record's checksum."""
    length = len(payload)
    chain = binascii.crc32(payload, chain ^ (length << 8 | key_length))
    return struct.pack(_HEAD, length, key_length, chain), chain


def _seal(chain):
    return struct.pack(_HEAD, 0, 0, chain ^ 0xFFFFFFFF)


def _sync(file):
    file.flush()  # LittleFS commits; MicroPython on a computer waits for the disk
    if hasattr(os, "fsync"):
        os.fsync(file.fileno())


def _tears(file):
    """True where a kill or a power cut may leave parts of what was written: on a computer."""
    return hasattr(file, "fileno")


class Journal:
    """path: the file, made when it is missing. One process at a time.

    Every method raises StoreError when the file is damaged, or cannot be read or written. From
    then on it is closed: what is on the flash is known again when it is opened anew.
    """

    def __init__(self, path):
        self._path = path
        self._file = None
        self._attempt(self._start)

    def keys(self):
        """All keys that have a value."""
        return list(self._index)

    def get(self, key):
        """The value of `key`, or None."""
        return self._attempt(self._read, key)

    def put(self, key, value):
        """Store `value` (at most 4096 bytes) under `key`; on return it is on the flash."""
        if not 0 < len(key) < 256 or len(value) > _MAX_VALUE:
            raise StoreError("store: key or value too long")
        self._attempt(self._append, key, value)

    def delete(self, key):
        """Forget `key`."""
        if key in self._index:
            self.put(key, b"")

    def stats(self):
        """(bytes written since the first file was made, compactions): what wears the flash."""
        return self._earlier + self._end + _HEAD_SIZE, self._compactions

    def close(self):
        """Give the file back."""
        file, self._file = self._file, None
        if file:
            file.close()

    def _attempt(self, work, *details):
        """work(*details); what goes wrong in it closes the journal."""
        try:
            return work(*details)
        except (OSError, MemoryError) as error:
            try:
                self.close()
            except OSError:
                pass  # the first error says it
            text = error if isinstance(error, StoreError) else repr(error)
            raise StoreError("store: %s: %s; nothing is signed" % (self._path, text))

    def _start(self):
        try:
            self._open()
        except OSError as error:
            if error.errno != _ENOENT:
                raise
            self._replace(0, 0, ())

    # -- reading ------------------------------------------------------------------------------

    def _open(self):
        self._file = open(self._path, "r+b")
        self._index = {}  # key -> (where its value is, the value's length)
        self._dead = 0
        for key, place, _ in self._records():
            self._note(key, place)

    def _records(self):
        """Every record up to the seal: its key, the place of its value, key and value."""
        file = self._file_at(0)
        header = file.read(_HEADER_SIZE)
        chain = binascii.crc32(header)
        at = _HEADER_SIZE
        if len(header) < at or header[:4] != _MAGIC:
            self._damaged(0)
        _, self._compactions, self._earlier = struct.unpack(_HEADER, header)
        while True:
            head = file.read(_HEAD_SIZE)
            if head == _seal(chain):
                break
            length, key_length = struct.unpack(">HB", (head + b"\0\0\0")[:3])
            payload = file.read(min(length, _MAX_PAYLOAD))
            expected, chain = _head(payload, key_length, chain)
            if head != expected or not 0 < key_length <= length:
                self._damaged(at)
            at += _HEAD_SIZE
            yield payload[:key_length], (at + key_length, length - key_length), payload
            at += length
        # An append that was never completed may follow, but not on LittleFS.
        if file.read(1) and not _tears(file):
            self._damaged(at)
        self._chain = chain
        self._end = at

    def _damaged(self, at):
        raise StoreError(
            "damaged at byte %d: restore a backup, or settle by what service and peer hold" % at
        )

    def _note(self, key, place):
        size = _HEAD_SIZE + len(key)
        old = self._index.pop(key, None)
        if old:
            self._dead += size + old[1]
        if place[1]:
            self._index[key] = place
        else:
            self._dead += size

    def _read(self, key):
        place = self._index.get(key)
        if not place:
            return None
        return self._file_at(place[0]).read(place[1])

    def _file_at(self, at):
        if not self._file:
            raise StoreError("closed")
        self._file.seek(at)
        return self._file

    # -- writing ------------------------------------------------------------------------------

    def _append(self, key, value):
        if self._dead > _COMPACT and self._dead > self._end // 2:
            written, compactions = self.stats()
            self._replace(written, compactions + 1, self._records())
        at = self._end
        payload = key + value
        head, chain = _head(payload, len(key), self._chain)
        rest = payload + _seal(chain)
        if _tears(self._file):
            # The head comes last: until all the rest is there, the old seal is in its place.
            self._write(at + _HEAD_SIZE, rest)
            rest = b""
        self._write(at, head + rest)
        at += _HEAD_SIZE
        self._note(key, (at + len(key), len(value)))
        self._chain = chain
        self._end = at + len(payload)

    def _write(self, at, data):
        file = self._file_at(at)
        file.write(data)
        _sync(file)

    def _replace(self, earlier, compactions, records):
        """Write the living ones of `records` to a new file; the rename makes it count at once."""
        temporary = self._path + ".new"
        with open(temporary, "wb") as file:
            header = struct.pack(_HEADER, _MAGIC, compactions, earlier)
            file.write(header)
            chain = binascii.crc32(header)
            for key, place, payload in records:
                if self._index.get(key) == place:
                    head, chain = _head(payload, len(key), chain)
                    file.write(head)
                    file.write(payload)
            file.write(_seal(chain))
            _sync(file)
        self.close()
        os.rename(temporary, self._path)
        self._open()


class MemoryStore:
    """The same interface without a file: for tests, and for keys that need not last."""

    def __init__(self):
        self._values = {}

    def keys(self):
        """All keys that have a value."""
        return list(self._values)

    def get(self, key):
        """The value of `key`, or None."""
        return self._values.get(key)

    def put(self, key, value):
        """Store `value` under `key`."""
        self._values[key] = value

    def delete(self, key):
        """Forget `key`."""
        self._values.pop(key, None)

    def close(self):
        """Nothing to give back."""
