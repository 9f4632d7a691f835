"""A station, its service and a chain, all of them real, against a car that cheats."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from perun.link import LinkError, tcp
from perun.model import Allocation, SubAlloc, Transaction
from perun.wire import messages as m

from adversaries.cheater import STRANGERS, Cheater
from adversaries.places import (
    CAR_DEPOSIT,
    DEPOSIT,
    DURATION,
    SLICE,
    Town,
    checksum,
    honest_client,
    serves,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROW = (CAR_DEPOSIT, DEPOSIT)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def town(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    path: Path = tmp_path_factory.mktemp("town")
    async with Town(path) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def cheater(town: Town) -> AsyncIterator[Cheater]:
    made = Cheater(town.station.port, town.station.address, town.holder)
    yield made
    made.hang_up()


# -- before there is a channel --------------------------------------------------------------------


@pytest.mark.parametrize("name", ["false_proof", "random_bytes"])
async def test_stranger(town: Town, cheater: Cheater, name: str) -> None:
    since = town.station.mark()
    await STRANGERS[name](cheater)
    await town.station.warned("handshake" if name == "false_proof" else "peer:", since)
    await serves(town.station, town.holder)


async def test_stranger_says_nothing(town: Town) -> None:
    """Silence at the hello and at the proof: both links are given up, and in the meantime others
    get in."""
    silent = [Cheater(town.station.port, town.station.address, town.holder) for _ in range(2)]
    since = town.station.mark()
    await STRANGERS["silent_before_hello"](silent[0])
    await STRANGERS["silent_before_proof"](silent[1])
    await serves(town.station, town.holder)
    await town.station.warned("no answer within 20 s", since)
    for one in silent:
        with pytest.raises(LinkError):
            async with asyncio.timeout(60):
                while True:
                    await one.link.recv()
        one.hang_up()


async def test_proposals_that_nobody_should_accept(town: Town, cheater: Cheater) -> None:
    await cheater.connect()
    good = Allocation((cheater.asset,), (ROW,), ())
    locked = Allocation((cheater.asset,), (ROW,), (SubAlloc(bytes(32), (1,), ()),))
    for words, changes in (
        ("somebody else", {"peers": (cheater.account.address, bytes(range(20)))}),
        ("not the peer", {"participant": bytes(range(20))}),
        ("deposit is over", {"funding_agreement": ((0, sum(ROW)),)}),
        ("sums differ", {"funding_agreement": ((CAR_DEPOSIT, DEPOSIT - 1),)}),
        ("challenge duration", {"challenge_duration": 5}),
        ("locked", {"init_bals": locked}),
        ("apps", {"app": bytes(range(20))}),
        ("start with what it deposits", {"init_bals": good._replace(balances=((sum(ROW), 0),))}),
    ):
        await cheater.send(cheater.proposal(ROW, **changes))
        answer = await cheater.recv((m.ChannelProposalRej, m.LedgerChannelProposalAcc))
        assert isinstance(answer, m.ChannelProposalRej) and words in answer.reason, answer


async def test_silence_and_forgery_at_version_0(town: Town) -> None:
    """The station deposits nothing before both have signed, and takes the next car."""
    since = town.station.mark()
    for _ in range(2):  # silent the first time, forging the second time
        cheater = Cheater(town.station.port, town.station.address, town.holder)
        await cheater.connect()
        state, _ = await cheater.agree(ROW)
        for sig in cheater.forgeries(state).values():
            await cheater.send(m.ChannelUpdateAcc(state.id, 0, sig))
        await town.station.warned("signature is wrong", since)
        cheater.hang_up()
    assert town.chain.contract_balance() == 0
    await town.station.unharmed(0)


async def test_deposits_nothing(tmp_path: Path) -> None:
    """The station charges nobody until the service gives up, and takes the next car then."""
    async with Town(tmp_path) as town:
        cars = [Cheater(town.station.port, town.station.address, town.holder) for _ in range(2)]
        for car in cars:
            await car.connect()
        await cars[0].open((CAR_DEPOSIT, 0))
        await town.station.event("channel", kind="signed")
        await cars[1].send(cars[1].proposal((CAR_DEPOSIT, 0)))
        assert "another car" in (await cars[1].recv(m.ChannelProposalRej)).reason
        # The time to deposit begins when the service has heard of the channel.
        kinds: set[str] = set()
        async with asyncio.timeout(60):
            while "funding failed" not in kinds:
                town.node.pass_time(DURATION + 1)
                await asyncio.sleep(0.2)
                kinds = {event.get("kind", "") for event in town.station.device.events}
        await cars[1].agree((CAR_DEPOSIT, 0))
        for car in cars:
            car.hang_up()


# -- in a channel ---------------------------------------------------------------------------------


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rider(town: Town) -> AsyncIterator[Cheater]:
    """A cheater with a funded channel and three payments, all honest so far."""
    made = Cheater(town.station.port, town.station.address, town.holder)
    since = town.station.mark()
    await open_channel(town, made, since)
    for _ in range(3):
        await made.pay(SLICE)
    yield made
    made.hang_up()


async def open_channel(town: Town, cheater: Cheater, since: int) -> None:
    await cheater.connect()
    state = await cheater.open(ROW)
    await town.station.event("channel", since, kind="signed")
    await asyncio.to_thread(town.deposit, state.id, cheater.account.address, CAR_DEPOSIT)
    await town.station.event("channel", since, kind="open")


async def old_update_again(town: Town, rider: Cheater) -> int:
    old = rider.history[1]
    await rider.update(old.state)
    await warned(town, "version 1 where")
    return 0


async def old_state_synced(town: Town, rider: Cheater) -> int:
    """It gets the newest in return."""
    await rider.send(m.ChannelSync(3, rider.history[1]))
    answer = await rider.recv(m.ChannelSync)
    assert answer.current == rider.history[-1]
    return 0


async def same_update_twice(town: Town, rider: Cheater) -> int:
    """The same answer twice: nothing is paid twice."""
    state = await rider.pay(SLICE)
    await rider.update(state)
    again = await rider.recv(m.ChannelUpdateAcc)
    assert again.sig == rider.history[-1].sigs[1]
    return 0


async def forged_signatures(town: Town, rider: Cheater) -> int:
    state = rider.next(SLICE)
    for name, sig in rider.forgeries(state).items():
        since = town.station.mark()
        await rider.update(state, sig=sig)
        await town.station.warned("signature is wrong", since), name
    return 0


async def another_channel(town: Town, rider: Cheater) -> int:
    """An update and an answer of a channel that the station does not know."""
    other = rider.state.id[::-1]
    rider.contexts.add(other, (rider.asset,))
    await rider.update(rider.next(SLICE, id=other))
    await rider.send(m.ChannelUpdateAcc(other, rider.state.version, bytes(65)))
    rider.contexts.remove(other)
    await warned(town, "unknown")
    return 0


async def beyond_the_balances(town: Town, rider: Cheater) -> int:
    """More than there is: its version is burnt, a violation is told."""
    since = town.station.mark()
    mine, its = rider.state.allocation.balances[0]
    reason = await rider.refused(rider.next(balances=((mine, its + 1),)))
    assert "total" in reason
    await town.station.event("channel", since, kind="violation")
    return 1


async def locked_funds(town: Town, rider: Cheater) -> int:
    mine, its = rider.state.allocation.balances[0]
    sub = SubAlloc(bytes(range(32)), (5,), ())
    allocation = Allocation((rider.asset,), ((mine - 5, its),), (sub,))
    assert "locked" in await rider.refused(rider.next(allocation=allocation))
    return 1


async def takes_money_back(town: Town, rider: Cheater) -> int:
    assert "lower" in await rider.refused(rider.next(-SLICE))
    return 1


async def ends_with_an_old_balance(town: Town, rider: Cheater) -> int:
    final = rider.next(balances=rider.history[1].state.allocation.balances, is_final=True)
    assert "lower" in await rider.refused(final)
    return 1


async def wrong_actor_or_version(town: Town, rider: Cheater) -> int:
    await rider.update(rider.next(SLICE), actor=1)
    await warned(town, "actor")
    await rider.update(rider.next(SLICE, step=5))
    await warned(town, "where")
    return 0


async def answers_to_nothing(town: Town, rider: Cheater) -> int:
    state = rider.state
    await rider.send(m.ChannelUpdateAcc(state.id, state.version + 1, rider.sign(state)))
    await warned(town, "awaits a signature")
    await rider.send(m.ChannelUpdateRej(state.id, state.version + 1, "no"))
    await warned(town, "awaits an answer")
    return 0


async def forged_sync(town: Town, rider: Cheater) -> int:
    """A newer state that the station never signed."""
    state = rider.next(-SLICE, step=9)
    sigs = (rider.sign(state), rider.sign(state))
    await rider.send(m.ChannelSync(3, Transaction(state, sigs)))
    await warned(town, "without both signatures")
    return 0


async def vanishes_after_its_update(town: Town, rider: Cheater) -> int:
    """The answer is never heard; the next link brings it."""
    state = rider.next(SLICE)
    await rider.update(state)
    rider.hang_up()
    await asyncio.sleep(0.2)
    await rider.connect()
    sync = await rider.recv(m.ChannelSync)
    assert sync.current.state == state
    rider.history.append(Transaction(state, sync.current.sigs))
    return 0


async def vanishes_at_the_sync(town: Town, rider: Cheater) -> int:
    """A new link on which the station's question is not answered."""
    rider.hang_up()
    await rider.connect()
    await rider.recv(m.ChannelSync)
    return 0


