"""Writes firmware onto a board: esptool for an ESP32, a UF2 file on its drive for an RP2.

esptool is installed on demand, from tools/board/esptool.txt with its hashes, into build/esptool:
it comes as source packages, which `make setup` does not install.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from board import uf2
from board.definitions import ROOT, Board, BoardError, boards
from board.port import Repl

_HERE = Path(__file__).parent
_VENV = ROOT / "build" / "esptool"
_WAIT = 30  # seconds for a drive or a port to appear

_DRIVES = ("RPI-RP2", "RP2350")

# An ESP32's image: the magic number, then at 12 the chip's number.
_IMAGE_MAGIC = 0xE9
_CHIPS = {0: "esp32", 9: "esp32s3", 5: "esp32c3"}

Say = Callable[[str], None]


# -- the file -------------------------------------------------------------------------------------


def check(board: Board, path: Path) -> bytes:
    """The firmware, when it is for this board's chip. Raises BoardError."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BoardError(f"{path}: {error.strerror}") from None
    if board.port == "rp2":
        family = uf2.family(data)
        if family != board.uf2_family:
            other = [one.chip for one in boards().values() if one.uf2_family == family]
            name = other[0] if other else f"family {family:#x}"
            raise BoardError(f"{path} is for {name}, and {board.name} has {board.chip}")
        return data
    if board.port != "esp32":
        raise BoardError(f"{board.name} is not flashed: it is a program")
    if len(data) < 64 or data[0] != _IMAGE_MAGIC:
        raise BoardError(f"{path} is no firmware of an ESP32 (a .bin file from micropython.org)")
    chip = _CHIPS.get(struct.unpack_from("<H", data, 12)[0], "another chip")
    if chip != board.chip:
        raise BoardError(f"{path} is for {chip}, and {board.name} has {board.chip}")
    if board.firmware_offset + len(data) > board.flash_size:
        raise BoardError(f"{path} is longer than the flash of {board.name}")
    return data


# -- ESP32 ----------------------------------------------------------------------------------------


