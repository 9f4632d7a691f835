"""The module `machine` of a virtual board: pins, UARTs, the watchdog, resets."""

import io
import os
import select
import sys

import vm
from machine import (  # noqa: F401 - the unix port has these
    idle,
    mem8,
    mem16,
    mem32,
    time_pulse_us,
)

VIRTUAL = vm.settings("board")
PWRON_RESET = 1
HARD_RESET = 2
WDT_RESET = 3
DEEPSLEEP_RESET = 4
SOFT_RESET = 5


def unique_id():
    return bytes(vm.settings("unique_id"))


def reset_cause():
    return vm.settings("cause")


def freq(*_):
    return vm.settings("freq")


def reset():
    vm.die("reset %d" % HARD_RESET)


def soft_reset():
    sys.exit()


def bootloader(*_):
    vm.die("bootloader")


def deepsleep(ms=0):
    vm.die("sleep %d" % ms)


def lightsleep(ms=0):
    import time

    time.sleep_ms(ms)


async def _look():
    """A board's interrupts end asyncio's waiting; here it looks after them every 2 ms."""
    import asyncio

    while True:
        await asyncio.sleep_ms(2)


class Pin:
    """A pin. The world sees what is driven, and drives the others."""

    IN = 0
    OUT = 1
    OPEN_DRAIN = 2
    PULL_UP = 1
    PULL_DOWN = 2
    IRQ_FALLING = 4
    IRQ_RISING = 8

    _levels = {}  # pin -> what it is driven to from outside
    _irqs = {}  # pin -> (Pin, handler, trigger)

    def __init__(self, id, mode=-1, pull=-1, *, value=None, **_):
        self.id = str(id)
        self._out = 0
        self._mode = None
        self._pull = pull
        self.init(mode, pull, value=value)

    def __repr__(self):
        return "Pin(%s)" % self.id

    def init(self, mode=-1, pull=-1, *, value=None, **_):
        if mode != -1:
            self._mode = mode
        if value is not None:
            self._out = int(bool(value))
        if self._mode in (self.OUT, self.OPEN_DRAIN):
            vm.tell("pin %s %d" % (self.id, self._out))

    def value(self, level=None):
        if level is None:
            if self._mode == self.OUT:
                return self._out
            return self._levels.get(self.id, int(self._pull == self.PULL_UP))
        level = int(bool(level))
        if level != self._out:
            self._out = level
            if self._mode in (self.OUT, self.OPEN_DRAIN):
                vm.tell("pin %s %d" % (self.id, level))

    __call__ = value

    def on(self):
        self.value(1)

    def off(self):
        self.value(0)

    high, low = on, off

    def toggle(self):
        self.value(1 - self._out)

    def irq(self, handler=None, trigger=12, **_):
        import asyncio

        if not self._irqs:
            asyncio.create_task(_look())
        self._irqs[self.id] = self, handler, trigger

    @staticmethod
    def _heard(words):
        """pin NAME LEVEL, or pulse NAME COUNT: so often low and high again."""
        _, name, number = words
        for level in (0, 1) * int(number) if words[0] == "pulse" else (int(number),):
            before = Pin._levels.get(name, 1)
            Pin._levels[name] = level
            pin, handler, trigger = Pin._irqs.get(name, (None, None, 0))
            edge = Pin.IRQ_RISING if level else Pin.IRQ_FALLING
            if handler and level != before and trigger & edge:
                handler(pin)
        vm.tell("done " + " ".join(words))


vm.listen("pin", Pin._heard)
vm.listen("pulse", Pin._heard)


class ADC:
    """An analogue input that nothing is connected to."""

    CORE_TEMP = 4

    def __init__(self, *_):
        pass

    def read_u16(self):
        return 0x3700 + os.urandom(1)[0]

    read = read_u16


class WDT:
    """A watchdog that the world outside the VM keeps, so that a hanging VM is noticed."""

    def __init__(self, id=0, timeout=5000):
        vm.tell("wdt %d" % timeout)

    def feed(self):
        vm.tell("feed")


class UART(io.IOBase):
    """A UART on a tty of the computer, the one that the board was started with."""

    def __init__(self, id, baudrate=9600, **_):
        path = vm.settings("uarts", {}).get(str(id))
        if not path:
            raise ValueError("UART(%s) is not connected: start the board with its tty" % id)
        self._file = vm.open_host(path, "r+b")
        self.init(baudrate)
        self._in, self._out = select.poll(), select.poll()
        self._in.register(self._file, select.POLLIN)
        self._out.register(self._file, select.POLLOUT)

    def init(self, baudrate=9600, **_):
        import termios

        number = self._file.fileno()
        speed = getattr(termios, "B%d" % baudrate)
        control = termios.tcgetattr(number)[6]
        control[6], control[5] = 0, 0  # VMIN, VTIME
        flags = 0o60 | 0o200 | 0o4000  # CS8, CREAD, CLOCAL
        termios.tcsetattr(number, termios.TCSANOW, [0, 0, flags, 0, speed, speed, control])

    def any(self):
        return len(self._in.poll(0))

    def readinto(self, buffer, size=None):
        count = self._file.readinto(buffer)
        return count or None

    def read(self, size=256):
        buffer = bytearray(size)
        count = self.readinto(buffer)
        return bytes(buffer[:count]) if count else None

    def write(self, data):
        if not self._out.poll(0):
            return None
        return self._file.write(memoryview(data)[:256])

    def ioctl(self, request, argument):
        if request != 3:
            return -1  # with 0 the unix port would poll its terminal: that is a descriptor
        ready = argument & select.POLLIN if self.any() else 0
        return ready | (argument & select.POLLOUT if self._out.poll(0) else 0)

    def deinit(self):
        self._file.close()
