"""Links: whole frames to and from one device, over TCP or a serial line."""

from __future__ import annotations

import asyncio
import os
import socket
import termios
import tty
from collections import deque
from typing import Protocol

from perun.wire.frame import TcpDecoder, tcp_frame
from perun.wire.serial import SerialDecoder, serial_frame

_CHUNK = 4096
_SEND_BUFFER = 32768
_CLOSING = 5.0  # seconds
_SERIAL_BACKLOG = 1 << 20  # bytes that may wait for a slow line


class LinkClosed(Exception):
    """The other end is gone."""


class Link(Protocol):
    """Frames in and out. lasting: a new session may follow on the same link (a serial line);
    binding: the SHA-256 of the certificate that the other end was shown, or b"" without TLS."""

    name: str
    lasting: bool
    binding: bytes

    async def recv(self) -> bytes:
        """The body of the next frame. Raises LinkClosed, and WireError for a broken stream."""

    async def send(self, body: bytes) -> None:
        """Send one frame. Raises LinkClosed."""

    async def close(self) -> None:
        """Hang up."""


class TcpLink:
    """One TCP connection, with TLS or without."""

    lasting = False

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        limit: int,
        binding: bytes = b"",
    ) -> None:
        self.binding = binding
        self._reader = reader
        self._writer = writer
        self._decoder = TcpDecoder(limit)
        self._bodies: deque[bytes] = deque()
        peer = writer.get_extra_info("peername")
        self.name = f"tcp {peer[0]}:{peer[1]}" if peer else "tcp"
        sock = writer.get_extra_info("socket")
        if sock is not None:
            # A device that does not read is noticed soon and takes little memory.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
            # A device that vanished is noticed without traffic of our own.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4)

    async def recv(self) -> bytes:
        while not self._bodies:
            try:
                chunk = await self._reader.read(_CHUNK)
            except OSError as error:
                raise LinkClosed(str(error)) from error
            if not chunk:
                raise LinkClosed("the device hung up")
            self._bodies.extend(self._decoder.feed(chunk))
        return self._bodies.popleft()

    async def send(self, body: bytes) -> None:
        try:
            self._writer.write(tcp_frame(body))
            await self._writer.drain()
        except OSError as error:
            raise LinkClosed(str(error)) from error

    async def close(self) -> None:
        self._writer.close()
        try:
            # Over TLS a device that vanished would be waited for.
            await asyncio.wait_for(self._writer.wait_closed(), _CLOSING)
        except OSError:
            pass


class SerialLink:
    """A serial line (a UART, a USB adapter, a pty), raw, eight bits, no flow control."""

    lasting = True
    binding = b""

    def __init__(self, path: str, baud: int, limit: int) -> None:
        """Opens the line. Raises OSError, and ValueError for a speed that it cannot have."""
        self.name = f"serial {path}"
        speed = getattr(termios, f"B{baud}", None)
        if speed is None:
            raise ValueError(f"{path}: no serial line runs at {baud} baud")
        self._fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        try:
            _set_up(self._fd, speed)
        except (OSError, termios.error) as error:
            os.close(self._fd)
            raise OSError(f"{path} is no serial line: {error}") from error
        self._decoder = SerialDecoder(limit)
        self._bodies: deque[bytes] = deque()
        self._arrived = asyncio.Event()
        self._out = bytearray()
        self._drained = asyncio.Event()
        self._drained.set()
        self.gone = False
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._fd, self._readable)

    async def recv(self) -> bytes:
        while not self._bodies:
            if self.gone:
                raise LinkClosed("the line is gone")
            self._arrived.clear()
            await self._arrived.wait()
        body = self._bodies.popleft()
        if not self._bodies and not self.gone:
            self._loop.add_reader(self._fd, self._readable)
        return body

    async def send(self, body: bytes) -> None:
        if self.gone or len(self._out) > _SERIAL_BACKLOG:
            raise LinkClosed("the line is gone or takes nothing")
        self._out += serial_frame(body)
        self._drained.clear()
        self._writable()
        await self._drained.wait()
        if self.gone:
            raise LinkClosed("the line is gone")

    async def close(self) -> None:
        if self._fd >= 0:
            self._lost()
            os.close(self._fd)
            self._fd = -1

    def _readable(self) -> None:
        try:
            chunk = os.read(self._fd, _CHUNK)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        if not chunk:
            self._lost()
            return
        self._bodies.extend(self._decoder.feed(chunk))
        if self._bodies:
            # Nothing more is read until these are handled: the line's own buffer fills up.
            self._loop.remove_reader(self._fd)
            self._arrived.set()

    def _writable(self) -> None:
        try:
            while self._out:
                count = os.write(self._fd, self._out)
                del self._out[:count]
        except BlockingIOError:
            self._loop.add_writer(self._fd, self._writable)
            return
        except OSError:
            self._lost()
            return
        self._loop.remove_writer(self._fd)
        self._drained.set()

    def _lost(self) -> None:
        self.gone = True
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        self._arrived.set()
        self._drained.set()


def _set_up(fd: int, speed: int) -> None:
    tty.setraw(fd)
    attributes = termios.tcgetattr(fd)
    attributes[2] |= termios.CLOCAL | termios.CREAD
    attributes[4] = attributes[5] = speed
    termios.tcsetattr(fd, termios.TCSANOW, attributes)