def esptool(say: Say = lambda _: None) -> Path:
    """The program, installed when it is missing. Raises BoardError."""
    program = _VENV / "bin" / "esptool"
    locks = [_HERE / "esptool-build.txt", _HERE / "esptool.txt"]
    want = hashlib.sha256(b"".join(path.read_bytes() for path in locks)).hexdigest()
    stamp = _VENV / ".stamp"
    if stamp.exists() and stamp.read_text() == want and program.exists():
        return program
    say("installing esptool into build/esptool (half a minute, once)")
    shutil.rmtree(_VENV, ignore_errors=True)
    pip = [str(_VENV / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "-q"]
    install = [*pip, "install", "--require-hashes"]
    for command in (
        [sys.executable, "-m", "venv", str(_VENV)],
        [*install, "--only-binary=:all:", "-r", str(locks[0])],
        [*install, "--no-build-isolation", "-r", str(locks[1])],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise BoardError(f"esptool cannot be installed: {' '.join(command)}\n{done.stderr}")
    stamp.write_text(want)
    return program


def detect(port: str, reset: str = "default-reset", say: Say = lambda _: None) -> str:
    """The chip at this port, as board.json names it. Raises BoardError."""
    out = _esptool(["--port", port, "--before", reset, "--after", "no-reset", "chip-id"], say)
    found = re.search(r"(?:Chip type:|Detecting chip type\.*|Connected to)\s*(ESP32[\w-]*)", out)
    if not found:
        raise BoardError(f"{port}: esptool does not name the chip:\n{out}")
    name = re.match(r"ESP32(-[A-Z]\d+)?", found[1])
    assert name is not None
    return name[0].lower().replace("-", "")


def _esptool(arguments: list[str], say: Say) -> str:
    done = subprocess.run([str(esptool(say)), *arguments], capture_output=True, text=True)
    if done.returncode:
        text = (done.stdout + done.stderr).strip().splitlines()
        tail = "\n".join(text[-4:])
        raise BoardError(
            f"esptool failed: {tail}\nIf it did not connect: hold BOOT, press RESET, try again"
        )
    return done.stdout


def commands(
    board: Board,
    port: str,
    path: Path,
    erase: bool = False,
    reset: str = "default-reset",
    more: tuple[str, ...] = (),
) -> list[list[str]]:
    """What esptool is called with: erase perhaps, write, verify. more: options of esptool."""
    head = ["--chip", board.chip, "--port", port, "--before", reset, *more]
    where = [hex(board.firmware_offset), str(path)]
    steps = [[*head, "--after", "no-reset", "erase-flash"]] if erase else []
    return [
        *steps,
        [*head, "--after", "no-reset", "write-flash", *where],
        [*head, "--after", "hard-reset", "verify-flash", *where],
    ]


def flash_esp32(
    board: Board,
    port: str,
    path: Path,
    erase: bool = False,
    say: Say = lambda _: None,
    reset: str = "default-reset",
    more: tuple[str, ...] = (),
) -> None:
    """Write and verify. Raises BoardError for another chip, before anything is written."""
    check(board, path)
    chip = detect(port, reset, say)
    if chip != board.chip:
        raise BoardError(
            f"{port} is an {chip}, and {board.name} has {board.chip}: nothing written"
        )
    for command in commands(board, port, path, erase, reset, more):
        say(
            next(word for word in command if word.endswith("-flash")).replace(
                "-flash", " the flash"
            )
        )
        _esptool(command, say)


# -- RP2 ------------------------------------------------------------------------------------------


def mounts() -> Iterator[Path]:
    """Where file systems are mounted."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/mounts").read_text().splitlines():
            yield Path(line.split()[1].replace("\\040", " "))


def drives(candidates: Callable[[], Iterator[Path]] = mounts) -> list[Path]:
    """The drives of boot loaders that wait for a UF2 file."""
    found = []
    for place in candidates():
        with contextlib.suppress(OSError):
            if "UF2 Bootloader" in (place / "INFO_UF2.TXT").read_text():
                found.append(place)
    return found


def drive_chip(drive: Path) -> str:
    """The chip behind a drive: rp2040 or rp2350. Raises BoardError."""
    text = (drive / "INFO_UF2.TXT").read_text()
    if "RP2350" in text:
        return "rp2350"
    if "RPI-RP2" in text or "Board-ID: RPI-RP2" in text:
        return "rp2040"
    raise BoardError(f"{drive} is the drive of another board:\n{text.strip()}")


def enter_boot_loader(port: str) -> None:
    """Have a running MicroPython start the boot loader, as `mpremote bootloader` does."""
    with Repl(port) as repl, contextlib.suppress(BoardError):
        repl.run("import machine\nmachine.bootloader()", timeout=2)


def flash_rp2(
    board: Board,
    path: Path,
    port: str | None = None,
    candidates: Callable[[], Iterator[Path]] = mounts,
    say: Say = lambda _: None,
    wait: float = _WAIT,
) -> None:
    """Copy a UF2 file onto the boot loader's drive, which reboots when it has all of it.

    port: of a running MicroPython, to be sent to its boot loader. Raises BoardError for another
    chip, before anything is written.
    """
    data = check(board, path)
    if port and not drives(candidates):
        say("starting the boot loader")
        enter_boot_loader(port)
    drive = _wait_for_drive(candidates, wait)
    chip = drive_chip(drive)
    if chip != board.chip:
        raise BoardError(
            f"{drive} is an {chip}, and {board.name} has {board.chip}: nothing written"
        )
    say(f"copying {len(data) // 1024} KB to {drive}")
    try:
        with (drive / "firmware.uf2").open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise BoardError(f"{drive}: {error.strerror}: unplug the board and begin again") from None
    end = time.monotonic() + wait
    while drives(candidates):  # the boot loader takes a whole file, checks it, and starts it
        if time.monotonic() > end:
            raise BoardError(f"{drive} is still there: the boot loader did not take the file")
        time.sleep(0.1)


def _wait_for_drive(candidates: Callable[[], Iterator[Path]], wait: float) -> Path:
    end = time.monotonic() + wait
    while True:
        found = drives(candidates)
        if len(found) > 1:
            raise BoardError(f"several boot loaders wait: unplug all but one ({found})")
        if found:
            return found[0]
        if time.monotonic() > end:
            raise BoardError(
                f"no drive of a boot loader ({' or '.join(_DRIVES)}): hold BOOTSEL while you plug "
                "the board in, and mount the drive if your system does not"
            )
        time.sleep(0.1)
