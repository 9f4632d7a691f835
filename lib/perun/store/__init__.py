"""What must outlive a reset: keys and channels, as an append-only journal.

A device loads one of two kinds: perun.store.journal keeps it in a file, perun.store.flash on a
partition of its own, without a file system.
"""

import binascii

from perun.compat import const

_MAX_VALUE = const(4096)


class StoreError(OSError):
    """The store cannot be read or written. Nothing may be signed then."""


def chained(payload, kind, chain):
    """The checksum of a record that follows the checksum `chain`: of all that precedes it, so that
    a changed, lost or replaced byte shows wherever it is. kind: 24 bits of the record's head."""
    return binascii.crc32(payload, chain ^ kind)


class Store:
    """A key-value store. The newest value of a key counts, an empty one deletes the key.

    Every method raises StoreError when something is damaged, or cannot be read or written. From
    then on it is closed: what is on the flash is known again when it is opened anew.

    A kind of store has start(), read(key), append(key, value), release() for this class alone to
    call, stats(), and an index whose keys are those that have a value.
    """

    def __init__(self, name):
        self._name = name  # for errors
        self._closed = False
        self.index = {}
        self._attempt(self.start)

    def keys(self):
        """All keys that have a value."""
        return list(self.index)

    def get(self, key):
        """The value of `key`, or None."""
        return self._attempt(self.read, key)

    def put(self, key, value):
        """Store `value` (at most 4096 bytes) under `key`; on return it is on the flash."""
        if not 0 < len(key) < 256 or len(value) > _MAX_VALUE:
            raise StoreError("store: key or value too long")
        self._attempt(self.append, key, value)

    def delete(self, key):
        """Forget `key`."""
        if key in self.index:
            self.put(key, b"")

    def close(self):
        """Give back what is open."""
        self._closed = True
        self.release()

    def release(self):
        pass

    def _attempt(self, work, *details):
        """work(*details); what goes wrong in it closes the store."""
        try:
            if self._closed:
                raise StoreError("closed")
            return work(*details)
        except Exception as error:  # whatever it is: what is on the flash is not known any more
            self.close()
            text = str(error) if isinstance(error, StoreError) else repr(error)
            # Not formatted: a device that is short of memory may have no text of this.
            raise StoreError("store: " + self._name + ": " + text + "; nothing is signed")

    def damaged(self, place, at):
        raise StoreError(
            "damaged at %s %d: restore a backup, or settle by what service and peer hold"
            % (place, at)
        )
