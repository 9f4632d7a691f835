"""What is special about a go-perun node behind the service's bridge, besides the interop table."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from adoption.service import Service
from goperun.node import Identity, NodeError
from perun.client.handle import Refused
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
        await handle.opened(60)
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
    await until(lambda: handle.registered and handle.registered[0] == 1)


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
        await until(lambda: peer.connected)
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


async def test_a_sync_at_the_wrong_time_ends_go_perun(world):
    """What the test above is about. A command that panics is the process of anybody else."""
    w = await world()
    handle = await w.open()
    await w.node.meddle("ChannelUpdate", "silent")
    paying = asyncio.create_task(w.node.pay(handle.id.hex(), 1, timeout=13))
    await w.node.told("kept", message="ChannelUpdate")
    await handle.happened("ask")
    with pytest.raises(NodeError, match="unlock unlocked mutex"):
        await paying
