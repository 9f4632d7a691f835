"""NOR flash in a file of the computer: programming only clears bits, erasing sets a sector's.

A second file has the registers of the chip, so that the world can read and set them:

    u32 operations until the power fails (0xffffffff: never)   u32 how (0 nothing, 1 half is done)
    u32 programs   u32 erases                                  and u32 erases for each sector
"""

import struct

import vm

SECTOR = 4096
PAGE = 256
_REGISTERS = "<IIII"

_chip = vm.open_host(vm.settings("flash"), "r+b")
_registers = vm.open_host(vm.settings("registers"), "r+b")
_state = bytearray(16)
_blank = b"\xff" * PAGE
_page = bytearray(PAGE)


def _count(erase):
    """An operation begins; (True, how) when the power fails in it."""
    _registers.seek(0)
    _registers.readinto(_state)
    left, how, programs, erases = struct.unpack(_REGISTERS, _state)
    if left == 0:
        return True, how
    if left != 0xFFFFFFFF:
        left -= 1
    struct.pack_into(_REGISTERS, _state, 0, left, how, programs + (not erase), erases + erase)
    _registers.seek(0)
    _registers.write(_state)
    return False, how


def erase(at):
    """Erase the sector at this address."""
    failed, how = _count(True)
    _chip.seek(at)
    for _ in range(SECTOR // PAGE // (2 if failed else 1) if how or not failed else 0):
        _chip.write(_blank)
    if failed:
        vm.die("off")
    one = bytearray(4)
    place = 16 + at // SECTOR * 4
    _registers.seek(place)
    _registers.readinto(one)
    struct.pack_into("<I", one, 0, struct.unpack("<I", one)[0] + 1)
    _registers.seek(place)
    _registers.write(one)


def program(at, data):
    """Program bytes within a page."""
    failed, how = _count(False)
    if failed:
        data = data[: len(data) // 2] if how else b""
    if data:
        old = memoryview(_page)[: len(data)]
        _chip.seek(at)
        _chip.readinto(old)
        if old != memoryview(_blank)[: len(data)]:
            both = int.from_bytes(old, "big") & int.from_bytes(data, "big")
            data = both.to_bytes(len(data), "big")
        _chip.seek(at)
        _chip.write(data)
    if failed:
        vm.die("off")


class Region:
    """A part of the flash behind MicroPython's interface of block devices."""

    def __init__(self, start, size):
        self._start = start
        self._size = size

    def readblocks(self, block, buffer, offset=0):
        _chip.seek(self._place(block, offset, len(buffer)))
        _chip.readinto(buffer)

    def writeblocks(self, block, buffer, offset=None):
        at = self._place(block, offset or 0, len(buffer))
        if offset is None:
            for sector in range(at, at + len(buffer), SECTOR):
                erase(sector)
        view = memoryview(buffer)
        while view:
            size = min(len(view), PAGE - at % PAGE)
            program(at, view[:size])
            view = view[size:]
            at += size

    def ioctl(self, operation, argument):
        if operation == 4:
            return self._size // SECTOR
        if operation == 5:
            return SECTOR
        if operation == 6:
            erase(self._place(argument, 0, SECTOR))
        return 0

    def _place(self, block, offset, size):
        at = block * SECTOR + offset
        if at < 0 or at + size > self._size:
            raise OSError(5)
        return self._start + at
