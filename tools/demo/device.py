"""A device: a MicroPython process with its own directory, heap and key."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from contracts.toolchain import BUILD

from demo import processes
from demo.processes import Died

MICROPYTHON = BUILD / "venv" / "bin" / "micropython"
MODULES = BUILD / "mpy" / "x64"
HEAP = "192k"

Event = dict[str, Any]


class Device:
    """name: for people; directory: where it keeps what it must remember; config: its config.json.

    address     0x..., once it has started
    status      what it said last when it was asked
    events      everything that it said but that
    """

    def __init__(
        self,
        name: str,
        directory: Path,
        config: dict[str, Any],
        heap: str = HEAP,
        program: str = "main",
    ) -> None:
        self.name = name
        self.directory = directory
        self.heap = heap
        self._program = program  # a module that runs `main`
        self.address = ""
        self.status: Event = {}
        self.events: list[Event] = []
        self.on_event: Callable[[Device, Event], None] = lambda device, event: None
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._news = asyncio.Condition()
        directory.mkdir(parents=True, exist_ok=True)
        _link(directory / "lib", MODULES)
        (directory / "config.json").write_text(json.dumps(config, indent=2) + "\n")
        self._log = directory / "console.log"

    @property
    def running(self) -> bool:
        """Is the process alive?"""
        return self._process is not None and self._process.returncode is None

    async def make_key(self) -> None:
        """Switch the device on and off once: it makes its key and tells its address."""
        await self.start()
        await self.command("stop")
        await self.stop()
        self.events.clear()

    async def start(self, says: str = "ready", typed: str = "") -> Event:
        """Switch the device on; returns what it says when it has come so far. Raises Died.

        typed: a command that waits on its console from the beginning.
        """
        self.status = {}
        self._process = await processes.spawn(
            [str(MICROPYTHON), "-X", f"heapsize={self.heap}", "-m", self._program],
            self._log,
            self.directory,
            # The frozen modules (asyncio) come last; nothing of the user's home is seen.
            MICROPYPATH="lib:.frozen",
        )
        self._reader = asyncio.create_task(self._read(self._process))
        since = len(self.events)
        if typed:
            await self.command(typed)
        event = await self.said(says, since=since)
        self.address = event.get("address", self.address)
        return event

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        with self._log.open("ab", buffering=0) as log:
            while line := await process.stdout.readline():
                try:
                    event = json.loads(line)
                    assert isinstance(event, dict)
                except (ValueError, AssertionError):
                    event = {"event": "output", "text": line.decode(errors="replace").rstrip()}
                if event["event"] != "status":
                    log.write(line)
                await self._hear(event)
        await process.wait()
        async with self._news:
            self._news.notify_all()

    async def _hear(self, event: Event) -> None:
        async with self._news:
            if event["event"] == "status":
                self.status = event
            else:
                self.events.append(event)
                self.on_event(self, event)
            self._news.notify_all()

    async def command(self, text: str) -> None:
        """Type a command on the console."""
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.write(text.encode() + b"\n")
        await self._process.stdin.drain()

    async def said(self, event: str, timeout: float = 60, since: int = 0, **fields: Any) -> Event:
        """The first event of that name and with these fields; waits for it. Raises Died."""

        def matches(candidate: Event) -> bool:
            wanted = {"event": event, **fields}
            return all(candidate.get(name) == value for name, value in wanted.items())

        def found() -> Event | None:
            return next((one for one in self.events[since:] if matches(one)), None)

        await self._until(lambda: found() is not None, timeout, f'"{event}"')
        result = found()
        assert result is not None
        return result

    async def shows(self, what: str, timeout: float = 60, **fields: Any) -> Event:
        """Wait until the status has these fields; somebody must be asking for it."""

        def matches() -> bool:
            return all(self.status.get(name) == value for name, value in fields.items())

        await self._until(matches, timeout, what)
        return self.status

    async def _until(self, ready: Callable[[], bool], timeout: float, what: str) -> None:
        try:
            async with asyncio.timeout(timeout), self._news:
                while not ready():
                    if not self.running:
                        raise Died(f"the {self.name} ended:\n{processes.tail(self._log)}")
                    await self._news.wait()
        except TimeoutError:
            raise Died(
                f"the {self.name} did not say {what} within {timeout:g} s:\n"
                f"{processes.tail(self._log)}"
            ) from None

    async def ask(self) -> Event:
        """The device's status, fresh."""
        before, self.status = self.status, {}
        try:
            await self.command("status")
            await self._until(lambda: bool(self.status), 60, "its status")
        finally:
            self.status = self.status or before
        return self.status

    async def kill(self) -> None:
        """Cut the power. What it has said is in `events` then."""
        if self._process is not None:
            processes.kill(self._process)
            await self._process.wait()
        if self._reader is not None:
            await self._reader

    async def cut_in_write(self, more: int) -> None:
        """Cut the power when the journal grows the next time, after `more` bytes of that: the
        kernel kills the process in its write. Returns when that has happened. Raises Died when
        the device ends in another way; TimeoutError."""
        assert self._process is not None
        journal = self.directory / "perun.journal"
        size = journal.stat().st_size + more
        processes.forbid_growth(self._process, size)
        status = await asyncio.wait_for(self._process.wait(), 60)
        if status != -signal.SIGXFSZ or journal.stat().st_size != size:
            raise Died(f"the {self.name} did not end in its write: {processes.tail(self._log)}")

    async def stop(self) -> None:
        """Switch off."""
        self.on_event = lambda device, event: None
        if self._process is not None:
            await processes.end(self._process)
        if self._reader is not None:
            await self._reader


def _link(path: Path, target: Path) -> None:
    """The modules are at the same short path for each device, as on a board: a VM keeps the path
    of each module."""
    if not path.is_symlink():
        path.symlink_to(target)
