"""Wires between processes that are not there by themselves: a serial line, a TCP cable."""

from __future__ import annotations

import asyncio
import contextlib
import os
import termios
import tty

from contracts.ports import free_port

_CHUNK = 4096


class SerialLine:
    """Two ttys with a null modem between them.

    device, service     the paths of its ends

    Like a UART it stays up when a program at an end dies, knows no flow control, and drops what
    nobody reads.
    """

    def __init__(self) -> None:
        self._open: list[int] = []
        (near, self.device), (far, self.service) = self._end(), self._end()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(near, self._carry, near, far)
        self._loop.add_reader(far, self._carry, far, near)
        self._masters = (near, far)

    def _end(self) -> tuple[int, str]:
        master, slave = os.openpty()
        self._open += [master, slave]  # the slave stays open: no hang-up between two programs
        tty.setraw(slave)
        os.set_blocking(master, False)
        return master, os.ttyname(slave)

    @staticmethod
    def _carry(source: int, target: int) -> None:
        with contextlib.suppress(BlockingIOError):
            data = os.read(source, _CHUNK)
            os.write(target, data)

    def inject(self, data: bytes) -> None:
        """Noise on the line, towards the device."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._masters[0], data)

    def flush(self) -> None:
        """Forget what waits for the device: its UART lost it with the power."""
        termios.tcflush(self._open[1], termios.TCIOFLUSH)

    def close(self) -> None:
        """Take the line away."""
        for master in self._masters:
            self._loop.remove_reader(master)
        while self._open:
            os.close(self._open.pop())


class Cable:
    """A TCP cable that a scene can cut: connections to `port` go on to 127.0.0.1:target."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = free_port()

    async def plug(self) -> None:
        """Connect the cable."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)

    async def cut(self) -> None:
        """Cut the cable: no connection survives, none can be made."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._join(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            to, back = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_copy(reader, back))
                group.create_task(_copy(to, writer))
        except* (OSError, _End):
            pass
        finally:
            writer.transport.abort()
            back.transport.abort()


class _End(Exception):
    """One direction ended: so does the connection."""


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while data := await source.read(_CHUNK):
        target.write(data)
        await target.drain()
    raise _End
