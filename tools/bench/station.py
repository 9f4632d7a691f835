"""The heap of a charging station: the firmware in the VM, with a smaller heap each time.

A run is the station's whole honest day: its service over a serial line (a pty), a car that
connects over TCP, one channel, payments for energy, the final state, the money at the receiver.
Everything is loaded from .mpy files. The smallest heap in which a run comes to its end is
the peak.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import tempfile
import tty
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from perun.chain.address import to_checksum
from perun.channel.opening import Limits
from perun.client import Client
from perun.client.handle import ClientError
from perun.link import LinkError, memory, serial, tcp
from perun.store.journal import MemoryStore

from bench import conversation
from bench.counter import Failed
from bench.device import MPY, ROOT, VM
from bench.service import Service

PAYMENTS = 30
STEP = 4 * 1024  # bytes: how finely the heap is searched
SMALLEST = 64 * 1024
LARGEST = 512 * 1024

_PRICE = 10**15  # wei for a kWh
_WH = 10  # that a payment buys
_DEPOSIT = 10**18
_TIMEOUT = 30  # seconds for one run
_SERVICE_BAUD = 115200
_NO_MEMORY = ("MemoryError", "memory allocation failed")

Progress = Callable[[str], None]


def measure(progress: Progress, payments: int = PAYMENTS) -> dict[str, int]:
    """{"peak_heap_bytes": ..., "live_heap_bytes": ...}. Raises Failed."""
    with tempfile.TemporaryDirectory() as modules:
        _compile_charger(Path(modules))
        stations = _Stations(Path(modules), payments, progress)
        live = stations.run(LARGEST)
        if live is None:
            raise Failed(f"the station fails with {LARGEST} bytes: {stations.failure}")
        return {"peak_heap_bytes": stations.smallest(), "live_heap_bytes": live}


class _Stations:
    """Runs of the station, each with a folder and a key of its own."""

    def __init__(self, modules: Path, payments: int, progress: Progress) -> None:
        self._modules = modules
        self._payments = payments
        self._progress = progress
        self.failure = ""  # why the last run failed

    def smallest(self) -> int:
        """The smallest heap in which two runs, one after the other, come to their end."""
        low, high = SMALLEST // STEP - 1, LARGEST // STEP  # fails, works
        while high - low > 1:
            middle = (low + high) // 2
            if self.run(middle * STEP) is None:
                low = middle
            else:
                high = middle
        # Not every run collects its garbage at the same moments.
        while self.run(high * STEP) is None:
            high += 1
        return high * STEP

    def run(self, heap: int) -> int | None:
        """The bytes that live on the heap when all is paid, or None when it does not suffice."""
        for _ in range(2):
            self._progress(f"a station with {heap // 1024} KB of heap")
            with tempfile.TemporaryDirectory() as folder:
                self.failure, live = asyncio.run(self._day(Path(folder), heap))
            # What fails for another reason than memory, a busy machine say, has a second try.
            if not self.failure or any(text in self.failure for text in _NO_MEMORY):
                break
        return None if self.failure else live

    async def _day(self, folder: Path, heap: int) -> tuple[str, int]:
        """(failure or "", living bytes) of one run."""
        with ExitStack() as stack:
            line, port = _Line(stack), _free_port()
            (folder / "config.json").write_text(json.dumps(_config(line.path, port)))
            station = await _Station.start(folder, self._modules, heap)
            try:
                async with asyncio.timeout(_TIMEOUT):
                    return "", await self._charge(station, line, port)
            except (TimeoutError, Failed, LinkError, ClientError) as error:
                return f"{type(error).__name__} {error}\n{station.text()}", 0
            finally:
                await station.kill()

    async def _charge(self, station: _Station, line: _Line, port: int) -> int:
        service = asyncio.create_task(Service().run(await line.link()))
        car = asyncio.create_task(_car(station, port, self._payments))
        try:
            await asyncio.wait((service, car, station.dead), return_when=asyncio.FIRST_COMPLETED)
            if station.dead.done():
                raise Failed("the station ended, or has no memory left")
            if not car.done():
                raise Failed(f"the link to the service ended: {service.exception()!r}")
            return car.result()
        finally:
            car.cancel()
            service.cancel()
            await asyncio.gather(car, service, return_exceptions=True)


async def _car(station: _Station, port: int, payments: int) -> int:
    """Open a channel with the station, pay, close. Returns the station's living bytes."""
    await station.event("listening")
    limits = Limits((conversation.ASSET,), (_DEPOSIT,), 60, 86400)
    account, receiver = conversation.PAYER, conversation.RECEIVER
    client = Client(account, conversation.CHAIN_ID, limits, receiver, MemoryStore())
    near, far = memory.pair()
    service = asyncio.create_task(Service().run(far))

    async def dial() -> Any:
        return near

    guard = asyncio.create_task(client.guard(dial))
    peer = await client.connect(await tcp.connect("127.0.0.1", port))
    try:
        channel = await client.propose(peer, ((_DEPOSIT, 0),), conversation.DURATION)
        await channel.opened()
        for _ in range(payments):
            await channel.pay(_WH * _PRICE // 1000)
        await station.say("status")
        status = await station.event("status")
        shown = status["channels"][0]
        paid = payments * _WH * _PRICE // 1000
        if (shown["version"], int(shown["balances"][0][1])) != (payments, paid):
            raise Failed("the station counts something else than the car")
        await channel.close()
        await station.event("channel", kind="withdrawn")
        return int(status["heap"]["used"])
    finally:
        peer.close()
        guard.cancel()
        service.cancel()
        await asyncio.gather(guard, service, return_exceptions=True)


class _Line:
    """A serial line: a pty whose other end the station opens by its path."""

    def __init__(self, stack: ExitStack) -> None:
        self._end, other = os.openpty()
        tty.setraw(other)  # before a byte is on the line: none may be echoed
        stack.callback(os.close, other)  # held open: without any holder the line would be dead
        self.path = os.ttyname(other)

    async def link(self) -> Any:
        """The link over this end, which it takes over."""
        return await serial.open(self._end, _SERVICE_BAUD)


class _Station:
    """The process. Its console speaks JSON, a line for each event."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._lines: list[str] = []
        self._read = 0  # lines that event() has seen
        self._more = asyncio.Event()
        self.dead = asyncio.create_task(self._listen())

    @classmethod
    async def start(cls, folder: Path, modules: Path, heap: int) -> _Station:
        """Start the firmware in its folder."""
        process = await asyncio.create_subprocess_exec(
            *(str(VM), "-X", f"heapsize={heap}", "-m", "main"),
            cwd=folder,
            env={**os.environ, "MICROPYPATH": f"{MPY}:{modules}:.frozen"},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        return cls(process)

    async def _listen(self) -> None:
        """Take down what it prints until it ends or runs out of memory."""
        assert self._process.stdout
        while line := (await self._process.stdout.readline()).decode(errors="replace"):
            self._lines.append(line)
            self._more.set()
            if any(text in line for text in _NO_MEMORY):
                return

    async def event(self, name: str, /, **fields: str) -> dict[str, Any]:
        """The next event of this name with these fields."""
        while True:
            while self._read < len(self._lines):
                line = self._lines[self._read]
                self._read += 1
                found = json.loads(line) if line.startswith("{") else {}
                if found.get("event") == name and fields.items() <= found.items():
                    return dict(found)
            self._more.clear()
            await self._more.wait()

    async def say(self, command: str) -> None:
        """Type a command."""
        assert self._process.stdin
        self._process.stdin.write(command.encode() + b"\n")
        await self._process.stdin.drain()

    def text(self) -> str:
        """The last of what it printed."""
        return "".join(self._lines[-20:])

    async def kill(self) -> None:
        """End it, if it has not ended."""
        if self._process.returncode is None:
            self._process.kill()
        self.dead.cancel()
        await asyncio.gather(self.dead, return_exceptions=True)
        await self._process.communicate()


def _config(line: str, port: int) -> dict[str, Any]:
    asset = to_checksum(conversation.ASSET.holder)
    return {
        "chain": {
            "id": conversation.CHAIN_ID,
            "assets": [{"holder": asset, "max_deposit": str(_DEPOSIT)}],
        },
        "receiver": to_checksum(conversation.RECEIVER),
        "service": {
            "serial": {"path": line, "baud": _SERVICE_BAUD},
            "address": to_checksum(conversation.SERVICE.address),
        },
        "peer": {"listen": {"host": "127.0.0.1", "port": port}},
        "app": {
            "module": "ev_station",
            "price_per_kwh": str(_PRICE),
            # Nobody holds the other end of the cable: the energy is gone all the same.
            "charger": {"module": "cable", "end": "station", "port": port},
        },
        "console": "json",
    }


def _compile_charger(target: Path) -> None:
    """The driver of the UNIX board's cable, as the rest from a .mpy file."""
    source = ROOT / "boards" / "UNIX" / "cable.py"
    compiler = VM.with_name("mpy-cross")
    command = [str(compiler), "-march=x64", "-O3", "-o", str(target / "cable.mpy"), str(source)]
    subprocess.run(command, check=True)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
