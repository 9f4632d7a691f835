"""Links: whole bodies to and from a peer or a service, over whatever carries bytes.

`tcp`, `serial` and `memory` make them. A link knows frames and nothing of messages; who the other
end is, `handshake` finds out.
"""

import asyncio

from perun.wire import WireError


class LinkError(OSError):
    """The link failed: it is of no use any more. What was sent may or may not have arrived."""


class LinkClosed(LinkError):
    """This end or the other one closed the link."""


class Link:
    """A stream of bytes cut into frames. Any task may send; one at a time may receive.

    stream: an object with `await read()` (some bytes, valid until the next read; none at the end),
    `await write(data)` and `close()`; frame: the function that frames a body; decoder: takes the
    stream apart again; name: for people.

    binding: the SHA-256 of the certificate at the other end of a TLS link, else b"".
    """

    binding = b""

    def __init__(self, stream, frame, decoder, name):
        self.name = name
        self.closed = False
        self._stream = stream
        self._frame = frame
        self._decoder = decoder
        self._sending = asyncio.Lock()
        self._bodies = []  # received in one read and not yet asked for

    async def send(self, body):
        """Send 1 to 65535 bytes as one frame, and wait while the other end reads too slowly.

        Raises WireError for another length, LinkClosed, or LinkError. A send that is cancelled
        closes the link, because half a frame may be out.
        """
        data = self._frame(body)
        async with self._sending:
            self._check()
            try:
                await self._stream.write(data)
            except asyncio.CancelledError:
                self.close()
                raise
            except OSError as error:
                self._fail(error)

    async def recv(self):
        """The next body. Raises LinkClosed at the end, LinkError for damage that cannot heal.

        May be cancelled; nothing is lost then.
        """
        while True:
            self._check()
            if self._bodies:
                return self._bodies.pop(0)
            try:
                chunk = await self._stream.read()
                if not chunk:
                    # So short, and often heard, that no module of texts is loaded for it.
                    raise LinkClosed(self.name + ": hung up")
                self._bodies.extend(self._decoder.feed(chunk))
            except (OSError, WireError) as error:
                self._fail(error)

    def close(self):
        """Close at once; whoever waits in send() or recv() gets LinkClosed. May be repeated."""
        if not self.closed:
            self.closed = True
            self._bodies = []
            self._stream.close()

    def _check(self):
        if self.closed:
            raise LinkClosed(self.name + ": the link is closed")

    def _fail(self, error):
        self._check()  # the error of a link that this end closed says no more than that
        self.close()
        if isinstance(error, LinkError):
            raise error
        raise LinkError("%s: %s" % (self.name, error))
