"""A virtual board is a board: mpremote works on it, power and flash fail as they do."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest
from board import control
from board.cable import ChargingCable
from board.definitions import BoardError, board, boards
from board.port import Repl
from board.virtual import HEAP_FACTOR, MPY_CROSS, Virtual
from boardkit import NewBoard, mpremote, put

BLINK = """
import time
from machine import Pin
led = Pin(25, Pin.OUT)
while True:
    led.toggle()
    time.sleep_ms(20)
"""


def test_mpremote(new_board: NewBoard, tmp_path: Path) -> None:
    one = new_board()
    put(one, "boot.py", "print('booted')\n")
    assert "boot.py" in mpremote(one, "fs", "ls")
    digest = subprocess.run(
        ["sha256sum", one.directory / "put.py"], capture_output=True, text=True
    ).stdout.split()[0]
    assert digest in mpremote(one, "sha256sum", "boot.py")
    assert mpremote(one, "fs", "cat", "boot.py") == "print('booted')\n"
    script = tmp_path / "script.py"
    script.write_text("print(6 * 7)\n")
    assert mpremote(one, "run", str(script), resume=False) == "42\n"  # with a soft reset before
    mounted = mpremote(one, "mount", str(tmp_path), "exec", "import script", resume=False)
    assert mounted.endswith("42\n")
    boots = one.boots
    mpremote(one, "soft-reset")
    assert one.boots == boots + 1


@pytest.mark.parametrize("name", list(boards()))
def test_geometry(new_board: NewBoard, name: str) -> None:
    """Heap and flash are the board's, whichever board it is."""
    one = new_board(name)
    text = "import gc, os; gc.collect(); print(gc.mem_free(), os.statvfs('/'))"
    free, statvfs = eval(mpremote(one, "exec", text.replace("print(", "print((") + ")"))
    wanted = one.board.heap_free * HEAP_FACTOR
    assert 0.97 * wanted < free <= wanted
    assert (statvfs[0], statvfs[2]) == (4096, one.board.partition("vfs", stock=True).size // 4096)
    assert one.flash.stat().st_size == one.board.flash_size


def test_boot_files_and_ctrl_c(new_board: NewBoard) -> None:
    """main.py runs after boot.py; Ctrl-C ends it, and a soft reset into the raw REPL skips it."""
    one = new_board()
    put(one, "main.py", BLINK)
    one.reset()
    one.wait_pin(25, 1)
    assert mpremote(one, "exec", "print(led)") == "Pin(25)\n"  # main.py's names are the REPL's
    one.reset()
    one.wait_pin(25, 1)
    assert mpremote(one, "exec", "print('led' in globals())", resume=False) == "False\n"
    with Repl(one.port) as repl:
        repl.restart()  # into the friendly REPL: main.py runs
    one.wait_pin(25, 1)
    put(one, "main.py", "raise SystemExit\n")  # a board starts anew, again and again
    one.reset()
    boots = one.boots
    one._until(lambda: one.boots > boots + 2, "more starts")


def test_ctrl_c_in_the_raw_repl(new_board: NewBoard) -> None:
    """As `mpremote run` and a tired user have it."""
    one = new_board()
    with Repl(one.port) as repl:
        repl.transport.exec_raw_no_follow("import time\nwhile True: time.sleep_ms(5)")
        time.sleep(0.1)
        repl.transport.serial.write(b"\x03")
        _, error = repl.transport.follow(60)
        assert b"KeyboardInterrupt" in error
        assert repl.run("print(1)") == "1\n"


def test_kbd_intr(new_board: NewBoard) -> None:
    """A program may take Ctrl-C as a byte."""
    one = new_board()
    put(one, "main.py", "import sys, micropython\nmicropython.kbd_intr(-1)\n")
    text = (
        "import micropython, sys\n"
        "from machine import Pin\n"
        "micropython.kbd_intr(-1)\n"
        "Pin(1, Pin.OUT, value=1)\n"
        "got = sys.stdin.buffer.read(2)\n"
        "Pin(2, Pin.OUT, value=got == b'\\x03!')\n"
        "micropython.kbd_intr(3)\n"
    )
    put(one, "main.py", text)
    one.reset()
    one.wait_pin(1, 1)
    with open(one.port, "r+b", buffering=0) as port:
        port.write(b"\x03!")
        one.wait_pin(2, 1)


def test_pins_and_meter(new_board: NewBoard) -> None:
    """The firmware's own driver: energy flows while the relay is closed, not one pulse more."""
    one = new_board()
    put(
        one,
        "main.py",
        "import asyncio\n"
        "from machine import Pin\n"
        "relay, seen = Pin(15, Pin.OUT, value=0), 0\n"
        "def pulse(pin):\n"
        "    global seen\n"
        "    seen += 1\n"
        "    if seen == 30:\n"
        "        relay.off()\n"
        "Pin(14, Pin.IN, Pin.PULL_UP).irq(pulse, Pin.IRQ_FALLING)\n"
        "relay.on()\n"
        "asyncio.run(asyncio.Event().wait())\n",
    )
    with ChargingCable(one, None, 1000) as cable:
        one.reset()
        one.wait_pin(15, 1)
        one.wait_pin(15, 0)
        time.sleep(0.05)
        assert cable.wh == 30
    assert mpremote(one, "exec", "print(seen)") == "30\n"


def test_many_pulses(new_board: NewBoard) -> None:
    """More than the board remembers of what it was told."""
    one = new_board()
    put(one, "main.py", BLINK)
    one.reset()
    for _ in range(1100):
        one.pulse(14)


def test_flash_is_nor(new_board: NewBoard) -> None:
    """Programming clears bits, erasing sets a sector's; each is counted."""
    one = new_board()
    mpremote(one, "exec", "pass")  # the file system is made now
    before = one.counts()
    text = (
        "import rp2\n"
        "f = rp2.Flash(start=64 * 4096, len=4096)\n"
        "b = bytearray(2)\n"
        "f.writeblocks(0, b'\\x0f\\xff', 8)\n"
        "f.writeblocks(0, b'\\xfc\\xf0', 8)\n"
        "f.readblocks(0, b, 8)\n"
        "print(b.hex())\n"
        "f.ioctl(6, 0)\n"
        "f.readblocks(0, b, 8)\n"
        "print(b.hex(), f.ioctl(4, 0), f.ioctl(5, 0))\n"
    )
    assert mpremote(one, "exec", text) == "0cf0\nffff 1 4096\n"
    after = one.counts()
    assert after["programs"] == before["programs"] + 2
    assert after["erases"] == before["erases"] + 1
    sector = one.board.partition("vfs", stock=True).start // 4096 + 64
    assert after["wear"][sector] == before["wear"][sector] + 1


@pytest.mark.parametrize("half", [False, True])
def test_power_cut_in_a_flash_operation(new_board: NewBoard, half: bool) -> None:
    """A file that is replaced by a rename is the old or the new one, wherever the power fails."""
    one = new_board()
    work = "f = open('b.txt', 'w'); f.write('new' * 2000); f.close(); os.rename('b.txt', 'a.txt')"
    seen, cuts = set(), 0
    for after in range(60):
        with Repl(one.port) as repl:
            repl.write("a.txt", b"old")
            one.cut_after(after, half)
            try:
                repl.run(f"import os; {work}")
            except BoardError as error:
                assert "connection broke" in str(error) or "timeout" in str(error), error
        if cut := not one.running:
            cuts += 1
        one.cut_after(None)
        one.power_on()
        with Repl(one.port) as repl:
            seen.add(repl.value("len(open('a.txt').read())"))
        if not cut:
            break
    assert seen == {3, 6000} and cuts > 20


def test_damaged_file_system(new_board: NewBoard, tmp_path: Path) -> None:
    """The stock firmware of an RP2 formats it; ours leaves it and says what to do."""
    for firmware in ("custom", "stock"):
        one = new_board(firmware=firmware)
        put(one, "precious.txt", "channels")
        one.close()
        image = bytearray(one.flash.read_bytes())
        start = one.board.partition("vfs", firmware == "stock").start
        image[start : start + 8192] = b"\x00" * 8192  # both superblocks
        one.flash.write_bytes(image)
        again = new_board(firmware=firmware, directory=one.directory)
        listed = mpremote(again, "exec", "import os; print(os.listdir('/'))")
        if firmware == "stock":
            assert listed == "[]\n"  # gone without a word
            continue
        assert "precious.txt" not in listed
        again.power_off()
        assert again.flash.read_bytes() == image
        again.power_on()
        # The owner may give it up.
        text = "import partition, os; partition.format(); print(os.statvfs('/')[2])"
        assert mpremote(again, "exec", text) == f"{again.board.partition('vfs').size // 4096}\n"


def test_a_file_system_over_everything_stays(new_board: NewBoard) -> None:
    """From stock to our own firmware and back: the files stay."""
    one = new_board()
    put(one, "a.txt", "stock")
    one.close()
    ours = new_board(firmware="custom", directory=one.directory)
    text = "import partition; print(open('a.txt').read(), partition.channels())"
    assert mpremote(ours, "exec", text) == "stock None\n"


@pytest.mark.parametrize("name", ["RPI_PICO_W", "ESP32_GENERIC"])
def test_partitions_of_our_firmware(new_board: NewBoard, name: str) -> None:
    one = new_board(name, firmware="custom")
    text = (
        "import partition\nc = partition.channels()\nc.ioctl(6, 0)\n"
        "c.writeblocks(0, b'uPF1', 256)\nprint(c.ioctl(4, 0) * c.ioctl(5, 0))"
    )
    channels = one.board.partition("channels")
    assert mpremote(one, "exec", text) == f"{channels.size}\n"
    one.close()
    image = one.flash.read_bytes()
    assert image[channels.start + 256 :][:4] == b"uPF1"


def test_resets(new_board: NewBoard) -> None:
    """machine.reset, the watchdog, deep sleep; what drove a pin drives it no more."""
    one = new_board()
    text = (
        "import machine, time\n"
        "cause = machine.reset_cause()\n"
        "pin = machine.Pin(cause, machine.Pin.OUT, value=1)\n"
        "if cause == machine.PWRON_RESET:\n"
        "    machine.WDT(timeout=300)\n"
        "    while True: pass\n"
        "if cause == machine.WDT_RESET:\n"
        "    w = machine.WDT(timeout=8000)\n"
        "    for _ in range(30):\n"
        "        w.feed(); time.sleep_ms(5)\n"
        "    machine.deepsleep(100)\n"
        "if cause == machine.DEEPSLEEP_RESET:\n"
        "    machine.reset()\n"
    )
    put(one, "main.py", text)
    one.power_off()
    seen: list[str] = []
    one.on_pin = lambda pin, level: seen.append(pin) if level else None
    one.power_on()
    one.wait_pin(2, 1)
    assert seen == ["1", "3", "4", "2"]
    assert one.pins == {"1": 0, "3": 0, "4": 0, "2": 1}


def test_a_cable_that_is_unplugged(new_board: NewBoard) -> None:
    one = new_board()
    put(one, "main.py", BLINK)
    one.reset()
    with open(one.port, "r+b", buffering=0) as port:
        one.unplug()
        with pytest.raises(OSError):
            while port.read(1):
                pass
            raise OSError("end of file")
    one.wait_pin(25, 0)
    one.wait_pin(25, 1)
    one.plug()
    assert os.readlink(one.directory / "tty") == one.port
    assert mpremote(one, "exec", "print(led)") == "Pin(25)\n"


def test_wifi(new_board: NewBoard) -> None:
    one = new_board("RPI_PICO_W", wifi={"home": "secret"})
    text = (
        "import network\nw = network.WLAN(network.STA_IF)\nw.active(True)\n"
        "w.connect('home', 'wrong')\nprint(w.isconnected(), w.status())\n"
        "w.connect('home', 'secret')\nprint(w.isconnected())"
    )
    assert mpremote(one, "exec", text) == "False -3\nTrue\n"
    one.say("wifi off")
    deadline = time.monotonic() + 60
    while mpremote(one, "exec", "print(w.isconnected())") == "True\n":
        assert time.monotonic() < deadline


def test_control(new_board: NewBoard) -> None:
    one = new_board()
    with control.Control(one):
        status = control.tell(one.directory, "status")
        assert status["board"] == "RPI_PICO" and status["power"]
        control.tell(one.directory, "power-off")
        assert not one.running
        with pytest.raises(BoardError, match="pulse PIN"):
            control.tell(one.directory, "pulse")
        with pytest.raises(BoardError, match="there are"):
            control.tell(one.directory, "explode")
    with pytest.raises(BoardError, match="no virtual board runs"):
        control.tell(one.directory, "status")


def test_errors(tmp_path: Path) -> None:
    with pytest.raises(BoardError, match="there are"):
        board("ARDUINO")
    (tmp_path / "flash.bin").write_bytes(b"x")
    with pytest.raises(BoardError, match="is not the flash of RPI_PICO"):
        Virtual(board("RPI_PICO"), tmp_path)
    assert MPY_CROSS.exists()
