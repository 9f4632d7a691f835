"""A device behind the service's bridge and a go-perun node, on Perun's own contracts.

The device is the library's client on CPython, with a service of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from adoption.service import Service
from goperun.node import ETHER, TOKEN, Identity, NodeError
from perun.channel import FINAL
from perun.client.handle import Refused, TimedOut
from service import bridgekit, kit
from service.bridgekit import RECEIVER, Car
from service.conftest import start
from service.kit import until

__all__ = ["start"]


class World:
    """One car, one service, one node that know each other."""

    def __init__(self, chain: Any, car: Car, node: Any, service: Service) -> None:
        self.chain, self.car, self.node, self.service = chain, car, node, service

    @property
    def wire(self) -> bytes:
        """The car's wire address."""
        return next(iter(self.service.bridge._lines.values())).ends.own.address

    async def meet(self) -> None:
        """Wait for the link between the two."""
        await self.car.peer()

    async def open(self, balances: Any = ((1000, 500),)) -> Any:
        """The car proposes: its handle of a funded channel."""
        handle = await self.car.client.propose(await self.car.peer(), balances, 600)
        await handle.opened(30)
        await self.node.told("channel", channel=handle.id.hex())
        return handle

    async def opened(self, balances: Any = ((1000, 500),), **more: Any) -> Any:
        """The node proposes: the car's handle."""
        made = await self.node.propose(self.wire, balances, **more)
        return self.car.client.channels[bytes.fromhex(made["channel"])]

    def paid(self) -> int:
        """What the car's owner has got."""
        return int(self.chain.web3.eth.get_balance(self.chain.web3.to_checksum_address(RECEIVER)))


@pytest.fixture
async def world(chain, start, new_node, tmp_path) -> AsyncIterator[Any]:
    """await world(...): the three, with the node dialled by the service, or (dialled=False) the
    other way round."""
    cars = []

    async def make(
        kind: str = "simple",
        name: str = "node",
        serializer: str = "protobuf",
        dialled: bool = True,
        tokens: bool = False,
        **options: Any,
    ) -> World:
        options.setdefault("payer", 7)  # the service has an account of its own
        node = await new_node(identity=Identity(name, kind), serializer=serializer, **options)
        car = Car(chain, tokens=tokens)
        device = kit.Device()
        device.address = car.address
        peer = {
            "name": "node",
            "wire": "simple" if kind == "simple" else "ethereum",
            "address": "0x" + node.wire.hex(),
            "serializer": serializer,
        }
        if dialled:
            peer["connect"] = node.at
        listen = {"listen": [], "listen_perunio": ["127.0.0.1:0"]}
        more = listen if serializer == "perunio" else {}
        service = await start(device, bridge=bridgekit.section([car], peer=[peer], **more))
        car.start(service)
        cars.append(car)
        await until(lambda: service.bridge._lines)
        made = World(chain, car, node, service)
        if dialled:
            await made.meet()
        else:
            await node.peer(made.wire, "127.0.0.1:%d" % service.bridge.addresses[0][1])
        return made

    yield make
    for car in cars:
        await car.stop()


@pytest.mark.parametrize("serializer", ["protobuf", "perunio"])
@pytest.mark.parametrize("kind", ["simple", "eth"])
async def test_the_car_opens_pays_is_paid_and_settles(world, kind, serializer):
    w = await world(kind=kind, serializer=serializer)
    handle = await w.open()
    assert await handle.pay(100) == 1
    assert (await w.node.pay(handle.id.hex(), 30))["balances"] == [["930", "570"]]
    await handle.paid(2)
    before = w.paid()
    await handle.close()
    assert handle.phase >= FINAL
    await asyncio.gather(handle.settled(60), w.node.settle(handle.id.hex()))
    assert w.paid() - before == 930
    assert w.chain.web3.eth.get_balance(w.chain.place.eth_holder) == 0


@pytest.mark.parametrize("serializer", ["protobuf", "perunio"])
@pytest.mark.parametrize("kind", ["simple", "eth"])
async def test_the_node_opens_pays_is_paid_and_settles(world, kind, serializer):
    w = await world(kind=kind, serializer=serializer, dialled=False)
    handle = await w.opened()
    channel = handle.id.hex()
    assert (await w.node.pay(channel, 100))["version"] == 1
    await handle.opened(30)
    assert await handle.pay(30) == 2
    before = w.paid()
    assert (await w.node.finalize(channel))["phase"] == "Final"
    await asyncio.gather(handle.settled(60), w.node.settle(channel))
    assert w.paid() - before == 570


