"""A small key-value store as an append-only, checksummed journal in one file.

A record is length (u16), key length (u8), CRC-32 (u32) of what follows, key, value; big-endian. An
empty value deletes the key. The newest record of a key counts; a torn record at the end (power was
cut while it was written) is dropped. When most of the file is outdated, the living records go to a
new file that replaces the old one by a rename.
"""

import binascii
import os
import struct

from perun.compat import const
from perun.store import StoreError

_HEAD = ">HBI"
_HEAD_SIZE = const(7)
_MAX_VALUE = const(4096)
_COMPACT = const(16384)  # bytes of outdated records that are worth a rewrite


def _record(key, value):
    payload = key + value
    return struct.pack(_HEAD, len(payload), len(key), binascii.crc32(payload)) + payload


class Journal:
    """path: the file, made when it is missing. One process at a time."""

    def __init__(self, path):
        self._path = path
        self._index = {}  # key -> (offset of the value, its length)
        self._size = self._dead = 0
        try:
            self._file = open(path, "r+b")
        except OSError:
            self._file = open(path, "w+b")
        self._load()

    def _load(self):
        self._file.seek(0)
        while True:
            head = self._file.read(_HEAD_SIZE)
            if len(head) < _HEAD_SIZE:
                break
            length, key_length, crc = struct.unpack(_HEAD, head)
            if not 0 < key_length <= length <= _MAX_VALUE + 255:
                break
            payload = self._file.read(length)
            if len(payload) < length:
                break
            if binascii.crc32(payload) != crc:
                if self._file.read(1):
                    raise StoreError("store: a record in the middle of the journal is corrupted")
                break
            self._note(payload[:key_length], length)
        # Whatever follows the last good record is torn: the next record overwrites it.
        self._file.seek(self._size)
        rest = self._file.read(1)
        if rest:
            self._compact()

    def _note(self, key, length):
        old = self._index.get(key)
        if old:
            self._dead += _HEAD_SIZE + len(key) + old[1]
        value_length = length - len(key)
        if value_length:
            self._index[key] = (self._size + _HEAD_SIZE + len(key), value_length)
        else:
            self._index.pop(key, None)
            self._dead += _HEAD_SIZE + len(key)
        self._size += _HEAD_SIZE + length

    def keys(self):
        """All keys that have a value."""
        return list(self._index)

    def get(self, key):
        """The value of `key`, or None."""
        place = self._index.get(key)
        if not place:
            return None
        self._file.seek(place[0])
        return self._file.read(place[1])

    def put(self, key, value):
        """Store `value` (at most 4096 bytes) under `key`; on return it is on the flash."""
        if not 0 < len(key) < 256 or len(value) > _MAX_VALUE:
            raise StoreError("store: key or value too long")
        try:
            self._file.seek(self._size)
            self._file.write(_record(key, value))
            self._file.flush()
            if hasattr(os, "fsync"):  # CPython; LittleFS commits at flush
                os.fsync(self._file.fileno())
        except OSError as error:
            raise StoreError("store: cannot write: %s" % error)
        self._note(key, len(key) + len(value))
        if self._dead > _COMPACT and self._dead > self._size // 2:
            self._compact()

    def delete(self, key):
        """Forget `key`."""
        if key in self._index:
            self.put(key, b"")

    def _compact(self):
        """Rewrite the living records; the rename makes the new file count all at once."""
        temporary = self._path + ".new"
        try:
            with open(temporary, "wb") as file:
                for key in self._index:
                    file.write(_record(key, self.get(key)))
                file.flush()
                if hasattr(os, "fsync"):
                    os.fsync(file.fileno())
            self._file.close()
            os.rename(temporary, self._path)
            self._file = open(self._path, "r+b")
        except OSError as error:
            raise StoreError("store: cannot rewrite: %s" % error)
        self._index = {}
        self._size = self._dead = 0
        self._load()

    def close(self):
        """Give the file back."""
        self._file.close()


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
