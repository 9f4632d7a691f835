"""A peer that is go-perun's. Loaded for the first one; devices that meet none do without."""

from perun.channel.foreign import ForeignChannel
from perun.client.peer import Peer


class ForeignPeer(Peer):
    """name: what links and the store call it.

    There is no Hello: who is at the other end is what the link says, and a channel's participant
    is who the proposal names. What protects the money is that participant's signature on every
    state, not the link.

    address, own: the wire addresses of the two ends, as proposals name them; `use` sets them.
    """

    channel = ForeignChannel
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

    def is_account(self, address):
        """Whoever the proposal names: its signatures tell."""
        return True
