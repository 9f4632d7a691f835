"""One device's link to one node: at most one connection, kept up while the device is there."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable
from typing import Protocol

import structlog
from eth_utils import to_checksum_address
from perun.wire import WireError

from adoption.bridge import addresses, translate
from adoption.bridge.connection import Connection, Ends, dial
from adoption.links import LinkClosed

log = structlog.get_logger(__name__)

_QUEUE = 16  # messages that wait for a node that does not read; go-perun's queues are as long
_SEND = 20.0  # seconds for one message
_TOGETHER = 10.0  # seconds within which two connections count as dialled at the same time
_MAX_BAD = 16  # messages that are none, before a connection is closed
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 30.0


class Outlet(Protocol):
    """A device's session, as the bridge needs it."""

    async def relay(self, peer: str, message: object) -> None:
        """Bring a node's message to the device; waits while it reads too slowly."""

    async def peer_state(self, peer: str, connected: bool, text: str) -> None:
        """Tell the device of its link to a node."""


class Line:
    """Runs from attach() to detach()."""

    def __init__(
        self, ends: Ends, outlet: Outlet, context: ssl.SSLContext, pinned: bytes | None
    ) -> None:
        self.ends = ends
        self._outlet = outlet
        self._context = context
        self._pinned = pinned
        self._connection: Connection | None = None
        self._out: asyncio.Queue[bytes] = asyncio.Queue(_QUEUE)
        self._gone = asyncio.Event()  # set while there is no connection
        self._gone.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.log = log.bind(device=to_checksum_address(ends.device), node=ends.peer.name)
        if ends.peer.connect:
            self._spawn(self._keep_dialling())

    @property
    def connected(self) -> bool:
        """Is there a connection to the node?"""
        return self._connection is not None

    def serves(self, outlet: Outlet) -> bool:
        """Is it this session's?"""
        return self._outlet is outlet

    def stop(self) -> None:
        """The device is gone."""
        if self._connection:
            self._connection.close()
        for task in list(self._tasks):
            task.cancel()

    async def stopped(self) -> None:
        """Wait until nothing of it runs any more."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- connections ------------------------------------------------------------------------------

    async def _keep_dialling(self) -> None:
        pause, problem = _FIRST_PAUSE, ""
        while True:
            await self._gone.wait()
            try:
                connection = await dial(self.ends, self._context, self._pinned)
            except (OSError, LinkClosed, WireError) as error:
                if str(error) != problem:
                    problem = str(error)
                    self.log.warning("cannot reach the node", error=problem)
                    await self._outlet.peer_state(self.ends.peer.name, False, problem)
            else:
                start = connection.since
                if self.offer(connection):
                    await self._gone.wait()
                # A node that still holds our dead connection drops the new one right after the
                # handshake, until it notices.
                if asyncio.get_running_loop().time() - start > 2 * _FIRST_PAUSE:
                    pause, problem = _FIRST_PAUSE, ""
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def offer(self, new: Connection) -> bool:
        """Take a connection whose handshake is done, unless the one that is there stays."""
        old = self._connection
        if old is not None and not old.closed and not self._replaces(new, old):
            self.log.info("a second connection is closed", address=new.name)
            new.close()
            return False
        if old is not None:
            old.close()
        self._connection = new
        self._gone.clear()
        self._out = asyncio.Queue(_QUEUE)
        self._spawn(self._serve(new, self._out))
        return True

    def _replaces(self, new: Connection, old: Connection) -> bool:
        """Both dialled at the same time: what the one with the smaller address dialled is closed,
        and both sides come to the same end. Otherwise nobody dials who has a connection, so the
        old one is dead at the other end."""
        if new.dialled == old.dialled or new.since - old.since > _TOGETHER:
            return True
        kind = self.ends.peer.wire
        mine = addresses.order(kind, self.ends.own.address)
        return new.dialled != (mine < addresses.order(kind, self.ends.peer.address))

    async def _serve(self, connection: Connection, out: asyncio.Queue[bytes]) -> None:
        name = self.ends.peer.name
        self.log.info("connected", address=connection.name, dialled=connection.dialled)
        reason = ""
        writer = asyncio.create_task(_write(connection, out))
        try:
            await self._outlet.peer_state(name, True, "")
            await self._read(connection)
        except LinkClosed as error:
            reason = str(error)
        finally:
            writer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await writer
            connection.close()
            if self._connection is connection:
                self._connection = None
                self._gone.set()
                self.log.info("disconnected", reason=reason)
                await self._outlet.peer_state(name, False, reason)

    # -- messages ---------------------------------------------------------------------------------

    async def _read(self, connection: Connection) -> None:
        bad = 0
        while True:
            try:
                message = translate.to_device(self.ends, await connection.recv())
            except WireError as error:
                bad += 1
                self.log.warning("a message of the node is dropped", reason=str(error))
                if bad == _MAX_BAD or not connection.resumable:
                    raise LinkClosed(f"the node sends no valid messages: {error}") from error
                await self._outlet.peer_state(self.ends.peer.name, True, f"dropped: {error}")
                continue
            if message is not None:
                await self._outlet.relay(self.ends.peer.name, message)

    def send(self, message: object) -> str:
        """Pass a device's message on, without waiting; returns why not, or ""."""
        connection = self._connection
        if connection is None or connection.closed:
            return "not connected"
        try:
            data = connection.encode(translate.to_node(self.ends, message))
            self._out.put_nowait(data)
        except WireError as error:
            return f"not relayed: {error}"
        except asyncio.QueueFull:
            connection.close()
            return "the node does not read"
        return ""


async def _write(connection: Connection, out: asyncio.Queue[bytes]) -> None:
    try:
        while True:
            data = await out.get()
            async with asyncio.timeout(_SEND):
                await connection.write(data)
    except (LinkClosed, TimeoutError):
        connection.close()
