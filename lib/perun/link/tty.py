"""Serial ports of a Linux host: raw mode on both VMs, and a tty that MicroPython can poll."""

import io
import select
import termios

from perun.compat import const

# The numbers of Linux: MicroPython's termios has no names for them.
_CS8 = const(0o60)
_CREAD = const(0o200)
_CLOCAL = const(0o4000)
_VTIME = const(5)
_VMIN = const(6)

# What a write can take without blocking once poll() calls a tty writable: Linux wakes writers only
# when a UART's buffer is down to this, and lets one buffer of this size overshoot on a pty.
_ROOM = const(256)


def set_raw(descriptor, baudrate, least):
    """Bytes as they are, no echo, no flow control. Raises ValueError for a strange baud rate.

    least: how many bytes a read waits for; with 0 it never waits.
    """
    speed = getattr(termios, "B%d" % baudrate, None)
    if speed is None:
        raise ValueError("baud rate %d is not supported" % baudrate)
    control = termios.tcgetattr(descriptor)[6]
    control[_VMIN], control[_VTIME] = least, 0
    flags = _CS8 | _CREAD | _CLOCAL
    termios.tcsetattr(descriptor, termios.TCSANOW, [0, 0, flags, 0, speed, speed, control])


class Tty(io.IOBase):
    """The unix port's view of a tty: never blocks, so that asyncio can work with it.

    The port cannot set O_NONBLOCK. Reads do without it thanks to set_raw(); writes ask for room
    first and are short enough for any room.
    """

    def __init__(self, path, baudrate):
        self._file = open(path, "r+b")
        try:
            set_raw(self._file.fileno(), baudrate, 0)
        except Exception:
            self._file.close()
            raise
        self._room = select.poll()
        self._room.register(self._file, select.POLLOUT)

    def readinto(self, buffer):
        return self._file.readinto(buffer)

    def write(self, data):
        if not self._room.poll(0):
            return None  # would block
        return self._file.write(memoryview(data)[:_ROOM])

    def ioctl(self, request, _argument):
        # 10: MP_STREAM_GET_FILENO. poll() then waits for the descriptor itself.
        return self._file.fileno() if request == 10 else -1

    def close(self):
        self._file.close()
