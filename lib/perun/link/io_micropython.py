"""Streams of bytes on MicroPython's asyncio: sockets, UARTs, and the unix port's ttys."""

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
    _send_at_once(reader.s)
    return Stream(reader, reader.s.close)


def _send_at_once(sock):
    try:
        # Do not hold small frames back: IPPROTO_TCP and TCP_NODELAY, which not every port names.
        sock.setsockopt(6, 1, 1)
    except OSError:
        pass  # a port that cannot do it still works, slower


async def open_tcp(host, port):
    """Connect: a Stream, and b"" for its certificate. Raises OSError."""
    sock = await open_socket(host, port)
    return Stream(asyncio.StreamReader(sock), sock.close), b""


async def open_socket(host, port):
    """Connect: a socket that does not block. Raises OSError."""
    sock = (await asyncio.open_connection(host, port))[0].s
    try:
        _check_connected(sock, host, port)
    except OSError:
        sock.close()
        raise
    _send_at_once(sock)
    return sock


def _check_connected(sock, host, port):
    # asyncio takes a failed connection for an open one. A second connect() tells the reason of the
    # failure; anything else that it raises is a port's way to say "already connected".
    import errno
    import socket

    try:
        sock.connect(socket.getaddrinfo(host, port)[0][-1])
    except OSError as error:
        if error.errno in (
            errno.ECONNREFUSED,
            errno.ECONNRESET,
            errno.ECONNABORTED,
            errno.EHOSTUNREACH,
            errno.ETIMEDOUT,
        ):
            raise


async def open_serial(port, baudrate):
    """The Stream of a tty's path, or of a UART that its owner has set up and will close."""
    if not isinstance(port, str):
        return Stream(asyncio.StreamReader(port), _leave_open)
    from perun.link.tty import Tty

    tty = Tty(port, baudrate)
    return Stream(asyncio.StreamReader(tty), tty.close)


def _leave_open():
    pass
