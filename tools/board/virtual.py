"""A board without a board: the real MicroPython VM behind a pty, with flash, pins and power.

`Virtual` is the hardware: power, reset, the flash chip, what is soldered to the pins, the USB
cable. The VM is a child process that dies when the power is cut. Everything runs in a thread of
its own, so that tests and commands may block.

    the user's pty  <->  bytes  <->  the VM's pty        mpremote, a terminal, our own tools
    vm/*.py         <->  lines of text  <->  here        pins, watchdog, Wi-Fi, resets

What is real: the VM, its REPL, its heap, LittleFS, the order and the tearing of flash operations.
What is played: pins, whether there is a network. What is not there: a board's speed, and the RAM
of native code, which lies outside of the heap on the unix port (README.md has the list).
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import hashlib
import json
import os
import select
import selectors
import signal
import struct
import subprocess
import tempfile
import termios
import threading
import time
import tty
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from board.bootdrive import BootDrive
from board.definitions import ROOT, Board, BoardError
from board.frozen import MPY_CROSS, firmware

BUILD = ROOT / "build"
MICROPYTHON = BUILD / "venv" / "bin" / "micropython"
MODULES = BUILD / "mpy" / "x64"  # what `make mpy` compiles for virtual boards
VM = Path(__file__).parent / "vm"

# A word has 8 bytes on the unix port and 4 on a board; text, bytes and bytecode are as large. The
# budget that is set for both, 176 KB here and 100 KB on a board, says 1.76.
HEAP_FACTOR = 1.75

_MARK = b"\x00repl\x00"  # what the VM writes when it goes to its REPL
_RAW = b"raw REPL; CTRL-B to exit\r\n"
_FRIENDLY = b'Type "help()" for more information.'
_FRESH = 0xFFFFFFFF  # no power cut is planned
_HELD = 1 << 18  # bytes that wait for a user who does not read
_MEMORY = 60  # bytes of output that are looked at again with the next ones
_LINE = 0.03  # seconds after which a line of the REPL may read for itself
_SETTLE = 3  # seconds that a program has to end after Ctrl-C
_HESITATE = 1.5  # seconds of its own that a busy program has to wait for something, after Ctrl-C
_LIMIT = 60  # seconds for what only has to happen: the computer may be busy
_LIBC = ctypes.CDLL(None)

HARD, WATCHDOG, SLEEP, SOFT, POWER = 2, 3, 4, 5, 1  # causes of a reset


class Virtual:
    """board: its definition; directory: where its flash is, made when it is missing.

    firmware    "stock" as from micropython.org, or "custom": our own, frozen
    heap        bytes of the VM's heap, instead of the board's
    uarts       number -> tty of the computer
    wifi        network -> password: what is in reach
    on_pin      called with (pin, level) for every change; from another thread
    port        the path of the user's tty; a new one after unplug(), on an RP2 after a power cut
    pins        pin -> level, of those that the board drives
    """

    def __init__(
        self,
        board: Board,
        directory: Path,
        firmware: str = "stock",
        heap: int | None = None,
        uarts: dict[int, str] | None = None,
        wifi: dict[str, str] | None = None,
        on_pin: Callable[[str, int], None] | None = None,
    ) -> None:
        if firmware not in ("stock", "custom"):
            raise BoardError(f"firmware {firmware}: there are stock and custom")
        self.board, self.directory, self.firmware = board, directory, firmware
        self.heap = heap or int(board.heap_free * HEAP_FACTOR)
        self.uarts, self.wifi = uarts or {}, wifi or {}
        self.on_pin = on_pin
        self.pins: dict[str, int] = {}
        self.heard: list[str] = []  # the last of what the VM told, newest last
        self._done: Counter[str] = Counter()  # how often the VM has done what it was told
        self.boots = 0
        directory.mkdir(parents=True, exist_ok=True)
        self.flash, self.registers = directory / "flash.bin", directory / "flash.registers"
        self._prepare_flash()
        self._vm: subprocess.Popen[bytes] | None = None
        self._inner = self._tell = self._hear = -1
        self._raw = False
        self._hiding = b""  # until what the VM's output is held back
        self._last = b""  # of what the VM wrote
        self._executing = False  # does the raw REPL run something?
        self._interrupts = True  # does Ctrl-C interrupt, or has kbd_intr() changed that?
        self._busy: float | None = None  # since when the friendly REPL runs a line
        self._idle = False  # have the boot files ended?
        self._settled = True  # and did the REPL begin after that?
        self._marked = False  # is the mark of the REPL on its way?
        self._to_vm, self._to_user, self._lines = bytearray(), bytearray(), bytearray()
        self._out = bytearray()
        self._ready = False
        self._calm: float | None = None  # when a program that was interrupted must have ended
        self._hesitates: float | None = None  # seconds of the VM until which Ctrl-C waits
        self._watchdog: tuple[float, float] | None = None  # (its timeout, when it bites)
        self._alarm: tuple[float, int] | None = None  # when to start, and why
        self._news = threading.Condition()
        self._jobs: list[Callable[[], None]] = []
        self._wake_out, self._wake_in = os.pipe()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wake_out, selectors.EVENT_READ)
        self._drive: BootDrive | None = None
        self._ended = False
        self._outer = self._slave = -1
        self.port = ""
        self.plug()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    # -- the user's side --------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self.power_on()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def running(self) -> bool:
        """Is the power on?"""
        return self._vm is not None

    def power_on(self) -> None:
        """Switch on, if it is off; returns when the boot files run."""
        boots = self.boots
        self._do(self._switch_on)
        self._until(lambda: self.boots > boots or self._ready or not self.running, "that it boots")

    def power_off(self) -> None:
        """Cut the power, wherever the VM is."""
        self._do(self._switch_off)

    def reset(self) -> None:
        """Press the reset button."""
        boots = self.boots
        self._do(self._restart)
        self._until(lambda: self.boots > boots or not self.running, "that it boots")

    def cut_after(self, operations: int | None, half: bool = False) -> None:
        """Have the power fail in a flash operation, after this many more; None: never.

        half: the operation has done a half of its work, instead of nothing.
        """
        with self.registers.open("r+b") as file:
            file.write(struct.pack("<II", _FRESH if operations is None else operations, half))

    def wait_off(self, timeout: float = _LIMIT) -> None:
        """Wait until the power has failed. Raises BoardError."""
        self._until(lambda: not self.running, "that its power fails", timeout)

    def wait_pin(self, pin: int | str, level: int, timeout: float = _LIMIT) -> None:
        """Wait until the board drives a pin to this level. Raises BoardError."""
        self._until(lambda: self.pins.get(str(pin)) == level, f"pin {pin} at {level}", timeout)

    def wait_repl(self, timeout: float = _LIMIT) -> None:
        """Wait until boot.py and main.py have ended. Raises BoardError."""
        self._until(lambda: self._idle, "the end of its main.py", timeout)

    def set_pin(self, pin: int | str, level: int) -> None:
        """Drive a pin from outside."""
        self.say(f"pin {pin} {level}")

    def pulse(self, pin: int | str, count: int = 1) -> None:
        """Let a meter pulse: low and high again; returns when the board has seen all of it, or
        starts anew."""
        work, boots = f"pulse {pin} {count}", self.boots
        seen = self._done[work]
        self.say(work)
        self._until(
            lambda: self._done[work] > seen or not self.running or self.boots > boots,
            "its pulses",
        )

    def say(self, line: str) -> None:
        """A line for the VM's side: pin, pulse, wifi."""
        self._do(lambda: self._say(line))

    def unplug(self) -> None:
        """Pull the USB cable's data lines: the port is gone, the board runs on."""
        self._do(self._unplug)

    def plug(self) -> None:
        """Plug it in again: a new port, at the same link."""
        if self._outer >= 0:
            return
        self._outer, self._slave = os.openpty()
        tty.setraw(self._slave)  # held open: a port without a user does not hang up
        os.set_blocking(self._outer, False)
        self.port = os.ttyname(self._slave)
        link = self.directory / "tty"
        link.unlink(missing_ok=True)
        link.symlink_to(self.port)
        self._do(lambda: None)

    def noise(self, data: bytes) -> None:
        """Bytes that the user sees and the VM has not written."""
        self._do(lambda: self._to_user.extend(data))

    def counts(self) -> dict[str, Any]:
        """What the flash chip has done: {"programs", "erases", "wear": erases of each sector}."""
        data = self.registers.read_bytes()
        _, _, programs, erases = struct.unpack("<IIII", data[:16])
        wear = struct.unpack(f"<{(len(data) - 16) // 4}I", data[16:])
        return {"programs": programs, "erases": erases, "wear": list(wear)}

    def close(self) -> None:
        """Take it away; its flash stays."""
        if self._ended:
            return
        self._do(self._stop)
        self._ended = True
        os.write(self._wake_in, b"x")
        self._thread.join()
        self._unplug()
        self._selector.close()
        os.close(self._wake_in)
        os.close(self._wake_out)

    # -- the flash chip ---------------------------------------------------------------------------

    def _prepare_flash(self) -> None:
        size = self.board.flash_size
        if not self.flash.exists():
            with self.flash.open("wb") as file:
                for _ in range(size // 65536):
                    file.write(b"\xff" * 65536)
        if self.flash.stat().st_size != size:
            raise BoardError(f"{self.flash} is not the flash of {self.board.name}: remove it")
        if not self.registers.exists():
            sectors = size // self.board.flash_sector
            self.registers.write_bytes(struct.pack("<IIII", _FRESH, 0, 0, 0) + bytes(4 * sectors))

    def _settings(self) -> dict[str, Any]:
        table = self.board.partitions if self.firmware == "custom" else self.board.stock
        vfs = [one for one in table if one.name in ("vfs", "channels")]
        port = "rp2" if self.board.port == "unix" else self.board.port
        boot, main, modules = VM / f"stock_{port}.py", None, []
        if self.firmware == "custom":
            ours = firmware(port)
            boot, main, modules = ours.boot or boot, ours.main, [str(ours.modules)]
        start = min(one.start for one in vfs)
        return {
            "board": self.board.name,
            "port": port,
            "flash": str(self.flash),
            "registers": str(self.registers),
            "storage": [start, max(one.end for one in vfs) - start],
            "partitions": [[o.name, o.kind, o.subtype, o.start, o.size] for o in table],
            "boot": str(boot),
            "main": str(main) if main else None,
            "frozen": modules,
            "unique_id": list(hashlib.sha256(str(self.directory).encode()).digest()[:8]),
            "freq": self.board.cpu_hz,
            "uarts": {str(number): path for number, path in self.uarts.items()},
            "wifi": [[name, word] for name, word in self.wifi.items()],
            "mark": _MARK.decode(),
        }

    # -- power ------------------------------------------------------------------------------------

    def _start(self, cause: int, friendly: bool) -> None:
        self._alarm = self._calm = self._hesitates = None
        self._ready = False
        self._to_vm.clear()
        self._lines.clear()
        self._hiding = b""
        self._marked = self._idle = self._executing = False
        self._interrupts = True
        settings = {**self._settings(), "cause": cause, "friendly": friendly}
        self._vm, self._inner, self._tell, self._hear = _spawn(
            settings, self.heap + _overhead(self._settings())
        )
        for number in (self._inner, self._tell):
            os.set_blocking(number, False)
            self._selector.register(number, selectors.EVENT_READ)
        self._raw = self._raw and not friendly

    def _switch_off(self) -> None:
        """An RP2 is a USB device itself: without power it is gone from the bus."""
        self._stop()
        if self.board.port == "rp2":
            self._unplug()

    def _switch_on(self) -> None:
        if self._drive:
            self._drive.close()
            self._drive = None
        self.plug()
        if self._vm is None:
            self._start(POWER, friendly=True)

    def _restart(self) -> None:
        self._stop()
        self._start(HARD, friendly=True)

    def _stop(self) -> None:
        if self._vm is None:
            return
        self._vm.kill()
        self._vm.wait()
        self._drain()
        for number in (self._inner, self._tell):
            self._selector.unregister(number)
        for number in (self._inner, self._tell, self._hear):
            os.close(number)
        self._vm = None
        self._inner = self._tell = self._hear = -1
        self._watchdog = None
        self._raw = self._ready = False
        self._to_vm.clear()
        for pin in list(self.pins):  # without power nothing is driven
            self._set(pin, 0)
        self._announce()

    def _drain(self) -> None:
        """What the VM wrote before it died."""
        with contextlib.suppress(OSError):
            while data := os.read(self._inner, 4096):
                self._from_vm(data)

    def _died(self) -> None:
        """The VM ended by itself: Ctrl-D, an exit, a crash."""
        assert self._vm is not None
        raw, status = self._raw, self._vm.wait()
        self._stop()
        if status not in (0, 1, -signal.SIGINT) and status < 0:
            self._to_user += f"\r\nthe VM died of signal {-status}\r\n".encode()
        self._reboot_softly(raw)

    def _reboot_softly(self, raw: bool) -> None:
        self._to_user += b"MPY: soft reboot\r\n"
        self._raw = raw
        # A program that exits at once is started again and again, as on a board; not so quickly.
        self._alarm = (time.monotonic() + (0 if raw else 0.05), SOFT)

    def _reboot(self, cause: int) -> None:
        friendly = not (cause == SOFT and self._raw)
        self._start(cause, friendly)

    # -- the loop ---------------------------------------------------------------------------------

    def _do(self, job: Callable[[], Any]) -> None:
        """Run in the board's thread and wait for it."""
        if not hasattr(self, "_thread") or threading.current_thread() is self._thread:
            job()
            return
        done = threading.Event()
        failure: list[BaseException] = []

        def work() -> None:
            try:
                job()
            except BaseException as error:
                failure.append(error)
            done.set()

        self._jobs.append(work)
        os.write(self._wake_in, b"x")
        if not done.wait(_LIMIT):
            raise BoardError(f"{self.board.name}: the virtual board hangs")
        if failure:
            raise failure[0]

    def _until(self, ready: Callable[[], bool], what: str, timeout: float = _LIMIT) -> None:
        with self._news:
            if not self._news.wait_for(ready, timeout):
                raise BoardError(f"{self.board.name}: waited {timeout:g} s for {what}")

    def _announce(self) -> None:
        with self._news:
            self._news.notify_all()

    def _run(self) -> None:
        while not self._ended:
            self._register()
            for key, events in self._selector.select(self._patience()):
                self._serve(key.fd, events)
            self._timers()
            while self._jobs:
                self._jobs.pop(0)()
            self._pump()

    def _register(self) -> None:
        """Listen to the user while there is room, write while there is something to write."""
        wanted = 0
        if self._outer >= 0:
            wanted |= selectors.EVENT_READ if len(self._to_vm) < 4096 else 0
            wanted |= selectors.EVENT_WRITE if self._to_user else 0
        known = self._outer in self._selector.get_map() if self._outer >= 0 else False
        if wanted and known:
            self._selector.modify(self._outer, wanted)
        elif wanted:
            self._selector.register(self._outer, wanted)
        elif known:
            self._selector.unregister(self._outer)

    def _patience(self) -> float:
        moments = [self._calm, self._alarm and self._alarm[0]]
        moments.append(self._watchdog and self._watchdog[1])
        if self._drive:
            moments.append(time.monotonic() + 0.05)
        now = time.monotonic()
        waits = [moment - now for moment in moments if moment is not None]
        if self._calm is not None or self._to_vm:
            waits.append(0.002)  # look at the tty's mode, or for room in it
        return max(0.0, min(waits, default=3600.0))

    def _serve(self, number: int, events: int) -> None:
        try:
            if number == self._wake_out:
                os.read(number, 4096)
            elif number == self._outer:
                if events & selectors.EVENT_READ and self._running_or_drop():
                    self._to_vm += os.read(number, 4096)
                if events & selectors.EVENT_WRITE:
                    del self._to_user[: os.write(number, self._to_user[:4096])]
            elif number == self._tell:
                self._hear_lines(os.read(number, 4096))
            elif number == self._inner:
                data = os.read(number, 4096)
                with contextlib.suppress(BlockingIOError):  # what it told before comes first
                    self._hear_lines(os.read(self._tell, 4096))
                self._from_vm(data)
        except BlockingIOError:
            pass
        except OSError:  # the VM's end is gone
            if number == self._inner and self._vm is not None:
                self._died()

    def _running_or_drop(self) -> bool:
        if self._vm is not None or self._alarm is not None:
            return True
        with contextlib.suppress(OSError):
            os.read(self._outer, 4096)  # nobody is there
        return False

    def _timers(self) -> None:
        now = time.monotonic()
        if self._watchdog and now >= self._watchdog[1]:
            self._stop()
            self._alarm = (now, WATCHDOG)
        if self._drive and self._drive.look():
            self._drive = None
            self.plug()
            self._alarm = (now, HARD)
        if self._alarm and now >= self._alarm[0]:
            self._reboot(self._alarm[1])

    # -- bytes ------------------------------------------------------------------------------------

    def _pump(self) -> None:
        """Give the VM what the user wrote; after Ctrl-C only when the program has ended."""
        if not self._to_vm or not self._ready or self._hiding:
            return
        if self._idle and self._calm is None and not self._settled:
            self._calm = time.monotonic() + _SETTLE  # the REPL is about to read
        if self._calm is not None:
            busy = self._executing if self._raw else _interruptible(self._inner)
            if busy and time.monotonic() < self._calm:
                return
            self._calm = None
            self._settled = True
        data = bytes(self._to_vm)
        signals = self._raw and self._executing and self._interrupts
        if b"\x03" in data and (signals or _interruptible(self._inner)) and self._is_busy():
            return
        self._hesitates = None
        if b"\x03" in data and signals:
            # The unix port stays in raw mode for raw-paste code: no tty turns this into a signal.
            assert self._vm is not None
            self._vm.send_signal(signal.SIGINT)
            self._calm = time.monotonic() + _SETTLE
            del self._to_vm[: data.find(b"\x03") + 1]
            return
        if self._is_at_a_line() and b"\x03" not in data:
            return  # when the line is done, the unix port forgets what waits in its tty
        interrupts = data.find(b"\x03") + 1 if _interruptible(self._inner) else 0
        with contextlib.suppress(BlockingIOError):
            sent = os.write(self._inner, data[:interrupts] if interrupts else data[:1024])
            if interrupts and sent == interrupts:
                self._calm = time.monotonic() + _SETTLE
            del self._to_vm[:sent]

    def _is_busy(self) -> bool:
        """Is it better to wait with Ctrl-C? Not for a program that never waits itself.

        A board takes Ctrl-C between two of the VM's instructions, the unix port wherever it is:
        in the middle of a garbage collection, or of an import, it is unusable afterwards.
        """
        assert self._vm is not None
        sleeps, spent = _work(self._vm.pid)
        self._hesitates = self._hesitates or spent + _HESITATE
        # What it wrote before it slept may say that it has come to its end.
        calm = sleeps and not select.select([self._inner], [], [], 0)[0]
        return spent < self._hesitates and not calm

    def _is_at_a_line(self) -> bool:
        """Has the friendly REPL only just begun with a line? A longer one may read for itself."""
        now = time.monotonic()
        if not self._idle or self._raw or not _interruptible(self._inner):
            self._busy = None
            return False
        self._busy = self._busy or now
        return now - self._busy < _LINE

    def _follow(self, out: bytes) -> None:
        """Does the raw REPL run something? From "OK", or the end of a raw paste, to the prompt."""
        self._last = (self._last + out)[-_MEMORY:]  # what tells it may come in two parts
        if not self._raw or self._last.endswith((b"\x04>", b"\n>")):
            self._executing = False
        elif out.startswith(b"OK") or (b"\x04" in out and b"R\x01" not in out):
            self._executing = True

    def _from_vm(self, data: bytes) -> None:
        self._out += data
        if self._hiding:
            at = self._out.find(self._hiding)
            if at < 0:
                return
            if self._hiding == b">>> ":
                self._hiding = _RAW
                self._out.clear()
                os.write(self._inner, b"\x01")
                return
            self._hiding = b""
            del self._out[:at]
        if self._marked:  # it comes, or is here
            at = self._out.find(_MARK)
            if at < 0:
                return
            self._marked = False
            self._to_user += self._out[:at]
            del self._out[: at + len(_MARK)]
            if self._raw:
                self._hiding = b">>> "
                rest = bytes(self._out)
                self._out.clear()
                self._from_vm(rest)
                return
        out = bytes(self._out)
        self._out.clear()
        for mark, raw in ((_RAW, True), (_FRIENDLY, False)):
            if mark in self._last + out:
                self._raw = raw
        self._follow(out)
        self._to_user += out
        del self._to_user[:-_HELD]

    # -- lines ------------------------------------------------------------------------------------

    def _say(self, line: str) -> None:
        if self._hear >= 0:
            os.write(self._hear, line.encode() + b"\n")

    def _hear_lines(self, data: bytes) -> None:
        self._lines += data
        while b"\n" in self._lines and self._vm is not None:
            line, _, rest = self._lines.partition(b"\n")
            self._lines = bytearray(rest)
            self._obey(line.decode().split())
            self.heard.append(line.decode())
            del self.heard[:-1000]
        self._announce()

    def _obey(self, words: list[str]) -> None:
        now = time.monotonic()
        match words:
            case ["ready", _]:
                self._ready = True
                self.boots += 1
            case ["kbd", char]:
                self._interrupts = char != "-1"
            case ["done", *work]:
                self._done[" ".join(work)] += 1
            case ["repl"]:
                self._marked = self._idle = True
                self._settled = False
            case ["pin", pin, level]:
                self._set(pin, int(level))
            case ["wdt", timeout]:
                self._watchdog = int(timeout) / 1000, now + int(timeout) / 1000
            case ["feed"] if self._watchdog:
                self._watchdog = self._watchdog[0], now + self._watchdog[0]
            case ["soft"]:
                self._stop()
                self._reboot_softly(raw=False)
            case ["off"]:
                self._switch_off()
            case ["bootloader"]:
                self._switch_off()
                if self.board.uf2_family is not None:
                    self._drive = BootDrive(self.board, self.directory / "drive", self.flash)
            case ["reset", cause]:
                self._stop()
                self._alarm = (now, int(cause))
            case ["sleep", milliseconds]:
                self._stop()
                self._alarm = (now + int(milliseconds) / 1000, SLEEP)

    def _set(self, pin: str, level: int) -> None:
        if self.pins.get(pin) != level:
            self.pins[pin] = level
            if self.on_pin:
                self.on_pin(pin, level)

    def _unplug(self) -> None:
        if self._outer >= 0 and self._outer in self._selector.get_map():
            self._selector.unregister(self._outer)
        for number in (self._outer, self._slave):
            if number >= 0:
                os.close(number)
        self._outer = self._slave = -1
        self._to_user.clear()
        self._to_vm.clear()
        (self.directory / "tty").unlink(missing_ok=True)


# -- the VM ---------------------------------------------------------------------------------------


def _interruptible(number: int) -> bool:
    """Does Ctrl-C interrupt now? In its REPL the VM reads it as a byte."""
    return bool(termios.tcgetattr(number)[3] & termios.ISIG)


def _work(pid: int) -> tuple[bool, float]:
    """Does a process wait in a system call? And how long has it had a processor, in seconds?"""
    fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2].split()
    ticks = int(fields[11]) + int(fields[12])  # its own code, and the kernel's for it
    return fields[0] == b"S", ticks / os.sysconf("SC_CLK_TCK")


