"""TCP ports, and the tasks that serve who comes in by them."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

Address = tuple[str, int]
Accept = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]

_HANDSHAKE = 10.0  # seconds


class Doors:
    """tasks: those that run."""

    def __init__(self) -> None:
        self._servers: list[asyncio.Server] = []
        self.tasks: set[asyncio.Task[None]] = set()

    async def open(
        self, places: Sequence[str], accept: Accept, context: ssl.SSLContext | None = None
    ) -> list[Address]:
        """Listen at "HOST:PORT"; where that is, in fact. context: for TLS. Raises OSError."""
        tls: dict[str, Any] = (
            {} if context is None else {"ssl": context, "ssl_handshake_timeout": _HANDSHAKE}
        )
        found: list[Address] = []
        for place in places:
            host, _, port = place.rpartition(":")
            server = await asyncio.start_server(
                accept, host.strip("[]") or None, int(port), limit=1 << 16, **tls
            )
            self._servers.append(server)
            found += [(name[0], name[1]) for name in (s.getsockname() for s in server.sockets)]
        return found

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run it until the end, or until the doors close."""
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def close(self) -> None:
        """Hang up on everybody."""
        for server in self._servers:
            server.close()
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
