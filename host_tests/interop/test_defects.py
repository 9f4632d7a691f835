"""What go-perun is known to do wrong, shown on the real node, and that nothing of ours depends on
it. A defect that an update of go-perun mends fails its test here."""

import asyncio
import contextlib
from types import SimpleNamespace

import identities
import oracle
import pytest
from goperun.node import NodeError
from perun.client.handle import TimedOut
from perun.link import Link
from perun.wire.frame import TcpDecoder, tcp_frame
from perun.wire.control_messages import AuthResponse
from perun.wire.messages import ChannelUpdate
from scripted import Scripted, eventually
from service.kit import until

SPOILT = ("v01", "high-s", "short", "wrong")


def stranger(chain, ours, identity, folder) -> Scripted:
    """Somebody who knows where the bridge of ours listens for its node."""
    there = SimpleNamespace(port=ours.bridge_port, wire=ours.wire)
    return Scripted(chain, there, identity, folder)


# -- one read for a body --------------------------------------------------------------------------


async def test_a_frame_in_two_pieces_is_lost(new_node, chain, tmp_path):
    node = await new_node()
    device = Scripted(chain, node, identities.Simple("device"), tmp_path)
    await device.dial()
    frame = tcp_frame(device.codec.encode(device.proposal([(1, 1)])))
    await device.link._stream.write(frame[:500])
    await asyncio.sleep(0.3)
    with contextlib.suppress(OSError):  # the node has hung up already
        await device.link._stream.write(frame[500:])
    await device.heard("gone")
    await device.close()


async def test_ours_sends_a_frame_with_one_write():
    written = []

    class Stream:
        async def write(self, data):
            written.append(bytes(data))

    await Link(Stream(), tcp_frame, TcpDecoder(), "test").send(b"x" * 2000)
    assert [len(data) for data in written] == [2002]


# -- signatures that only go-perun takes ----------------------------------------------------------


@pytest.mark.parametrize("how", ["v01", "high-s", "short"])
async def test_go_perun_takes_what_the_contracts_refuse(new_node, chain, tmp_path, how):
    node = await new_node()
    device = Scripted(chain, node, identities.Simple("device"), tmp_path)
    await device.dial()
    machine = await device.propose([(10, 10)])
    await node.told("channel", channel=machine.id.hex())
    state = machine.current.state._replace(version=1)
    good = machine.propose(state)[-1].message
    bad = {
        "v01": good.sig[:64] + bytes([good.sig[64] - 27]),
        "high-s": good.sig[:32]
        + (oracle.ORDER - int.from_bytes(good.sig[32:64])).to_bytes(32)
        + bytes([55 - good.sig[64]]),
        "short": good.sig[:64] + b"\0",
    }[how]
    if how == "short" and good.sig[64] != 27:
        bad = good.sig[:64] + b"\1"
    assert not oracle.verify(device.account.address, b"", bad)
    await device.send(ChannelUpdate(state, 0, bad))
    await node.told("update", version=1)  # signed by both, it thinks, and worth nothing
    await device.close()


@pytest.mark.parametrize("how", SPOILT)
async def test_such_an_answer_is_refused_and_the_right_one_found(meet, how):
    node, ours = await meet()
    handle = await ours.propose((100, 0))
    await node.meddle("ChannelUpdateAcc", how)
    paying = asyncio.create_task(handle.pay(1, 0))
    await node.told("update", version=1)
    await until(lambda: any("signature" in e or "bytes" in e for e in ours.errors))
    assert handle.version == 0 and not paying.done()
    await node.meddle("ChannelUpdateAcc", "")
    await handle.happened("ask")  # what go-perun has stored is the right one
    assert await paying == 1
    await handle.close()
    await ours.paid_out(99)


@pytest.mark.parametrize("how", SPOILT)
async def test_such_an_update_is_refused_and_the_next_one_taken(meet, how):
    node, ours = await meet()
    handle = await ours.be_proposed((100, 100))
    channel = handle.id.hex()
    await node.meddle("ChannelUpdate", how)
    with pytest.raises(NodeError):
        await node.pay(channel, 1, timeout=3)
    assert handle.version == 0
    await node.meddle("ChannelUpdate", "")
    assert (await node.pay(channel, 2))["version"] == 1
    await handle.pay(1)


@pytest.mark.parametrize("how", ["v01", "high-s"])
async def test_such_a_first_signature_opens_no_channel(meet, how):
    node, ours = await meet()
    await node.meddle("ChannelUpdateAcc", how)
    peer = await ours.peer()
    with pytest.raises(TimedOut):
        await ours.client.propose(peer, ((100, 0), (0, 0)), 600, 2)
    (handle,) = ours.client.channels.values()
    assert handle.phase == 1 and ours.wallet() == (0, 0)


# -- answers to other questions, and none ---------------------------------------------------------


