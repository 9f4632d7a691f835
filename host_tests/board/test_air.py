"""An update over the network, on virtual boards: by the owner alone, all of it or nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from board import air, deploy, provision
from board.cable import ChargingCable
from board.console import Console, TakenBack
from board.definitions import ROOT, BoardError, board
from board.deploy import Software
from board.network import Network
from board.owner import Known, key
from board.port import Repl
from board.virtual import MODULES, MPY_CROSS, Virtual
from boardkit import NewBoard
from contracts.ports import free_port
from eth_utils import to_checksum_address
from streetkit import PRICE, Street

pytestmark = pytest.mark.timeout(400)  # generous, for a busy machine

WALLET = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
BOARD = "RPI_PICO2_W"  # has room for two versions


def compiled(text: str, folder: Path) -> bytes:
    source = folder / "source.py"
    source.write_text(text)
    subprocess.run([MPY_CROSS, "-march=x64", source], check=True)
    return source.with_suffix(".mpy").read_bytes()


@pytest.fixture(scope="module")
def ours() -> Software:
    return deploy.build("x64")


@pytest.fixture
def release(ours: Software, tmp_path: Path) -> Callable[..., Software]:
    """A function (modules -> texts) -> our software with these modules in it."""

    def make(formats: tuple[Any, Any] | None = None, **texts: str) -> Software:
        files = {f"{name}.mpy": compiled(text, tmp_path) for name, text in texts.items()}
        reads, writes = formats or (ours.reads, ours.writes)
        return Software({**ours.files, **files}, reads, writes)

    return make


@pytest.fixture(scope="module")
def blank(ours: Software, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The flash of a board with our software and no configuration."""
    folder = tmp_path_factory.mktemp("blank")
    with Virtual(board(BOARD), folder) as one:
        one.wait_repl()
        with Repl(one.port) as repl:
            deploy.deploy(repl, ours)
    return folder / "flash.bin"