async def test_two_assets(world):
    w = await world(tokens=True)
    handle = await w.open(((1000, 500), (70, 30)))
    assert await handle.pay(100, 7) == 1
    paid = await w.node.pay(handle.id.hex(), 5, 3)
    assert paid["balances"] == [["905", "595"], ["66", "34"]]
    other = await w.opened([(10, 20), (30, 40)], assets=(ETHER, TOKEN))
    assert await _paid(other, 1, 1) == 1
    for one in (handle, other):
        await one.close()
    await asyncio.gather(
        *(one.settled(60) for one in (handle, other)),
        *(w.node.settle(one.id.hex()) for one in (handle, other)),
    )
    assert w.chain.web3.eth.get_balance(w.chain.place.eth_holder) == 0
    assert w.chain.token.functions.balanceOf(w.chain.place.erc20_holder).call() == 0


async def _paid(handle: Any, *amounts: int) -> int:
    await handle.opened(30)
    return int(await handle.pay(*amounts))


async def test_several_channels_at_once(world):
    w = await world()
    handles = [await w.open(((100, 100),)) for _ in range(2)] + [await w.opened(((100, 100),))]
    for handle in handles:
        await handle.opened(30)

    async def pay(handle: Any) -> None:
        for _ in range(3):
            await handle.pay(1)

    await asyncio.gather(*map(pay, handles))
    assert [handle.balance() for handle in handles] == [97, 97, 97]


async def test_refusals_both_ways(world):
    """A version that was refused is used again; by the car only for the same state."""
    w = await world()
    await w.node.policy(proposals="not today")
    with pytest.raises(Refused, match="not today"):
        await w.open()
    await w.node.policy(proposals="accept", updates="too little")
    handle = await w.open()
    channel = handle.id.hex()
    with pytest.raises(Refused, match="too little"):
        await handle.pay(10)
    with pytest.raises(ValueError, match="only the same again"):
        await handle.pay(11)
    with pytest.raises(NodeError, match="comes first"):
        await w.node.pay(channel, 3)
    await w.node.policy(updates="accept")
    assert await handle.pay(10) == 1
    w.car.client.on_update = lambda one, state: "no, thanks"
    for _ in range(2):
        with pytest.raises(NodeError, match="no, thanks"):
            await w.node.pay(channel, 3)
    w.car.client.on_update = lambda one, state: None
    assert (await w.node.pay(channel, 4))["version"] == 2
    assert await handle.pay(1) == 3
    w.car.client.on_proposal = lambda proposal: "closed"
    with pytest.raises(NodeError, match="closed"):
        await w.opened()


async def test_crossing_updates(world):
    w = await world()
    handle = await w.open()
    channel = handle.id.hex()

    async def node_pays() -> int:
        try:
            await w.node.pay(channel, 1)
        except NodeError as error:
            assert "crossing" in str(error) or "comes first" in str(error), error
            return 0
        return 1

    node_paid = own = 0
    for _ in range(5):
        ours, theirs = await asyncio.gather(handle.pay(2), node_pays(), return_exceptions=True)
        assert isinstance(ours, int) or "version" in str(ours) or "answer" in str(ours), ours
        own += isinstance(ours, int)
        node_paid += theirs
    (shown,) = await w.node.channels()
    assert handle.balance() == 1000 - 2 * own + node_paid
    assert shown["version"] == handle.version == own + node_paid
    assert own >= 4


@pytest.mark.parametrize("how", ["v01", "high-s", "short", "wrong"])
async def test_signatures_that_the_contracts_refuse(world, how):
    w = await world()
    handle = await w.open()
    channel = handle.id.hex()
    await w.node.meddle("ChannelUpdate", how)
    with pytest.raises(NodeError, match="signature|closed|timed out|deadline"):
        await w.node.pay(channel, 3, timeout=5)
    assert handle.version == 0 and handle.machine.evidence is None
    await w.node.meddle("ChannelUpdate", "")
    await w.meet()
    if how != "short":  # that one ends in the codec: nobody answers, and go-perun has given up
        assert (await w.node.pay(channel, 3))["version"] == 1
        await handle.paid(1)


async def test_an_answer_with_a_useless_signature(world):
    """It counts for nothing: only the same payment may follow, or a dispute. In that the node
    comes with what it has, a state that the car has signed, too."""
    w = await world()
    handle = await w.open()
    await w.node.meddle("ChannelUpdateAcc", "v01")
    paying = asyncio.create_task(handle.pay(3))
    await until(lambda: any("signature" in text for text in w.car.errors))
    paying.cancel()
    assert handle.version == 0
    await handle.dispute()
    await until(lambda: handle.registered and handle.registered[0] == 1, 20)


