"""One session with one device: handshake, requests one at a time, events in between."""

from __future__ import annotations

import asyncio

import structlog
from eth_utils import to_checksum_address
from perun.wire import control_messages as control
from perun.wire import WireError, messages
from perun.wire import bridge_messages as bm
from perun.wire import service_messages as sm
from perun.wire.compact import Compact, Contexts
from perun.wire.msgpack import Reader

from adoption import handshake
from adoption.bridge.exchange import Exchange
from adoption.config import Config
from adoption.handlers import Handlers
from adoption.hub import Hub
from adoption.keys import Key
from adoption.links import Link, LinkClosed
from adoption.store import Store
from adoption.verify import Refused

log = structlog.get_logger(__name__)

_TEXT = 255  # bytes of UTF-8 that an Error carries
_REQUESTS = (50, 51, 52, 53, 58, 60, 63)  # the type numbers of FundRequest and so on
_RELAYED = 8  # messages of nodes that wait for the device, besides what the service says itself
_MAX_BAD = 16  # undecodable frames before a session ends


_Context = tuple[bytes, tuple[object, ...], bytes]


class _Known(Contexts):
    """The device's channels; remembers what was looked for while a message was decoded."""

    def __init__(self) -> None:
        super().__init__()
        self.forget()

    def forget(self) -> None:
        """A new message is about to be decoded."""
        self.missed = False
        self.found: set[_Context] = set()

    def find(self, key: bytes) -> _Context | None:
        found: _Context | None = super().find(key)
        if found is None:
            self.missed = True
        else:
            self.found.add(found)
        return found


