"""The owner's door of a real device: wrong keys, somebody in between, restarts, memory."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from bench import station
from board import doctor, network, owner
from board.console import Console
from board.definitions import BoardError
from board.network import Network
from contracts.ports import free_port
from demo.device import Device
from eth_utils import to_checksum_address
from perun.link import owner as form
from stationkit import Lonely

IDLE = 3 * 1024 + 256  # bytes of heap (x64) that a door costs while nobody is there
VISIT = 20 * 1024  # and more while the owner is
UPDATE = 20 * 1024  # and more when he updates it


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A function (name): from now on this is the computer, and its user the owner."""

    def live(name: str) -> None:
        monkeypatch.setenv("UPERUN_HOME", str(tmp_path / name))
        owner.key(create=True)

    live("home")
    return live


class Station(Lonely):
    """door: HOST:PORT, if it has one."""

    def __init__(self, directory: Path, door: bool = True, heap: str = "400k") -> None:
        port = free_port()
        self.door = f"127.0.0.1:{port}"
        super().__init__(directory, heap, **(control(port) if door else {}))

    async def switch_on(self) -> None:
        """Returns when the door is open."""
        since = len(self.events)
        await self.start()
        await self.said("listening", since=since)
        if "control" in json.loads((self.directory / "config.json").read_text()):
            await self.said("control", since=since)

    async def used(self) -> int:
        """Bytes of its heap that stay: now and then it is busy with the search for its service."""
        return min([int((await self.ask())["heap"]["used"]) for _ in range(5)])


def control(port: int) -> dict[str, Any]:
    """The section of a configuration for the user's own door."""
    address = to_checksum_address(owner.key().address)
    return {"control": {"listen": {"host": "127.0.0.1", "port": port}, "owner": address}}


@asynccontextmanager
async def running(station: Station) -> AsyncIterator[Station]:
    try:
        await station.switch_on()
        yield station
    finally:
        await station.kill()
        await station.stop()


def ask(door: str, device: str | None = None) -> dict[str, Any]:
    """Its status, as a tool asks for it."""
    with Console(Network(door, device)) as console:
        return console.status()


async def status(door: str, device: str | None = None) -> dict[str, Any]:
    return await asyncio.to_thread(ask, door, device)


async def refused(match: str, door: str, device: str | None = None) -> None:
    with pytest.raises(BoardError, match=match):
        await status(door, device)


# -- keys -----------------------------------------------------------------------------------------


async def test_whose_device_it_is(home: Callable[[str], None], tmp_path: Path) -> None:
    async with running(Station(tmp_path / "one")) as one:
        await refused("is unknown here.*--device 0x", one.door)  # provisioned elsewhere
        assert (await status(one.door, one.address))["address"] == one.address
        assert (await status(one.door))["address"] == one.address  # known from now on
        async with running(Station(tmp_path / "two")) as two:
            await refused("another device answered", two.door, one.address)
            assert await status(two.door, two.address)
        # At the place of the first there is the second now: a mistake, or somebody in between.
        path = owner.home() / "devices.json"
        known = json.loads(path.read_text())
        path.write_text(json.dumps({two.address: one.door, one.address: None}))
        await refused(f"here was the device {two.address}", one.door)
        path.write_text(json.dumps(known))

        home("another home")
        theirs = to_checksum_address(owner.key().address)
        for device in (None, one.address):
            await refused(f"another owner: our key is that of {theirs}", one.door, device)
        home("home")
        assert await status(one.door)
    key = owner.home() / "owner.key"
    assert key.stat().st_mode & 0o777 == 0o600 and owner.home().stat().st_mode & 0o077 == 0
    secret = key.read_text().strip()
    assert secret not in (one.directory / "console.log").read_text()
    assert secret not in (one.directory / "config.json").read_text()
    key.chmod(0o644)
    await refused("can be read by others", one.door)


async def test_nobody_is_there(home: Callable[[str], None]) -> None:
    await refused("cannot connect", f"127.0.0.1:{free_port()}")
    for place in ("", ":5751", "host:port", "host:"):
        with pytest.raises(BoardError, match="HOST or HOST:PORT"):
            Network(place)
    assert Network("192.168.1.7").name == "192.168.1.7:5751"
    with pytest.raises(BoardError, match="--device is an address"):
        Network("192.168.1.7", "0x1234")


def test_two_tools_at_once(home: Callable[[str], None]) -> None:
    """Each gets to know a device of its own: both are known."""
    one, two = owner.Known(), owner.Known()
    one.add("0x1", "here:1")
    two.add("0x2", "there:2")
    known = owner.Known()
    assert (known.expected("here:1"), known.expected("there:2")) == ("0x1", "0x2")


# -- somebody in between --------------------------------------------------------------------------