Behaviour = Callable[[Town, Cheater], Awaitable[int]]
IN_A_CHANNEL: tuple[Behaviour, ...] = (
    old_update_again,
    old_state_synced,
    same_update_twice,
    forged_signatures,
    another_channel,
    beyond_the_balances,
    locked_funds,
    takes_money_back,
    ends_with_an_old_balance,
    wrong_actor_or_version,
    answers_to_nothing,
    forged_sync,
    vanishes_after_its_update,
    vanishes_at_the_sync,
)


async def warned(town: Town, words: str) -> None:
    await town.station.warned(words, 0)
    # The next one must not be mistaken for this one.
    for event in town.station.device.events:
        if words in event.get("text", ""):
            event["text"] = "(seen)"


@pytest.mark.parametrize("behaviour", IN_A_CHANNEL, ids=lambda b: b.__name__)
async def test_in_a_channel(town: Town, rider: Cheater, behaviour: Behaviour) -> None:
    """After each attempt the next payment is taken as if nothing had been."""
    burnt = await behaviour(town, rider)
    await town.station.unharmed(rider.state.version)
    await rider.pay(SLICE, skip=burnt)
    await town.station.unharmed(rider.state.version)


async def test_late_answers_to_the_end(town: Town, rider: Cheater) -> None:
    """The station closes. Refused once, it takes no other payment; answered too late and twice,
    it is content, and the money arrives to the wei."""
    station, since = town.station, town.station.mark()
    await station.device.command("close")
    update = await rider.recv(m.ChannelUpdate)
    await rider.send(m.ChannelUpdateRej(update.state.id, update.state.version, "not yet"))
    await station.event("error", since, command="close")
    assert "same end" in await rider.refused(rider.next(SLICE, step=2))
    await station.device.command("close")
    update = await rider.recv(m.ChannelUpdate)
    again = await rider.recv(m.ChannelUpdate)  # after ten seconds of silence
    assert again == update and update.state.is_final
    acc = m.ChannelUpdateAcc(update.state.id, update.state.version, rider.sign(update.state))
    for _ in range(2):
        await rider.send(acc)
    await station.event("channel", since, kind="withdrawn")
    expected = rider.state.allocation.balances[0][1]
    assert await town.wallet(expected) == expected