async def test_an_answer_to_another_question(meet):
    node, ours = await meet()
    peer = await ours.peer()
    await node.meddle("LedgerChannelProposalAcc", "other")
    with pytest.raises(TimedOut, match="without a word"):
        await ours.client.propose(peer, ((100, 0), (0, 0)), 600, 2)
    await until(lambda: any("no proposal of ours" in error for error in ours.errors))
    await node.meddle("LedgerChannelProposalAcc", "")
    handle = await ours.propose((100, 0))
    await node.meddle("ChannelUpdateAcc", "other")
    paying = asyncio.create_task(handle.pay(1, 0))
    await until(lambda: any("1001" in error for error in ours.errors))
    assert handle.version == 0 and not paying.done()
    await node.meddle("ChannelUpdateAcc", "")
    await handle.happened("ask")
    assert await paying == 1


async def test_a_refusal_of_another_question(meet):
    node, ours = await meet()
    handle = await ours.propose((100, 0))
    await node.policy(updates="no")
    await node.meddle("ChannelUpdateRej", "other")
    paying = asyncio.create_task(handle.pay(1, 0))
    await until(lambda: any("1001" in error for error in ours.errors))
    assert not paying.done()
    await node.meddle("ChannelUpdateRej", "")
    await node.policy(updates="gain")
    await handle.happened("ask")
    assert await paying == 1


async def test_an_invalid_proposal_gets_no_answer(new_node, chain, tmp_path):
    node = await new_node()
    device = Scripted(chain, node, identities.Simple("device"), tmp_path)
    await device.dial()
    await device.send(device.proposal([(1, 1)])._replace(challenge_duration=0))
    await eventually(lambda: "received invalid channel proposal" in node.log())
    assert [e for e in node.events if e["event"] == "proposal"] == []
    assert not device.received
    await device.close()


async def test_a_proposal_without_an_answer_ends(meet):
    node, ours = await meet()
    await node.policy(proposals="ignore")
    with pytest.raises(TimedOut, match="go-perun drops what it does not agree with"):
        await ours.client.propose(await ours.peer(), ((100, 0), (0, 0)), 600, 1)
    assert not ours.client.channels


# -- who is who -----------------------------------------------------------------------------------


async def test_an_address_without_a_key_ends_go_perun(new_node, chain, tmp_path):
    node = await new_node()
    nobody = SimpleNamespace(address=identities.simple_address("nobody"), signature=b"x" * 256)
    device = Scripted(chain, node, nobody, tmp_path)
    await device.connect()
    await device.send(AuthResponse(nobody.signature))
    await eventually(lambda: not node.running)
    assert "nil pointer dereference" in node.log()
    await device.close()


async def test_an_address_without_a_key_is_nobody_to_ours(meet, chain, tmp_path):
    node, ours = await meet(dials=False)
    nobody = SimpleNamespace(address=identities.simple_address("node"), signature=b"x" * 256)
    device = stranger(chain, ours, nobody, tmp_path)
    await device.connect()
    await device.send(AuthResponse(nobody.signature))
    with pytest.raises(OSError):
        await device.link.recv()
    assert (await ours.be_proposed((1, 1))).version == 0
    # What ours shows has a key: no node that listens to it ends.
    assert ours.wire == identities.with_key(ours.wire)


async def test_a_repeated_handshake_is_heard_and_moves_nothing(meet, chain, tmp_path):
    """Whoever has met the node can repeat its handshake: the signature is always the same."""
    node, ours = await meet(dials=False)
    handle = await ours.be_proposed((100, 100))
    channel = handle.id.hex()
    await node.pay(channel, 1)
    victim = Scripted(chain, node, identities.Simple("passer-by"), tmp_path)
    await victim.dial()
    thief = SimpleNamespace(address=node.wire, signature=victim.proof)
    device = stranger(chain, ours, thief, tmp_path)
    await device.connect()
    await device.send(AuthResponse(thief.signature))
    await device.link.recv()  # it is let in
    state = handle.state._replace(version=2, is_final=True)
    sig = ours.client.chain.sign(device.account, ours.client.chain.state_hash(state))
    await device.send(ChannelUpdate(state, 0, sig))
    await until(lambda: any("signature is wrong" in str(told) for told in ours.told))
    await device.link.recv()  # the refusal: else the node would get it
    assert handle.version == 1
    await device.close()
    await victim.close()
    assert (await node.pay(channel, 1, timeout=30))["version"] == 2
    await until(lambda: handle.version == 2)


# -- a hundred blocks -----------------------------------------------------------------------------


async def test_what_happened_more_than_a_hundred_blocks_ago(meet, chain):
    """go-perun looks back a hundred blocks; the service of ours goes on where it was."""
    node, ours = await meet()
    handle = await ours.be_proposed((1000, 0))
    for _ in range(3):
        await node.pay(handle.id.hex(), 100)
    await handle.checkpoint()
    await ours.switch_off()
    await ours.stop_service()
    await node.register(handle.id.hex(), 1)
    chain.node.mine(150)
    await ours.start_service()
    await eventually(lambda: ours.registered(handle) == (3, 0))
    chain.node.pass_time(601)
    await ours.paid_out(300)
