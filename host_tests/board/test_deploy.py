"""A deploy copies what differs, and is all or nothing whenever the power fails."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from board import deploy
from board.definitions import BoardError
from board.deploy import Software
from board.port import Repl
from board.virtual import Virtual
from boardkit import NewBoard, put

SAY = """\
from machine import Pin
from perun.number import N

Pin(N, Pin.OUT, value=1)


def main():
    pass
"""


def version(number: int, **more: str) -> Software:
    """Software that drives the pin with its number when it runs."""
    files = {"main.py": SAY, "perun/number.py": f"N = {number}\n", "same.py": "x" * 5000}
    files.update({f"{name}.py": text for name, text in more.items()})
    return Software({name: text.encode() for name, text in files.items()})


def run(one: Virtual, software: Software) -> deploy.Deployed:
    with Repl(one.port) as repl:
        return deploy.deploy(repl, software)


def running(one: Virtual) -> int:
    """Which version runs after the power came back."""
    one.cut_after(None)
    one.power_off()
    one.power_on()
    one.wait_repl()
    (number,) = [int(pin) for pin, level in one.pins.items() if level] or [0]
    return number


def test_only_what_differs(new_board: NewBoard) -> None:
    one = new_board()
    first = run(one, version(1))
    assert first.before is None and first.kept == 0 and first.copied > 5000
    assert running(one) == 1
    second = run(one, version(2))
    assert (second.before, second.copied, second.kept) == (first.version, len("N = 2\n"), 2)
    assert running(one) == 2
    again = run(one, version(2))
    assert not again.changed and again.copied == 0
    with Repl(one.port) as repl:
        assert deploy.roll_back(repl) == first.version
    assert running(one) == 1
    third = run(one, version(3))  # and the versions do not pile up
    with Repl(one.port) as repl:
        names = repl.value("__import__('os').listdir('/app')")
    assert set(names) - {"trial"} == {"current", first.version, third.version}


def test_the_firmware(new_board: NewBoard) -> None:
    """All of it fits, twice, and a configuration is what it asks for."""
    one = new_board("RPI_PICO_W")
    software = deploy.build("x64")
    done = run(one, software)
    assert done.files > 20 and done.copied == sum(map(len, software.files.values()))
    with Repl(one.port) as repl:
        repl.restart()
    text = read_until(one, b"config.json: cannot be read")
    assert b"Traceback" not in text
    assert one.boots < 5  # a wrong configuration does not start the board again and again


def read_until(one: Virtual, wanted: bytes) -> bytes:
    import serial

    text = b""
    with serial.Serial(one.port, timeout=60) as port:
        while wanted not in text:
            byte = port.read(1)
            assert byte, text
            text += byte
    return text


@pytest.mark.parametrize("half", [False, True], ids=["clean", "torn"])
def test_power_cut_at_any_operation(new_board: NewBoard, tmp_path: Path, half: bool) -> None:
    """A cut leaves the old version or the new one; the next deploy completes it."""
    one = new_board()
    run(one, version(1))
    assert running(one) == 1
    one.power_off()
    image = tmp_path / "flash.bin"
    shutil.copy(one.flash, image)
    one.power_on()
    one.wait_repl()
    before = operations(one)
    run(one, version(2))
    total = operations(one) - before
    seen = []
    for at in [*range(int(half), total - 8, total // 8), *range(total - 8, total)]:
        one.power_off()
        shutil.copy(image, one.flash)
        one.power_on()
        one.wait_repl()
        with Repl(one.port) as repl:
            one.cut_after(at, half)
            with pytest.raises(BoardError, match="connection broke|timeout"):
                deploy.deploy(repl, version(2))
        assert not one.running
        seen.append(running(one))
        if at % 4 == 1:
            run(one, version(2))
            assert running(one) == 2
    # Once the new one counts it stays; without half an operation that is the last one's doing.
    assert seen == sorted(seen) and set(seen) == ({1, 2} if half else {1}), seen
    run(one, version(2))
    assert running(one) == 2


def operations(one: Virtual) -> int:
    counts = one.counts()
    return int(counts["programs"] + counts["erases"])


def test_unplugged_cable(new_board: NewBoard) -> None:
    """The old version goes on; the next deploy uses what was copied."""
    one = new_board("ESP32_GENERIC")
    run(one, version(1))
    big = version(2, big="y" * 20000, later="z" * 3000)

    def pull(name: str, done: int, total: int) -> None:
        if name == "big.py" and done > 15000:
            one.unplug()

    with pytest.raises(BoardError, match="connection broke"), Repl(one.port) as repl:
        deploy.deploy(repl, big, pull)
    one.plug()
    assert running(one) == 1
    done = run(one, big)
    assert 3000 < done.copied < 15000  # much of big.py was there
    assert running(one) == 2


def test_refusals(new_board: NewBoard) -> None:
    """Each leaves the board as it was."""
    one = new_board()
    run(one, version(1))
    with pytest.raises(BoardError, match="flash is full: .* nothing was changed"):
        run(one, version(2, much="x" * 2_000_000))
    other = Software({"main.mpy": bytes((77, 6, 4 << 2, 31)) + bytes(10)})  # armv6m
    with pytest.raises(BoardError, match="another processor"):
        run(one, other)
    assert running(one) == 1
    put(one, "main.py", "print('mine')\n")
    with pytest.raises(BoardError, match="main.py of its own"):
        run(one, version(2))


def test_a_flash_that_fills_up(new_board: NewBoard) -> None:
    """The estimate said yes, the flash says no: the old version runs."""
    one = new_board()
    run(one, version(1))
    with Repl(one.port) as repl:

        def fill(name: str, done: int, total: int) -> None:
            if done < 30000:
                repl.run(
                    "for n in range(350):\n"
                    " try:\n"
                    "  with open('/fill%d' % n, 'wb') as f: f.write(bytes(8192))\n"
                    " except OSError: break\n",
                    60,
                )

        with pytest.raises(BoardError, match="flash is full"):
            deploy.deploy(repl, version(2, a="a" * 20000, b="b" * 60000, c="c" * 60000), fill)
        repl.run(
            "import os\nfor name in os.listdir('/'):\n if 'fill' in name: os.remove('/' + name)",
            60,
        )
    assert running(one) == 1


def test_noise_in_an_answer(new_board: NewBoard) -> None:
    """Text of the board's own is passed over; an answer that is lost is noticed."""
    one = new_board()
    with Repl(one.port) as repl:
        assert repl.ask("print('[noise')\nsay([1, 2])\nprint('}}')") == [1, 2]
        with pytest.raises(BoardError, match="lost in noise"):
            repl.ask("print('nothing')")
        with pytest.raises(BoardError, match="ZeroDivisionError"):
            repl.run("1 / 0")


