"""The journal on flash of its own, a partition without a file system: one page for a payment.

The partition is a ring of sectors (what an erase clears). All numbers are big-endian.

    sector:  a page with its header, pages with records, a page that seals it
    page:    256 bytes, programmed once: a frame, ones up to 192 bytes, and the exclusive or of the
             three quarters before: whichever quarter is damaged, the others tell what it was
    frame:   kind and length of the payload (u8 each), checksum (u32), payload
    header:  kind 1: "uPF1"; the numbers (u32) of this sector, of the oldest one that counts, and
             of the one in which the rewrite began that this one is a part of, or 0; pages
             programmed before (u64); the checksum at the end of the sector before
    record:  parts (bits of their kind: 16 first, 32 last, 64 changes) of: slot (u8), key length
             (u8), key, value; or slot, changes (perun.store.delta) to the value in that slot
    seal:    zeros: the next sector was begun

Sector n lies at place n modulo the number of sectors, so that all wear alike. A checksum is the
CRC-32 of all that precedes it. README.md says why this is safe.
"""

import struct

from perun.compat import const
from perun.store import Store, StoreError, chained
from perun.store.delta import apply, changes

_PAGE = const(256)
_QUARTER = const(64)
_DATA = const(192)
_FRAME = ">BBI"
_FRAME_SIZE = const(6)
_PART = const(186)  # bytes of a record in a page
_SECTORS_LEAST = const(4)
_PAGES_LEAST = const(4)

_MAGIC = b"uPF1"
_FIELDS = ">4sIIIQI"
_FIELDS_SIZE = const(28)
_HEADER = const(1)
_FIRST = const(16)
_LAST = const(32)
_CHANGES = const(64)

_COUNT_BLOCKS = const(4)  # ioctl operations of MicroPython's block devices
_BLOCK_SIZE = const(5)
_ERASE = const(6)
_ERASED = b"\xff" * 256


def _parity(page, quarter):
    """The exclusive or of all quarters of a page but the one that begins at `quarter`."""
    parity = 0
    for at in range(0, len(page), _QUARTER):
        if at != quarter:
            parity ^= int.from_bytes(page[at : at + _QUARTER], "big")
    return parity.to_bytes(_QUARTER, "big")


