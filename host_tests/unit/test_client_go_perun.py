"""Peers behind the service's bridge, and directly: what the client makes of them."""

import asyncio

from channels import ALICE, ASSET, BOB, CHAIN_ID, opened, replace
from perun.channel.foreign import ForeignChannel
from perun.client import Client
from perun.client.bridge import Bridge
from perun.client.direct import Direct
from perun.channel import Limits
from perun.link import LinkError
from perun.link.go_perun import signed
from perun.link.memory import pair
from perun.store.memory import MemoryStore
from perun.wire.bridge_messages import Attach, PeerState, Relay
from perun.wire.compact import Compact, Contexts
from perun.wire.control_messages import AuthResponse, Ping, Pong
from perun.wire.messages import (
    ChannelProposalRej,
    ChannelSync,
    ChannelUpdateAcc,
    LedgerChannelProposal,
    LedgerChannelProposalAcc,
)
from perun.wire.protobuf import Protobuf
from support import Random, raises, vector_text

LIMITS = Limits((ASSET,), (1000,), 30, 3600)
CODEC = Compact(Contexts())


def client(generation=2):
    made = Client(
        ALICE, CHAIN_ID, LIMITS, b"\x99" * 20, MemoryStore(), generation, Random(3).bytes
    )
    made.errors = []
    made.on_error = made.errors.append
    return made


class Session:
    """What the bridge needs of a session with the service."""

    def __init__(self):
        self.asked = []
        self.relayed = []

    async def request(self, kind, *fields):
        self.asked.append((kind, fields))

    async def tell(self, message):
        # As it goes over the wire.
        self.relayed.append(CODEC.decode(CODEC.encode(message)))


async def soon(ready):
    for _ in range(1000):
        if ready():
            return
        await asyncio.sleep(0.002)
    raise AssertionError("it did not happen")


def run(coroutine):
    asyncio.run(asyncio.wait_for(coroutine, 30))


async def bridged(name="node"):
    made = client()
    states = []
    made.bridge = Bridge(made, name, lambda *state: states.append(state))
    session = Session()
    await made.bridge.begin(session)
    assert session.asked == [(Attach, (name,))]
    await made.bridge.receive(PeerState("node", True, ""))
    await soon(lambda: states)
    return made, session, states


def test_a_proposal_goes_through_the_session():
    async def main():
        made, session, states = await bridged()
        assert states == [("node", True, "")]
        peer = made.foreign("node")
        assert peer.connected
        task = asyncio.create_task(made.propose(peer, ((100, 50),), 60))
        await soon(lambda: session.relayed)
        relay = session.relayed.pop(0)
        proposal = CODEC.decode(relay.body)
        assert relay.peer == "node" and proposal.peers == (ALICE.address, b"node")
        acc = LedgerChannelProposalAcc(proposal.proposal_id, b"\x22" * 32, BOB.address)
        await made.bridge.receive(Relay("node", CODEC.encode(acc)))
        await soon(lambda: session.relayed)
        # The service does not know the channel yet: it is named in full.
        first = CODEC.decode(session.relayed.pop(0).body)
        assert type(first) is ChannelUpdateAcc and first.channel_id in made.channels
        state = made.channels[first.channel_id].state
        sig = made.chain.sign(BOB, made.chain.state_hash(state))
        answer = Compact(made.contexts).encode(ChannelUpdateAcc(state.id, 0, sig))
        await made.bridge.receive(Relay("node", answer))
        handle = await task
        assert type(handle.machine) is ForeignChannel
        assert made.store.get(b"g" + handle.id) == b"node"
        # The link comes anew: what may be lost is sent again, and nothing is asked.
        await made.bridge.receive(PeerState("node", True, ""))
        await soon(lambda: session.relayed)
        assert CODEC.decode(session.relayed.pop(0).body) == first
        # There is an own update without an answer: later the peer is asked what it has.
        await handle.happened("funded")
        peer.patience = 0.05
        paying = asyncio.create_task(handle.pay(1))
        await soon(lambda: session.relayed)
        update = session.relayed.pop(0)
        await made.bridge.receive(PeerState("node", True, ""))
        await soon(lambda: len(session.relayed) > 1)
        assert session.relayed[0] == update
        body = session.relayed[1].body
        assert type(Compact(made.contexts).decode(body)) is ChannelSync
        paying.cancel()

    run(main())


def test_a_frozen_channel_does_not_cost_the_link():
    async def main():
        made, session, states = await bridged()
        machine = opened(kind=ForeignChannel)[0]
        handle = made.adopt(machine, made.foreign("node"))
        handle.failed = "no room"
        await made.bridge.receive(PeerState("node", True, ""))
        await soon(lambda: any("frozen" in text for text in made.errors))
        assert made.foreign("node").connected

    run(main())


def test_links_come_and_go():
    async def main():
        made, session, states = await bridged()
        peer = made.foreign("node")
        await made.bridge.receive(PeerState("node", True, "not relayed: x"))
        assert peer.connected and made.errors == ["node: not relayed: x"]
        await made.bridge.receive(PeerState("node", False, "it hung up"))
        await soon(lambda: not peer.connected)
        assert states[-1] == ("node", False, "it hung up")
        await made.bridge.receive(PeerState("other", True, ""))
        await asyncio.sleep(0.01)
        assert not made.foreign("other").connected  # nobody asked for it
        await made.bridge.receive(PeerState("node", True, ""))
        await soon(lambda: peer.connected)
        made.bridge.end()
        await soon(lambda: not peer.connected)
        await made.bridge.receive(Relay("node", b"x"))
        try:
            await peer.send(Ping(1))
            raise AssertionError("sent")
        except LinkError:
            pass

    run(main())


