"""A go-perun peer with nothing in between: its own protocol, over a link to the peer itself.

direct = Direct(client, "node", 1, b"car", b"node")     # generation 1: names are all there is
peer = await direct.connect(await tcp.connect(host, port))
"""

from perun.compat import borrowed
from perun.link import LinkError
from perun.wire.messages import LedgerChannelProposal
from perun.wire.protobuf import Protobuf

_HANDSHAKE = "perun.link.go_perun"
_AUX = 256  # bytes that generation 2 has in every proposal


class Direct:
    """name: what this device calls the peer; own, address: the marshalled wire addresses of the
    two ends; proof: in generation 2 the own handshake signature. The client's contracts must be
    of the same generation.
    """

    def __init__(self, client, name, generation, own, address, proof=b""):
        if client.chain.generation != generation:
            raise ValueError("the chain's generation is not that of the peer's protocol")
        self._client = client
        self._name = name
        self._own = own
        self._address = address
        self._proof = proof
        self._signer = address if generation == 2 else b""
        self._codec = _Codec(generation, own, address)

    async def connect(self, link):
        """Shake hands over a link that this side dialled; the Peer. Raises LinkError."""
        return await self._attach(link, borrowed(_HANDSHAKE).introduce)

    async def accept(self, link):
        """What a listener calls: as connect(), for a link that came in; errors are reported."""
        try:
            await self._attach(link, borrowed(_HANDSHAKE).welcome)
        except (LinkError, MemoryError) as error:
            self._client.on_error(str(error))

    async def _attach(self, link, shake_hands):
        try:
            await shake_hands(link, self._codec, self._proof, self._signer)
        except Exception:
            link.close()
            raise
        peer = self._client.foreign(self._name)
        peer.use(self._own, self._address, self._codec)
        await peer.attach(link)
        return peer


class _Codec(Protobuf):
    """Protobuf with the aux that go-perun expects in a proposal."""

    def __init__(self, generation, own, peer):
        super().__init__(generation, own, peer)
        self._aux = bytes(_AUX if generation == 2 else 0)

    def encode(self, message):
        if type(message) is LedgerChannelProposal and not message.aux:
            message = LedgerChannelProposal(*(message[:7] + (self._aux,) + message[8:]))
        return super().encode(message)
