"""Frames on TCP: where a message begins and ends in a stream. `serial` has those of a line.

A decoder is fed with whatever arrived, in pieces of any size, and yields the bodies of whole
frames. It keeps what arrived of a body, and nothing between two of them.
"""

from perun.compat import const
from perun.wire import WireError

DEFAULT_LIMIT = const(2048)
_MAX_LENGTH = const(0xFFFF)
_HEAD = const(2)


def check_length(body):
    """Raises WireError for what no frame can hold."""
    if not 0 < len(body) <= _MAX_LENGTH:
        raise WireError("a frame holds 1 to 65535 bytes")


def tcp_frame(body):
    """The frame for this body on TCP: its length, two bytes big-endian, and the body.

    Send it with one write: go-perun takes a body with a single read.
    """
    check_length(body)
    return len(body).to_bytes(_HEAD, "big") + body


class TcpDecoder:
    """Takes a TCP stream apart. TCP loses nothing, so after a WireError the stream is useless."""

    def __init__(self, limit=DEFAULT_LIMIT):
        self._limit = limit
        self._head = 0  # bytes of the length that are there
        self._length = 0
        self._body = b""  # what is there of the body

    def feed(self, chunk):
        """Generator: the body of every frame that ends in this chunk. Run it to its end."""
        chunk = memoryview(chunk)
        at = 0
        while True:
            if self._head == _HEAD and not 0 < self._length <= self._limit:
                raise WireError("a frame of %d bytes" % self._length)
            if at == len(chunk):
                return
            if self._head < _HEAD:
                self._length = self._length << 8 | chunk[at]
                self._head += 1
                at += 1
                continue
            part = chunk[at : at + self._length - len(self._body)]
            at += len(part)
            body = self._body + part
            if len(body) == self._length:
                self._head = self._length = 0
                self._body = b""
                yield body
            else:
                self._body = body
