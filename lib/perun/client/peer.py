"""A peer: the link to it, which may come and go, and the loop that reads from it."""

import asyncio

from perun.channel.machine import Channel
from perun.compat import const
from perun.link import LinkClosed, LinkError
from perun.wire import WireError
from perun.wire.compact import Compact, Contexts

_MAX_BAD = const(16)  # undecodable frames before the link is closed


class Peer:
    """address: 20 bytes, proven by the handshake of every link that is attached."""

    channel = Channel  # the kind of machine that channels with this peer have
    silence = ""  # what to say of a peer that does not answer

    def __init__(self, client, address):
        self.address = address
        self.own = client.account.address  # what this side is to the peer
        self._client = client
        # Its own: a handle is four bytes, and no other peer may make it ambiguous.
        self.contexts = Contexts()
        self._codec = Compact(self.contexts)
        self._link = None

    def is_account(self, address):
        """Whether this may be the peer's participant address."""
        return address == self.address

    @property
    def connected(self):
        """True while there is a link."""
        return self._link is not None

    async def attach(self, link):
        """Use this link from now on: a newer one replaces an older one; both are proven."""
        old, self._link = self._link, link
        if old:
            old.close()
        asyncio.create_task(self._read(link))
        for handle in list(self._client.channels.values()):
            if handle.peer is self:
                await self.greet(handle)

    async def greet(self, handle):
        """The link is new: find out what either side has missed in this channel."""
        await handle.happened("again")

    async def hear(self, handle):
        """Called before an own update: what must be waited for."""

    async def send(self, message):
        """Send a message. LinkError when the peer is not connected."""
        if not self._link:
            raise LinkClosed("the peer is not connected")
        await self._link.send(self._codec.encode(message))

    def close(self):
        """Hang up."""
        if self._link:
            self._link.close()

    async def _read(self, link):
        bad = 0
        try:
            while True:
                body = await link.recv()
                try:
                    message = self._codec.decode(body)
                except WireError as error:
                    bad += 1
                    self._client.on_error("peer: " + str(error))
                    if bad == _MAX_BAD:
                        raise LinkError("too many invalid messages")
                    continue
                await self._handle(message)
        except LinkError as error:
            self._client.on_error("peer: " + str(error))
        finally:
            link.close()
            if self._link is link:
                self._link = None

    async def _handle(self, message):
        if len(message) > 1:
            await self._client.receive(self, message)
            return
        # About the link itself, and rare
        from perun.wire.control_messages import Ping, Pong

        if type(message) is Ping:
            await self.send(Pong(message.created))
