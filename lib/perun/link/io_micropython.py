"""Streams of bytes on MicroPython's asyncio: sockets, UARTs, and the unix port's ttys. How they
are opened is elsewhere: it is rare."""

import asyncio

from perun.compat import const
from perun.link import LinkClosed

_CHUNK = const(256)  # bytes that a read takes at most


class Stream:
    """An asyncio stream with a receive buffer of its own and a close() that wakes its users.

    Without that, MicroPython would go on polling a closed object, or a UART that stays open, and
    whoever waits for it could hang.
    """

    def __init__(self, stream, close):
        self._stream = stream
        self._close = close
        self._buffer = memoryview(bytearray(_CHUNK))
        self._tasks = []  # waiting for the stream; None once closed

    async def read(self):
        count = None
        while count is None:  # woken, but there is nothing
            count = await self._guard(self._stream.readinto(self._buffer))
        return self._buffer[:count]

    async def write(self, data):
        self._stream.write(data)
        await self._guard(self._stream.drain())

    def close(self):
        tasks, self._tasks = self._tasks, None
        for task in tasks:
            task.cancel()
        self._close()

    async def _guard(self, operation):
        task = asyncio.current_task()
        self._tasks.append(task)
        try:
            return await operation
        except asyncio.CancelledError:
            if self._tasks is None:
                raise LinkClosed("closed")
            raise
        finally:
            if self._tasks is not None:
                self._tasks.remove(task)


def tcp_stream(reader, _writer):
    """The Stream of a connection; reader and writer are one object on MicroPython."""
    send_at_once(reader.s)
    return Stream(reader, reader.s.close)


def send_at_once(sock):
    """Do not hold small frames back."""
    try:
        # IPPROTO_TCP and TCP_NODELAY, which not every port names
        sock.setsockopt(6, 1, 1)
    except OSError:
        pass  # a port that cannot do it still works, slower
