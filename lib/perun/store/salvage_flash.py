"""What can still be read on a damaged partition. It only reads; for a device in safe mode."""

import struct

from perun.compat import const
from perun.store import StoreError
from perun.store.flash import FlashJournal

_FRAME = ">BBI"  # the format is flash.py's
_FIRST = const(16)
_LAST = const(32)
_CHANGES = const(64)


def salvage(device):
    """key -> newest readable value. Nothing of a partition that cannot be read at all.

    Values may be older than what was stored last: never sign by them.
    """
    try:
        found = _Remains(device)
        return {key: found.get(key) for key in found.keys()}
    except (StoreError, ValueError):
        return {}


class _Remains(FlashJournal):
    """All that is whole, in the order in which it was written."""

    def start(self):
        self._measure()
        headers = [self._header(place) for place in range(self._sectors)]
        self._parts = None  # of a record whose beginning is known
        self._bases = set()  # slots whose value is known, for changes to it
        for header in sorted([header for header in headers if header]):
            if self._chain != header[4]:
                self._forget()
            self._chain = header[5]
            self._read_sector(header[0])

    def _forget(self):
        """Something is missing here: what changes it must not be applied to what was before."""
        self._parts = None
        self._bases = set()

    def _read_sector(self, number):
        for place in range(1, self._pages - 1):
            page = self._page(number, place)
            frame = self._frame(page, self._chain)
            if frame:
                self._collect(*frame)
            elif page != b"\xff" * len(page):
                self._forget()
                self._chain = struct.unpack_from(_FRAME, page)[2]  # how the next one begins

    def _collect(self, kind, payload, checksum):
        self._chain = checksum
        if kind & _FIRST:
            self._parts = payload
        elif self._parts is not None:
            self._parts += payload
        if self._parts is not None and kind & _LAST:
            slot = self._parts[0]
            if not kind & _CHANGES or slot in self._bases:
                self._bases.add(slot)
                self._take(kind, self._parts)
            self._parts = None
