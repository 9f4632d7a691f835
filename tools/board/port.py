"""A board's serial port: which one, and its REPL. mpremote's transport below, our errors above.

Whatever goes wrong is a BoardError that says what to do: no board, several, a cable that was
unplugged, a board that does not answer.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import io
import json
import os
import secrets
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import serial
from mpremote.transport import TransportError, TransportExecError
from mpremote.transport_serial import SerialTransport
from serial.tools import list_ports

from board.definitions import Board, BoardError, boards

_TIMEOUT = 10  # seconds without a byte
_TRIES = 3  # to get a program's attention
_CHUNK = 768  # bytes of a file in one command
_MARK = "\x1euperun "  # what our own answers begin with: the rest of the output is noise

# The architectures in the third byte of sys.implementation._mpy, as mpy-cross calls them.
ARCHITECTURES = (
    *("none", "x86", "x64", "armv6", "armv6m", "armv7m", "armv7em"),
    *("armv7emsp", "armv7emdp", "xtensa", "xtensawin", "rv32imc", "rv64imc"),
)

# What a command that was cut short has left open would be closed by a collection of garbage, in
# which a driver of flash that is written in Python has no memory.
_BEGIN = f"""
try:
    _f.close()
except (NameError, OSError):
    pass
def say(value):
    import json
    print({_MARK!r} + json.dumps(value))
"""
_IDENTIFY = """
import sys, os
try:
    import machine
    virtual = getattr(machine, "VIRTUAL", None)
    unique = machine.unique_id().hex()
except (ImportError, AttributeError):
    virtual = unique = None
v = os.statvfs("/")
say([sys.implementation.version[:3], sys.implementation._mpy, sys.implementation._machine,
     sys.platform, virtual, unique, v[0] * v[3], v[0] * v[2]])