async def test_two_states_with_one_version(town: Town, cheater: Cheater) -> None:
    """Evidence, no further payment; the owner disputes while the cheater registers an old state:
    the newest one counts."""
    station, since = town.station, town.station.mark()
    before = town.chain.balance(station.wallet)
    await open_channel(town, cheater, since)
    for _ in range(2):
        await cheater.pay(SLICE)
    twin = cheater.next(SLICE + 7, step=0)
    await cheater.update(twin)
    await station.event("channel", since, kind="equivocation")
    await cheater.update(cheater.next(SLICE))
    await station.warned("two states", since)
    await asyncio.to_thread(register, town, cheater, cheater.history[0])
    await station.device.command("dispute")
    await station.event("channel", since, kind="disputed")
    await station.unharmed(2)
    async with asyncio.timeout(60):
        channel = "0x" + cheater.state.id.hex()
        while town.chain.dispute(channel).version != 2:  # noqa: ASYNC110 - the chain tells nobody
            await asyncio.sleep(0.05)
    await asyncio.to_thread(town.node.pass_time, DURATION + 1)
    await station.event("channel", since, kind="withdrawn")
    assert await town.wallet(before) - before == DEPOSIT + 2 * SLICE


def register(town: Town, cheater: Cheater, transaction: Transaction) -> None:
    """Send a signed state to the adjudicator, without any service."""
    p, state = cheater.params, transaction.state
    none = bytes(32)
    params = (
        p.challenge_duration,
        p.nonce,
        [(checksum(part), none) for part in p.participants],
        checksum(bytes(20)),
        True,
        False,
    )
    assets = [(asset.chain_id, checksum(asset.holder), none) for asset in state.allocation.assets]
    outcome = (assets, [1], [list(row) for row in state.allocation.balances], [])
    signed = (params, (state.id, state.version, outcome, b"", state.is_final), transaction.sigs)
    town.chain.register(town.node.web3.eth.accounts[7], signed)


async def test_an_honest_car_afterwards(town: Town) -> None:
    """The same process, after all of that: opens, is paid, closes, gets its money."""
    station, since = town.station, town.station.mark()
    before = town.chain.balance(station.wallet)
    client = honest_client(town.holder)
    peer = await client.connect(await tcp.connect("127.0.0.1", station.port))
    channel = await client.propose(peer, [ROW], DURATION)
    await asyncio.to_thread(town.deposit, channel.id, client.account.address, CAR_DEPOSIT)
    await station.event("channel", since, kind="open")
    await channel.happened("funded")
    await channel.pay(SLICE)
    await channel.close()
    await station.event("channel", since, kind="withdrawn")
    expected = before + DEPOSIT + SLICE
    assert await town.wallet(expected) == expected
    peer.close()
    died = [event for event in station.device.events if event["event"] == "task died"]
    assert died == []