def test_a_flood_is_bounded():
    async def main():
        made, session, states = await bridged()
        for _ in range(40):
            await made.bridge.receive(Relay("node", CODEC.encode(Pong(1))))
        lost = [text for text in made.errors if "too many" in text]
        assert len(lost) == 40 - 16
        await made.bridge.receive(Relay("stranger", CODEC.encode(Pong(1))))

    run(main())


def test_all_peers_that_there_are():
    async def main():
        made, session, states = await bridged("")
        for i in range(20):
            await made.bridge.receive(PeerState("n%d" % i, True, ""))
        await asyncio.sleep(0.01)
        assert sum(made.foreign("n%d" % i).connected for i in range(20)) == 7

    run(main())


# -- directly -----------------------------------------------------------------------------------


async def met(dialled):
    """(client, the node's link, its codec) after a handshake of generation 1."""
    made = client(1)
    one, other = pair()
    node = Protobuf(1, b"node", b"car")
    direct = Direct(made, "node", 1, b"car", b"node")
    task = asyncio.create_task(direct.connect(one) if dialled else direct.accept(one))
    if dialled:
        assert node.decode(await other.recv()) == AuthResponse(b"")
        await other.send(node.encode(AuthResponse(b"")))
    else:
        await other.send(node.encode(AuthResponse(b"")))
        assert node.decode(await other.recv()) == AuthResponse(b"")
    await task
    return made, other, node


def test_generation_1_both_ways():
    async def main():
        for dialled in (True, False):
            made, link, node = await met(dialled)
            peer = made.foreign("node")
            assert peer.connected
            task = asyncio.create_task(made.propose(peer, ((100, 50),), 60))
            proposal = node.decode(await link.recv())
            assert type(proposal) is LedgerChannelProposal
            assert proposal.peers == (b"car", b"node")
            await link.send(node.encode(ChannelProposalRej(proposal.proposal_id, "no")))
            try:
                await task
                raise AssertionError("refused")
            except Exception as error:
                assert "no" in str(error)

    run(main())


def test_who_is_not_the_peer():
    async def main():
        for answer in (
            Protobuf(1, b"eve", b"car").encode(AuthResponse(b"")),
            Protobuf(1, b"node", b"bob").encode(AuthResponse(b"")),
            Protobuf(1, b"node", b"car").encode(Ping(1)),
            b"\xff",
        ):
            made = client(1)
            one, other = pair()
            direct = Direct(made, "node", 1, b"car", b"node")
            task = asyncio.create_task(direct.connect(one))
            await other.recv()
            await other.send(answer)
            try:
                await task
                raise AssertionError("accepted")
            except LinkError as error:
                assert "handshake" in str(error)
            assert one.closed and not made.foreign("node").connected

    run(main())


def test_another_sender_after_the_handshake():
    async def main():
        made, link, node = await met(True)
        await link.send(Protobuf(1, b"eve", b"car").encode(Ping(1)))
        await soon(lambda: made.errors)
        assert "somebody else" in made.errors[0] and made.foreign("node").connected
        await link.send(node.encode(Ping(1)))
        assert node.decode(await link.recv()) == Pong(1)

    run(main())


def test_the_generations_must_fit():
    raises(ValueError, Direct, client(2), "node", 1, b"car", b"node")


def test_the_proof_of_generation_2():
    found = {}
    for line in vector_text("gen2_simple_account_rsa.txt").split("\n"):
        words = line.split()
        if len(words) > 1:
            found[words[0]] = words[1]
    address, proof = bytes.fromhex(found["address"]), bytes.fromhex(found["sig"])
    assert signed(address, proof)
    for wrong in (
        b"",
        proof[:-1],
        proof + b"\0",
        bytes(256),
        b"\xff" * 256,
        proof[1:] + proof[:1],
    ):
        assert not signed(address, wrong)
    renamed = address[:2] + b"B" + address[3:]
    for other in (b"", address[:7], address[:-1], address + b"\0", renamed):
        assert not signed(other, proof)
    assert not signed(address[:-4] + b"\0\0\0\1", proof)


def test_generation_2_over_a_link():
    async def main():
        address = b"\0\4node\1\0" + b"\xc7" * 256 + b"\0\1\0\1"
        own = b"\0\3car\1\0" + b"\xc5" * 256 + b"\0\1\0\1"
        made = client(2)
        one, other = pair()
        direct = Direct(made, "node", 2, own, address, b"proof")
        task = asyncio.create_task(direct.connect(one))
        node = Protobuf(2, address, own)
        assert node.decode(await other.recv()) == AuthResponse(b"proof")
        await other.send(node.encode(AuthResponse(b"\1" * 256)))
        try:
            await task
            raise AssertionError("accepted")
        except LinkError as error:
            assert "signature" in str(error)

    run(main())


def test_a_proposal_of_generation_2_has_its_aux():
    codec = Direct(client(2), "node", 2, b"\0\3car", b"\0\4node")._codec
    alice, _ = opened()
    from channels import proposal

    made = replace(proposal(), peers=(b"\0\3car", b"\0\4node"))
    there = Protobuf(2, b"\0\4node", b"\0\3car").decode(codec.encode(made))
    assert there.aux == bytes(256)
