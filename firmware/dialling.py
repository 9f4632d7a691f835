"""A link to the peer that the configuration names; a device that listens needs none of it."""

import asyncio

from links import Peering
from perun.compat import const
from perun.link import LinkError

_LIMIT = const(1024)  # the longest body to accept, bytes, as in links
_PAUSE = const(1)  # seconds between two tries to reach the peer


class Dialling(Peering):
    """Dials, and dials again. What extends it may listen instead."""

    def __init__(self, client, settings, console):
        super().__init__(client, settings, console)
        self._found = asyncio.Event()
        self._peer = None

    async def run(self):
        """The job: for ever."""
        if self._settings["listen"]:
            await super().run()
        from perun.link import tcp

        while True:
            await self._dial(tcp)
            await asyncio.sleep(_PAUSE)

    async def connect(self, tcp, there):
        """The Peer at the other end of a fresh connection. Raises OSError."""
        link = await tcp.connect(there["host"], there["port"], _LIMIT)
        return await self._client.connect(link, self._settings["address"])

    async def _dial(self, tcp):
        there = self._settings["dial"]
        try:
            peer = await self.connect(tcp, there)
        except OSError as error:
            self._console.event("peer unreachable", text=str(error))
            return
        self._console.event("peer connected", address=peer.address)
        self._peer = peer
        self.links += 1
        self._found.set()
        while peer.connected:  # noqa: ASYNC110 - a look now and then is cheaper than an event
            await asyncio.sleep(0.2)
        self._console.event("peer gone", address=peer.address)

    async def peer(self, timeout=30):
        """The Peer that was dialled, once it is connected. Raises LinkError."""
        if not self._peer or not self._peer.connected:
            self._found.clear()
            try:
                await asyncio.wait_for(self._found.wait(), timeout)
            except asyncio.TimeoutError:
                raise LinkError("the peer is not connected")
        return self._peer
