"""The boot loader of a virtual RP2: a folder that stands for its USB drive."""

from __future__ import annotations

import shutil
from pathlib import Path

from board import uf2
from board.definitions import Board, BoardError

_FLASH = 0x10000000  # where the chip sees its flash
_INFO = {
    "rp2040": "UF2 Bootloader v3.0\nModel: Raspberry Pi RP2\nBoard-ID: RPI-RP2\n",
    "rp2350": "UF2 Bootloader v1.0\nModel: Raspberry Pi RP2350\nBoard-ID: RP2350\n",
}


class BootDrive:
    """board: whose; place: the folder; flash: the chip's file."""

    def __init__(self, board: Board, place: Path, flash: Path) -> None:
        self._board, self._place, self._flash = board, place, flash
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        info = place / "info"
        info.write_text(_INFO[board.chip])
        info.rename(place / "INFO_UF2.TXT")  # a drive is there at once

    def look(self) -> bool:
        """Take a file that is whole and for this chip: True, and the drive is gone."""
        for path in self._place.glob("*.uf2"):
            try:
                blocks = list(uf2.blocks(path.read_bytes()))
            except (BoardError, OSError):
                continue  # it is still being copied
            with self._flash.open("r+b") as chip:
                for family, address, content in blocks:
                    if family == self._board.uf2_family and address >= _FLASH:
                        chip.seek(address - _FLASH)
                        chip.write(content)
            self.close()
            return True
        return False

    def close(self) -> None:
        """The drive is gone."""
        shutil.rmtree(self._place, ignore_errors=True)
