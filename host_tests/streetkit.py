"""A station and a car on virtual boards, with a chain and a service, and their owner."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from board.console import Console
from board.definitions import ROOT, BoardError
from board.network import Network
from board.virtual import Virtual
from contracts.anvil import Anvil
from contracts.deploy import deploy
from contracts.ports import free_port
from demo.chain import Chain
from demo.service import Service
from demo.wires import SerialLine
from eth_account import Account

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
            control = ("--control", self.doors[name], "--updates", "--port", one.port)
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

    async def paid_out(self) -> None:
        """Wait until the contract has nothing more: the service withdraws for each by himself."""
        async with asyncio.timeout(60):
            while True:
                if not await asyncio.to_thread(self.chain.contract_balance):
                    return
                await asyncio.sleep(0.1)

    def _status(self, name: str) -> dict[str, Any]:
        with Console(Network(self.doors[name])) as console:
            return console.status()
