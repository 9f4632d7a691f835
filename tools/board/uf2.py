"""UF2 files: what a boot loader takes over USB. https://github.com/microsoft/uf2"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from board.definitions import BoardError

# two magic numbers, flags, address, size, number, blocks, family; at 508 a third one
_HEAD = struct.Struct("<IIIIIIII")
_MAGIC = (0x0A324655, 0x9E5D5157)
_END = 0x0AB16F30
_HAS_FAMILY = 0x2000
_ABSOLUTE = 0xE48BFF57  # a block that goes before the others of an RP2350
_PAGE = 256


def blocks(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """(family, address, content) of every block. Raises BoardError for what is no whole file."""
    if not data or len(data) % 512:
        raise BoardError("this is no UF2 file: its length is no multiple of 512 bytes")
    for at in range(0, len(data), 512):
        first, second, flags, address, size, number, count, family = _HEAD.unpack_from(data, at)
        (end,) = struct.unpack_from("<I", data, at + 508)
        if (first, second) != _MAGIC or end != _END or size > 476:
            raise BoardError(f"this is no UF2 file, or a damaged one (block {at // 512})")
        if number >= count or count > len(data) // 512:
            raise BoardError(f"the UF2 file is cut short: {len(data) // 512} of {count} blocks")
        yield family if flags & _HAS_FAMILY else 0, address, data[at + 32 : at + 32 + size]


def family(data: bytes) -> int:
    """The family that a file is for. Raises BoardError."""
    families = {family for family, _, _ in blocks(data)}
    if len(families) > 1:
        families.discard(_ABSOLUTE)
    if len(families) != 1:
        raise BoardError("the UF2 file is for several chips")
    return families.pop()


def make(image: bytes, address: int, family: int) -> bytes:
    """A UF2 file that writes `image` to an address."""
    pages = [image[at : at + _PAGE] for at in range(0, len(image), _PAGE)]
    result = b""
    for number, page in enumerate(pages):
        head = (*_MAGIC, _HAS_FAMILY, address + number * _PAGE, _PAGE, number, len(pages), family)
        result += _HEAD.pack(*head) + page.ljust(476, b"\0") + struct.pack("<I", _END)
    return result