async def test_an_answer_to_another_question(world):
    w = await world()
    await w.node.meddle("LedgerChannelProposalAcc", "other")
    with pytest.raises(TimedOut):
        await w.car.client.propose(await w.car.peer(), ((10, 5),), 600, timeout=2)
    await w.node.meddle("LedgerChannelProposalAcc", "")
    handle = await w.open()
    await w.node.meddle("ChannelUpdateAcc", "other")
    paying = asyncio.create_task(handle.pay(3))
    await until(lambda: any("nothing of version" in text for text in w.car.errors))
    assert handle.version == 0
    paying.cancel()


async def test_the_node_restarts(world):
    w = await world(persistent=True)
    handle = await w.open()
    await handle.pay(3)
    await w.node.kill()
    peer = w.car.client.foreign("node")
    await until(lambda: not peer.connected)
    await w.node.start()
    await until(lambda: peer.connected, 30)
    assert await handle.pay(4) == 2
    assert (await w.node.pay(handle.id.hex(), 1))["version"] == 3


async def test_the_car_restarts(world, chain):
    """ChannelSync shows it what the node has."""
    w = await world()
    handle = await w.open()
    await handle.pay(3)
    await w.car.stop()
    again = Car(chain, w.car.client.store, w.car.secret)
    (back,) = again.client.channels.values()
    assert back.machine.doubts
    again.start(w.service)
    try:
        await until(lambda: not back.machine.doubts, 30)
        assert await back.pay(4) == 2
        assert (await w.node.pay(back.id.hex(), 1))["version"] == 3
    finally:
        await again.stop()


async def test_a_lost_answer_comes_back_by_sync(world):
    """The node signed, and its answer was lost: the car takes the state over."""
    w = await world()
    handle = await w.open()
    await w.node.meddle("ChannelUpdateAcc", "silent")
    paying = asyncio.create_task(handle.pay(3))
    await w.node.told("kept", message="ChannelUpdateAcc")
    await w.node.meddle("ChannelUpdateAcc", "")
    await handle.ask_peer()
    assert await paying == 1
    assert await handle.pay(4) == 2


async def test_the_node_registers_an_old_state(world, chain, time_passes):
    """The service refutes it."""
    w = await world()
    handle = await w.open(((1000, 0),))
    channel = handle.id.hex()
    for _ in range(3):
        await handle.pay(100)
    w.car.client.on_update = lambda one, state: None
    await w.node.pay(channel, 250)
    await handle.paid(4)
    await handle.checkpoint()
    before = w.paid()
    await w.node.register(channel, 3)
    await until(lambda: handle.registered and handle.registered[0] == 4, 30)
    chain.node.pass_time(601)
    await handle.settled(60)
    assert w.paid() - before == 950


async def test_the_car_disputes(world, chain, time_passes):
    w = await world()
    handle = await w.opened(((1000, 0),))
    channel = handle.id.hex()
    await w.node.pay(channel, 100)
    await handle.paid(1)
    before = w.paid()
    await handle.dispute()
    await w.node.told("registered", channel=channel)
    chain.node.pass_time(601)
    await asyncio.gather(handle.settled(60), w.node.settle(channel))
    assert w.paid() - before == 100


@pytest.mark.parametrize("name", ["aaa", "zzz"])
async def test_who_dials_does_not_matter_in_the_end(world, name):
    """The node knows where the bridge listens, the bridge where the node does; the car's name,
    car0, is larger or smaller."""
    w = await world(name=name)
    await w.node.peer(w.wire, "127.0.0.1:%d" % w.service.bridge.addresses[0][1])
    handle = await w.open()
    await handle.pay(1)
    peer = w.car.client.foreign("node")
    line = next(iter(w.service.bridge._lines.values()))
    for _ in range(2):
        line._connection.close()  # both notice, and both may dial
        await until(lambda: not peer.connected)
        await until(lambda: peer.connected, 30)
        await w.node.pay(handle.id.hex(), 1, timeout=30)
    assert await handle.pay(1) == 4


async def test_a_proposal_that_is_lost_with_the_link(world):
    """A ChannelSync while the node waits for an answer would end its process, ten seconds later:
    it unlocks what the proposal has locked. So the new link does not begin with one."""
    w = await world()
    handle = await w.open()
    line = next(iter(w.service.bridge._lines.values()))
    await w.node.meddle("ChannelUpdate", "silent")
    paying = asyncio.create_task(w.node.pay(handle.id.hex(), 1, timeout=13))
    await w.node.told("kept", message="ChannelUpdate")
    line._connection.close()
    with pytest.raises(NodeError) as error:
        await paying
    assert "panic" not in str(error.value)
    await w.node.meddle("ChannelUpdate", "")
    await w.meet()
    assert (await w.node.pay(handle.id.hex(), 1))["version"] == 1
