"""Two links that are each other's other end, in one process: for tests and for trying things out.

They carry real frames through bounded buffers, in pieces, as a network does.
"""

import asyncio

from perun.compat import const
from perun.link import Link, LinkClosed
from perun.wire.frame import DEFAULT_LIMIT, TcpDecoder, tcp_frame

_CAPACITY = const(1024)  # bytes under way in one direction
_PIECE = const(64)  # bytes that a read takes at most


def pair(limit=DEFAULT_LIMIT, capacity=_CAPACITY):
    """Two connected links. limit: the longest body, bytes; capacity: of each direction, bytes."""
    there, back = _Pipe(capacity), _Pipe(capacity)
    return (
        Link(_Stream(back, there), tcp_frame, TcpDecoder(limit), "memory a"),
        Link(_Stream(there, back), tcp_frame, TcpDecoder(limit), "memory b"),
    )


class _Pipe:
    """One direction: bytes wait here, bounded."""

    def __init__(self, capacity):
        self._capacity = capacity
        self._data = b""
        self._changed = asyncio.Event()
        self._ended = False  # no more goes in; what is there can be read

    async def read(self):
        while not self._data and not self._ended:
            await self._wait()
        piece, self._data = self._data[:_PIECE], self._data[_PIECE:]
        self._changed.set()
        return piece

    async def write(self, data):
        while data:
            if self._ended:
                raise LinkClosed("memory: the link is closed")
            room = self._capacity - len(self._data)
            self._data += data[:room]
            data = data[room:]
            self._changed.set()
            if data:
                await self._wait()

    def end(self):
        self._ended = True
        self._changed.set()

    def discard(self):
        self._data = b""
        self.end()

    async def _wait(self):
        self._changed.clear()
        await self._changed.wait()


class _Stream:
    def __init__(self, incoming, outgoing):
        self._incoming = incoming
        self._outgoing = outgoing
        self.read = incoming.read
        self.write = outgoing.write

    def close(self):
        self._outgoing.end()
        self._incoming.discard()
