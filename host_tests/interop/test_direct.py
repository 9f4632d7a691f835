"""The engine of lib/perun speaks with a go-perun node itself, on real contracts: generation 2 over
TLS with RSA and the Ethereum backend's addresses; generation 1, plain, as perun-rs speaks it."""

import asyncio

import identities
import pytest
from goperun.node import ETHER, TOKEN, Identity, NodeError
from scripted import Scripted, eventually

IDENTITIES = {
    "simple": lambda: identities.Simple("device"),
    "eth": lambda: identities.Eth(bytes(range(20))),
    "gen1": lambda: identities.Name("device"),
}
kinds = lambda *names: pytest.mark.parametrize("kind", names)


@pytest.fixture
def generation(kind):
    return 1 if kind == "gen1" else 2


@pytest.fixture
async def meet_scripted(new_node, chain, kind, generation, tmp_path):
    """await meet_scripted(): a node and a scripted peer, which dials; dialled=False: the node."""
    met = []

    async def make(dialled=True):
        node = await new_node(identity=Identity("charger", "eth" if kind == "eth" else "simple"))
        device = Scripted(chain, node, IDENTITIES[kind](), tmp_path, generation)
        met.append(device)
        if dialled:
            await device.dial()
        else:
            await node.peer(device.identity.address, await device.listen())
        return node, device

    yield make
    for device in met:
        await device.close()


@kinds(*IDENTITIES)
async def test_the_device_opens_pays_is_paid_and_settles(meet_scripted):
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


@kinds(*IDENTITIES)
async def test_the_node_opens_pays_is_paid_and_settles(meet_scripted):
    node, device = await meet_scripted(dialled=False)
    opening = asyncio.create_task(node.propose(device.identity.address, [(1000, 500)]))
    machine = await device.opened()
    opened = await opening
    assert (opened["channel"], opened["phase"]) == (machine.id.hex(), "Acting")
    await node.pay(opened["channel"], 100)
    await device.pay(machine, 7)
    await node.finalize(opened["channel"])
    await device.heard("closed", 3)
    await node.settle(opened["channel"])
    assert device.withdraw(machine) == [593]
    assert device.holdings(machine) == [[0, 0]]


@kinds("simple", "gen1")
async def test_ether_and_a_token_in_one_channel(meet_scripted):
    node, device = await meet_scripted()
    machine = await device.propose([(10, 20), (30, 40)], assets=device.assets())
    await node.told("channel", channel=machine.id.hex())
    await device.pay(machine, 1, 2)
    await node.pay(machine.id.hex(), 5, 0, final=True)
    await device.heard("closed", 2)
    device.conclude(machine)
    assert device.withdraw(machine) == [14, 28]


@kinds("simple", "gen1")
async def test_both_refuse(meet_scripted):
    node, device = await meet_scripted(dialled=False)
    device.welcome = lambda proposal: "no room"
    with pytest.raises(NodeError, match="no room"):
        await node.propose(device.identity.address, [(10, 10)])
    device.welcome = lambda proposal: None
    channel = (await node.propose(device.identity.address, [(10, 10)]))["channel"]
    device.decide = lambda state: "too expensive"
    with pytest.raises(NodeError, match="too expensive"):
        await node.pay(channel, 1)
    await node.policy(updates="no, thanks", proposals="closed today")
    (machine,) = device.channels.values()
    state = machine.current.state._replace(version=1, is_final=True)
    await device.run(machine, machine.propose(state))
    await device.heard("rejected", "no, thanks")
    await device.send(device.proposal([(1, 1)]))
    await device.heard("proposal refused", "closed today")


@kinds("simple", "gen1")
async def test_the_node_s_watcher_refutes_an_old_state(meet_scripted, chain):
    node, device = await meet_scripted()
    machine = await device.propose([(1000, 0)], duration=60)
    await node.told("channel", channel=machine.id.hex())
    await device.pay(machine, 1)
    old = machine.current
    await device.pay(machine, 1)
    device.register(machine, old)
    await node.told("registered", channel=machine.id.hex(), version=1)
    await eventually(lambda: device.dispute(machine) == (2, 0))
    chain.node.pass_time(61)
    await node.settle(machine.id.hex())
    assert device.dispute(machine) == (2, 2)
    assert device.withdraw(machine) == [998]


@kinds("simple", "gen1")
async def test_the_node_answers_a_sync(meet_scripted):
    node, device = await meet_scripted()
    machine = await device.propose([(10, 10)])
    await node.told("channel", channel=machine.id.hex())
    await device.pay(machine, 1)
    await device.run(machine, machine.ask())
    sync = await device.until(
        lambda: [m for m in device.received if type(m).__name__ == "ChannelSync"]
    )
    assert sync[0].current == machine.current


assert (ETHER, TOKEN) == (0, 1)  # the order of Scripted.assets()
