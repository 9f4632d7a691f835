"""The flash of an RP2 as a file: firmware of a UF2 file, and a file system with our files."""

from __future__ import annotations

from pathlib import Path

from littlefs import LittleFS
from littlefs.errors import LittleFSError

from board import uf2
from board.definitions import Board, BoardError

_FLASH = 0x10000000  # where the chip sees its flash


def file_system(files: dict[str, bytes], size: int, block: int = 4096, page: int = 256) -> bytes:
    """An image of LittleFS that MicroPython mounts. Raises BoardError when they do not fit."""
    fs = LittleFS(
        block_size=block,
        block_count=size // block,
        read_size=32,
        prog_size=page,
        cache_size=4 * page,
        lookahead_size=32,
    )
    try:
        for name, data in sorted(files.items()):
            folder = str(Path(name).parent)
            if folder != ".":
                fs.makedirs(folder, exist_ok=True)
            with fs.open(name, "wb") as file:
                file.write(data)
    except (OSError, LittleFSError) as error:
        raise BoardError(f"the files do not fit into {size // 1024} KB: {error}") from None
    return bytes(fs.context.buffer)


def flash(board: Board, firmware: bytes | None, files: dict[str, bytes]) -> bytes:
    """All of the flash of a board with stock firmware."""
    image = bytearray(b"\xff" * board.flash_size)
    for _, address, content in uf2.blocks(firmware) if firmware else ():
        at = address - _FLASH
        if 0 <= at and at + len(content) <= len(image):
            image[at : at + len(content)] = content
    vfs = board.partition("vfs", stock=True)
    image[vfs.start : vfs.end] = file_system(files, vfs.size)
    return bytes(image)