class Between:
    """Stands between the owner and a device, with sockets of its own.

    change(to_device, number, body) -> bodies, or None to fall silent. seen: bodies, [to the owner,
    to the device].
    """

    def __init__(self, place: str, change: Callable[[bool, int, bytes], Any]) -> None:
        self._place = place.split(":")
        self._change = change
        self.seen: list[list[bytes]] = [[], []]

    async def __aenter__(self) -> str:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.seen = [[], []]
        far_reader, far_writer = await asyncio.open_connection(*self._place)
        try:
            await asyncio.gather(
                self._pass(True, reader, far_writer), self._pass(False, far_reader, writer)
            )
        finally:
            far_writer.close()
            writer.close()

    async def _pass(
        self, to_device: bool, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while True:
                size = int.from_bytes(await reader.readexactly(2), "big")
                body = await reader.readexactly(size)
                seen = self.seen[to_device]
                seen.append(body)
                for one in self._change(to_device, len(seen) - 1, body):
                    writer.write(len(one).to_bytes(2, "big") + one)
                    await writer.drain()
        writer.close()


HANDSHAKE = 2  # bodies each way


async def test_somebody_who_only_passes_on(home: Callable[[str], None], tmp_path: Path) -> None:
    async with running(Station(tmp_path / "one")) as one:
        between = Between(one.door, lambda to_device, number, body: (body,))
        async with between as place:
            found = await status(place, one.address)
        plain = b"".join(between.seen[0] + between.seen[1])
        for word in (b"status", b"ev_station", one.address.encode(), b"event"):
            assert word not in plain
        assert found["address"] == one.address


@pytest.mark.parametrize("what", ["changed", "twice", "left out", "forged"])
@pytest.mark.parametrize("to_device", [True, False], ids=["command", "answer"])
async def test_somebody_who_meddles(
    home: Callable[[str], None], tmp_path: Path, to_device: bool, what: str
) -> None:
    """The first command or the first answer is not what was sent: nothing of it counts."""

    def change(there: bool, number: int, body: bytes) -> Any:
        if there != to_device or number != HANDSHAKE:
            return (body,)
        return {
            "changed": (body[:20] + bytes((body[20] ^ 1,)) + body[21:],),
            "twice": (body, body),
            "left out": (),
            "forged": (os.urandom(len(body)),),
        }[what]

    def visit(place: str, device: str) -> list[str]:
        errors = [""]
        with Console(Network(place, device)) as console:
            while "connection broke" not in errors[-1] and len(errors) < 20:
                try:
                    console.ask("fly", "commands", 2)
                except BoardError as error:
                    errors.append(str(error))
        return errors

    async with running(Station(tmp_path / "one")) as one:
        async with Between(one.door, change) as place:
            errors = await asyncio.to_thread(visit, place, one.address)
        assert "connection broke" in errors[-1], errors
        await one.said("owner disconnected")
        obeyed = len([event for event in one.events if event["event"] == "commands"])
        assert obeyed == (1 if what == "twice" else 0) or not to_device
        assert (await status(one.door))["address"] == one.address


async def test_a_recorded_visit(home: Callable[[str], None], tmp_path: Path) -> None:
    """Played again it opens no door."""
    async with running(Station(tmp_path / "one")) as one:
        between = Between(one.door, lambda to_device, number, body: (body,))
        async with between as place:
            await status(place, one.address)
        recorded = list(between.seen[1])
        since = len(one.events)
        reader, writer = await asyncio.open_connection(*one.door.split(":"))
        for body in recorded:
            writer.write(len(body).to_bytes(2, "big") + body)
        answer = b""
        with contextlib.suppress(ConnectionResetError):  # it has not read all of what was played
            while piece := await reader.read(100):
                answer += piece
        writer.close()
        assert len(answer) <= 70  # its Hello, and no proof
        event = await one.said("warning", since=since)
        assert "the proof is wrong" in event["text"]
        assert await status(one.door)  # after a moment in which it says that it is busy


# -- what breaks ----------------------------------------------------------------------------------


async def test_a_restart_in_the_middle(home: Callable[[str], None], tmp_path: Path) -> None:
    async with running(Station(tmp_path / "one")) as one:

        def visit(ready: asyncio.Event, loop: asyncio.AbstractEventLoop) -> None:
            with Console(Network(one.door, one.address)) as console:
                console.status()
                loop.call_soon_threadsafe(ready.set)
                for _ in console.events(30):
                    pass

        ready = asyncio.Event()
        visiting = asyncio.create_task(asyncio.to_thread(visit, ready, asyncio.get_running_loop()))
        await ready.wait()
        await one.kill()
        with pytest.raises(BoardError, match="the connection broke.*try again"):
            await visiting
        await one.stop()
        await one.switch_on()
        assert await status(one.door)


async def test_a_line_that_falls_silent(
    home: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody says goodbye: a board without power does not."""
    monkeypatch.setattr(form, "SILENCE", 3)
    monkeypatch.setattr(network, "_PING", 1)
    deaf = False
    async with running(Station(tmp_path / "one")) as one:
        change = lambda to_device, number, body: () if deaf else (body,)
        async with Between(one.door, change) as place:

            def visit() -> None:
                nonlocal deaf
                with Console(Network(place, one.address)) as console:
                    console.status()
                    for _ in console.events(5):  # pings keep it
                        pass
                    deaf = True
                    for _ in console.events(30):
                        pass

            with pytest.raises(BoardError, match="the device is silent"):
                await asyncio.to_thread(visit)


async def test_a_crowd(home: Callable[[str], None], tmp_path: Path) -> None:
    """Nothing grows, no task dies, and the owner gets in when they are gone."""
    async with running(Station(tmp_path / "one", heap="192k")) as one:
        await status(one.door, one.address)
        before = await one.used()
        garbage = (b"\0" * 70, b"\xff\xff" + b"x" * 5000, os.urandom(300), b"\0")
        for number in range(60):
            reader, writer = await asyncio.open_connection(*one.door.split(":"))
            writer.write(garbage[number % 4])
            if number % 4 < 3:  # it is turned away
                with contextlib.suppress(OSError):
                    await asyncio.wait_for(reader.read(), 60)
            writer.close()
        async with asyncio.timeout(60):
            while await one.used() > before + 1024:  # as long as the last of them leave
                pass
        assert not [e for e in one.events if e["event"] in ("task died", "output")]
        async with asyncio.timeout(60):
            while True:
                with contextlib.suppress(BoardError):
                    if await status(one.door):
                        break


# -- safe mode, and memory ------------------------------------------------------------------------


async def test_safe_mode(home: Callable[[str], None], tmp_path: Path) -> None:
    """The owner is let in as long as the key can be read."""
    async with running(Station(tmp_path / "one")) as one:
        await status(one.door, one.address)
    from perun.store.journal import Journal

    store = Journal(str(one.directory / "perun.journal"))
    store.put(b"c" + bytes(32), b"from the future")
    store.close()
    try:
        await one.start("control")
        found = await status(one.door)
        assert found["safe_mode"] and found["address"] == one.address
        facts = await asyncio.to_thread(doctor.by_network, Network(one.door))
        wrong = [finding.what for finding in doctor.judge(facts) if not finding.ok]
        assert wrong == ["store"]
        assert facts.store[0] == found["safe_mode"]
    finally:
        await one.kill()
        await one.stop()


async def test_what_the_door_costs(home: Callable[[str], None], tmp_path: Path) -> None:
    """Bytes of heap on the x64 VM, shown by `pytest -s`."""
    used = {}
    async with AsyncExitStack() as stack:
        for name, door in (("without", False), ("with", True)):
            one = await stack.enter_async_context(running(Station(tmp_path / name, door)))
            used[name] = await one.used()

        def visit(*calls: str) -> None:
            with Console(Network(one.door, one.address)) as console:
                used["visit"] = console.status()["heap"]["used"]
                for name in calls:
                    console._line.call(name, b"about\n")
                    used[name] = console.status()["heap"]["used"] - used["visit"]

        for _ in range(3):
            before = len(one.events)
            await asyncio.to_thread(visit, "examine")
            await one.said("owner disconnected", since=before)
            used.setdefault("after", await one.used())
        assert await one.used() <= used["after"] + 512
        await asyncio.to_thread(visit, "update")
    print(
        "\nheap: door %d, visit %d, doctor %d, update %d, stays %d bytes"
        % (
            used["with"] - used["without"],
            used["visit"] - used["after"],
            used["examine"],
            used["update"],
            used["after"] - used["with"],
        )
    )
    assert used["with"] - used["without"] <= IDLE
    assert used["visit"] - used["after"] <= VISIT
    assert used["update"] <= UPDATE


@pytest.mark.timeout(300)  # generous, for a busy machine
async def test_charging_comes_first(home: Callable[[str], None], tmp_path: Path) -> None:
    """In a heap that is enough for a day of charging and no visit, the owner is turned away."""
    way, port = free_port(), free_port()
    said: list[str] = []

    async def visit(device: Device) -> None:
        while True:
            try:
                await status(f"127.0.0.1:{way}", device.address)
            except BoardError as error:
                said.append(str(error))
            await asyncio.sleep(0.1)

    async def day(device: Device) -> int:
        await device.said("control")
        visiting = asyncio.create_task(visit(device))
        try:
            return await station.charge(device, port, 20)
        finally:
            visiting.cancel()

    async with station.by_tls(tmp_path) as (serve, place):
        config = {**station.configuration(place, port), **control(way)}
        device = Device("station", tmp_path / "station", config, str(190 * 1024))
        failure, _ = await station.spend(device, serve, partial(day, device), 240)
    assert not failure, failure
    assert any("too little memory" in text for text in said), said
