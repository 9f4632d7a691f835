"""`python -m board tutorial`: from two bare boards to money in a wallet, on virtual boards.

What README.md shows is what this prints. The chain, the service and the boards' MicroPython are
real processes; the commands are run as a user types them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from contracts.anvil import Anvil
from contracts.deploy import deploy
from contracts.ports import free_port
from demo.chain import Chain
from demo.service import Service
from demo.wires import SerialLine
from eth_account import Account

from board.cable import ChargingCable
from board.console import Console
from board.definitions import ROOT, BoardError, board
from board.deploy import build
from board.virtual import MODULES, MPY_CROSS, Virtual

PRICE_PER_KWH = 123_456_789_012_345  # wei; odd, so that an error of one wei shows
DEPOSIT = 10**15
WH_PER_SECOND = 200
_TIMEOUT = 180  # seconds for a command, which has limits of its own


@dataclass
class Verdict:
    """What must be and what is, in wei and Wh; the seconds that it took."""

    expected: dict[str, int] = field(default_factory=dict)
    actual: dict[str, int] = field(default_factory=dict)
    seconds: float = 0

    @property
    def ok(self) -> bool:
        """Does everything agree?"""
        return self.expected == self.actual and bool(self.expected)


class Tutorial:
    """directory: a new one; say: gets the transcript line by line."""

    def __init__(self, directory: Path, say: Callable[[str], None] = print) -> None:
        self.directory = directory
        self._say = say
        self._stack = contextlib.AsyncExitStack()
        self._names: dict[str, str] = {}  # what a command line has -> how it is shown

    async def __aenter__(self) -> Self:
        self.directory.mkdir(parents=True)
        try:
            node = self._stack.enter_context(Anvil())
            self.chain = Chain(node, await asyncio.to_thread(deploy, node.web3))
            line = SerialLine()
            self._stack.callback(line.close)
            self.service = Service(
                self.directory / "service", node.url, self.chain.place, line.service
            )
            self._stack.push_async_callback(self.service.stop)
            await self.service.start()
            self.station = self._board("RPI_PICO2_W", "station")
            self.car = self._board("ESP32_GENERIC", "car")
            self.wallets = [Account.create().address for _ in range(2)]
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def _board(self, name: str, place: str) -> Virtual:
        one = Virtual(board(name), self.directory / place)
        self._stack.callback(one.close)
        one.power_on()
        return one

    # -- what is typed ----------------------------------------------------------------------------

    def _at(self, one: Virtual) -> tuple[str, str]:
        # An RP2 has another pty after a power cut: its link stays.
        place = str(one.directory / "tty")
        self._names[place] = one.directory.name
        return "--port", place

    async def type(self, *words: str, **environment: str) -> str:
        """Run a command of `board` and show it; what it printed. Raises BoardError."""
        shown = " ".join(self._names.get(word, word) for word in words)
        self._say(f"$ board {shown}")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "board", *words),
            env={
                **{name: text for name, text in os.environ.items() if name != "MAKEFLAGS"},
                "PYTHONPATH": f"{ROOT / 'tools'}:{ROOT / 'lib'}",
                "COLUMNS": "200",
                **environment,
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            out = (await asyncio.wait_for(process.communicate(), _TIMEOUT))[0].decode()
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            raise
        for line in out.splitlines():
            self._say("  " + self._short(line))
        if process.returncode:
            raise BoardError(f"board {shown} failed:\n{out}")
        return out

    def _short(self, line: str) -> str:
        for long, name in self._names.items():
            line = line.replace(long, name)
        return line

    def remark(self, text: str) -> None:
        """What happens without a command."""
        self._say(f"# {text}")

    # -- the story --------------------------------------------------------------------------------

    async def play(self) -> Verdict:
        """All of it. Raises BoardError."""
        began = time.monotonic()
        for one in (self.station, self.car):
            await self.type("deploy", *self._at(one))
        await self._provision()
        verdict = Verdict()
        with ChargingCable(self.station, self.car, WH_PER_SECOND) as cable:
            self._cable = cable
            self.remark("a cable joins the station's relay and the two meters")
            await self._pay(100)
            await self.type("status", *self._at(self.station))
            await self._backup()
            await self._power_cut()
            await self._update()
        await self._restore(verdict)
        await self._close(verdict)
        verdict.seconds = round(time.monotonic() - began, 1)
        return verdict

    async def _provision(self) -> None:
        port = str(free_port())
        place = self.chain.place
        shared = (
            *("--chain", str(place.chain_id), "--asset", f"{place.eth_holder}:{DEPOSIT}"),
            *("--service", f"127.0.0.1:{self.service.tls_port}"),
            *("--certificate", self.service.pin, "--service-address", self.service.identity),
            *("--price", str(PRICE_PER_KWH), "--set", "chain.min_challenge_duration=60"),
        )
        roles = (
            (self.station, ("--app", "ev_station", "--listen", f"127.0.0.1:{port}"), 0),
            (
                self.car,
                (
                    *("--app", "ev_car", "--dial", f"127.0.0.1:{port}", "--deposit", str(DEPOSIT)),
                    *("--set", "app.close_when_charged=false", "--set", "app.slice_wh=20"),
                    *("--set", "app.patience=4", "--set", "app.challenge_duration=600"),
                ),
                DEPOSIT,
            ),
        )
        for (one, words, budget), wallet in zip(roles, self.wallets, strict=True):
            role = ("provision", *self._at(one), *words, "--receiver", wallet, *shared)
            out = await self.type(*role)
            name = one.directory.name
            address = next(word for word in out.split() if word.startswith("0x"))
            self.remark(f"the service's operator: adoption devices add {address} {name}")
            await self.service.allow(address, name, budget)

    async def _pay(self, wh: int) -> None:
        await self._until("both have met", self._has_met)
        await self.type("pay", str(wh), *self._at(self.car))

    async def _has_met(self) -> bool:
        status = await self._status(self.car)
        return bool(status.get("service"))

    async def _status(self, one: Virtual) -> dict[str, Any]:
        """Without showing it."""

        def ask() -> dict[str, Any]:
            with Console(str(one.directory / "tty")) as console:
                return console.status()

        return await asyncio.to_thread(ask)

    async def _until(self, what: str, ready: Callable[[], Any], timeout: float = 60) -> None:
        end = time.monotonic() + timeout
        while not await ready():
            if time.monotonic() > end:
                raise BoardError(f"the tutorial waited {timeout:g} s until {what}")
            await asyncio.sleep(0.3)

    async def _backup(self) -> None:
        path = self.directory / "station.backup"
        self._names[str(path)] = "station.backup"
        await self.type("backup", str(path), *self._at(self.station), UPERUN_PASSPHRASE="tutorial")

    async def _power_cut(self) -> None:
        """In a flash operation of the station's, in the middle of a payment."""
        self.remark("the car charges; the station loses its power in the middle of a flash write")
        await self._until("both have met", self._has_met)
        paying = asyncio.create_task(self.type("pay", "100", *self._at(self.car)))
        try:
            start = self._cable.wh
            while self._cable.wh < start + 30 and not paying.done():  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            self.station.cut_after(2, half=True)
            await asyncio.to_thread(self.station.wait_off)
            self.station.cut_after(None)
            self.remark("power returns")
            await asyncio.to_thread(self.station.power_on)
        finally:
            await paying

    async def _update(self) -> None:
        new = await asyncio.to_thread(self._new_release)
        self._names[str(new)] = "build/mpy/new"
        await self.type("deploy", *self._at(self.station), "--folder", str(new))
        await self._pay(60)

    def _new_release(self) -> Path:
        new = self.directory / "new"
        software = build("x64")
        formats = (MODULES / "formats").read_bytes()
        for name, data in {**software.files, "formats": formats}.items():
            (new / name).parent.mkdir(parents=True, exist_ok=True)
            (new / name).write_bytes(data)
        source = new / "release.py"
        source.write_text("NAME = 'a new release'\n")
        subprocess.run([MPY_CROSS, "-march=x64", source], check=True)
        source.unlink()
        return new

    async def _restore(self, verdict: Verdict) -> None:
        version = (await self._status(self.car))["channels"][0]["version"]
        self.remark("lightning: the station is gone for ever. A new board takes its place")
        self.station.close()
        self.station = self._board("RPI_PICO2_W", "replacement")
        await self.type("deploy", *self._at(self.station))
        await self.type(
            *("restore", str(self.directory / "station.backup"), "--the-old-board-is-gone"),
            *self._at(self.station),
            UPERUN_PASSPHRASE="tutorial",
        )
        with ChargingCable(self.station, self.car, WH_PER_SECOND) as cable:

            async def caught_up() -> bool:
                channels = (await self._status(self.station))["channels"]
                return bool(channels) and channels[0]["version"] >= version

            await self._until("the station has what it forgot", caught_up)
            verdict.expected["version after the restore"] = version
            shown = (await self._status(self.station))["channels"][0]["version"]
            verdict.actual["version after the restore"] = shown
            await self._pay(40)
        # What it forgot was delivered before: only the new energy flows.
        verdict.expected["Wh that the new board delivered"] = 40
        verdict.actual["Wh that the new board delivered"] = cable.wh

    async def _close(self, verdict: Verdict) -> None:
        status = await self._status(self.car)
        paid = int(status["spent"])
        await self.type("close", *self._at(self.car))
        self.remark("the service concludes and withdraws to the wallets")

        async def arrived() -> bool:
            return await asyncio.to_thread(self.chain.contract_balance) == 0

        await self._until("the money is in the wallets", arrived)
        verdict.expected |= {"station's wallet": paid, "car's wallet": DEPOSIT - paid}
        for name, wallet in zip(("station's wallet", "car's wallet"), self.wallets, strict=True):
            verdict.actual[name] = await asyncio.to_thread(self.chain.balance, wallet)
        wh = 100 + 100 + 60 + 40
        verdict.expected["paid, in wei"] = -(-wh * PRICE_PER_KWH // 1000)
        verdict.actual["paid, in wei"] = paid
        for name, amount in verdict.actual.items():
            self._say(f"{name}: {amount:,}")


async def run(directory: Path, say: Callable[[str], None] = print) -> Verdict:
    """Play it in a directory, which is removed when all is well."""
    shutil.rmtree(directory, ignore_errors=True)
    async with Tutorial(directory, say) as tutorial:
        verdict = await tutorial.play()
    if verdict.ok:
        shutil.rmtree(directory)
    return verdict