@pytest.fixture(scope="module")
def station_flash(
    blank: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, str]]:
    """The flash of a station that listens to the owner, and where."""
    folder = tmp_path_factory.mktemp("station")
    shutil.copy(blank, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UPERUN_HOME", str(folder / "home"))
        place = f"127.0.0.1:{free_port()}"
        settings = provision.configuration(
            board(BOARD),
            chain_id=1337,
            assets=[(WALLET, 1000)],
            receiver=WALLET,
            service={"tcp": {"host": "127.0.0.1", "port": 9}},
            peer={"listen": {"host": "127.0.0.1", "port": free_port()}},
            app="ev_station",
            price_per_kwh=1000,
        )
        host, _, port = place.partition(":")
        settings["control"] = {
            "listen": {"host": host, "port": int(port)},
            "owner": to_checksum_address(key(create=True).address),
            "update": True,
        }
        with Virtual(board(BOARD), folder) as one:
            one.wait_repl()
            with Repl(one.port) as repl:
                provision.install(repl, settings)
                Known().add(provision.make_key(repl).address, place)
        yield folder, place


@pytest.fixture
def station(
    station_flash: tuple[Path, str],
    new_board: NewBoard,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> tuple[Virtual, Callable[[], Network]]:
    """The station, which runs, and a function that reaches it."""
    folder, place = station_flash
    shutil.copytree(folder / "home", tmp_path / "home")
    monkeypatch.setenv("UPERUN_HOME", str(tmp_path / "home"))
    (tmp_path / "board").mkdir()
    shutil.copy(folder / "flash.bin", tmp_path / "board")
    one = new_board(BOARD, directory=tmp_path / "board")
    reach(lambda: Network(place))
    return one, lambda: Network(place)


def reach(connect: Callable[[], Network], seconds: float = 60) -> dict[str, Any]:
    """What the device says of its versions, when it answers."""
    end = time.monotonic() + seconds
    while True:
        try:
            with air.Update(connect()) as device:
                return dict(device.call("about"))
        except BoardError:
            assert time.monotonic() < end
            time.sleep(0.3)


def bring(
    connect: Callable[[], Network], software: Software, progress: Any = None, **more: Any
) -> deploy.Deployed:
    return air.deploy(
        connect, lambda _: software, lambda _: None, progress or (lambda *_: None), **more
    )


Station = tuple[Virtual, Callable[[], Network]]
Release = Callable[..., Software]


def test_an_update(station: Station, release: Release, ours: Software) -> None:
    """What differs goes over the network; the device restarts, and may be updated again."""
    one, connect = station
    boots = one.boots
    new = release(release="NAME = 'new'\n", trial=trial(proof=3600))
    with air.Update(connect()) as device:
        device.call("begin", new.sha256, len(new.manifest))
        with pytest.raises(BoardError, match="not complete"):
            device.call("switch", new.version, 0)
    done = bring(connect, new)
    assert done.before == ours.version and done.kept == len(ours.files) - 1
    assert done.copied == len(new.files["release.mpy"]) + len(new.files["trial.mpy"])
    about = reach(connect)
    assert (about["running"], about["before"]) == (new.version, ours.version)
    assert about["trial"] and one.boots == boots + 1
    assert not bring(connect, new).changed
    with Console(connect()) as console:
        assert console.status()["app"] == "ev_station"
    # It has not proved itself yet: the way back stays the first one.
    newer = release(release="NAME = 'newer'\n", trial=trial(proof=1))
    bring(connect, newer)
    about = reach(connect)
    assert (about["running"], about["before"]) == (newer.version, ours.version)
    end = time.monotonic() + 60
    while reach(connect)["trial"]:  # until its second is over
        assert time.monotonic() < end
        time.sleep(0.5)


def trial(proof: int, patience: int = 3600) -> str:
    """The module, with other seconds."""
    text = (ROOT / "firmware" / "trial.py").read_text()
    for old, new in (
        ("_PROOF = 60", f"_PROOF = {proof}"),
        ("_PATIENCE = 600", f"_PATIENCE = {patience}"),
    ):
        assert old in text
        text = text.replace(old, new)
    return text


def test_a_version_that_does_not_start(station: Station, release: Release, ours: Software) -> None:
    """Nobody is there: also one that only wants its owner to do something is taken back."""
    one, connect = station
    for wrong, said in (
        ("def main():\n    raise MemoryError('too much')\n", "MemoryError: too much"),
        ("raise SystemExit(2)\n", "SystemExit: 2"),
    ):
        boots = one.boots
        with pytest.raises(TakenBack, match=f"(?s)version {ours.version} runs again.*{said}"):
            bring(connect, release(main=wrong))
        assert one.boots >= boots + 4
        assert not reach(connect)["trial"]


def test_a_version_in_which_the_owner_is_not_heard(
    station: Station, release: Release, ours: Software
) -> None:
    """It runs, and nobody reaches it: it goes back by itself."""
    _, connect = station
    deaf = "def door(*_):\n async def run(): pass\n return run"
    silent = release(trial=trial(proof=1, patience=4), control=deaf)
    with pytest.raises(TakenBack, match=f"(?s)version {ours.version} runs again.*nobody reached"):
        bring(connect, silent)
    assert reach(connect)["running"] == ours.version


def test_a_version_that_does_not_read_the_store(
    station: Station, release: Release, ours: Software
) -> None:
    _, connect = station
    older = release(formats=(("uPF1",), ("uPF1",)), release="")
    with pytest.raises(BoardError, match="does not read what the store holds: uPJ1"):
        bring(connect, older)
    later = release(formats=(ours.reads, (*ours.writes, "channel9")), release="")
    with pytest.raises(BoardError, match="writes what the one to go back to"):
        bring(connect, later)
    about = reach(connect)
    assert (about["running"], about["next"], about["trial"]) == (ours.version,) * 2 + (False,)


def test_a_stranger(
    station: Station,
    release: Release,
    ours: Software,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Somebody with another key is not let in."""
    _, connect = station
    with monkeypatch.context() as patch:
        patch.setenv("UPERUN_HOME", str(tmp_path / "stranger"))
        key(create=True)
        with pytest.raises(BoardError, match="has another owner"):
            bring(connect, release(release=""))
    assert reach(connect)["next"] == ours.version


def test_updates_are_off(station: Station, release: Release, ours: Software) -> None:
    """A device takes none unless its configuration says so."""
    one, connect = station
    with Repl(one.port) as repl:
        text = repl.read("/config.json")
        assert text is not None
        config = json.loads(text)
        del config["control"]["update"]
        repl.replace("/config.json", json.dumps(config).encode())
        repl.restart()
    reach(connect)
    with pytest.raises(BoardError, match="updates over the network are off"):
        bring(connect, release(release=""))
    with air.Update(connect()) as device:
        for version in (ours.version, "..", f"../app/{ours.version}"):
            with pytest.raises(BoardError, match="no update has begun"):
                device.call("switch", version, 0)
    assert reach(connect)["next"] == ours.version


def test_a_device_with_a_pin(station: Station, release: Release, ours: Software) -> None:
    """It would wait for the PIN after the restart: only when somebody is there."""
    _, connect = station
    with Console(connect()) as console:
        console.ask("pin six-words", "pin changed", 200)
    new = release(release="")
    with pytest.raises(BoardError, match="has a PIN.*--locked"):
        bring(connect, new)
    assert reach(connect)["next"] == ours.version
    assert bring(connect, new, locked=True).changed


def test_the_connection_breaks(station: Station, release: Release, ours: Software) -> None:
    """Nothing has changed, and what had come is not sent again."""
    _, connect = station
    big = release(big=f"X = {bytes(range(256)) * 120!r}\n")
    lines, pieces = [], []

    def kept() -> Network:
        lines.append(connect())
        return lines[-1]

    def pull(name: str, _done: int, _total: int) -> None:
        pieces.append(name)
        if pieces.count("big.mpy") == 20:
            lines[-1].close()

    with pytest.raises((BoardError, AssertionError)):  # ours
        bring(kept, big, pull)
    about = reach(connect)
    assert (about["next"], about["trial"]) == (ours.version, False)
    assert bring(connect, big).copied < len(big.files["big.mpy"]) - 20 * 896 + 4096
    assert reach(connect)["running"] == big.version


@pytest.mark.parametrize("half", [False, True], ids=["clean", "torn"])
def test_the_power_fails_in_the_middle(
    station: Station, release: Release, ours: Software, half: bool
) -> None:
    """The old version runs on; the next update goes on where this one was."""
    one, connect = station
    big = release(big=f"X = {bytes(range(256)) * 120!r}\n", release="")
    total, pieces = len(big.files["big.mpy"]), []

    def cut(name: str, _done: int, _total: int) -> None:
        pieces.append(name)
        if pieces.count("big.mpy") == 20:
            one.cut_after(3, half)

    with pytest.raises(BoardError):
        bring(connect, big, cut)
    one.cut_after(None)
    one.power_off()
    one.power_on()
    about = reach(connect)
    assert (about["running"], about["next"], about["trial"]) == (ours.version,) * 2 + (False,)
    done = bring(connect, big)
    assert done.copied < total - 19 * 896 + 2 * 4096  # what was not flushed comes again
    assert reach(connect)["running"] == big.version


async def test_payments_go_on_with_the_same_channel(
    ours: Software,
    blank: Path,
    release: Release,
    new_board: NewBoard,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A station is updated while it charges: it waits for the end of that, and the car pays on."""
    monkeypatch.setenv("UPERUN_HOME", str(tmp_path / "home"))
    boards = {}
    for name in ("station", "car"):
        (tmp_path / name).mkdir()
        shutil.copy(blank, tmp_path / name)
        boards[name] = new_board(BOARD, directory=tmp_path / name)
        await asyncio.to_thread(boards[name].wait_repl)
    new = tmp_path / "new"
    for name, data in release(release="NAME = 'new'\n").files.items():
        (new / name).parent.mkdir(parents=True, exist_ok=True)
        (new / name).write_bytes(data)
    shutil.copy(MODULES / "formats", new)
    town = Street(tmp_path)
    async with contextlib.AsyncExitStack() as stack:
        await town.set_up(stack, boards)
        stack.enter_context(ChargingCable(boards["station"], boards["car"], 100))
        station, car = (("--host", town.doors[name]) for name in ("station", "car"))
        await town.until("both have met", "car", lambda status: status["service"])
        await town.board("pay", "40", *car)
        (before,) = await town.board("status", *station)
        charging = asyncio.create_task(town.board("pay", "600", *car))
        await town.until("it charges", "station", lambda status: status["delivered_wh"] > 40)
        boots = boards["station"].boots
        done, *_ = await town.board("deploy", "--folder", str(new), *station)
        (paid,) = await charging
        assert paid["paid_wh"] == 640 and boards["station"].boots == boots + 1
        about = await asyncio.to_thread(reach, lambda: Network(town.doors["station"]))
        assert about["running"] == done["version"] and about["before"] == ours.version
        (paid,) = await town.board("pay", "60", *car)
        assert (paid["paid_wh"], paid["delivered_wh"]) == (700, 700)
        (after,) = await town.board("status", *station)
        assert after["channels"][0]["id"] == before["channels"][0]["id"]
        assert after["channels"][0]["version"] == paid["version"]
        assert after["earned"] == PRICE * 700 // 1000
