"""Wi-Fi, watchdog, lamps and buttons. What is acted is the radio and the pins."""

import asyncio
import time

from config import check_section
from console import Console
from hardware import FIELDS, Hardware
from wifi import Wifi

if not hasattr(time, "ticks_ms"):  # CPython
    time.ticks_ms = lambda: time.monotonic_ns() // 1000000
    time.ticks_diff = lambda one, other: one - other

    class Flag(asyncio.Event):
        async def wait(self):
            await super().wait()
            self.clear()

    asyncio.ThreadSafeFlag = Flag


class Air:
    """The module network. air: name -> password of what is in reach."""

    STA_IF = 0

    def __init__(self, **air):
        self.air = air
        self.tried = []
        self.connected = False
        self.on = False

    def WLAN(self, interface):
        assert interface == self.STA_IF
        return self

    def active(self, on):
        self.on = on

    def connect(self, name, password):
        assert self.on
        self.tried.append(name)
        if self.air == "broken":
            raise OSError("Wifi Internal Error")
        self.connected = self.air.get(name) == password

    def disconnect(self):
        self.connected = False

    def isconnected(self):
        return self.connected

    def ifconfig(self):
        return ("192.0.2.7", "", "", "")


class Board:
    """The module machine."""

    def __init__(self):
        board = self
        self.pins = {}
        self.fed = []

        class Pin:
            OUT, IN, PULL_UP, IRQ_FALLING = 1, 2, 3, 4

            def __init__(self, number, mode, pull=None, value=1):
                self.level = value
                self.press = None
                board.pins[number] = self

            def irq(self, handler, trigger):
                self.press = handler

            def value(self, level=None):
                if level is None:
                    return self.level
                self.level = level

        class WDT:
            def __init__(self, timeout):
                board.fed.append(timeout)

            def feed(self):
                board.fed.append("feed")

        self.Pin, self.WDT = Pin, WDT


async def until(condition):
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it never came to that")


async def beside(work, scene):
    """Run the job while the scene plays."""
    task = asyncio.create_task(work)
    try:
        await scene
    finally:
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            pass


async def test_wifi_comes_and_goes():
    lines, air = [], Air(home="secret-word")
    wifi = Wifi({"away": "other", "home": "secret-word"}, Console("text", lines.append), air)

    async def scene():
        await until(lambda: lines)
        assert lines[-1].startswith("wifi ") and "192.0.2.7" in lines[-1]
        air.air = {}
        air.connected = False
        await until(lambda: "wifi lost" in lines)
        await until(lambda: len([line for line in lines if line.startswith("no wifi")]) > 2)
        pauses = [line.split("pause=")[1] for line in lines if line.startswith("no wifi")]
        assert [int(pause) for pause in pauses[:3]] == [1, 2, 4]
        air.air = {"home": "secret-word"}
        await until(lambda: lines[-1].startswith("wifi "))
        assert not any("secret-word" in line for line in lines)

    await beside(wifi.run(0.0001), scene())


async def test_wifi_of_a_driver_that_fails():
    lines, air = [], Air()
    air.air = "broken"
    wifi = Wifi({"home": ""}, Console("text", lines.append), air)
    await beside(wifi.run(0.0001), until(lambda: len(lines) > 2))


def hardware(board, lines, **fields):
    settings = check_section(fields, FIELDS, "hardware")
    console = Console("text", lines.append)
    return Hardware(settings, console, board), console


async def test_watchdog_and_the_lamp_of_life():
    board, lines = Board(), []
    part, _ = hardware(board, lines, watchdog=8, alive_led=2)
    part.feed()  # before it begins
    assert board.fed == []

    async def scene():
        await until(lambda: board.pins[2].level == 1)
        assert board.fed[:2] == [8000, "feed"]
        part.feed()
        assert board.fed[2] == "feed"

    await beside(part.jobs()[0][1](), scene())


async def test_no_watchdog_unless_wanted():
    board = Board()
    part, _ = hardware(board, [], alive_led="LED")
    await beside(part.jobs()[0][1](), until(lambda: board.pins["LED"].level == 1))
    assert board.fed == []


async def test_buttons():
    board, lines, pressed = Board(), [], []
    buttons = [{"pin": 16, "command": "charge 1000"}, {"pin": 17, "command": "close"}]
    part, console = hardware(board, lines, buttons=buttons, accepted_led=3, refused_led=4)

    async def charge(wh):
        pressed.append(wh)

    async def close():
        raise ValueError("nothing to close")

    console.commands = {"charge": charge, "close": close}

    async def scene():
        await asyncio.sleep(0.01)
        for _ in range(5):  # it bounces
            board.pins[16].press(board.pins[16])
        await until(lambda: pressed == ["1000"] and board.pins[3].level == 1)
        assert board.pins[4].level == 0
        board.pins[17].press(board.pins[17])
        await until(lambda: board.pins[4].level == 1)
        assert "nothing to close" in lines[-1] and board.pins[3].level == 1
        await asyncio.sleep(0.12)
        board.pins[16].press(board.pins[16])
        await until(lambda: pressed == ["1000", "1000"])

    await beside(part.jobs()[1][1](), scene())
