"""The commands for a running device, over its serial port and over the network: a station and a
car on virtual boards, with a chain and a service; all of it real."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from board.cable import ChargingCable
from board.console import Console
from board.definitions import ROOT, BoardError
from board.network import Network
from board.virtual import Virtual
from boardkit import NewBoard
from contracts.anvil import Anvil
from contracts.deploy import deploy
from demo.chain import Chain
from demo.service import Service
from demo.wires import SerialLine
from demo.world import free_port
from eth_account import Account

pytestmark = pytest.mark.timeout(300)  # generous, for a busy machine

PRICE = 1_000_000  # wei for a kWh
DEPOSIT = 10**9


class Street:
    """station, car: boards that are devices; both listen to their owner."""

    def __init__(self, tmp_path: Path) -> None:
        self._tmp = tmp_path
        self.doors: dict[str, str] = {}  # name -> HOST:PORT
        self.addresses: dict[str, str] = {}

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """`python -m board`, as the owner types it."""
        return subprocess.run(
            [sys.executable, "-m", "board", *words],
            env={**os.environ, "PYTHONPATH": f"{ROOT / 'tools'}:{ROOT / 'lib'}"},
            capture_output=True,
            text=True,
            timeout=200,
        )

    async def board(self, *words: str) -> list[dict[str, Any]]:
        """What a command says with --json; it must work."""
        done = await asyncio.to_thread(self.command, *words, "--json")
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return [json.loads(line) for line in done.stdout.splitlines()]

    async def set_up(self, stack: contextlib.AsyncExitStack, boards: dict[str, Virtual]) -> None:
        node = stack.enter_context(Anvil())
        self.node = node
        self.chain = Chain(node, await asyncio.to_thread(deploy, node.web3))
        line = SerialLine()
        stack.callback(line.close)
        place = self.chain.place
        self.service = Service(self._tmp / "service", node.url, place, line.service)
        stack.push_async_callback(self.service.stop)
        await self.service.start()
        peers = f"127.0.0.1:{free_port()}"
        shared = (
            *("--chain", str(place.chain_id), "--asset", f"{place.eth_holder}:{DEPOSIT}"),
            *("--service", f"127.0.0.1:{self.service.tls_port}", "--price", str(PRICE)),
            *("--certificate", self.service.pin, "--service-address", self.service.identity),
            *("--receiver", Account.create().address),
        )
        roles = {
            "station": ("--app", "ev_station", "--listen", peers),
            "car": (
                *("--app", "ev_car", "--dial", peers, "--deposit", str(DEPOSIT)),
                *("--set", "app.close_when_charged=false", "--set", "app.slice_wh=20"),
                *("--set", "app.challenge_duration=60"),
            ),
        }
        for name, one in boards.items():
            self.doors[name] = f"127.0.0.1:{free_port()}"
            control = ("--control", self.doors[name], "--port", one.port)
            *_, result = await self.board("provision", *control, *roles[name], *shared)
            self.addresses[name] = result["address"]
            budget = DEPOSIT * 10 if name == "car" else 0
            await self.service.allow(result["address"], name, budget)

    async def until(self, what: str, name: str, ready: Any, timeout: float = 60) -> None:
        """Wait until the status of a device is so."""
        async with asyncio.timeout(timeout):
            while True:
                with contextlib.suppress(BoardError):  # it may be starting
                    if ready(await asyncio.to_thread(self._status, name)):
                        return
                await asyncio.sleep(0.3)

    def _status(self, name: str) -> dict[str, Any]:
        with Console(Network(self.doors[name])) as console:
            return console.status()


@pytest.fixture
async def street(
    deployed: Path, new_board: NewBoard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Street, Virtual, Virtual]]:
    boards = {}
    for name in ("station", "car"):
        (tmp_path / name).mkdir()
        shutil.copy(deployed, tmp_path / name)
        boards[name] = new_board("RPI_PICO_W", directory=tmp_path / name)
        await asyncio.to_thread(boards[name].wait_repl)
    monkeypatch.setenv("UPERUN_HOME", str(tmp_path / "home"))
    street = Street(tmp_path)
    async with contextlib.AsyncExitStack() as stack:
        await street.set_up(stack, boards)
        stack.enter_context(ChargingCable(boards["station"], boards["car"], 100))
        yield street, boards["station"], boards["car"]


async def test_every_command(street: tuple[Street, Virtual, Virtual]) -> None:
    """Over both lines each says the same."""
    town, station, car = street
    door, port = ("--host", town.doors["car"]), ("--port", car.port)
    await town.until("both have met", "car", lambda status: status["service"])

    logs = asyncio.create_task(town.board("logs", "--host", town.doors["station"], "--seconds=9"))
    serial_logs = asyncio.create_task(town.board("logs", "--port", station.port, "--seconds=9"))
    (paid,) = await town.board("pay", "40", *door)
    assert (paid["paid_wh"], paid["delivered_wh"]) == (40, 40)
    (paid,) = await town.board("pay", "20", *port)
    assert paid["paid_wh"] == 60
    heard, heard_serially = await logs, await serial_logs
    said, said_serially = (
        {json.dumps(event) for event in events if event["event"] == "channel"}
        for events in (heard, heard_serially)
    )
    assert said & said_serially, (heard, heard_serially)

    (there,), (here,) = await town.board("status", *door), await town.board("status", *port)
    assert there.pop("heap").keys() == here.pop("heap").keys()
    assert there == here and there["address"] == town.addresses["car"]

    findings = {}
    for where in (door, port):  # serially it is stopped, and starts anew
        lines = await town.board("doctor", *where)
        findings[where] = {line["check"]: line for line in lines if "check" in line}
        assert all(line["ok"] for line in findings[where].values())
    # How much is free changes with the journal.
    free = [finding.pop("board")["text"].rpartition(", free ")[0] for finding in findings.values()]
    assert findings[door] == findings[port] and free[0] == free[1]

    await town.until("both have met again", "car", lambda status: status["service"])
    await town.until(
        "the channel is whole",
        "car",
        lambda status: status["channels"] and status["channels"][0]["peer"],
    )
    (closed,) = await town.board("close", *door)
    assert closed["kind"] in ("closed", "concluded", "withdrawn")
    (nothing,) = await town.board("close", *port)
    assert nothing == {"channels": 0} or nothing["kind"]
    for where in (door, port):
        await town.until("it is settled", "car", lambda status: not status["channels"])
        (paid,) = await town.board("pay", "20", *where)
        (disputed,) = await town.board("dispute", *where)
        assert disputed["kind"] == "disputed"
        await asyncio.to_thread(town.node.pass_time, 61)
    await town.until("it is settled", "car", lambda status: not status["channels"])
    assert await asyncio.to_thread(town.chain.contract_balance) == 0
    for done in (
        await asyncio.to_thread(town.command, "close", *door),
        await asyncio.to_thread(town.command, "dispute", *port),
    ):
        assert done.returncode == 0 and "there is no open channel" in done.stdout
