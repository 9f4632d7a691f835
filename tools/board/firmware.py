"""Builds firmware of our own with a MicroPython checkout of the user's: what `make firmware` does.

Nothing is changed in the checkout: the board's folder is given as BOARD_DIR, the build goes to
build/firmware/BOARD. What is frozen comes from tools/bundle, which the manifest runs by itself, so
that it also serves whoever calls MicroPython's make without us (boards/README.md).
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from board.definitions import ROOT, Board, BoardError
from board.manifest import Manifest

BUILD = ROOT / "build" / "firmware"
# What the port's build leaves, and what it needs on the computer.
_RESULT = {"rp2": "firmware.uf2", "esp32": "firmware.bin", "unix": "micropython"}
_TOOLS = {
    "rp2": "cmake and the Arm compiler (Debian: apt install cmake gcc-arm-none-eabi)",
    "esp32": "ESP-IDF, with its export.sh sourced in this shell",
    "unix": "gcc and libffi",
}


@dataclass(frozen=True)
class Build:
    """The commands, one after the other, and the file that they make."""

    commands: tuple[tuple[str, ...], ...]
    result: Path


def plan(board: Board, checkout: Path) -> Build:
    """What must be run. Raises BoardError when the checkout or the manifest cannot do it."""
    port = checkout / "ports" / board.port
    if not (checkout / "py" / "mpconfig.h").is_file() or not (port / "Makefile").is_file():
        raise BoardError(
            f"{checkout} is no MicroPython checkout with the port {board.port}: "
            "git clone https://github.com/micropython/micropython, check out a release (1.29), "
            "and name it: make firmware MICROPYTHON_DIR=..."
        )
    Manifest(board.directory / "manifest.py")  # every file of ours is there, put together anew
    build = BUILD / board.name
    make: tuple[str, ...] = ("make", "-C", str(port), f"BUILD={build}")
    if board.port == "unix":
        # The port's own build names no architecture, and native modules need one.
        make += (f"FROZEN_MANIFEST={board.directory / 'manifest.py'}",)
        make += (f"MPY_CROSS_FLAGS=-march={board.arch}",)
    else:
        make += (f"BOARD={board.name}", f"BOARD_DIR={board.directory}")
    cross = ("make", "-C", str(checkout / "mpy-cross"))
    return Build((cross, (*make, "submodules"), make), build / _RESULT[board.port])


def run(board: Board, checkout: Path) -> Path:
    """Build; the file that was made. Raises BoardError."""
    build = plan(board, checkout.resolve())
    for command in build.commands:
        try:
            done = subprocess.run(command)
        except FileNotFoundError:
            raise BoardError(f"{command[0]} is not installed") from None
        if done.returncode:
            raise BoardError(
                f"the build failed: {' '.join(command)}\nThe port needs {_TOOLS[board.port]}"
            )
    if not build.result.is_file():
        raise BoardError(f"the build made no {build.result}")
    return build.result