class FlashJournal(Store):
    """device: flash with MicroPython's extended interface of block devices, like rp2.Flash or
    esp32.Partition: readblocks(block, buffer, offset), writeblocks(block, buffer, offset) that
    programs what is erased, ioctl(4), (5) and (6, block). It belongs to the journal alone. One
    that is erased everywhere is begun; what is no journal is refused and left as it is.

    All values are kept in memory as well.
    """

    def __init__(self, device, name="flash"):
        self._device = device
        super().__init__(name)

    def stats(self):
        """(bytes programmed since the flash was new, erases of each sector): what wears it."""
        return self._programs * _PAGE, -(-self._number // self._sectors)

    # -- reading ------------------------------------------------------------------------------

    def start(self):
        self._measure()
        newest = None
        for place in range(self._sectors):
            header = self._header(place)
            if header and (not newest or header > newest):
                newest = header
        if newest:
            self._load(*newest)
        else:
            self._begin()
        if self._doubtful or self._parts:
            self._rewrite()

    def _measure(self):
        self._sectors = self._device.ioctl(_COUNT_BLOCKS, 0)
        self._pages = self._device.ioctl(_BLOCK_SIZE, 0) // _PAGE
        if self._sectors < _SECTORS_LEAST or self._pages < _PAGES_LEAST:
            raise StoreError("the partition is too small")
        self._number = self._programs = 0
        self._chain = None
        self._rewriting = 0  # the sector in which the rewrite that goes on began
        self._doubtful = False  # whether something was cut short, or is there only once
        self._parts = b""  # of a record that is not complete

    def _page(self, number, page):
        """The bytes of a page of sector `number`."""
        buffer = bytearray(_PAGE)
        self._check(self._device.readblocks(number % self._sectors, buffer, page * _PAGE))
        return bytes(buffer)

    def _check(self, result):
        """Some ports return an error's number, some raise it."""
        if result:
            raise OSError(abs(result))

    def _frame(self, page, chain):
        """(kind, payload, its checksum) of the frame in a page that follows `chain`, or None."""
        if page == _ERASED:
            return None
        data = page[:_DATA]
        for damaged in range(-_QUARTER, _DATA, _QUARTER):
            if damaged >= 0:
                self._doubtful = True
                data = page[:damaged] + _parity(page, damaged) + page[damaged + _QUARTER : _DATA]
            kind, length, checksum = struct.unpack_from(_FRAME, data)
            payload = data[_FRAME_SIZE : _FRAME_SIZE + length]
            if len(payload) == length and chained(payload, kind << 8 | length, chain) == checksum:
                if page[_DATA:] != _parity(data, _DATA):
                    self._doubtful = True
                return kind, payload, checksum
        return None

    def _header(self, number):
        """The header at the place of sector `number`: (its number, the oldest one that counts,
        where its rewrite began, pages programmed, checksum before, and its own); or None."""
        frame = self._frame(self._page(number, 0), 0)
        if not frame or frame[0] != _HEADER or len(frame[1]) != _FIELDS_SIZE:
            return None
        fields = struct.unpack(_FIELDS, frame[1])
        if fields[0] != _MAGIC or (fields[1] - number) % self._sectors:
            return None
        return fields[1:] + (frame[2],)

    def _load(self, newest, tail, rewriting, programs, before, checksum):
        if self._is_sealed(newest):
            self.damaged("sector", newest + 1)  # what is sealed has a successor
        self._tail = tail
        self._number = newest
        self._chain = None
        self._doubtful = bool(rewriting)
        if rewriting:  # it did not complete: what was there before it counts
            self._number = rewriting - 1
        elif newest > 1 and not self._is_sealed(newest - 1):
            self._doubtful = True  # without the seal, the newest sector could be lost unnoticed
        for number in range(tail, self._number + 1):
            self._enter(number, self._header(number))
            self._follow(number)
        self._programs = programs + self._next + (newest > 1)  # a seal follows the header
        self._check_rest()
        if rewriting:
            header = self._header(rewriting)
            if header and header[0] == rewriting and header[4] != self._chain:
                self.damaged("the end of sector", self._number)

    def _is_sealed(self, number):
        return b"\0" in self._page(number, self._pages - 1)

    def _enter(self, number, header):
        if not header or header[0] != number or self._chain not in (None, header[4]):
            self.damaged("sector", number)
        self._chain = header[5]

    def _follow(self, number):
        """Read the records of a sector, up to the first page that does not go on with them."""
        self._next = 1
        while self._next < self._pages - 1:
            frame = self._frame(self._page(number, self._next), self._chain)
            if not frame:
                break
            kind, payload, self._chain = frame
            self._next += 1
            self._parts = payload if kind & _FIRST else self._parts + payload
            if kind & _LAST:
                self._take(kind, self._parts)
                self._parts = b""

    def _check_rest(self):
        """What follows the newest record is erased, but for a page that was cut short."""
        for page in range(self._next, self._pages - 1):
            if self._page(self._number, page) != _ERASED:
                if page > self._next:
                    self.damaged("page", self._next)
                self._doubtful = True

    def _take(self, kind, record):
        slot = record[0]
        if kind & _CHANGES:
            for key, (taken, value) in self.index.items():
                if taken == slot:
                    break
            value = apply(value, record[1:])
        else:
            value = record[2 + record[1] :]
            key = record[2 : 2 + record[1]]
        self._note(key, slot, value)

    def _note(self, key, slot, value):
        self.index[key] = slot, value
        if not value:
            del self.index[key]

    def read(self, key):
        return self.index.get(key, (0, None))[1]

    # -- writing ------------------------------------------------------------------------------

    def _begin(self):
        """Begin a partition that is erased, or was when a cut ended this."""
        self._number = self._chain = self._programs = 0
        self._tail = 1
        first = self._sheet(_HEADER, self._fields(), 0)[0]
        for place in range(self._sectors):
            for page in range(self._pages):
                data = self._page(place, page)
                if data != _ERASED and not (
                    place == 1 and page == 0 and all(x | y == x for x, y in zip(data, first))
                ):
                    raise StoreError("the partition is neither erased nor a journal")
        self._advance()

    def append(self, key, value):
        slot, old = self.index.get(key, (None, b""))
        if value == old:
            return
        if slot is None:
            slot = self._free_slot()
        kind, record = 0, bytes((slot, len(key))) + key + value
        if value and old:
            delta = changes(old, value)
            if len(delta) + 1 < len(record):
                kind, record = _CHANGES, record[:1] + delta
        living = max(len(old), len(value))  # whichever counts after a cut
        if not self._has_room(record, key, living):
            self._rewrite()
            if not self._has_room(record, key, living):
                raise StoreError("the partition is full")
        self._write(kind, record)
        self._note(key, slot, value)

    def _free_slot(self):
        taken = [slot for slot, _ in self.index.values()]
        for slot in range(256):
            if slot not in taken:
                return slot
        raise StoreError("too many keys")

    def _has_room(self, record, key, living):
        """Whether the record fits, and afterwards a rewrite with so many bytes under `key`."""
        a_sector = self._pages - 2
        pages = -(-(2 + len(key) + living) // _PART)
        for other, (_, value) in self.index.items():
            if other != key:
                pages += -(-(2 + len(other) + len(value)) // _PART)
        more = -(-len(record) // _PART) - (self._pages - 1 - self._next)
        used = self._number + max(0, -(-more // a_sector)) - self._tail + 1
        return used + -(-pages // a_sector) + 1 <= self._sectors

    def _write(self, kind, record):
        """Append a record: it is on the flash when its last part is."""
        part = _FIRST
        for at in range(0, len(record), _PART):
            if at + _PART >= len(record):
                part |= _LAST
            if self._next == self._pages - 1:
                self._advance()
            data, chain = self._sheet(kind | part, record[at : at + _PART], self._chain)
            self._program(self._number, self._next, data)
            self._chain = chain
            self._next += 1
            part = 0

    def _sheet(self, kind, payload, chain):
        """A page with this frame, and the frame's checksum."""
        chain = chained(payload, kind << 8 | len(payload), chain)
        data = struct.pack(_FRAME, kind, len(payload), chain) + payload
        data += _ERASED[len(data) : _DATA]
        return data + _parity(data, _DATA), chain

    def _program(self, number, page, data):
        self._check(self._device.writeblocks(number % self._sectors, data, page * _PAGE))
        if self._page(number, page) != data:
            raise StoreError("a page does not hold what was written")
        self._programs += 1

    def _fields(self):
        return struct.pack(
            _FIELDS,
            _MAGIC,
            self._number + 1,
            self._tail,
            self._rewriting,
            self._programs,
            self._chain,
        )

    def _advance(self):
        """Begin the next sector, and seal the one before: then neither is lost unnoticed."""
        before = self._number
        number = before + 1
        if number - self._tail >= self._sectors:
            raise StoreError("the partition is full")
        data, chain = self._sheet(_HEADER, self._fields(), 0)
        self._check(self._device.ioctl(_ERASE, number % self._sectors))
        self._program(number, 0, data)
        # What is before a rewrite may have to follow itself; see README.md.
        if before and number != self._rewriting:
            self._seal(before)
        self._number = number
        self._chain = chain
        self._next = 1

    def _rewrite(self):
        """Write all values anew; the sector after them says that what is older does not count."""
        last = self._number
        self._rewriting = last + 1
        self._advance()
        for key, (slot, value) in self.index.items():
            self._write(0, bytes((slot, len(key))) + key + value)
        self._tail, self._rewriting = self._rewriting, 0
        self._advance()
        self._seal(last)

    def _seal(self, number):
        self._program(number, self._pages - 1, bytes(_PAGE))
