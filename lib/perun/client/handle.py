"""A channel as the application sees it: pay, close, dispute, and wait for what happens."""

import asyncio

from perun.channel import (
    ACTING,
    CROSSING,
    FINAL,
    FUNDING,
    REJECTED,
    SIGNING,
    WITHDRAWN,
    Ask,
    Fund,
    Persist,
    Send,
    Tell,
    Watch,
)
from perun.client.records import dump_channel
from perun.compat import const
from perun.link import LinkError
from perun.store import StoreError
from perun.wire.compact import Compact, Contexts
from perun.wire.messages import ChannelUpdate

_RECEIPTS = const(8)  # versions from one Receipt that is stored to the next, the last one apart


class ClientError(Exception):
    """A request of the application cannot be carried out."""


class Refused(ClientError):
    """The peer refused."""


class TimedOut(ClientError):
    """Nobody answered in time."""


async def until(event, ready, timeout):
    """Wait until ready() is true, looking again each time `event` is set. Raises TimedOut."""
    while not ready():
        event.clear()
        try:
            await asyncio.wait_for(event.wait(), timeout)
        except asyncio.TimeoutError:
            raise TimedOut("nothing happened for %d s" % timeout)


class ChannelHandle:
    """One channel of a Client. `machine` is perun.channel's; read it, do not drive it."""

    def __init__(self, client, machine, peer):
        self.client = client
        self.machine = machine
        self.peer = peer
        self.watched = -1  # newest version for which the service gave a receipt
        self.receipt = None  # the newest Receipt: the service's word that it holds that version
        self.proven = -1  # version of the Receipt in the store, which is what a reset leaves
        self._guarded = self._own(machine.current.state)  # the own balances in that version
        self.registered = None  # (version, timeout) of a dispute on chain
        self.failed = None  # the store's error: nothing is signed any more
        self.refusal = None  # why the peer has refused an own update
        self.turn = asyncio.Lock()  # held while an own update is on its way
        self.yields = False  # an update of the peer comes before the next own one
        self._changed = asyncio.Event()
        self._lock = asyncio.Lock()  # held while the effects of one step are executed

    # -- what is ------------------------------------------------------------------------------

    @property
    def id(self):
        """The channel's id, 32 bytes."""
        return self.machine.id

    @property
    def index(self):
        """The own participant index: 0 proposed the channel, 1 accepted it."""
        return self.machine.index

    @property
    def state(self):
        """The newest State that both signed."""
        return self.machine.current.state

    @property
    def version(self):
        """The version of `state`."""
        return self.machine.current.state.version

    @property
    def phase(self):
        """perun.channel's phase number."""
        return self.machine.phase

    def balance(self, asset=0):
        """What is the own side's in `state`."""
        return self.state.allocation.balances[asset][self.index]

    # -- what the application does --------------------------------------------------------------

    async def pay(self, *amounts):
        """Pay the peer: one amount per asset, in its smallest unit. Returns the new version.

        Returns when both signed and it is stored. Raises ValueError (not enough money, not open),
        Refused, TimedOut (the same payment may be tried again, no other), ClientError. What the
        peer proposes at the same moment costs a round; README.md says who goes first.
        """
        from perun.client.paying import pay  # once, before anything is signed

        return await pay(self, amounts)

    async def close(self):
        """Agree with the peer on a final state; the service concludes and withdraws.

        Returns when both signed; `await settled()` waits for the money. It comes before payments
        of the peer. Raises as pay() does; after TimedOut the peer finds the end when it is back,
        unless updates crossed.
        """
        if not self.state.is_final:
            from perun.client.paying import close

            await close(self)

    async def dispute(self):
        """Have the service register the newest state on chain and settle without the peer."""
        await self._guardian().dispute(self)

    async def checkpoint(self):
        """Let the service withdraw what is in `state` while this device is away."""
        await self._guardian().checkpoint(self)

    async def opened(self, timeout=600):
        """Wait until the channel is funded and payments may flow."""
        await until(self._changed, lambda: self.phase >= ACTING, timeout)
        if self.phase not in (ACTING, SIGNING, FINAL):
            raise ClientError("the channel did not open")

    async def signed(self, timeout=60):
        """Wait until both signed version 0."""
        await until(self._changed, lambda: self.phase >= FUNDING, timeout)

    async def settled(self, timeout=3600):
        """Wait until the money is at the receiver."""
        await until(self._changed, lambda: self.phase == WITHDRAWN, timeout)

    async def paid(self, version, timeout=60):
        """Wait until `state` has at least this version."""
        await until(self._changed, lambda: self.version >= version, timeout)

    async def until(self, ready, timeout):
        """Wait until ready(), looking again whenever something happened. Raises TimedOut."""
        await until(self._changed, ready, timeout)

    def _guardian(self):
        if not self.client.guardian:
            raise ClientError("no service is configured")
        return self.client.guardian

    def check_usable(self):
        """Raises ClientError when the store has failed."""
        if self.failed:
            raise ClientError("the channel is frozen: " + str(self.failed))

    # -- what happens to it -----------------------------------------------------------------------

    async def begin(self):
        """Send the own signature on version 0."""
        async with self._lock:
            await self._run(self.machine.open())

    async def resend(self):
        """Send again what the peer may have missed."""
        async with self._lock:
            await self._run(self.machine.retry())

    async def receive(self, message):
        """Handle the peer's message. Raises ProtocolError, ClientError; nothing changed then."""
        if type(message) is ChannelUpdate and message != self.machine.refused:
            self.yields = False  # what the peer was to send first
        await self.happened("receive", message)

    async def happened(self, what, *details):
        """Tell the machine, by the name of its method, and carry out what follows."""
        self.check_usable()
        async with self._lock:
            doubted = self.machine.doubts
            await self._run(getattr(self.machine, what)(*details))
            if doubted and not self.machine.doubts:
                await self._run(self.machine.again())

    # -- effects ------------------------------------------------------------------------------

    async def _run(self, effects):
        for effect in effects:
            kind = type(effect)
            if kind is Persist:
                self._persist()
            elif kind is Send:
                await self._send(effect.message)
            elif kind is Ask:
                await self._run(self._decide(effect.state))
            elif kind is Tell:
                self._tell(effect)
            elif self.client.guardian:
                if kind is Fund:
                    self.client.guardian.fund(self)
                elif kind is Watch:
                    self.client.guardian.watch(self)
        self._changed.set()

    def _persist(self):
        try:
            data = dump_channel(self.machine)
        except Exception as error:  # no memory for the record is as bad as no room on the flash
            self._freeze(error)
        self.keep(b"c", data)

    def keep(self, kind, data):
        """Keep something of this channel in the store, or sign nothing any more."""
        try:
            self.client.store.put(kind + self.id, data)
        except Exception as error:
            self._freeze(error)

    def _freeze(self, error):
        self.failed = error
        self._changed.set()
        raise ClientError(str(error) if isinstance(error, StoreError) else repr(error))

    async def _send(self, message):
        try:
            await self.peer.send(message)
        except LinkError:
            pass  # what needs an answer is sent again when the peer is back

    def _own(self, state):
        return [row[self.index] for row in state.allocation.balances]

    def is_watched(self, state, receipt=None, keep=False):
        """The service holds this state. receipt: its Receipt; keep: it is worth a write, unless
        one of a version just before is stored."""
        self.watched = state.version
        self._guarded = self._own(state)
        if receipt:
            self.receipt = receipt
            close = self.proven >= 0 and state.version < self.proven + _RECEIPTS
            if keep and (state.is_final or not close):
                self.proven = state.version
                self.keep(b"r", Compact(Contexts()).encode(receipt))

    def _unwatched_too_much(self, state):
        """Whether more than the owner allows would rest on states that the service lacks."""
        most = self.client.max_unwatched
        return most and any(
            now - before > limit
            for now, before, limit in zip(self._own(state), self._guarded, most)
        )

    def _decide(self, state):
        if self._unwatched_too_much(state):
            return self.machine.reject("the service is behind: try again later")
        try:
            reason = self.client.on_update(self, state)
        except Exception as error:  # the application's own: it must not stop the channel
            self.client.on_error("on_update: " + repr(error))
            reason = "internal error"
        return self.machine.reject(reason) if reason else self.machine.accept()

    def _tell(self, effect):
        if effect.kind == REJECTED:
            self.refusal = effect.detail
            self.yields = effect.detail == CROSSING  # until the peer's has come, or it is not so
        self.client.tell(self, effect.kind, effect.detail)
