"""Updates that cross: each side signs one before it has the other's.

Two real clients, a network with a delay, virtual time. Between two that keep the rule
(lib/perun/client/README.md) a crossing burns a version and leads to no other one; with a peer
that does not keep it the owner comes to an end within a known time. In no case does a side sign
two states with one version.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from perun.channel import ACTING, CROSSING, DOUBT_PEER, FINAL, SIGNING, Limits
from perun.client import Client, paying
from perun.client.handle import ChannelHandle, ClientError, TimedOut
from perun.model import State, transfer
from perun.store.memory import MemoryStore
from perun.wire.messages import ChannelUpdate, ChannelUpdateAcc, ChannelUpdateRej

from protocol.adversary.crypto import SWIFT, account
from protocol.adversary.device import ASSET, CHAIN_ID, DURATION, End
from protocol.adversary.loop import VirtualLoop, silent

ACCOUNTS = (account(1), account(2))
DEPOSITS = (10**6, 10**6)
LIMITS = Limits((ASSET,), (10**6,), 60, 3600)
PAYER = pytest.mark.parametrize("payer", (0, 1))
DELAY = pytest.mark.parametrize("delay", (0.002, 0.3))  # seconds from one side to the other
LONG = 30  # seconds that a peer can hold up an owner by crossing all that he signs


class Older(ChannelHandle):
    """The software of before there was a rule: participant 0 goes first, whatever crossed, the
    other one waits longer each time, and nobody gives way afterwards."""

    async def pay(self, *amounts: int) -> Any:
        return await self._update(
            lambda state, version: transfer(state, self.index, amounts, version)
        )

    async def close(self) -> None:
        if not self.state.is_final:
            await self._update(paying.final)

    async def _update(self, make: Any) -> Any:
        async with self.turn:
            for attempt in range(8):
                state = make(self.state, self.machine.next_version)
                if await paying.propose(self, state):
                    return state.version
                await asyncio.sleep(self.index * (attempt + 1))
        raise TimedOut("the peer's updates cross again and again")


class Crosser(ChannelHandle):
    """Answers each update with one of its own, and a refusal."""

    async def receive(self, message: Any) -> None:
        if type(message) is ChannelUpdate:
            version = message.state.version
            state = transfer(self.state, self.index, (1,), version)
            sig = SWIFT.sign(ACCOUNTS[self.index], SWIFT.state_hash(state))
            await self.peer.send(ChannelUpdate(state, self.index, sig))
            await self.peer.send(ChannelUpdateRej(self.id, version, CROSSING))


class Refuser(ChannelHandle):
    """Says of each update that it crosses, and has sent none."""

    async def receive(self, message: Any) -> None:
        if type(message) is ChannelUpdate:
            await self.peer.send(ChannelUpdateRej(self.id, message.state.version, CROSSING))


class Two:
    """Two clients with a funded channel.

    delay   seconds from one to the other
    grain   what participant 1 sends arrives together, so many seconds apart; 0: as it comes
    kinds   per side the class of its handle
    sent    per side all messages that left it
    """

    def __init__(self, delay: float, *kinds: Any) -> None:
        self.loop = VirtualLoop()
        self.loop.set_exception_handler(silent)
        self.delay = delay
        self.grain = 0.0
        self.stores = [MemoryStore() for _ in ACCOUNTS]
        self.clients = [self._client(side) for side in (0, 1)]
        self.sent: tuple[list[Any], list[Any]] = ([], [])
        self.connect()
        self.run(self.clients[0].propose(self._peer(0), (DEPOSITS,), DURATION))
        self.loop.advance(1)
        for handle, kind in zip(self.handles, kinds or (ChannelHandle,) * 2, strict=True):
            handle.__class__ = kind
            self.run(handle.happened("funded"))

    def _client(self, side: int) -> Client:
        made = Client(ACCOUNTS[side], CHAIN_ID, LIMITS, b"\x99" * 20, self.stores[side])
        made.chain = SWIFT
        made.on_proposal = lambda proposal: None
        return made

    def _peer(self, side: int) -> Any:
        return self.clients[side].peer(ACCOUNTS[1 - side].address)

    @property
    def handles(self) -> list[Any]:
        return [next(iter(client.channels.values())) for client in self.clients]

    # -- the network and the power ----------------------------------------------------------------

    def connect(self) -> None:
        """A fresh link."""
        self.ends: list[End] = []
        self.ends += [End(self._wire(self.ends, side), lambda: None) for side in (0, 1)]
        for side in (0, 1):
            self.spawn(self._peer(side).attach(self.ends[side]))

    def _wire(self, ends: list[End], side: int) -> Callable[[bytes], None]:
        codec = self._peer(side)._codec

        def send(body: bytes) -> None:
            self.sent[side].append(codec.decode(body))
            delay = self.delay
            if side == 1 and self.grain:
                delay = self.grain - self.now % self.grain
            self.loop.call_later(delay, ends[1 - side].push, body)

        return send

    def hang_up(self) -> None:
        """What is under way is lost."""
        for end in self.ends:
            end.close()

    def restart(self, side: int) -> Any:
        """What is left of a side is its store; its handle."""
        self.clients[side] = self._client(side)
        (handle,) = self.clients[side].restore(DOUBT_PEER)
        return handle

    # -- time -------------------------------------------------------------------------------------

    @property
    def now(self) -> float:
        return self.loop.time()

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        return self.loop.create_task(work)

    def run(self, *works: Coroutine[Any, Any, Any]) -> list[Any]:
        """Begin these at the same tick; what they return, or raise."""

        async def together() -> list[Any]:
            return await asyncio.gather(*works, return_exceptions=True)

        task = self.spawn(together())
        task.add_done_callback(lambda _: self.loop.stop())
        self.loop.advance(600)
        assert task.done(), "nothing came of it"
        return task.result()

    # -- what is true -----------------------------------------------------------------------------

    @property
    def crossings(self) -> int:
        """How many versions were burnt by that."""
        refusals = [m for m in self.sent[0] + self.sent[1] if type(m) is ChannelUpdateRej]
        return len({m.version for m in refusals if m.reason == CROSSING})

    def check(self, *sides: int) -> None:
        """Each of these sides has signed one state per version; both have the same channel."""
        for side in sides or (0, 1):
            signed: dict[int, State] = {}
            for state in self._signed(side):
                assert signed.setdefault(state.version, state) == state, "two states, one version"
        if not sides:
            one, other = (handle.machine for handle in self.handles)
            assert one.current == other.current and one.phase == other.phase
            assert not one.evidence and not other.evidence

    def _signed(self, side: int) -> Iterator[State]:
        offered = [m.state for m in self.sent[1 - side] if type(m) is ChannelUpdate]
        for message in self.sent[side]:
            if type(message) is ChannelUpdate:
                yield message.state
            elif type(message) is ChannelUpdateAcc and message.version:
                same = [state for state in offered if state.version == message.version]
                owner = ACCOUNTS[side].address
                yield from (
                    s for s in same if SWIFT.verify(owner, SWIFT.state_hash(s), message.sig)
                )


@pytest.fixture
def two() -> Iterator[Callable[..., Two]]:
    made: list[Two] = []

    def make(*args: Any) -> Two:
        made.append(Two(*args))
        return made[-1]

    yield make
    for one in made:
        one.loop.finish()


# -- both begin at the same tick ------------------------------------------------------------------


@DELAY
def test_both_pay(two, delay):
    """Round after round: one version is burnt, the two payments follow each other at once."""
    one = two(delay)
    for count in range(1, 51):
        before = one.now
        assert one.run(*[handle.pay(side + 1) for side, handle in enumerate(one.handles)]) == [
            3 * count - 1,
            3 * count,
        ]
        assert one.now - before < 6 * delay + 0.1
    assert one.crossings == 50 and one.handles[0].balance() == DEPOSITS[0] + 50
    one.check()


def test_the_update_that_comes_first_is_there_already(two):
    """It comes together with the refusal of what it crossed: it is not waited for again."""
    one = two(0.002)
    one.grain = 0.5
    before = one.now
    assert one.run(*[handle.pay(1) for handle in one.handles]) == [2, 3]
    assert one.crossings == 1 and one.now - before < 2
    one.check()


@DELAY
def test_both_pay_without_a_pause(two, delay):
    """Nobody starves: who was let go first lets the other one follow."""

    async def many(handle: ChannelHandle) -> list[int]:
        return [await handle.pay(1) for _ in range(50)]

    one = two(delay)
    began = one.now
    versions = one.run(*map(many, one.handles))
    assert sorted(versions[0] + versions[1])[-1] <= 150
    gaps = [b - a for mine in versions for a, b in itertools.pairwise(mine)]
    assert max(gaps) <= 3  # the other one's payment and a crossing at most lie between
    assert one.now - began < 300 * delay + 1
    one.check()


@PAYER
@DELAY
def test_a_payment_and_the_end(two, delay, payer):
    """Round after round, each in a channel of its own: the end comes first, and at once."""
    for count in range(20):
        one = two(delay)
        for _ in range(count % 3):
            one.run(one.handles[count % 2].pay(1))
        before = one.now
        paid, closed = one.run(one.handles[payer].pay(7), one.handles[1 - payer].close())
        assert closed is None and isinstance(paid, ValueError) and "not open" in str(paid)
        assert one.now - before < 5 * delay and one.crossings == 1
        assert one.handles[0].phase == FINAL
        one.check()


async def pays(handle: ChannelHandle, period: float) -> None:
    """A payment at each tick, for as long as the channel is open; without a period, one as soon as
    the last one has ended."""
    tick = asyncio.get_running_loop().time()
    while handle.phase in (ACTING, SIGNING):
        with contextlib.suppress(ClientError, ValueError):
            await handle.pay(1)
        now = asyncio.get_running_loop().time()
        while period and tick <= now:
            tick += period
        await asyncio.sleep(max(tick - now, 0.001))


@PAYER
@DELAY
@pytest.mark.parametrize("period", (0, 0.25, 0.5, 1, 2))
@pytest.mark.parametrize("older", (None, "payer", "closer"))
def test_a_close_while_the_peer_pays(two, older, period, delay, payer):
    """At the tick of a payment; one that crosses waits for nothing, and older peers for little."""
    kinds = {"payer": (Older, ChannelHandle), "closer": (ChannelHandle, Older)}
    for_payer, for_closer = kinds.get(older, (ChannelHandle, ChannelHandle))
    one = two(delay, *((for_payer, for_closer) if payer == 0 else (for_closer, for_payer)))
    one.spawn(pays(one.handles[payer], period))
    one.loop.advance(4 if period else 1)
    before = one.now
    assert one.run(one.handles[1 - payer].close()) == [None]
    if older is None:
        assert one.crossings <= 1 and one.now - before < 5 * delay
    assert one.crossings <= 2 and one.now - before < 5
    one.loop.advance(1)
    one.check()


# -- a device that sleeps -------------------------------------------------------------------------


async def wake(one: Two, side: int) -> None:
    """It is back, pays, and sleeps again: firmware/examples/sleeper.py."""
    channel = one.restart(side)
    one.connect()
    await channel.until(lambda: not channel.machine.doubts, 60)
    if channel.phase == SIGNING:
        await channel.until(lambda: channel.phase != SIGNING, 60)
    elif channel.phase == ACTING:
        with contextlib.suppress(ClientError, ValueError):
            await channel.pay(1)
    one.hang_up()


@PAYER
@DELAY
@pytest.mark.parametrize("asleep", (1, 100))
def test_a_close_while_the_peer_sleeps(two, asleep, delay, payer):
    """What it is told when it wakes comes before what it has to say; whether somebody still waits
    for the end (1 s) or close() has given up (100 s)."""
    one = two(delay)
    one.run(one.handles[payer].pay(1))
    one.hang_up()
    closing = one.spawn(one.handles[1 - payer].close())
    one.loop.advance(asleep)
    one.run(wake(one, payer))
    assert one.handles[payer].phase == FINAL
    one.loop.advance(asleep)
    one.run(wake(one, payer))  # its answer may not have left before it slept
    assert closing.done() and one.crossings == 0
    if asleep > 1:
        assert "does not answer version 2" in str(closing.exception())
        assert one.run(one.handles[1 - payer].close()) == [None]  # there is nothing left to do
    one.check()


@PAYER
@DELAY
def test_both_have_signed_when_it_wakes(two, delay, payer):
    """It was cut in the middle of a payment, and the peer has signed an end meanwhile, which does
    not go on by itself. That is the one crossing: an end that is ordered later comes through."""
    one = two(delay)
    one.hang_up()
    one.spawn(one.handles[payer].pay(1))
    one.loop.advance()
    for _ in range(3):
        closing = one.spawn(one.handles[1 - payer].close())
        one.loop.advance(100)
        assert "does not answer" in str(closing.exception())
        one.run(wake(one, payer))
    assert one.handles[payer].phase == FINAL and one.crossings == 1
    one.loop.advance(100)
    one.run(wake(one, payer))
    one.check()


# -- who keeps no rule ----------------------------------------------------------------------------


@PAYER
@DELAY
@pytest.mark.parametrize("liar", (Crosser, Refuser))
@pytest.mark.parametrize("what", ("pay", "close"))
def test_a_peer_that_crosses_everything(two, what, liar, delay, payer):
    """The owner is held up, for a while; then he may dispute."""
    one = two(delay, *((ChannelHandle, liar) if payer == 0 else (liar, ChannelHandle)))
    handle = one.handles[payer]
    before = one.now
    (ended,) = one.run(handle.pay(1) if what == "pay" else handle.close())
    assert isinstance(ended, TimedOut) and "cross again and again" in str(ended)
    assert one.now - before < LONG and handle.phase == ACTING
    one.check(payer)


@PAYER
@DELAY
def test_a_peer_that_had_nothing_to_say(two, delay, payer):
    """It crosses once, is let go first, and does not come: a payment waits for it once."""
    other = 1 - payer
    one = two(delay)
    crossed = one.spawn(one.handles[other].pay(1))
    paying = one.spawn(one.handles[payer].pay(1))
    one.loop.advance()
    crossed.cancel()
    began = one.now
    one.run(asyncio.wait_for(paying, None))
    one.run(one.handles[payer].pay(1))
    assert one.now - began < 4 + 8 * delay + 0.1
    began = one.now
    one.run(one.handles[payer].pay(1))
    assert one.now - began < 3 * delay
    one.check()


# -- any schedule ---------------------------------------------------------------------------------

REASONS = ["only the same end", "refused already", "not open"]
MOMENTS = st.sampled_from((0, 0, 0, 0.001, 0.004, 0.1, 0.3, 1, 2))
ORDERS = st.lists(st.tuples(MOMENTS, st.sampled_from(("pay", "pay", "pay", "close"))), max_size=6)
LINKS = st.lists(st.tuples(st.sampled_from((0, 0.003, 0.5, 1, 3)), MOMENTS), max_size=3)


@given(
    orders=st.tuples(ORDERS, ORDERS),
    cuts=LINKS,
    delay=st.sampled_from((0.001, 0.004, 0.3)),
    grain=st.sampled_from((0, 0, 0.5)),
)
@settings(max_examples=300, deadline=None, print_blob=True)
def test_any_schedule(orders, cuts, delay, grain):
    """Payments and ends of both, at any moments, over a link that is cut and comes back: each is
    done or refused for the channel's end, and nobody is told that updates cross for ever."""
    one = Two(delay)
    one.grain = grain
    try:
        _play(one, orders, cuts)
    finally:
        one.loop.finish()


def _play(one: Two, orders: Any, cuts: Any) -> None:
    async def owner(handle: ChannelHandle, plan: Any) -> None:
        for pause, what in plan:
            await asyncio.sleep(pause)
            try:
                await (handle.pay(1) if what == "pay" else handle.close())
            except ValueError as error:
                assert "not open" in str(error)
            except ClientError as error:  # the other one has ended it, or has signed an end
                assert any(reason in str(error) for reason in REASONS)

    async def network() -> None:
        for after, pause in cuts:
            await asyncio.sleep(after)
            one.hang_up()
            await asyncio.sleep(pause)
            one.connect()

    works = [owner(handle, plan) for handle, plan in zip(one.handles, orders, strict=True)]
    assert one.run(network(), *works) == [None] * 3
    one.loop.advance(60)
    one.check()
    ordered = [what for plan in orders for _, what in plan]
    assert one.crossings <= len(ordered) + len(cuts)
    assert (one.handles[0].phase == FINAL) == ("close" in ordered)
