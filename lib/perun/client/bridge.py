"""go-perun peers behind the IoT adoption service: a link to each of them over the session.

client.bridge = Bridge(client, "node")     # before client.guard() runs
peer = client.foreign("node")              # a Peer like others, once it is connected

The service speaks go-perun's protocol under a wire identity that it holds for this device. Who the
peer is, is the service's word. It can delay and drop messages, and pass on to whom it likes; it
cannot make states, for it has neither side's key.
"""

import asyncio

from perun.adoption.session import ServiceError
from perun.compat import const
from perun.link import LinkClosed, LinkError
from perun.wire.bridge_messages import Attach, PeerState, Relay
from perun.wire.compact import Compact, Contexts

_MAX_WAITING = const(16)  # messages of a peer that are not handled yet, as many as go-perun keeps
_MAX_PEERS = const(8)


class Bridge:
    """name: of the peer, or "" for all that the service has for this device.

    on_state: called with (name, connected, text) when a link comes or goes.
    """

    def __init__(self, client, name="", on_state=None):
        self._client = client
        self._name = name
        self._on_state = on_state
        self._session = None
        self._lines = {}  # name -> _Line

    # -- what the guardian calls --------------------------------------------------------------

    async def begin(self, session):
        """A session with the service is up. Raises LinkError."""
        self._session = session
        try:
            await session.request(Attach, self._name)
        except ServiceError as error:  # what else the session is for goes on
            self._client.on_error("bridge: " + error.text)
            if self._on_state:
                self._on_state(self._name, False, error.text)

    def end(self):
        """The session is over."""
        self._session = None
        for line in list(self._lines.values()):
            line.close()
        self._lines.clear()

    async def receive(self, message):
        """What the service sends besides its own answers and events."""
        if type(message) is Relay:
            line = self._lines.get(message.peer)
            if line and not line.put(message.body):
                self._client.on_error(message.peer + ": too many messages at once")
        elif type(message) is PeerState:
            await self._note(message)

    async def _note(self, state):
        name = state.peer
        line = self._lines.pop(name, None)
        if state.text:
            self._client.on_error("%s: %s" % (name, state.text))
            if state.connected:  # only a message was lost
                if line:
                    self._lines[name] = line
                return
        if line:
            line.close()
        if state.connected:
            if self._name not in ("", name) or len(self._lines) >= _MAX_PEERS:
                return
            peer = self._client.foreign(name)
            peer.use(self._client.account.address, name.encode(), _Codec(self._client.contexts))
            line = self._lines[name] = _Line(self, name)
            # In a task of its own: it sends, and the session must go on being read meanwhile.
            asyncio.create_task(self._attach(peer, line))
        elif self._on_state:
            self._on_state(name, False, state.text)

    async def _attach(self, peer, line):
        try:
            if self._on_state:
                self._on_state(peer.name, True, "")
            await peer.attach(line)
        except Exception as error:
            self._client.on_error("%s: %r" % (peer.name, error))
            line.close()

    async def send(self, name, body):
        """Relay a compact message to the peer. LinkError."""
        if not self._session:
            raise LinkClosed("no session with the service")
        await self._session.tell(Relay(name, body))


class _Line:
    """What perun.client takes for a link to the peer."""

    def __init__(self, bridge, name):
        self.name = name
        self.closed = False
        self._bridge = bridge
        self._bodies = []
        self._changed = asyncio.Event()

    def put(self, body):
        """The peer's next message; False when too many wait already: it is lost."""
        if len(self._bodies) >= _MAX_WAITING:
            return False
        self._bodies.append(body)
        self._changed.set()
        return True

    async def send(self, body):
        self._check()
        await self._bridge.send(self.name, body)

    async def recv(self):
        while not self._bodies:
            self._check()
            self._changed.clear()
            await self._changed.wait()
        return self._bodies.pop(0)

    def close(self):
        self.closed = True
        self._changed.set()

    def _check(self):
        if self.closed:
            raise LinkError(self.name + ": the link to the peer ended")


class _Codec(Compact):
    """Compact, but for a new channel: the service learns it only when it shall watch it."""

    def encode(self, message):
        if getattr(message, "version", 1) == 0:
            return Compact(Contexts()).encode(message)
        return super().encode(message)
