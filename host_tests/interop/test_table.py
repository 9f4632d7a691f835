"""The interop table: what a device of ours and a go-perun node say to each other, in both
directions, on each way there is (ours.py). README.md shows it: every test is a row of it."""

import asyncio

import pytest
from goperun.node import TOKEN, NodeError
from ours import WAYS, generation_of
from perun.channel import FINAL, REGISTERED
from perun.client import _own_gain_only
from perun.client.handle import Refused
from scripted import eventually
from service.kit import until

ways = lambda *names: pytest.mark.parametrize("way", names)
names = pytest.mark.parametrize("name", ["aaa", "zzz"])  # smaller and larger than the node's


@pytest.fixture
def generation(way):
    return generation_of(way)


@ways(*WAYS)
async def test_device_proposes_both_pay_device_ends(meet, way):
    node, ours = await meet(way)
    handle = await ours.propose((1000, 500))
    channel = handle.id.hex()
    assert await handle.pay(100, 0) == 1
    assert (await node.pay(channel, 30, 0))["balances"][0] == ["930", "570"]
    await ours.hears(handle, "updated", 2)
    await handle.close()
    assert handle.phase == FINAL
    await ours.paid_out(930)
    await node.settle(channel)
    assert (await node.channels())[0]["phase"] == "Withdrawn"


@ways(*WAYS)
async def test_node_proposes_both_pay_node_ends(meet, way):
    node, ours = await meet(way, dials=way == "direct")  # no device listens for TLS
    handle = await ours.be_proposed((1000, 500))
    channel = handle.id.hex()
    await node.pay(channel, 100)
    await handle.pay(7)
    assert handle.balance() == 593
    assert (await node.finalize(channel))["version"] == 3
    await ours.paid_out(593)
    await node.settle(channel)


@ways(*WAYS)
async def test_proposals_are_refused(meet, way):
    node, ours = await meet(way)
    await node.policy(proposals="closed today")
    with pytest.raises(Refused, match="closed today"):
        await ours.propose((1, 1))
    ours.client.on_proposal = lambda proposal: "no room"
    with pytest.raises(NodeError, match="no room"):
        await ours.be_proposed((1, 1))
    with pytest.raises(NodeError, match="challenge duration 5 s is not within"):
        await ours.be_proposed((1, 1), duration=5)
    assert not ours.client.channels and not await node.channels()


@ways(*WAYS)
async def test_updates_are_refused_and_the_channel_goes_on(meet, way):
    node, ours = await meet(way)
    handle = await ours.be_proposed((100, 100))
    channel = handle.id.hex()
    ours.client.on_update = lambda channel, state: "too little"
    with pytest.raises(NodeError, match="too little"):
        await node.pay(channel, 1)
    ours.client.on_update = lambda channel, state: None
    assert (await node.pay(channel, 2))["version"] == 1  # another state with that version
    await node.policy(updates="not now")
    with pytest.raises(Refused, match="not now"):
        await handle.pay(5)
    await node.policy(updates="gain")
    assert await handle.pay(5) == 2  # the very same
    ours.client.on_update = _own_gain_only
    with pytest.raises(NodeError, match="must not lower"):
        await node.update(channel, [(200, 0)])
    assert handle.state.allocation.balances == ((103, 97),)


@ways(*WAYS)
async def test_updates_cross(meet, way):
    node, ours = await meet(way)
    handle = await ours.be_proposed((1000, 1000))
    channel = handle.id.hex()
    for _ in range(4):
        done = await asyncio.gather(node.pay(channel, 1), handle.pay(10), return_exceptions=True)
        # The device's comes through in the end; the node's, if it was not in the way.
        assert isinstance(done[1], int), done
        assert isinstance(done[0], dict) or "crossing" in str(done[0]), done
    found = (await node.channels())[0]
    await until(lambda: handle.version == found["version"])
    (row,) = handle.state.allocation.balances
    assert found["balances"] == [[str(amount) for amount in row]]


@ways(*WAYS)
async def test_node_is_gone_device_disputes(meet, chain, way):
    node, ours = await meet(way, persistent=way != "gen1")
    handle = await ours.propose((1000, 0))
    await handle.pay(300, 0)
    await node.told("update", version=1)  # go-perun stores what it accepts after it says so
    await node.kill()
    await handle.dispute()
    await ours.hears(handle, "disputed", 1)
    chain.node.pass_time(601)
    await ours.paid_out(700)
    if way != "gen1":  # such a node cannot read its own store
        await node.start()
        await node.settle(handle.id.hex())


@ways(*WAYS)
async def test_device_is_gone_node_disputes(meet, chain, way):
    node, ours = await meet(way)
    handle = await ours.be_proposed((1000, 0))
    await node.pay(handle.id.hex(), 300)
    await handle.checkpoint()
    await ours.switch_off()
    settling = asyncio.create_task(node.settle(handle.id.hex()))
    await eventually(lambda: ours.registered(handle) == (1, 0))
    chain.node.pass_time(601)
    await settling
    await ours.paid_out(300)


@ways(*WAYS)
async def test_node_registers_an_old_state_the_service_refutes(meet, chain, way):
    node, ours = await meet(way)
    handle = await ours.be_proposed((1000, 0))
    channel = handle.id.hex()
    for _ in range(3):
        await node.pay(channel, 100)
    await handle.checkpoint()
    await ours.switch_off()
    await node.register(channel, 1)
    await eventually(lambda: ours.registered(handle) == (3, 0))
    chain.node.pass_time(601)
    await ours.paid_out(300)