"""


@dataclass(frozen=True)
class Identity:
    """What a board says about itself. free, size: bytes of its file system."""

    version: tuple[int, ...]
    mpy: int
    machine: str
    platform: str
    virtual: str | None
    unique_id: str | None
    free: int
    size: int

    @property
    def arch(self) -> str:
        """The architecture for mpy-cross."""
        return ARCHITECTURES[self.mpy >> 10 & 0x0F]

    @property
    def board(self) -> Board | None:
        """The definition that fits, if there is one."""
        if self.virtual:
            return boards()[self.virtual]
        # "Raspberry Pi Pico W with RP2040"; the longest product first: "Pico W" before "Pico".
        name = _squeeze(self.machine.partition(" with ")[0])
        products = {_squeeze(one.product.partition(" / ")[0]): one for one in boards().values()}
        for product in sorted(products, key=len, reverse=True):
            if product in name:
                return products[product]
        return None


def _squeeze(text: str) -> str:
    return text.lower().replace(" ", "").replace("-", "")


def find(port: str | None = None) -> str:
    """The port to use: the named one, or the only board there is. Raises BoardError."""
    if port:
        return port
    known = {ids for one in boards().values() for ids in one.usb}
    found = [one for one in list_ports.comports() if (one.vid, one.pid) in known]
    if not found:
        raise BoardError(
            "no board found: plug one in with a cable that carries data, or name its port "
            "(--port /dev/ttyACM0, or the pty of a virtual board)"
        )
    if len(found) > 1:
        listed = ", ".join(f"{one.device} ({one.description})" for one in found)
        raise BoardError(f"several boards: name one with --port: {listed}")
    return str(found[0].device)


@contextlib.contextmanager
def _clear(port: str) -> Iterator[None]:
    """Errors of the line and of mpremote as BoardErrors."""
    try:
        yield
    except TransportExecError as error:
        raise RemoteError(error.error_output) from None
    except TransportError as error:
        raise BoardError(f"{port}: {error}: is it a MicroPython board, and awake?") from None
    except (OSError, serial.SerialException, struct.error) as error:
        raise BoardError(
            f"{port}: the connection broke ({error}): look at the cable and try again; "
            "nothing that was begun counts"
        ) from None


class RemoteError(BoardError):
    """Code raised an exception on the board. name: its class."""

    def __init__(self, trace: str) -> None:
        lines = trace.strip().splitlines()
        last = lines[-1] if lines else "?"
        self.name, _, self.detail = last.partition(": ")
        self.trace = trace
        super().__init__(f"the board says: {last}")

    @property
    def errno(self) -> int | None:
        """Of an OSError."""
        text = self.detail.removeprefix("[Errno ").split("]")[0]
        return int(text) if self.name == "OSError" and text.isdigit() else None


class Repl:
    """The raw REPL of the board at a port, as a context. What ran before is interrupted.

    On leaving, the board is left at its friendly REPL, or runs again after `restart()`.
    """

    def __init__(self, port: str) -> None:
        self.port = port
        self._transport: SerialTransport | None = None

    def __enter__(self) -> Self:
        with _clear(self.port):
            # A pty is known by its name, not by a link to it.
            self._transport = SerialTransport(os.path.realpath(self.port), timeout=_TIMEOUT)
            try:
                self._enter(self._transport)
            except BaseException:
                self._transport.close()
                raise
        self.run(_BEGIN)
        return self

    @staticmethod
    def _enter(transport: SerialTransport) -> None:
        """Interrupt what runs, as often as it takes: a busy program may not hear it at once."""
        for left in reversed(range(_TRIES)):
            try:
                with contextlib.redirect_stdout(io.StringIO()):  # mpremote prints what it got
                    transport.enter_raw_repl(soft_reset=False, timeout_overall=_TIMEOUT / _TRIES)
                    Repl._catch_up(transport)
                return
            except TransportError:
                if not left:
                    raise

    @staticmethod
    def _catch_up(transport: SerialTransport) -> None:
        """Pass over what is under way: a board that was slow answers each call for attention."""
        mark = secrets.token_hex(4)
        transport.serial.write(f"print({mark!r})\x04".encode())
        for end in (mark.encode(), b"\x04\x04"):
            if not transport.read_until(1, end, timeout_overall=_TIMEOUT / _TRIES).endswith(end):
                raise TransportError("could not enter raw repl")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._transport is not None:
            with contextlib.suppress(Exception):
                if self._transport.in_raw_repl:
                    self._transport.exit_raw_repl()
            with contextlib.suppress(Exception):
                self._transport.close()
            self._transport = None

    @property
    def transport(self) -> SerialTransport:
        """mpremote's."""
        assert self._transport is not None
        return self._transport

    def run(self, code: str, timeout: float = _TIMEOUT) -> str:
        """Run code; what it prints. Raises RemoteError, BoardError."""
        with _clear(self.port):
            out, err = self.transport.exec_raw(code, timeout=timeout)
            if err:
                raise RemoteError(err.decode(errors="replace"))
            return str(out.decode(errors="replace"))

    def ask(self, code: str, timeout: float = _TIMEOUT) -> Any:
        """Run code that calls say(value) once; the value. Noise around it is passed over."""
        out = self.run(code, timeout)
        for line in reversed(out.split("\n")):
            if _MARK in line:
                try:
                    return json.loads(line.partition(_MARK)[2])
                except ValueError:
                    break
        raise BoardError(f"{self.port}: an answer was lost in noise: {out[-200:]!r}; try again")

    def value(self, expression: str) -> Any:
        """The value of an expression that is a literal."""
        return ast.literal_eval(self.run(f"print(repr({expression}))").strip())

    def identify(self) -> Identity:
        """Who is there?"""
        version, *rest = self.ask(_IDENTIFY)
        return Identity(tuple(version), *rest)

    # -- files ------------------------------------------------------------------------------------

    def write(
        self, path: str, data: bytes, progress: Callable[[int], None] = lambda _: None
    ) -> None:
        """Write a file; on return it is on the flash. Not atomic: write beside, then rename."""
        self.run(f"import binascii\n_a = binascii.a2b_base64\n_f = open({path!r}, 'wb')")
        for at in range(0, len(data), _CHUNK):
            part = data[at : at + _CHUNK]
            self.run(f"_f.write(_a({base64.b64encode(part).decode()!r}))")
            progress(len(part))
        self.run("_f.close()\ndel _f, _a")

    def replace(self, path: str, data: bytes) -> None:
        """Write a file so that it is the old one or the new one, whenever the power fails."""
        self.write(path + ".new", data)
        self.run(f"import os\nos.rename({path + '.new'!r}, {path!r})")

    def read(self, path: str) -> bytes | None:
        """A file, or None if there is none."""
        try:
            size = int(self.ask(f"import os\nsay(os.stat({path!r})[6])"))
        except RemoteError as error:
            if error.errno == 2 or "ENOENT" in error.detail:
                return None
            raise
        self.run(f"import binascii\n_f = open({path!r}, 'rb')")
        data = b""
        while len(data) < size:
            part = self.ask(f"say(binascii.b2a_base64(_f.read({_CHUNK})).decode())")
            data += base64.b64decode(part)
        self.run("_f.close()\ndel _f")
        return data

    def restart(self) -> None:
        """A soft reset that runs boot.py and main.py, as after power came."""
        with _clear(self.port):
            self.transport.exit_raw_repl()
            time.sleep(0.05)
            self.transport.serial.reset_input_buffer()
            self.transport.serial.write(b"\x04")
