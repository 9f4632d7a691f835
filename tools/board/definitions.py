"""The boards that uPerun knows: boards/*/board.json, read and typed.

The form is MicroPython's own, with everything that is ours under "uperun".
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
BOARDS = ROOT / "boards"


class BoardError(RuntimeError):
    """Something that the user can do something about. The text says what."""


@dataclass(frozen=True)
class Partition:
    """A part of the flash: bytes from its beginning. kind and subtype as in ESP-IDF's tables."""

    name: str
    kind: int
    subtype: int
    start: int
    size: int

    @property
    def end(self) -> int:
        """Where the next one may begin."""
        return self.start + self.size


@dataclass(frozen=True)
class Board:
    """One board. Sizes in bytes.

    port        MicroPython's port: rp2, esp32 or unix
    chip        as esptool calls it, or the RP2's name
    arch        of mpy-cross
    partitions  of our own firmware; stock: of the one from micropython.org
    heap_free   what the garbage collector has at boot (README.md says how sure that is)
    usb         (vendor, product) of its serial port
    uart        the one at the pins uart_tx and uart_rx; not that of its REPL
    """

    name: str
    product: str
    port: str
    chip: str
    arch: str
    flash_size: int
    flash_page: int
    flash_sector: int
    firmware_offset: int
    heap_free: int
    network: bool
    usb: tuple[tuple[int, int], ...]
    uf2_family: int | None
    uart: int
    pins: dict[str, int | str]
    partitions: tuple[Partition, ...]
    stock: tuple[Partition, ...]
    cpu_hz: int
    directory: Path

    def partition(self, name: str, stock: bool = False) -> Partition:
        """The partition of this name. Raises BoardError."""
        for one in self.stock if stock else self.partitions:
            if one.name == name:
                return one
        raise BoardError(f"{self.name} has no partition {name}")


def number(value: int | str) -> int:
    """JSON knows no hexadecimal numbers; what reads better as one is text."""
    return value if isinstance(value, int) else int(value, 0)


def _partitions(rows: list[list[Any]]) -> tuple[Partition, ...]:
    return tuple(Partition(row[0], *(number(part) for part in row[1:])) for row in rows)


def load(path: Path) -> Board:
    """Read a board.json."""
    document = json.loads(path.read_text())
    ours = document["uperun"]
    flash = ours["flash"]
    family = ours.get("uf2_family")
    return Board(
        name=path.parent.name,
        product=document["product"],
        port=ours["port"],
        chip=document["mcu"],
        arch=ours["arch"],
        flash_size=number(flash["size"]),
        flash_page=flash["page"],
        flash_sector=flash["sector"],
        firmware_offset=number(document.get("deploy_options", {}).get("flash_offset", 0)),
        heap_free=ours["heap_free"],
        network="WiFi" in document["features"],
        usb=tuple((number(vendor), number(product)) for vendor, product in ours["usb"]),
        uf2_family=None if family is None else number(family),
        uart=ours["uart"],
        pins=ours["pins"],
        partitions=_partitions(flash["partitions"]),
        stock=_partitions(flash["stock"]),
        cpu_hz=ours["cpu_hz"],
        directory=path.parent,
    )


@cache
def boards() -> dict[str, Board]:
    """Name -> Board, of all boards."""
    return {path.parent.name: load(path) for path in sorted(BOARDS.glob("*/board.json"))}


def board(name: str) -> Board:
    """The board of this name. Raises BoardError."""
    try:
        return boards()[name]
    except KeyError:
        raise BoardError(f"no board {name}; there are {', '.join(boards())}") from None