@ways(*WAYS)
async def test_device_s_old_state_is_registered_the_node_refutes(meet, way):
    node, ours = await meet(way)
    handle = await ours.propose((1000, 0))
    await handle.pay(1, 0)
    params, old = handle.machine.params, handle.machine.current
    for _ in range(2):
        await handle.pay(1, 0)
    await asyncio.to_thread(ours.register, params, old)
    await node.told("registered", version=1)
    await eventually(lambda: ours.registered(handle) == (3, 0))
    await until(lambda: handle.phase == REGISTERED)


@ways(*WAYS)
async def test_an_answer_is_lost_a_sync_finds_it(meet, way):
    node, ours = await meet(way)
    handle = await ours.propose((100, 0))
    await node.meddle("ChannelUpdateAcc", "silent")
    paying = asyncio.create_task(handle.pay(1, 0))
    await node.told("update", version=1)
    await node.meddle("ChannelUpdateAcc", "")
    assert handle.version == 0
    await handle.happened("ask")
    await node.told("received", message="ChannelSync")
    assert await paying == 1 and handle.version == 1
    await handle.pay(1, 0)


@ways(*WAYS)
async def test_node_asks_with_a_sync(meet, way):
    node, ours = await meet(way)
    handle = await ours.propose((100, 0))
    await handle.pay(1, 0)
    await node.sync(handle.id.hex())
    await node.told("received", message="ChannelSync", version=1)
    count = lambda: sum(e.get("message") == "ChannelSync" for e in node.events)
    before = count()
    await handle.pay(1, 0)
    assert count() <= before + 1  # go-perun answers every sync: the two do not go on for ever


@ways("tcp", "serial", "perunio", "ethereum", "direct")
async def test_node_is_killed_and_returns(meet, way):
    node, ours = await meet(way, persistent=True)
    handle = await ours.propose((100, 100))
    await handle.pay(1, 0)
    await node.told("update", version=1)
    await node.kill()
    await until(lambda: not handle.peer.connected)
    await node.start()
    assert [one["version"] for one in node.restored] == [1]
    await ours.peer()
    assert await handle.pay(1, 0) == 2
    assert (await node.pay(handle.id.hex(), 5, 0))["version"] == 3


@ways(*WAYS)
async def test_device_loses_its_power_and_returns(meet, way):
    node, ours = await meet(way)
    first = await ours.propose((100, 100))
    await first.pay(1, 0)
    await ours.switch_off()
    await ours.switch_on()
    await ours.peer()
    (handle,) = ours.client.channels.values()
    assert await handle.pay(1, 0) == 2
    assert (await node.pay(handle.id.hex(), 5, 0))["version"] == 3


@ways(*WAYS)
async def test_service_restarts(meet, way):
    node, ours = await meet(way)
    handle = await ours.propose((100, 100))
    await ours.stop_service()
    await ours.start_service()
    await ours.found()
    await ours.peer()
    assert (await node.pay(handle.id.hex(), 5, 0))["version"] == 1
    assert await handle.pay(1, 0) == 2
    await handle.close()
    await ours.paid_out(104)


@ways(*WAYS)
async def test_several_channels_at_once(meet, way):
    node, ours = await meet(way)
    handles = [await ours.propose((100, 100)), await ours.be_proposed((50, 50))]
    handles.append(await ours.propose((10, 10)))
    await asyncio.gather(*(handle.pay(1, *rest(handle)) for handle in handles))
    await asyncio.gather(*(node.pay(h.id.hex(), 2, *rest(h)) for h in handles))
    await until(lambda: [handle.version for handle in handles] == [2, 2, 2])
    assert [handle.balance() for handle in handles] == [101, 51, 11]


def rest(handle) -> list[int]:
    """Nothing of the assets beyond the first."""
    return [0] * (len(handle.state.allocation.assets) - 1)


@ways(*WAYS)
async def test_ether_and_a_token_in_one_channel(meet, way):
    node, ours = await meet(way)
    handle = await ours.propose((10, 20), (30, 40))
    await handle.pay(1, 2)
    await node.pay(handle.id.hex(), 5, 7)
    await handle.close()
    await ours.paid_out(14, 35)


@ways(*WAYS)
async def test_a_token_alone(meet, way):
    node, ours = await meet(way)
    await ours.peer()
    opened = await node.propose(ours.wire, [(30, 40)], assets=[TOKEN])
    handle = ours.client.channels[bytes.fromhex(opened["channel"])]
    await handle.opened(60)
    await handle.pay(3)
    await node.finalize(opened["channel"])
    await ours.paid_out(0, 37)


@names
@ways("tcp", "serial", "perunio", "ethereum")
async def test_both_dial_at_once(meet, way, name):
    """Each time one connection is left."""
    node, ours = await meet(way, name=name)
    await node.peer(ours.wire, f"127.0.0.1:{ours.bridge_port}")
    handle = await ours.be_proposed((10, 10))
    await ours.stop_service()
    await ours.start_service()
    await ours.found()
    await node.peer(ours.wire, f"127.0.0.1:{ours.bridge_port}")
    await node.pay(handle.id.hex(), 1, timeout=30)
    await handle.pay(1)
    assert handle.version == 2


@names
@ways("direct", "gen1")
async def test_device_dials_while_the_node_holds_its_old_link(meet, way, name):
    """What the smaller name dials is dropped after the handshake until the node has noticed."""
    node, ours = await meet(way, name=name)
    handle = await ours.propose((10, 10))
    await ours.dial()
    assert await handle.pay(1, 0) == 1
    assert (await node.pay(handle.id.hex(), 5, 0))["version"] == 2
