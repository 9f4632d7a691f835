"""A peer that falls silent at each message, or answers late, twice, or for another channel.

Two real clients; what one of them sends is held back, kept for later or repeated on its way.
Whoever waits gets a clear error, nothing is lost, and when the peer speaks again it goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from channels import ALICE, ASSET, BOB, CHAIN_ID
from perun.channel import ACTING, FINAL, Limits
from perun.client import Client, paying
from perun.client.handle import ChannelHandle, Refused, TimedOut
from perun.client.peer import Peer
from perun.link.memory import pair
from perun.store.memory import MemoryStore
from perun.wire import messages as m
from service.kit import until
from support import Random

DEPOSITS = ((100, 50),)


class Way:
    """What happens to a peer's messages of one kind on their way."""

    def __init__(self, peer: Peer, kind: type, how: str = "lost") -> None:
        self._peer, self._kind, self._how = peer, kind, how
        self._send = peer.send
        self.held: list[Any] = []
        peer.send = self._pass

    async def _pass(self, message: Any) -> None:
        if type(message) is not self._kind:
            await self._send(message)
            return
        self.held.append(message)
        if self._how == "twice":
            await self._send(message)
            await self._send(message)

    async def open(self, late: bool = False) -> None:
        """From now on everything passes; late: also what was held back."""
        self._peer.send = self._send
        if late:
            for message in self.held:
                await self._send(message)


def client(account: Any, seed: int) -> Client:
    limits = Limits((ASSET,), (1000,), 30, 3600)
    made = Client(
        account, CHAIN_ID, limits, b"\x99" * 20, MemoryStore(), random=Random(seed).bytes
    )
    made.on_proposal = lambda proposal: None
    made.errors = []
    made.on_error = made.errors.append
    return made


class Two:
    """Alice pays Bob; each knows the other's Peer."""

    def __init__(self) -> None:
        self.alice, self.bob = client(ALICE, 1), client(BOB, 2)

    async def connect(self) -> None:
        one, other = pair()
        accepting = asyncio.create_task(self.bob.accept(other))
        self.to_bob = await self.alice.connect(one, self.bob.account.address)
        await accepting
        self.to_alice = self.bob.peer(self.alice.account.address)

    async def channel(self) -> tuple[ChannelHandle, ChannelHandle]:
        mine = await self.alice.propose(self.to_bob, DEPOSITS, 60)
        theirs = self.bob.channels[mine.id]
        await theirs.signed()
        for one in (mine, theirs):
            await one.happened("funded")
        return mine, theirs


@pytest.fixture
async def two(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Two]:
    monkeypatch.setattr(paying, "_ANSWER", 0.1)  # a peer has ten seconds on a device
    made = Two()
    await made.connect()
    yield made
    made.to_bob.close()


async def goes_on(mine: ChannelHandle, theirs: ChannelHandle) -> None:
    """Payments in both directions, and both have the same."""
    await mine.pay(3)
    await theirs.pay(1)
    assert mine.machine.current == theirs.machine.current
    assert mine.phase == theirs.phase == ACTING


@pytest.mark.parametrize("kind", [m.LedgerChannelProposalAcc, m.ChannelUpdateAcc])
async def test_silent_while_a_channel_is_opened(two: Two, kind: type) -> None:
    """The proposer asks, and hears nothing of the acceptance or of the signature on version 0."""
    way = Way(two.to_alice, kind)
    with pytest.raises(TimedOut):
        await two.alice.propose(two.to_bob, DEPOSITS, 60, timeout=0.3)
    assert way.held
    for one in two.alice.channels.values():
        assert one.phase < ACTING  # nothing is deposited for it
    await way.open()
    await goes_on(*await two.channel())


async def test_the_proposer_falls_silent(two: Two) -> None:
    """It never signs version 0: the proposee deposits nothing."""
    way = Way(two.to_bob, m.ChannelUpdateAcc)
    await two.alice.propose(two.to_bob, DEPOSITS, 60)  # Bob's signature has come
    (theirs,) = two.bob.channels.values()
    with pytest.raises(TimedOut):
        await theirs.signed(0.3)
    await way.open()
    two.to_bob.close()
    await two.connect()
    await theirs.signed(5)  # it is sent again with the next link


