"""What a device has stored is understood by each version that it may run, or it does not run it.

Channels of a format 9, and of what else there is none yet, stand for what a later version may
write.
"""

from __future__ import annotations

import pytest
from board import deploy
from board.definitions import ROOT, BoardError
from board.deploy import Software, load
from board.port import Repl
from board.virtual import MODULES, Virtual
from boardkit import NewBoard

NOW = ("channel1", "channel2", "key1", "uPF1", "uPJ1")
LATER = (*NOW, "channel9")
STORE = ("__init__", "journal", "flash", "delta", "salvage", "salvage_flash")
MAIN = """\
from machine import Pin

Pin({number}, Pin.OUT, value=1)


def main():
    {what}
"""
# What a version does that fails after it has written a channel of its format.
WRITE_AND_FAIL = """from perun.store.journal import Journal
    store = Journal("perun.journal")
    store.put(b"c" + bytes(32), bytes((0, 9)))
    store.close()
    raise RuntimeError("a mistake")"""
CHANNELS = """
try:
    from partition import channels
except ImportError:
    channels = lambda: None
def channel(form):
    device = channels()
    if device:
        from perun.store.flash import FlashJournal as Journal
    else:
        from perun.store.journal import Journal
    store = Journal(device or "perun.journal")
    store.put(b"c" + bytes(32), bytes((0, form)))
    store.close()
"""


def version(
    number: int,
    reads: tuple[str, ...] = NOW,
    writes: tuple[str, ...] = NOW,
    what: str = "pass",
) -> Software:
    """A version that drives the pin of its number, and can open a store."""
    lib = ROOT / "lib" / "perun"
    files = {f"perun/store/{name}.py": lib / "store" / f"{name}.py" for name in STORE}
    files["perun/compat.py"] = lib / "compat.py"
    texts = {name: path.read_bytes() for name, path in files.items()}
    texts["main.py"] = MAIN.format(number=number, what=what).encode()
    return Software(texts, reads, writes)


def run(one: Virtual, software: Software) -> deploy.Deployed:
    one.wait_repl()
    with Repl(one.port) as repl:
        return deploy.deploy(repl, software)


def store(one: Virtual, form: int) -> None:
    """The device has a channel of this format."""
    with Repl(one.port) as repl:
        repl.run(CHANNELS + f"channel({form})")


def held(one: Virtual) -> set[str]:
    with Repl(one.port) as repl:
        deploy.prepare(repl)
        return set(repl.ask("say(sorted(held()))"))


def running(one: Virtual) -> int:
    """Which version runs, when the device was started anew as often as it wants."""
    one.power_off()
    one.power_on()
    one.wait_repl()
    (number,) = [int(pin) for pin, level in one.pins.items() if level] or [0]
    return number


def state(one: Virtual) -> tuple[bytes | None, list[str]]:
    with Repl(one.port) as repl:
        names = repl.value("sorted(__import__('os').listdir('/app'))")
        return repl.read("/app/current"), [name for name in names if not name.endswith(".part")]


@pytest.mark.parametrize("firmware", ["stock", "custom"])
def test_a_version_that_does_not_read_the_store(new_board: NewBoard, firmware: str) -> None:
    """It is refused before any file of it was copied; one that reads it is not."""
    one = new_board("RPI_PICO_W", firmware=firmware)
    kind = "uPJ1" if firmware == "stock" else "uPF1"
    run(one, version(1))
    assert running(one) == 1 and held(one) == set()
    store(one, 1)
    assert held(one) == {kind, "channel1"}
    run(one, version(2))
    assert running(one) == 2
    store(one, 9)
    assert held(one) == {kind, "channel9"}
    before = state(one)
    with pytest.raises(BoardError, match=r"does not read what .*: channel9; nothing was changed"):
        run(one, version(3))
    assert state(one) == before and running(one) == 2
    with Repl(one.port) as repl:  # nor does the one before it
        with pytest.raises(
            BoardError, match="does not read what the store holds by now: channel9"
        ):
            deploy.roll_back(repl)
    assert state(one) == before
    run(one, version(4, LATER))
    assert running(one) == 4


def test_a_store_of_another_kind(new_board: NewBoard) -> None:
    one = new_board("RPI_PICO_W", firmware="custom")
    run(one, version(1))
    with Repl(one.port) as repl:
        repl.run("with open('perun.journal', 'wb') as f: f.write(b'uPJ2' + bytes(100))")
        repl.run(
            "import partition\n_d = partition.channels()\n"
            "_d.writeblocks(3, b'\\1\\x1c\\0\\0\\0\\0uPF7' + bytes(246), 0)"
        )
    with pytest.raises(BoardError, match="holds: uPF7, uPJ2; nothing was changed"):
        run(one, version(2))
    assert held(one) == {"uPF7", "uPJ2"}


def test_a_damaged_store_keeps_nobody_from_a_repair(new_board: NewBoard) -> None:
    one = new_board()
    run(one, version(1))
    store(one, 1)
    with Repl(one.port) as repl:
        repl.run("with open('perun.journal', 'r+b') as f: f.write(b'\\0')")
    assert run(one, version(2)).changed
    assert running(one) == 2


def test_a_format_that_the_way_back_does_not_read(new_board: NewBoard) -> None:
    """No version that writes a new format comes directly after one that does not read it."""
    one = new_board()
    run(one, version(1))
    store(one, 1)
    before = state(one)
    with pytest.raises(BoardError, match="writes what the one to go back to, .*: channel9; first"):
        run(one, version(3, LATER, LATER))
    assert state(one) == before and running(one) == 1
    run(one, version(2, LATER))
    assert running(one) == 2
    # Before version 2 has proved itself the way back is version 1.
    with Repl(one.port) as repl:
        deploy.prepare(repl)
        repl.run("with open('/app/trial', 'w') as f: f.write('1 ' + current()[0])")
    with pytest.raises(BoardError, match="writes what the one to go back to"):
        run(one, version(3, LATER, LATER))
    assert running(one) == 2  # and it ended in order, so now it has
    run(one, version(3, LATER, LATER))
    assert running(one) == 3


def test_a_failed_trial_leaves_a_store_that_is_understood(new_board: NewBoard) -> None:
    """The new version writes its own format and dies: the one before it reads that."""
    one = new_board()
    good = run(one, version(1, LATER))
    assert running(one) == 1
    run(one, version(2, LATER, LATER, WRITE_AND_FAIL))
    one.power_off()
    one.power_on()
    one.wait_pin(1, 1, 60)
    one.wait_repl()
    current, _ = state(one)
    assert current and current.split() == [good.version.encode()]
    assert "channel9" in held(one)


def test_what_our_own_version_says() -> None:
    """The words are those of the sources, and a device with nothing but them may be updated."""
    ours = load(MODULES)
    assert set(ours.writes) <= set(ours.reads)
    from perun.channel.foreign import ForeignChannel
    from perun.channel.machine import Channel
    from perun.client import keeping
    from perun.store import flash, journal

    assert {f"channel{kind.FORMAT}" for kind in (Channel, ForeignChannel)} < set(ours.writes)
    assert {f"channel{one}" for one in keeping._FORMATS} < set(ours.reads)
    assert {flash._MAGIC.decode(), journal._MAGIC.decode(), "key1"} < set(ours.writes)


def test_a_folder_that_does_not_say() -> None:
    with pytest.raises(BoardError, match="which formats of the store"):
        load(ROOT / "firmware")
