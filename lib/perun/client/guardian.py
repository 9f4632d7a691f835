"""The device's side of being guarded: keeps a session with the service and feeds it.

Payments need no service: what it must know queues here, the newest state per channel.
"""

import asyncio

from perun.adoption.session import ServiceError, Session
from perun.channel import FUNDING, ProtocolError
from perun.client.handle import ClientError, until
from perun.compat import borrowed, const
from perun.link import LinkError
from perun.wire.compact import Compact
from perun.wire.messages import ROLE_DEVICE
from perun.wire.service_messages import (
    ERROR_BUSY,
    ERROR_CHAIN,
    ERROR_UNKNOWN_CHANNEL,
    EVENT_CONCLUDED,
    EVENT_FUNDED,
    EVENT_FUNDING_FAILED,
    EVENT_NEED_AUTHORIZATION,
    EVENT_REFUTED,
    EVENT_REGISTERED,
    EVENT_WITHDRAWN,
    WithdrawalAuth,
)

_FIRST_PAUSE = const(1)  # seconds before the first new try, doubled up to the longest
_LONGEST_PAUSE = const(60)
_CATCHING_UP = "perun.client.catching_up"


class Guardian:
    """client: perun.client.Client; dial: coroutine function that returns a link to the service;
    expect: the service's 20-byte address, or None to trust the first one that answers."""

    quiet = 60  # seconds with nothing to say, after which the service is asked for a sign of life

    def __init__(self, client, dial, expect):
        self.client = client
        self._dial = dial
        self.service = expect  # its address, once it is known
        self._session = None
        self.known = set()  # channels whose params the service has
        self._watch = []  # ChannelHandles, first come first served
        self._authorize = []  # those of which the state goes with an authorization
        self._busy = None  # the one that is being handed over
        self._fund = []  # ChannelHandles
        self._review = []  # those of which the service knows something else
        self._wake = asyncio.Event()
        self._progress = asyncio.Event()

    @property
    def connected(self):
        """True while there is a session that the service has agreed to."""
        return bool(self._session and self._session.info)

    # -- requests, queued ---------------------------------------------------------------------

    def fund(self, handle):
        """Queue: deposit the own share of this channel."""
        if handle not in self._fund:
            self._fund.append(handle)
        self._wake.set()

    def watch(self, handle, authorize=False):
        """Queue: guard this channel's newest state."""
        if handle not in self._watch:
            self._watch.append(handle)
        if authorize or handle.version == 0 or handle.state.is_final:
            if handle not in self._authorize:
                self._authorize.append(handle)
        self._wake.set()

    async def checkpoint(self, handle, timeout=60):
        """Have the service guard the newest state with an authorization, and wait for it."""
        if handle.phase < FUNDING:
            raise ClientError("the channel is not signed by both yet")
        self.watch(handle, True)
        await until(
            self._progress,
            lambda: handle is not self._busy and handle not in self._watch,
            timeout,
        )

    async def dispute(self, handle, timeout=60):
        """Guard the newest state, then have it registered. Raises ClientError, TimedOut."""
        await self.checkpoint(handle, timeout)
        try:
            if not self._session:
                raise LinkError("no session with the service")
            await self._session.dispute(handle.id)
        except (LinkError, ServiceError, MemoryError) as error:
            raise ClientError(str(error))

    # -- the session ----------------------------------------------------------------------------

    async def run(self):
        """Dial, serve the queues, dial again: for ever."""
        pause = _FIRST_PAUSE
        while True:
            link = None
            try:
                link = await self._dial()
                await self._serve(link)  # ends with an error, whatever happens
            except (OSError, ServiceError) as error:
                self.client.on_error("service: " + str(error))
            finally:
                if self._session:
                    pause = _FIRST_PAUSE
                self._session = None
                if link:
                    link.close()
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _serve(self, link):
        client = self.client
        hello = await client.handshake(link, ROLE_DEVICE, self.service)
        self.service = hello.address
        codec = Compact(client.contexts)
        session = Session(
            link, codec, client.chain, client.account.address, hello.address, self._on_event
        )
        bridge = client.bridge
        if bridge:
            session.on_other = bridge.receive
        self.known.clear()
        reader = asyncio.create_task(session.run())
        worker = asyncio.create_task(self._work(session))
        self._session = session
        try:
            await reader
        finally:
            worker.cancel()
            if bridge:
                bridge.end()

    async def _work(self, session):
        try:
            await borrowed(_CATCHING_UP).catch_up(self, session)
            if self.client.bridge:
                await self.client.bridge.begin(session)
            while True:
                while self._fund or self._watch or self._review:
                    await self._next(session)
                    self._progress.set()
                await self._rest(session)
        except (OSError, ServiceError, ClientError, ProtocolError, MemoryError) as error:
            self.client.on_error("service: " + str(error))
        finally:
            session.close()  # whatever it was: the next session starts afresh

    async def _rest(self, session):
        """Wait for work. No serial line tells that the service has started anew, and until this
        side says something nobody reaches it: such a service answers that it knows no session."""
        self._wake.clear()
        try:
            await asyncio.wait_for(self._wake.wait(), self.quiet)
        except asyncio.TimeoutError:
            await session.knock()

    async def _next(self, session):
        if self._watch:
            await self._hand_over(session, self._watch.pop(0))
            return
        if self._review:
            handle = self._review.pop(0)
            try:
                await borrowed(_CATCHING_UP).look_again(self, session, handle)
            except ServiceError as error:
                self.client.tell(handle, "watch refused", error.text)
            return
        handle = self._fund[0]
        machine = handle.machine
        try:
            await session.fund(machine.index, machine.params, machine.current, machine.agreement)
        except ServiceError as error:
            if error.code in (ERROR_BUSY, ERROR_CHAIN):  # it may well work later
                await asyncio.sleep(_FIRST_PAUSE)
                return
            self.client.tell(handle, "funding refused", error.text)
        self._fund.remove(handle)

    async def _hand_over(self, session, handle):
        """Send the newest state; when that fails it stays queued."""
        machine = handle.machine
        transaction = machine.current
        authorize = handle in self._authorize
        if authorize:
            self._authorize.remove(handle)
        params = None if handle.id in self.known else machine.params
        self._busy = handle
        try:
            auths = self._authorizations(machine, transaction.state) if authorize else ()
            state_hash = self.client.chain.state_hash(transaction.state)
            receipt = await session.watch(machine.index, params, transaction, state_hash, auths)
            # What goes with an authorization is rare enough to be worth a write.
            handle.is_watched(transaction.state, receipt, authorize)
            self.known.add(handle.id)
        except ServiceError as error:
            if error.code == ERROR_UNKNOWN_CHANNEL and params is None:
                self.known.discard(handle.id)
                self.watch(handle, authorize)  # again, with the params
            elif error.code == ERROR_BUSY:
                self.watch(handle, authorize)
                await asyncio.sleep(_FIRST_PAUSE)
            else:
                self.client.tell(handle, "watch refused", error.text)
        except Exception:  # the link, or a lack of memory
            self.watch(handle, authorize)
            raise
        finally:
            self._busy = None

    def _authorizations(self, machine, state):
        """WithdrawalAuths for the own balances in `state`; while nothing is paid yet also for the
        own deposits, which is what comes back when the peer does not deposit."""
        wanted = []
        for asset, row in enumerate(state.allocation.balances):
            wanted.append((asset, row[machine.index]))
            deposit = (asset, machine.agreement[asset][machine.index])
            if state.version == 0 and deposit not in wanted:
                wanted.append(deposit)
        return self.auths(machine.id, wanted)

    def auths(self, channel_id, wanted):
        """WithdrawalAuths. wanted: pairs of an asset's index and an amount; none for 0."""
        client = self.client
        auths = []
        for asset, amount in wanted:
            if amount:
                digest = client.chain.withdrawal_hash(
                    channel_id, client.account.address, client.receiver, amount
                )
                sig = client.chain.sign(client.account, digest)
                auths.append(WithdrawalAuth(asset, client.receiver, amount, sig))
        return tuple(auths)

    # -- what the service tells -------------------------------------------------------------------

    async def _on_event(self, event):
        handle = self.client.channels.get(event.channel_id)
        if handle:
            try:
                await self._apply_event(handle, event)
            except ClientError as error:
                self.client.on_error(str(error))

    async def funded(self, handle):
        """The service says that all deposits are there."""
        witness = self.client.witness
        if witness:
            witness.ask(handle)
        else:
            await handle.happened("funded")

    async def _apply_event(self, handle, event):
        kind = event.kind
        if kind == EVENT_FUNDED:
            await self.funded(handle)
        elif kind == EVENT_FUNDING_FAILED:
            self.client.tell(handle, "funding failed", None)
        elif kind in (EVENT_REGISTERED, EVENT_REFUTED):
            handle.registered = (event.version, event.timeout)
            await handle.happened("registered", event.version)
        elif kind == EVENT_CONCLUDED:
            await handle.happened("concluded", event.version)
        elif kind == EVENT_WITHDRAWN:
            await handle.happened("withdrawn")
        if kind == EVENT_NEED_AUTHORIZATION or event.version > handle.version:
            if handle not in self._review:
                self._review.append(handle)
            self._wake.set()