class Session:
    """Runs until the link closes, or (a serial line) until the device says Hello again."""

    def __init__(
        self,
        link: Link,
        config: Config,
        store: Store,
        identity: Key,
        hub: Hub,
        handlers: Handlers,
        bridge: Exchange | None = None,
    ) -> None:
        self._link = link
        self._config = config
        self._store = store
        self._identity = identity
        self._hub = hub
        self._handlers = handlers
        self._bridge = bridge
        self._relayed = asyncio.Semaphore(_RELAYED)
        self._known = _Known()
        self._reading = Compact(self._known)
        # Channels that the device named by their handle itself. Others are named in full: a
        # device that lost its memory can still read what the service says about them.
        self._shared = Contexts()
        self._writing = Compact(self._shared)
        # A body, and whether it is a node's.
        self._out: asyncio.Queue[tuple[bytes, bool]] = asyncio.Queue(config.limits.outgoing_queue)
        self._over = asyncio.Event()
        self._device = b""
        self.log = log.bind(link=link.name)

    # -- what the hub calls -----------------------------------------------------------------------

    def push(self, event: sm.ChainEvent) -> None:
        """Send an event. A device that does not read its link loses the session; its Status
        tells later what it missed."""
        try:
            self._out.put_nowait((self._writing.encode(event), False))
        except asyncio.QueueFull:
            self.log.warning("the device does not read: session ended")
            self._over.set()

    def replace(self) -> None:
        """The device has a newer session."""
        self._over.set()

    # -- what the bridge calls --------------------------------------------------------------------

    async def relay(self, peer: str, message: object) -> None:
        """Send a node's message on. Waits while the device reads too slowly: a node that talks
        without end fills its own connection, not this session."""
        await self._relayed.acquire()
        relayed = bm.Relay(peer, self._writing.encode(message))
        await self._out.put((self._writing.encode(relayed), True))

    async def peer_state(self, peer: str, connected: bool, text: str) -> None:
        """Tell the device of its link to a node."""
        await self._relayed.acquire()
        state = bm.PeerState(peer, connected, _cut(text))
        await self._out.put((self._writing.encode(state), True))

    # -- life -------------------------------------------------------------------------------------

    async def run(self, hello: messages.Hello | None = None) -> messages.Hello | None:
        """Serve the link from the handshake on.

        hello: one that has been received already. Returns the next Hello of a device that starts
        anew on the same link, or None when the session is over.
        """
        try:
            await self._shake_hands(hello)
            return await self._serve()
        except LinkClosed as error:
            self.log.info("session ended", reason=str(error))
        except WireError as error:
            await self._complain(0, sm.ERROR_MALFORMED, f"broken stream: {error}")
        except handshake.Refusal as error:
            self.log.info("refused", reason=error.text)
            await self._complain(0, error.code, error.text)
        except TimeoutError:
            await self._complain(0, sm.ERROR_NOT_ALLOWED, "handshake: too slow")
        return None

    async def _shake_hands(self, hello: messages.Hello | None) -> None:
        if hello is None and self._link.lasting:
            hello = await self._first_hello()  # a serial line may be silent for days
        async with asyncio.timeout(self._config.limits.handshake_timeout):
            if hello is None:
                hello = await self._first_hello()
            self._device = await handshake.prove(
                self._link, self._writing, hello, self._identity, self._config
            )
        await handshake.admit(self._store, self._config, self._device)
        self.log = self.log.bind(device=to_checksum_address(self._device))

    async def _first_hello(self) -> messages.Hello:
        try:
            first = self._reading.decode(await self._link.recv())
            while isinstance(first, sm.Error):  # a line may echo what the service said
                first = self._reading.decode(await self._link.recv())
        except WireError as error:
            raise handshake.Refusal(sm.ERROR_MALFORMED, f"no valid message: {error}") from error
        if not isinstance(first, messages.Hello):
            raise handshake.Refusal(sm.ERROR_NOT_ALLOWED, "no session here: say Hello first")
        return first

    async def _serve(self) -> messages.Hello | None:
        self.log.info("session begins")
        info = sm.ServiceInfo(
            self._config.chain.chain_id,
            self._config.chain.adjudicator,
            self._config.assets(),
            self._config.policy.min_challenge_duration,
        )
        for channel in await self._handlers.channels_of(self._device):
            self._known.add(*channel)
        await self._answer(info)
        self._hub.enter(self._device, self)
        tasks = {
            asyncio.create_task(self._write()),
            asyncio.create_task(self._over.wait()),
            reader := asyncio.create_task(self._read()),
        }
        try:
            for event in await self._handlers.pending_events(self._device):
                self.push(event)
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            return reader.result() if reader in done else None
        finally:
            self._hub.leave(self._device, self)
            if self._bridge:
                self._bridge.detach(self._device, self)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _write(self) -> None:
        while True:
            body, relayed = await self._out.get()
            if relayed:
                self._relayed.release()
            try:
                async with asyncio.timeout(self._config.limits.send_timeout):
                    await self._link.send(body)
            except TimeoutError as error:
                raise LinkClosed("the device does not read") from error

    async def _read(self) -> messages.Hello | None:
        bad = 0
        while bad < _MAX_BAD:
            body = await self._link.recv()
            try:
                self._known.forget()
                message = self._reading.decode(body)
            except WireError as error:
                bad += 1
                await self._undecodable(body, error)
                continue
            if isinstance(message, messages.Hello):
                return message
            for context in self._known.found:
                self._shared.add(*context)
            await self._serve_one(message)
        self.log.warning("too many frames that are no messages: session ended")
        return None

    async def _undecodable(self, body: bytes, error: WireError) -> None:
        code = sm.ERROR_MALFORMED
        text = f"no valid message: {error}"
        if self._known.missed:
            code = sm.ERROR_UNKNOWN_CHANNEL
            text = f"{error}: send the params with the state"
        await self._answer(_error(_request_number(body), code, text))

    async def _serve_one(self, message: object) -> None:
        if isinstance(message, control.Ping):
            await self._answer(control.Pong(message.created))
            return
        if isinstance(message, sm.Error):
            return  # never answered, or two ends (or an echoing line) would not come to rest
        if isinstance(message, bm.Relay):
            await self._pass_on(message)
            return
        number = getattr(message, "request", 0)
        if not self._hub.allows(self._device):
            await self._answer(
                _error(number, sm.ERROR_BUSY, "too many requests: try again in a second")
            )
            return
        try:
            if isinstance(message, bm.Attach):
                await self._attach(message)
                return
            async for answer in self._handlers.serve(self._device, message):
                await self._answer(answer)
            self._learn(message)
        except Refused as error:
            self.log.info("refused", request=type(message).__name__, reason=error.text)
            await self._answer(_error(number, error.code, error.text))
        except Exception:
            self.log.exception("request failed", request=type(message).__name__)
            await self._answer(
                _error(number, sm.ERROR_INTERNAL, "the service failed: try again later")
            )

    async def _attach(self, request: bm.Attach) -> None:
        if self._bridge is None:
            raise Refused(sm.ERROR_NOT_ALLOWED, "this service has no bridge to go-perun nodes")
        self._bridge.attach(self._device, request.peer, self)
        await self._answer(sm.Ack(request.request))

    async def _pass_on(self, relay: bm.Relay) -> None:
        """What the device says to a node. It is not told that it arrived, only what did not."""
        connected, problem = False, "not attached"
        try:
            self._known.forget()
            message = self._reading.decode(relay.body)
            for context in self._known.found:
                self._shared.add(*context)
            if self._bridge is not None:
                connected, problem = self._bridge.send(self._device, relay.peer, message)
        except WireError as error:
            connected, problem = True, f"not relayed: {error}"
        if problem:
            state = bm.PeerState(relay.peer, connected, _cut(problem))
            await self._answer(state)

    def _learn(self, message: object) -> None:
        """A channel that came with its params is known by its handle from now on."""
        state = getattr(message, "state", None)
        if state is not None and getattr(message, "params", None) is not None:
            self._known.add(state.id, state.allocation.assets, state.app)

    async def _answer(self, message: object) -> None:
        await self._out.put((self._writing.encode(message), False))

    async def _complain(self, request: int, code: int, text: str) -> None:
        """Say why before hanging up, if the other end still listens."""
        try:
            async with asyncio.timeout(2):
                await self._link.send(self._writing.encode(_error(request, code, text)))
        except (LinkClosed, TimeoutError):
            pass


def _error(request: int, code: int, text: str) -> sm.Error:
    return sm.Error(request, code, _cut(text))


def _cut(text: str) -> str:
    """As much of a text as a message carries."""
    return text.encode()[:_TEXT].decode(errors="ignore")


def _request_number(body: bytes) -> int:
    """The number of a request that is otherwise unreadable, or 0."""
    try:
        reader = Reader(body)
        reader.array(2, 32)
        kind = reader.integer()
        number: int = reader.integer()
    except WireError:
        return 0
    return number if kind in _REQUESTS and number < 2**32 else 0
