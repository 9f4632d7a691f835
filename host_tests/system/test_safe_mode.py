"""A station whose store cannot be trusted signs nothing; its owner still gets the money."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from board import owner
from contracts.ports import free_port
from demo.device import Device
from demo.scenes.base import charge, connect, until_registered
from eth_utils import to_checksum_address
from perun.store.journal import Journal
from perun.store.salvage import salvage
from perun.wire.compact import dumps
from streetkit import Street
from worlds import NewWorld

FILES = ("perun.journal", "perun.journal.mark")


def keep(device: Device, place: Path) -> None:
    """Copy the store, as a backup does."""
    place.mkdir()
    shutil.copy(device.directory / FILES[0], place)
    shutil.copytree(device.directory / FILES[1], place / FILES[1])


def restore(device: Device, place: Path) -> None:
    for name in FILES:
        path = device.directory / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.copy(place / FILES[0], device.directory)
    shutil.copytree(place / FILES[1], device.directory / FILES[1])


async def start_safe(device: Device) -> dict[str, Any]:
    """Switch it on; returns what it says of safe mode."""
    since = len(device.events)
    mode = await device.start("safe mode")
    await device.said("error", since=since)
    return mode


async def exported(device: Device, source: str) -> dict[str, Any]:
    since = len(device.events)
    await device.command("export")
    return await device.said("export", since=since, source=source)


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def other_format(path: Path) -> None:
    """What another version of the firmware would have stored."""
    store = Journal(str(path))
    for key in store.keys():
        if key[:1] == b"c":
            record = store.get(key)
            store.put(key, record[:1] + b"\x09" + record[2:])
    store.close()


def open_door(device: Device) -> str:
    """Let its owner, us, in from the next start on; where."""
    path, port = device.directory / "config.json", free_port()
    config = json.loads(path.read_text())
    address = to_checksum_address(owner.key(create=True).address)
    config["control"] = {"listen": {"host": "127.0.0.1", "port": port}, "owner": address}
    path.write_text(json.dumps(config))
    return f"127.0.0.1:{port}"


async def test_a_store_that_cannot_be_trusted(
    new_world: NewWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UPERUN_HOME", str(tmp_path / "home"))
    world = await new_world(close_when_charged=False)
    await connect(world)
    station = world.station
    old = tmp_path / "old"
    await charge(world, 300)
    shutil.rmtree(old, ignore_errors=True)
    keep(station, old)
    version = await charge(world, 700)
    await station.said("checkpoint", version=version)
    await world.look()
    address, channel = station.address, world.channel
    await station.kill()
    whole = tmp_path / "whole"
    keep(station, whole)
    journal = station.directory / FILES[0]
    door = open_door(station)

    def damage(kind: str) -> None:
        if kind == "newest record":
            flip(journal, -1)
        elif kind == "header":
            flip(journal, 5)
        elif kind == "mark":
            flip(station.directory / FILES[1] / "mark", 0)
        elif kind == "format":
            other_format(journal)

    for kind in ("newest record", "header", "mark", "format"):
        damage(kind)
        before = journal.read_bytes()
        assert (await start_safe(station))["address"] == address, kind
        status = await station.ask()
        assert status["service"] == "connected" and "safe_mode" in status, status
        (guarded,) = status["guarded"]
        assert (guarded["id"], guarded["version"]) == (channel, version)
        held = await exported(station, "service")
        assert held["state"][1] == version and all(held["sigs"])
        (stored,) = status["channels"]
        if kind == "format":
            assert stored["version"] is None  # it does not guess
        else:
            shown = await exported(station, "store")
            assert shown["state"][1] == stored["version"] <= version
        for command in ("charge 100", "close", "pin 2580"):
            since = len(station.events)
            await station.command(command)
            await station.said("commands", since=since)
        assert journal.read_bytes() == before
        if kind == "mark":
            where = ("--host", door, "--device", address)
            done = await asyncio.to_thread(Street(tmp_path).command, "dispute", *where, "--json")
            said = json.loads(done.stdout)
            assert said == {"channel": channel, "kind": "disputed", "detail": version}
        if kind == "format":
            await station.command("dispute")
            assert (await station.said("disputed", id=channel))["version"] == version
            assert (await until_registered(world, version)).version == version
        await station.kill()
        restore(station, whole)


async def test_a_backup(new_world: NewWorld, tmp_path: Path) -> None:
    """An old copy of the store: nothing is signed by it, the newest state comes back."""
    world = await new_world(close_when_charged=False)
    await connect(world)
    station = world.station
    version = await charge(world, 300)
    await station.said("checkpoint", version=version)
    old = tmp_path / "old"
    keep(station, old)
    newest = await charge(world, 700)
    await station.said("checkpoint", version=newest)
    await station.kill()
    restore(station, old)
    await station.start()
    async with asyncio.timeout(60):
        while True:
            (channel,) = (await station.ask())["channels"]
            if channel["version"] == newest:
                break
            assert channel["version"] == version
            await asyncio.sleep(0.1)
    assert await charge(world, 200) > newest  # and goes on from there


def test_salvage(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    store = Journal(str(path))
    for number in range(10):
        store.put(b"c%d" % (number % 3), dumps("u64", number) * 5)
    store.delete(b"c0")
    store.close()
    values = {b"c1": dumps("u64", 7) * 5, b"c2": dumps("u64", 8) * 5}
    assert salvage(str(path)) == values
    data = path.read_bytes()
    seen = set()
    for at in range(len(data)):
        path.write_bytes(data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :])
        for key, value in salvage(str(path)).items():
            assert value in [dumps("u64", number) * 5 for number in range(10)]
            seen.add(key)
        path.write_bytes(data[:at])
        salvage(str(path))
    assert values.keys() <= seen
    path.unlink()
    assert salvage(str(path)) == {}
