"""Where devices come in: TCP ports and serial lines."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

import structlog
from perun.wire import service_messages as sm
from perun.wire.compact import Compact, Contexts

from adoption.config import Config, SerialLine
from adoption.links import Link, LinkClosed, SerialLink, TcpLink
from adoption.session import Session

log = structlog.get_logger(__name__)

_REOPEN = 2.0  # seconds until a serial line that is gone is tried again


class Listeners:
    """new_session: makes a Session for a link."""

    def __init__(self, config: Config, new_session: Callable[[Link], Session]) -> None:
        self._config = config
        self._new_session = new_session
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._connections = 0
        self.addresses: list[tuple[str, int]] = []  # where TCP is listened to, in fact

    async def start(self) -> None:
        """Listen. Raises OSError when an address cannot be had."""
        for address in self._config.service.listen:
            host, _, port = address.rpartition(":")
            server = await asyncio.start_server(
                self._accept, host.strip("[]") or None, int(port), limit=1 << 16
            )
            self._servers.append(server)
            for sock in server.sockets:
                name = sock.getsockname()
                self.addresses.append((name[0], name[1]))
                log.info("listening", address=f"{name[0]}:{name[1]}")
        for line in self._config.service.serial:
            self._spawn(self._serve_line(line))

    async def stop(self) -> None:
        """Hang up on everybody."""
        for server in self._servers:
            server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = TcpLink(reader, writer, self._config.limits.frame_bytes)
        if self._connections >= self._config.limits.sessions:
            self._spawn(_turn_away(link))
            return
        self._connections += 1
        self._spawn(self._serve_connection(link))

    async def _serve_connection(self, link: TcpLink) -> None:
        try:
            await self._serve(link)
        finally:
            self._connections -= 1
            await link.close()

    async def _serve(self, link: Link) -> None:
        """Sessions on one link: a device that starts anew says Hello in the middle of one."""
        hello = None
        while True:
            session = self._new_session(link)
            hello = await session.run(hello)
            if hello is None:
                return

    async def _serve_line(self, line: SerialLine) -> None:
        """Keep a serial line open; it may not be there yet, or vanish with its adapter."""
        problem = ""
        while True:
            try:
                link = SerialLink(line.path, line.baud, self._config.limits.frame_bytes)
            except OSError as error:
                if str(error) != problem:
                    problem = str(error)
                    log.warning("cannot open the serial line", error=problem)
                await asyncio.sleep(_REOPEN)
                continue
            problem = ""
            log.info("serial line open", path=line.path)
            try:
                while not link.gone:
                    await self._serve(link)
            finally:
                await link.close()
            await asyncio.sleep(_REOPEN)


async def _turn_away(link: TcpLink) -> None:
    codec = Compact(Contexts())
    full = sm.Error(0, sm.ERROR_BUSY, "too many sessions: try again later")
    with contextlib.suppress(LinkClosed, TimeoutError):
        async with asyncio.timeout(2):
            await link.send(codec.encode(full))
    await link.close()
