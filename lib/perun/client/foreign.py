"""A peer that is go-perun's. Loaded for the first one; devices that meet none do without."""

import asyncio

from perun.channel import DOUBT_PEER, SIGNING
from perun.channel.foreign import ForeignChannel
from perun.client.handle import ClientError
from perun.client.peer import Peer


class ForeignPeer(Peer):
    """name: what links and the store call it.

    There is no Hello: who is at the other end is what the link says, and a channel's participant
    is who the proposal names. What protects the money is that participant's signature on every
    state, not the link.

    address, own: the wire addresses of the two ends, as proposals name them; `use` sets them.
    """

    channel = ForeignChannel
    # Seconds on a new link before the peer is asked what it has: perun.channel.foreign says why
    # not at once. By then what it proposed before has its answer or is given up, one may hope.
    patience = 20
    silence = ": go-perun drops what it does not agree with without a word"

    def __init__(self, client, name):
        super().__init__(client, b"")
        self.name = name
        self.contexts = client.contexts  # for the service, which decodes in the peer's place

    def use(self, own, address, codec):
        """What the links that follow need. codec: an object with encode() and decode()."""
        self.own = own
        self.address = address
        self._codec = codec

    async def greet(self, handle):
        """Say again what may be lost, and ask only if that leads nowhere."""
        await self._tell(handle, "remind")
        if _is_unheard(handle):
            asyncio.create_task(self._ask_later(handle, self._link))

    async def _ask_later(self, handle, link):
        await asyncio.sleep(self.patience)
        if link is self._link and _is_unheard(handle):
            await self._tell(handle, "ask")

    async def _tell(self, handle, what):
        try:
            await handle.happened(what)
        except ClientError as error:  # a frozen channel must not cost the others their link
            self._client.on_error(str(error))

    async def hear(self, handle):
        """After a restart an own update waits until the peer has been heard."""
        machine = handle.machine
        if machine.doubts and self.connected:
            await handle.until(lambda: not machine.doubts, 2 * self.patience)

    def is_account(self, address):
        """Whoever the proposal names: its signatures tell."""
        return True


def _is_unheard(handle):
    machine = handle.machine
    return machine.doubts & DOUBT_PEER or machine.phase == SIGNING
