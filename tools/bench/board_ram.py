"""What the cryptography keeps in the heap of a board with words of 32 bits: a model.

No board is here to be asked, but the x64 VM is, and the board's .mpy files are. What a VM keeps is
of two kinds:

* content, byte by byte the same in both: code, constants, names, and the machine's memory with its
  tables. The .mpy files tell its size, for each piece in whole blocks of the heap (16 bytes on a
  board, 32 on x64). Native code is content, too; the x64 VM has its own outside the heap.
* what holds it together: dictionaries, functions, objects. It is made of words and half as large
  on a board.

So a board keeps its content and half of what x64 keeps besides content.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from emulator import mpy
from kernels.machine import MEMORY, SCRATCH, SLOT

from bench.size import bytes_of

ROOT = Path(__file__).resolve().parents[2] / "build" / "mpy"

_BLOCK_BOARD, _BLOCK_X64 = 16, 32
_NATIVE = ("native", "viper", "asm_thumb")


class Kept(NamedTuple):
    """Bytes in a board's heap."""

    native: int  # machine code
    bytecode: int
    constants: int  # and names: programs of the machine among them
    buffers: int  # memory that is written to: here, and only here, even if all else is in flash
    objects: int  # what holds it together, half of what x64 needs for it

    @property
    def loaded(self) -> int:
        """With modules from .mpy files."""
        return sum(self)

    @property
    def frozen(self) -> int:
        """At most that, with modules that are part of the firmware: those stay in flash."""
        return self.buffers + self.objects


def model(heap_x64: int, modules_x64: list[str], modules: list[str], arch: str) -> Kept:
    """From what the x64 VM keeps, and the modules that it and a board of this kind load."""
    content_x64 = _blocks(_memory(modules_x64), _BLOCK_X64)
    for kind, size in _pieces("x64", modules_x64):
        content_x64 += 0 if kind in _NATIVE else _blocks(size, _BLOCK_X64)
    sums = dict.fromkeys(("native", "bytecode", "constants"), 0)
    for kind, size in _pieces(arch, modules):
        name = "native" if kind in _NATIVE else "bytecode" if kind == "bytecode" else "constants"
        sums[name] += _blocks(size, _BLOCK_BOARD)
    objects = (heap_x64 - content_x64) // 2
    return Kept(**sums, buffers=_blocks(_memory(modules), _BLOCK_BOARD), objects=objects)


def _memory(modules: list[str]) -> int:
    """Bytes of the field machine's memory: slots for numbers, the comb of the base point. Kernels
    in viper have a scratch behind it."""
    return MEMORY + SCRATCH * SLOT * any("secp256k1_viper" in module for module in modules)


def _pieces(arch: str, modules: list[str]) -> list[mpy.Piece]:
    found = []
    for module in modules:
        path = (ROOT / arch / Path(*module.split("."))).with_suffix(".mpy")
        if bytes_of(path):
            pieces = mpy.load(path).pieces
            # Names share chunks of the heap.
            names = sum(piece.size for piece in pieces if piece.kind == "name")
            found += [piece for piece in pieces if piece.kind != "name"]
            found.append(mpy.Piece("name", names))
    return found


def _blocks(size: int, block: int) -> int:
    return -(-size // block) * block