def test_a_write_that_was_cut_short(new_board: NewBoard) -> None:
    """What it left open does not get into the way of the next one."""
    one = new_board()
    with Repl(one.port) as repl:
        repl.run("_f = open('/a', 'wb')\n_f.write(b'x' * 3000)")
    with Repl(one.port) as repl:
        repl.write("/a", b"y" * 2000)
        assert repl.run("import gc\ngc.collect()") == ""
        assert repl.read("/a") == b"y" * 2000


def test_no_board(tmp_path: Path) -> None:
    with pytest.raises(BoardError, match="awake|connection broke"), Repl(str(tmp_path / "tty")):
        pass


def running_soon(one: Virtual, number: int) -> None:
    """The board comes to this version by itself, however often it starts."""
    one.power_off()
    one.power_on()
    one.wait_pin(number, 1, 60)


@pytest.mark.parametrize(
    "main",
    [
        "import nothing\n",
        "def main():\n    raise RuntimeError('channels of another format')\n",
        "import machine\n\n\ndef main():\n    machine.reset()\n",
    ],
)
def test_a_version_that_does_not_start_is_taken_back(new_board: NewBoard, main: str) -> None:
    one = new_board()
    good = run(one, version(1))
    assert running(one) == 1
    bad = Software({**version(2).files, "main.py": main.encode()})
    run(one, bad)
    before = one.boots
    running_soon(one, 1)
    assert one.boots - before >= 4  # three tries of the new one
    one.wait_repl()
    with Repl(one.port) as repl:
        names = repl.value("__import__('os').listdir('/app')")
        assert "trial" not in names and "current.new" not in names
        assert repl.read("/app/current").split() == [good.version.encode()]


def test_a_version_that_ends_in_order_has_proved_itself(new_board: NewBoard) -> None:
    one = new_board()
    run(one, version(1))
    run(one, version(2))
    for _ in range(5):
        assert running(one) == 2
