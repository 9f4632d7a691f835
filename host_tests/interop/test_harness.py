"""go-perun against go-perun: what the harness drives is what the tests believe it is."""

import asyncio

import pytest
from goperun.node import ETHER, TOKEN, Identity, Node, NodeError

ALICE, BOB = Identity("alice"), Identity("bob")


async def acquainted(new_node, **options) -> tuple[Node, Node]:
    alice = await new_node(identity=ALICE, **options)
    bob = await new_node(identity=BOB, **options)
    await alice.peer(bob.wire, bob.at)
    await bob.peer(alice.wire, alice.at)
    return alice, bob


@pytest.mark.parametrize("serializer", ["protobuf", "perunio"])
async def test_a_channel_from_its_opening_to_the_money(new_node, chain, serializer):
    alice, bob = await acquainted(new_node, serializer=serializer, validate=True)
    before = chain.web3.eth.get_balance(bob.account)
    opened = await alice.propose(bob.wire, [(1000, 500)])
    channel = opened["channel"]
    assert (opened["version"], opened["phase"], opened["index"]) == (0, "Acting", 0)
    await bob.told("channel", channel=channel)
    assert (await alice.pay(channel, 100))["version"] == 1
    assert (await bob.pay(channel, 30))["balances"] == [["930", "570"]]
    with pytest.raises(NodeError, match="poorer"):
        await alice.update(channel, [(1500, 0)])
    assert (await bob.finalize(channel))["phase"] == "Final"
    await asyncio.gather(alice.settle(channel), bob.settle(channel))
    assert (await bob.channels())[0]["phase"] == "Withdrawn"
    assert chain.web3.eth.get_balance(chain.place.eth_holder) == 0
    assert before > chain.web3.eth.get_balance(bob.account) > before - 10**17  # gas


async def test_two_assets_and_an_agreement_about_who_deposits(new_node, chain):
    alice, bob = await acquainted(new_node)
    opened = await alice.propose(
        bob.wire, [(10, 20), (30, 40)], assets=(ETHER, TOKEN), agreement=[(30, 0), (30, 40)]
    )
    assert chain.web3.eth.get_balance(chain.place.eth_holder) == 30
    assert chain.token.functions.balanceOf(chain.place.erc20_holder).call() == 70
    await bob.told("channel", channel=opened["channel"])
    paid = await bob.pay(opened["channel"], 5, 0, final=True)
    assert paid["balances"] == [["15", "15"], ["30", "40"]]
    await alice.settle(opened["channel"])
    await bob.settle(opened["channel"])
    assert chain.token.functions.balanceOf(chain.place.erc20_holder).call() == 0


async def test_a_watcher_refutes_an_old_state_and_the_newest_counts(new_node, chain):
    alice, bob = await acquainted(new_node)
    channel = (await alice.propose(bob.wire, [(1000, 0)], duration=60))["channel"]
    await bob.told("channel", channel=channel)
    for _ in range(3):
        await alice.pay(channel, 100)
    await alice.register(channel, 1)
    refuted = await bob.told("registered", channel=channel)
    chain.node.pass_time(61)
    await bob.settle(channel)
    dispute = chain.adjudicator.functions.disputes(bytes.fromhex(channel)).call()
    assert (refuted["version"], dispute[2], dispute[3]) == (1, 3, 2)


async def test_refusals_silence_and_strange_answers_come_back_as_errors(new_node):
    alice, bob = await acquainted(new_node)
    await bob.policy(proposals="not today")
    with pytest.raises(NodeError, match="not today"):
        await alice.propose(bob.wire, [(1, 1)])
    await bob.policy(proposals="accept", updates="no")
    channel = (await alice.propose(bob.wire, [(1, 1)]))["channel"]
    await bob.told("channel", channel=channel)
    with pytest.raises(NodeError, match="no"):
        await alice.pay(channel, 1)
    await bob.policy(updates="accept")
    await bob.meddle("ChannelUpdateAcc", "wrong")
    with pytest.raises(NodeError, match="signature"):
        await alice.pay(channel, 1)
    with pytest.raises(NodeError, match="no such command"):
        await alice.command("dance")


async def test_a_node_that_was_killed_comes_back_with_its_channels(new_node):
    alice, bob = await acquainted(new_node, persistent=True)
    channel = (await alice.propose(bob.wire, [(1000, 0)]))["channel"]
    await bob.told("channel", channel=channel)
    await alice.pay(channel, 1)
    await bob.told("update", version=1)
    wire, port = bob.wire, bob.port
    await bob.kill()
    await bob.start()
    assert (bob.wire, bob.port) == (wire, port)
    assert [one["version"] for one in bob.restored] == [1]
    await bob.peer(alice.wire, alice.at)
    assert (await bob.pay(channel, 1))["version"] == 2