@pytest.mark.parametrize("late", [False, True])
async def test_silent_after_a_payment(two: Two, late: bool) -> None:
    """The answer does not come: the same payment may be tried again, no other one."""
    mine, theirs = await two.channel()
    way = Way(two.to_alice, m.ChannelUpdateAcc)
    with pytest.raises(TimedOut, match="version 1"):
        await mine.pay(10)
    assert len(way.held) > 1  # it was asked for some times
    with pytest.raises(ValueError, match="only the same again, or a dispute"):
        await mine.pay(11)
    assert (mine.balance(), theirs.balance()) == (100, 60)
    await way.open(late)
    if late:
        await mine.paid(1, 5)
    else:
        await mine.pay(10)
    assert mine.balance() == 90 and theirs.balance() == 60  # paid once
    await goes_on(mine, theirs)


async def test_a_payment_does_not_arrive(two: Two) -> None:
    mine, theirs = await two.channel()
    way = Way(two.to_bob, m.ChannelUpdate)
    with pytest.raises(TimedOut, match="version 1"):
        await mine.pay(10)
    assert theirs.version == 0
    await way.open(late=True)
    await mine.paid(1, 5)
    assert theirs.balance() == 60
    await goes_on(mine, theirs)


async def test_no_word_of_a_refusal(two: Two) -> None:
    mine, theirs = await two.channel()
    two.bob.on_update = lambda channel, state: "no"
    way = Way(two.to_alice, m.ChannelUpdateRej)
    with pytest.raises(TimedOut):
        await mine.pay(10)
    two.bob.on_update = lambda channel, state: None
    await way.open()
    with pytest.raises(Refused, match="refused already"):
        await mine.pay(10)  # the same as before, which Bob has burnt
    await goes_on(mine, theirs)


async def test_silent_at_the_end(two: Two) -> None:
    """The final state is not answered: only the same end may follow."""
    mine, theirs = await two.channel()
    await mine.pay(10)
    way = Way(two.to_alice, m.ChannelUpdateAcc)
    with pytest.raises(TimedOut, match="version 2"):
        await mine.close()
    with pytest.raises(ValueError, match="only the same again, or a dispute"):
        await mine.pay(1)
    await way.open()
    await mine.close()
    assert mine.phase == theirs.phase == FINAL and mine.balance() == 90


async def test_silent_at_the_sync(two: Two) -> None:
    """It comes back and tells neither what it has nor that it signed: nothing but the very same is
    signed, and nothing is missing when it speaks."""
    mine, theirs = await two.channel()
    answers = Way(two.to_alice, m.ChannelUpdateAcc)
    with pytest.raises(TimedOut):
        await mine.pay(10)
    syncs = Way(two.to_alice, m.ChannelSync)
    two.to_bob.close()
    await two.connect()
    await until(lambda: syncs.held)
    with pytest.raises(ValueError, match="only the same again"):
        await mine.pay(11)
    await syncs.open(late=True)
    await mine.paid(1, 5)  # the newest state that it shows is the payment, signed by both
    await answers.open()
    await goes_on(mine, theirs)


@pytest.mark.parametrize(
    "kind", [m.LedgerChannelProposalAcc, m.ChannelUpdateAcc, m.ChannelUpdate, m.ChannelSync]
)
async def test_everything_twice(two: Two, kind: type) -> None:
    Way(two.to_alice, kind, "twice")
    Way(two.to_bob, kind, "twice")
    mine, theirs = await two.channel()
    for _ in range(3):
        await goes_on(mine, theirs)
    await mine.happened("ask")
    await goes_on(mine, theirs)
    assert (mine.balance(), theirs.balance()) == (100 - 4 * 2, 50 + 4 * 2)


async def test_another_channels_answer(two: Two) -> None:
    """The answer to a payment in one channel comes under the name of another one."""
    first, other_first = await two.channel()
    second, _ = await two.channel()
    way = Way(two.to_alice, m.ChannelUpdateAcc)
    paying = asyncio.create_task(first.pay(10))
    await until(lambda: way.held)
    real = way.held[0]
    await way._send(m.ChannelUpdateAcc(second.id, real.version, real.sig))
    await way._send(m.ChannelUpdateAcc(first.id, real.version + 1, real.sig))
    await way._send(m.ChannelUpdateAcc(bytes(32), real.version, real.sig))
    await way._send(m.ChannelUpdateAcc(first.id, real.version, real.sig[:-1] + b"\x1d"))
    await until(lambda: len(two.alice.errors) == 4)
    assert first.version == second.version == 0
    await way.open(late=True)
    await paying
    assert first.machine.current == other_first.machine.current and second.version == 0
