"""`make emulate UF2=...`: boots a user's MicroPython for the RP2040 in rp2040js, with our files.

The emulated chip's USB serial port is a pty. No registry has the two files that this takes, so the
user brings them; the error says where they are.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import threading
import time
import tty
from pathlib import Path
from typing import Self

from board import deploy, image
from board.definitions import ROOT, BoardError, board
from board.flash import check
from board.port import Repl

NODE = ROOT / "build" / "venv" / "bin" / "node"
_SCRIPT = Path(__file__).with_suffix(".mjs")
_BOOT = 180  # seconds: an emulated chip is slow
_BOOTROM_SIZE = 16384
_WHERE = """\
two files are needed, which no package registry has:
  UF2=      MicroPython for the Pico, RPI_PICO-*.uf2: https://micropython.org/download/RPI_PICO/
  BOOTROM=  the chip's boot ROM, b1.bin or b2.bin: the releases of
            https://github.com/raspberrypi/pico-bootrom-rp2040
then: make emulate UF2=RPI_PICO-....uf2 BOOTROM=b2.bin"""

_SELF_TEST = """
import sys, time, gc
sys.path.insert(0, "/app/test")
gc.collect()
free = gc.mem_free()
start = time.ticks_ms()
from perun.crypto.keccak import keccak256
from perun.chain.account import Account
digest = keccak256(b"uPerun")
account = Account(bytes(range(1, 33)))
loaded = time.ticks_ms()
signature = account.sign(digest)
signed = time.ticks_ms()
from perun.crypto import secp256k1
gc.collect()
say({"keccak": digest.hex(), "address": account.address.hex(), "signature": len(signature),
     "load_ms": time.ticks_diff(loaded, start), "sign_ms": time.ticks_diff(signed, loaded),
     "heap_before": free, "heap_after": gc.mem_free()})
"""


class Emulated:
    """An emulated RP2040, as a context.

    flash: its content; serial: which one, "usb" or "uart"; port: the pty behind which it is.
    """

    def __init__(self, flash: bytes, bootrom: Path | None, serial: str = "usb") -> None:
        self._folder = tempfile.TemporaryDirectory()
        content = Path(self._folder.name) / "flash.bin"
        content.write_bytes(flash)
        if not NODE.exists():
            raise BoardError("Node is not there: make setup")
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        self.port = os.ttyname(self._slave)
        self.errors = Path(self._folder.name) / "errors"
        with self.errors.open("wb") as errors:
            self._process = subprocess.Popen(
                [NODE, _SCRIPT, content, bootrom or "-", serial],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**os.environ, "RP2040JS": str(ROOT / "build" / "node")},
            )
        for work in (self._to_user, self._to_chip):
            threading.Thread(target=work, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        for number in (self._slave, self._master):
            os.close(number)
        self._folder.cleanup()

    @property
    def running(self) -> bool:
        """Is it? What it wrote before it ended is in `errors`."""
        return self._process.poll() is None

    def _to_user(self) -> None:
        assert self._process.stdout is not None
        with contextlib.suppress(OSError):
            while data := os.read(self._process.stdout.fileno(), 4096):
                os.write(self._master, data)

    def _to_chip(self) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            while data := os.read(self._master, 4096):
                os.write(self._process.stdin.fileno(), data)


def emulate(uf2: Path | None, bootrom: Path | None) -> Emulated:
    """The user's firmware with our files. Raises BoardError that says what is missing."""
    if uf2 is None or bootrom is None:
        raise BoardError(_WHERE)
    pico = board("RPI_PICO")
    firmware = check(pico, uf2)
    try:
        size = bootrom.stat().st_size
    except OSError as error:
        raise BoardError(f"{bootrom}: {error.strerror}\n{_WHERE}") from None
    if size != _BOOTROM_SIZE:
        raise BoardError(f"{bootrom} is no boot ROM of an RP2040: that has 16384 bytes\n{_WHERE}")
    software = deploy.build(pico.arch, everything=True)
    files = {f"app/test/{name}": data for name, data in software.files.items()}
    return Emulated(image.flash(pico, firmware, files), bootrom)


def self_test(one: Emulated) -> dict[str, object]:
    """Our code on it: a hash, an address, a signature. Raises BoardError."""
    end = time.monotonic() + _BOOT
    while True:
        if not one.running:
            raise BoardError(f"the emulator ended:\n{one.errors.read_text()}")
        try:
            with Repl(one.port) as repl:
                found: dict[str, object] = repl.ask(_SELF_TEST, 600)
                return found
        except BoardError:
            if time.monotonic() > end:
                raise