def _spawn(settings: dict[str, Any], heap: int) -> tuple[subprocess.Popen[bytes], int, int, int]:
    """(VM, its pty, what it tells, what it hears)"""
    master, slave = os.openpty()
    tty.setraw(slave)
    mode = termios.tcgetattr(slave)
    mode[3] |= termios.ISIG
    termios.tcsetattr(slave, termios.TCSANOW, mode)
    from_vm, tell = os.pipe()
    hear, to_vm = os.pipe()

    def prepare() -> None:
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        _LIBC.prctl(1, signal.SIGKILL)  # die with the thread that is the board

    if not MICROPYTHON.exists():
        raise BoardError("MicroPython is not there: make setup")
    process = subprocess.Popen(
        [str(MICROPYTHON), "-X", f"heapsize={heap}", "-i", "-c", "import vm; vm.start()"],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        pass_fds=(tell, hear),
        preexec_fn=prepare,
        env={
            "MICROPYPATH": f"{_compiled()}:.frozen",
            "UPERUN_BOARD": json.dumps({**settings, "tell": tell, "hear": hear}),
        },
    )
    for number in (slave, tell, hear):
        os.close(number)
    return process, master, from_vm, to_vm


_overheads: dict[str, int] = {}


def _overhead(settings: dict[str, Any]) -> int:
    """What vm/ takes of the heap: the same VM, started and asked."""
    key = json.dumps(settings)
    if key not in _overheads:
        asked = {**settings, "measure": True, "cause": POWER, "friendly": False}
        process, master, tell, hear = _spawn(asked, 1 << 20)
        try:
            line = b""
            while b"\n" not in line:
                data = os.read(tell, 100)
                if not data:
                    text = os.read(master, 4096).decode(errors="replace")
                    raise BoardError(f"the virtual board does not start:\n{text}")
                line += data
            _overheads[key] = int(line.split()[1])
        finally:
            process.kill()
            process.wait()
            for number in (master, tell, hear):
                os.close(number)
    return _overheads[key]


def _compiled() -> Path:
    """vm/, compiled. Several may want it at once."""
    sources = sorted(VM.glob("*.py"))
    name = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    folder = BUILD / "board" / name
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            new = Path(scratch) / "vm"
            new.mkdir()
            for path in sources:
                command = [str(MPY_CROSS), "-march=x64", "-O3", "-s", path.stem]
                subprocess.run(
                    [*command, "-o", str(new / f"{path.stem}.mpy"), str(path)], check=True
                )
            with contextlib.suppress(OSError):  # somebody was quicker
                new.rename(folder)
    return folder
