"""Generation 1, as perun-rs speaks it: the engine of lib/perun and a go-perun node, plain TCP and
nothing in between, on that generation's contracts."""

import asyncio

import identities
import pytest
from chainkit import Chain
from contracts.build import artifact
from contracts.deploy import deploy
from goperun.build import program
from goperun.node import Identity, NodeError
from perun.client.handle import Refused
from scripted import Scripted, eventually

GEN1 = "perun-gen1"


@pytest.fixture(scope="session")
def deployment(built, anvil):
    program(1)
    return deploy(anvil.web3, source=GEN1)


@pytest.fixture
def chain(anvil, deployment):
    before = anvil.snapshot()
    chain = Chain(anvil, deployment)
    for name, contract in (
        ("Adjudicator", "adjudicator"),
        ("AssetHolderETH", "eth_holder"),
        ("AssetHolderERC20", "erc20_holder"),
    ):
        address = getattr(deployment, contract)
        abi = artifact(name, GEN1)["abi"]
        setattr(chain, contract, anvil.web3.eth.contract(address=address, abi=abi))
    yield chain
    anvil.revert(before)


@pytest.fixture
async def meet_scripted(new_node, chain, tmp_path):
    met = []

    async def make(name="Bob", dialled=True):
        node = await new_node(identity=Identity("Alice"), generation=1)
        device = Scripted(chain, node, identities.Name(name), tmp_path, generation=1)
        met.append(device)
        if dialled:
            await device.dial()
        else:
            await node.peer(device.identity.address, await device.listen())
        return node, device

    yield make
    for device in met:
        await device.close()


async def test_device_proposes_both_pay_device_ends(meet_scripted):
    node, device = await meet_scripted()
    machine = await device.propose([(1000, 500)])
    channel = machine.id.hex()
    await node.told("channel", channel=channel)
    await device.pay(machine, 100)
    assert (await node.pay(channel, 30))["balances"] == [["930", "570"]]
    await device.until(lambda: machine.current.state.version == 2)
    await device.finalize(machine)
    device.conclude(machine)
    assert device.withdraw(machine) == [930]
    await node.settle(channel)
    assert device.holdings(machine) == [[0, 0]]


async def test_node_proposes_both_pay_node_ends(meet_scripted):
    node, device = await meet_scripted(dialled=False)
    opening = asyncio.create_task(node.propose(device.identity.address, [(1000, 500)]))
    machine = await device.opened()
    channel = (await opening)["channel"]
    assert channel == machine.id.hex()
    await node.pay(channel, 100)
    await device.pay(machine, 7)
    await node.finalize(channel)
    await device.heard("closed", 3)
    await node.settle(channel)
    assert device.withdraw(machine) == [593]


async def test_both_refuse(meet_scripted):
    node, device = await meet_scripted(dialled=False)
    device.welcome = lambda proposal: "no room"
    with pytest.raises(NodeError, match="no room"):
        await node.propose(device.identity.address, [(10, 10)])
    device.welcome = lambda proposal: None
    channel = (await node.propose(device.identity.address, [(10, 10)]))["channel"]
    device.decide = lambda state: "too little"
    with pytest.raises(NodeError, match="too little"):
        await node.pay(channel, 1)
    await node.policy(updates="no, thanks", proposals="closed")
    (machine,) = device.channels.values()
    state = machine.current.state._replace(version=1, is_final=True)
    await device.run(machine, machine.propose(state))
    await device.heard("rejected", "no, thanks")
    await device.send(device.proposal([(1, 1)]))
    await device.heard("proposal refused", "closed")


async def test_ether_and_a_token_in_one_channel(meet_scripted):
    node, device = await meet_scripted()
    machine = await device.propose([(10, 20), (30, 40)], assets=device.assets())
    await node.told("channel", channel=machine.id.hex())
    await device.pay(machine, 1, 2)
    await node.pay(machine.id.hex(), 5, 0, final=True)
    await device.heard("closed", 2)
    device.conclude(machine)
    assert device.withdraw(machine) == [14, 28]


async def test_the_node_s_watcher_refutes_and_disputes(meet_scripted, chain, time_passes):
    node, device = await meet_scripted()
    machine = await device.propose([(1000, 0)], duration=60)
    await node.told("channel", channel=machine.id.hex())
    await device.pay(machine, 1)
    old = machine.current
    await device.pay(machine, 1)
    device.register(machine, old)
    await eventually(lambda: device.dispute(machine) == (2, 0))
    chain.node.pass_time(61)
    await node.settle(machine.id.hex())
    assert device.dispute(machine) == (2, 2)
    assert device.withdraw(machine) == [998]


async def test_a_sync_is_answered(meet_scripted):
    node, device = await meet_scripted()
    machine = await device.propose([(10, 10)])
    await node.told("channel", channel=machine.id.hex())
    await device.pay(machine, 1)
    await device.run(machine, machine.ask())
    sync = await device.until(
        lambda: [m for m in device.received if type(m).__name__ == "ChannelSync"]
    )
    assert sync[0].current == machine.current


# -- a device with its service --------------------------------------------------------------------


async def test_a_device_dials_proposes_and_is_paid_out(meet):
    node, ours = await meet("gen1")
    handle = await ours.propose((1000, 500))
    channel = handle.id.hex()
    await handle.pay(100, 0)
    await node.pay(channel, 30, 0)
    await ours.hears(handle, "updated", 2)
    await handle.close()
    await ours.paid_out(930)
    await node.settle(channel)


async def test_a_node_dials_proposes_and_both_refuse(meet):
    node, ours = await meet("gen1", dials=False)
    ours.client.on_proposal = lambda proposal: "no room"
    with pytest.raises(NodeError, match="no room"):
        await ours.be_proposed((1, 1))
    ours.client.on_proposal = lambda proposal: None
    handle = await ours.be_proposed((1000, 500))
    ours.client.on_update = lambda channel, state: "too little"
    with pytest.raises(NodeError, match="too little"):
        await node.pay(handle.id.hex(), 1)
    ours.client.on_update = lambda channel, state: None
    await node.pay(handle.id.hex(), 100)
    await node.policy(updates="not now")
    with pytest.raises(Refused, match="not now"):
        await handle.pay(7)
    await node.policy(updates="gain")
    assert await handle.pay(7) == 2
    await node.finalize(handle.id.hex())
    await ours.paid_out(593)


async def test_the_service_refutes_an_old_state_of_the_node(meet, chain):
    node, ours = await meet("gen1")
    handle = await ours.be_proposed((1000, 0))
    for _ in range(3):
        await node.pay(handle.id.hex(), 100)
    await handle.checkpoint()
    await ours.switch_off()
    await node.register(handle.id.hex(), 1)
    await eventually(lambda: ours.registered(handle) == (3, 0))
    chain.node.pass_time(601)
    await ours.paid_out(300)


@pytest.mark.parametrize("name", ["aaa", "zzz"])
async def test_a_device_loses_its_power_and_returns(meet, name):
    """Smaller and larger than the node's name: the smaller one is dropped after its handshake as
    long as the node holds on to the old connection."""
    node, ours = await meet("gen1", name=name)
    first = await ours.propose((100, 100))
    await first.pay(1, 0)
    await ours.switch_off()
    await ours.switch_on()
    await ours.peer()
    (handle,) = ours.client.channels.values()
    assert await handle.pay(1, 0) == 2
    assert (await node.pay(handle.id.hex(), 5, 0))["version"] == 3
