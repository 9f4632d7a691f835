"""The REPL's port as the line to the service: for a board that has nothing but its USB.

    boot    the owner's window: Ctrl-C twice, or what mpremote sends, keeps the REPL
    then    frames only: Ctrl-C is a byte like others, and the console is silent
    stop    Ctrl-C interrupts again, and the console shows the lines that it kept

Nothing of the console may lie between frames: texts come from peers as well, and a text that is
also a frame would be one. What others write to the port, a banner or a traceback, costs at most
the frame that it hits.
"""

import asyncio
import io
import select
import sys
import time

from console import Console
from micropython import kbd_intr
from perun.compat import const

_POLL = const(3)  # MP_STREAM_POLL
_PIECE = const(256)  # bytes that fit once poll() says that there is room
_QUIET = const(50)  # milliseconds that end a burst
_KEPT = const(8)  # lines
_CTRL_C = const(3)
_CALLS = (b"\r\x03", b"\x03\x03")  # mpremote; a person


def share(settings, console):
    """Take the port if the configuration says so: the Console from now on.

    Waits for the window's end. Raises KeyboardInterrupt when the owner wants the REPL.
    """
    line = settings["service"]["serial"]
    if not line or not line["repl"] or line["path"]:
        return console
    console.event("repl", window=line["repl_window"], text="Ctrl-C twice keeps this port")
    kbd_intr(-1)
    line["path"] = port = Port()
    if _is_called(port, line["repl_window"] * 1000):
        kbd_intr(_CTRL_C)
        raise KeyboardInterrupt
    return Quiet(settings["console"])


def leave(settings):
    """Keep the port for the console: in safe mode its owner is the one to be spoken to."""
    line = settings["service"]["serial"]
    if line and line["repl"]:
        kbd_intr(_CTRL_C)
        line["path"] = Nobody()


def _is_called(port, window):
    """Does the owner call within so many milliseconds? A frame in which a Ctrl-C lies is no call,
    so it has to come after silence."""
    begin = last = time.ticks_ms()
    burst, one = b"", bytearray(1)
    while time.ticks_diff(time.ticks_ms(), begin) < window:
        if port.readinto(one):
            burst = (burst + one)[:3]
            if burst in _CALLS:
                return True
            last = time.ticks_ms()
            continue
        if time.ticks_diff(time.ticks_ms(), last) >= _QUIET and burst != b"\x03":
            burst = b""
        time.sleep_ms(5)
    return False


class Port(io.IOBase):
    """The terminal as a stream that never blocks."""

    def __init__(self):
        self._in, self._out = select.poll(), select.poll()
        self._in.register(sys.stdin.buffer, select.POLLIN)
        self._out.register(sys.stdout.buffer, select.POLLOUT)

    def readinto(self, buffer, _size=None):
        """How many bytes were there, or None."""
        count = 0
        # One by one: a board's terminal waits for all that it is asked for.
        while count < len(buffer) and self._in.poll(0):
            byte = sys.stdin.buffer.read(1)
            if not byte:
                break
            buffer[count] = byte[0]
            count += 1
        return count or None

    def write(self, data):
        """How many bytes were taken, or None."""
        if not self._out.poll(0):
            return None
        return sys.stdout.buffer.write(memoryview(data)[:_PIECE])

    def ioctl(self, request, argument):
        if request != _POLL:
            return -1
        ready = argument & select.POLLIN if self._in.poll(0) else 0
        return ready | (argument & select.POLLOUT if self._out.poll(0) else 0)


class Nobody(io.IOBase):
    """A port with nobody at its other end."""

    def readinto(self, _buffer, _size=None):
        return 0

    def write(self, data):
        return len(data)

    def ioctl(self, request, argument):
        return argument if request == _POLL else -1


class Quiet(Console):
    """A console without a terminal, until the device has stopped. Buttons use its commands."""

    def __init__(self, mode):
        super().__init__(mode, self._line)
        self._lines = []
        self._stopped = False

    async def run(self, reader=None):
        await asyncio.Event().wait()

    def event(self, event, **fields):
        super().event(event, **fields)
        if event == "stopped":
            kbd_intr(_CTRL_C)
            self._stopped = True
            for line in self._lines:
                print(line)

    def _line(self, line):
        if len(self._lines) == _KEPT:
            self._lines.pop(0)
        self._lines.append(line)
