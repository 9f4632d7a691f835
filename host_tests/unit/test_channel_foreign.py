"""A channel with a go-perun peer: its rules for versions, and never two states with one."""

import asyncio

from channels import ALICE, ASSET, BOB, CHAIN_ID, deliver, opened, machines, replace, sent
from perun.chain.ethereum import Ethereum
from perun.channel import (
    ACTING,
    CROSSING,
    DOUBT_PEER,
    DOUBT_SERVICE,
    EQUIVOCATION,
    FINAL,
    SIGNING,
    VIOLATION,
    Limits,
    ProtocolError,
    Tell,
)
from perun.channel.foreign import ForeignChannel
from perun.client import Client
from perun.client.handle import Refused
from perun.client.keeping import load_channel
from perun.client.records import dump_channel
from perun.link.memory import pair
from perun.model import Transaction, transfer, with_balances
from perun.model.rules import RuleError
from perun.store.memory import MemoryStore
from perun.wire.messages import (
    ChannelSync,
    ChannelUpdate,
    ChannelUpdateAcc,
    ChannelUpdateRej,
    LedgerChannelProposal,
    LedgerChannelProposalAcc,
)
from perun.wire.protobuf import Protobuf
from support import Random, raises

CHAIN = Ethereum()
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def channel(balances=((100, 50),)):
    """Alice's funded channel with Bob, who is go-perun's."""
    return opened(balances, kind=ForeignChannel)[0]


def by(account, index, state):
    return ChannelUpdate(state, index, CHAIN.sign(account, CHAIN.state_hash(state)))


def offer(machine, amount, version=None):
    """Bob pays `amount`."""
    return by(BOB, 1, transfer(machine.current.state, 1, (amount,), version))


def answer(state):
    return ChannelUpdateAcc(state.id, state.version, by(BOB, 1, state).sig)


def told(effects):
    return [effect.kind for effect in effects if type(effect) is Tell]


def refusal(effects):
    """The reason of the only answer."""
    (message,) = [m for m in sent(effects) if type(m) is not ChannelSync]
    assert type(message) is ChannelUpdateRej, message
    return message.reason


def test_a_refused_update_keeps_its_version():
    alice = channel()
    first = transfer(alice.current.state, 0, (10,), alice.next_version)
    (update,) = sent(alice.propose(first))
    alice.receive(ChannelUpdateRej(alice.id, 1, "too little"))
    assert alice.phase == ACTING and alice.next_version == 1
    other = transfer(alice.current.state, 0, (20,), alice.next_version)
    assert "refused" in str(raises(RuleError, alice.propose, other))
    end = with_balances(alice.current.state, alice.current.state.allocation.balances, True)
    raises(RuleError, alice.propose, end)
    assert sent(alice.propose(first)) == [update]
    alice.receive(answer(first))
    assert alice.current.state == first and alice.phase == ACTING
    alice.propose(transfer(first, 0, (1,), alice.next_version))
    assert alice.staged.state.version == 2


def test_an_answer_after_the_refusal_counts():
    alice = channel()
    state = transfer(alice.current.state, 0, (10,))
    alice.propose(state)
    alice.receive(ChannelUpdateRej(alice.id, 1, "no"))
    alice.receive(answer(state))
    assert alice.current.state == state and alice.staged is None


def test_after_a_restart_the_refused_one_is_still_the_only_one():
    alice = channel()
    state = transfer(alice.current.state, 0, (10,))
    alice.propose(state)
    alice.receive(ChannelUpdateRej(alice.id, 1, "no"))
    again = load_channel(dump_channel(alice), CHAIN, ALICE)
    assert type(again) is ForeignChannel
    raises(RuleError, again.propose, transfer(alice.current.state, 0, (11,)))
    assert refusal(again.receive(offer(again, 5))) == "this side's own version comes first"
    assert sent(again.propose(state)) == [alice.staged]


def test_crossing_updates_are_refused_and_the_own_one_stands():
    alice = channel()
    mine = transfer(alice.current.state, 0, (10,))
    alice.propose(mine)
    theirs = offer(alice, 5)
    assert refusal(alice.receive(theirs)) == CROSSING
    assert alice.phase == SIGNING and alice.evidence is None
    alice.receive(answer(mine))  # Bob gave up his, which is what go-perun does
    assert alice.current.state == mine
    later = offer(alice, 5)
    deliver(alice, [later])
    assert alice.current.state == later.state


def test_both_propose_the_same():
    alice = channel()
    state = transfer(alice.current.state, 0, (10,))
    alice.propose(state)
    effects = alice.receive(by(BOB, 1, state))
    assert alice.current.state == state and type(sent(effects)[0]) is ChannelUpdateAcc


def test_another_update_with_a_refused_version():
    alice = channel()
    first = offer(alice, 5)
    effects = deliver(alice, [first], lambda state: "too little")
    assert refusal(effects) == "too little"
    second = offer(alice, 7)
    assert second.state.version == first.state.version
    effects = deliver(alice, [second])
    assert type(sent(effects)[0]) is ChannelUpdateAcc and EQUIVOCATION not in told(effects)
    assert alice.current.state == second.state


def test_the_refused_one_may_come_again():
    alice = channel()
    update = offer(alice, 5)
    deliver(alice, [update], lambda state: "the service is behind: try again later")
    deliver(alice, [update])
    assert alice.current.state == update.state


def test_an_own_update_after_a_refused_one_of_the_peer():
    alice = channel()
    deliver(alice, [offer(alice, 5)], lambda state: "no")
    state = transfer(alice.current.state, 0, (10,), alice.next_version)
    alice.propose(state)
    assert state.version == 1
    alice.receive(answer(state))
    assert alice.current.state == state


def test_a_lost_answer():
    alice = channel()
    update = offer(alice, 5)
    first = sent(deliver(alice, [update]))
    assert sent(deliver(alice, [update])) == first
    twin = offer(alice, 6, 1)
    twin = by(BOB, 1, replace(twin.state, version=1))
    effects = alice.receive(twin)
    assert "signed by both" in refusal(effects) and told(effects) == [VIOLATION]
    assert alice.evidence is None and alice.current.state == update.state
    deliver(alice, [offer(alice, 6)])
    assert alice.current.state.version == 2


def test_what_breaks_a_rule_is_refused_with_a_reason():
    alice = channel()
    state = alice.current.state
    good = offer(alice, 5)
    for update, reason in (
        (offer(alice, 5, 3), "version 3"),
        (by(ALICE, 1, good.state), "signature"),
        (by(BOB, 0, good.state), "actor"),
        (by(BOB, 1, with_balances(state, ((100, 51),))), "total"),
        (by(BOB, 1, replace(good.state, version=0)), "version 0"),
    ):
        before = dump_channel(alice)
        effects = alice.receive(update)
        assert reason in refusal(effects), refusal(effects)
        assert VIOLATION in told(effects) and dump_channel(alice) == before
    deliver(alice, [good])
    assert alice.current.state == good.state


def test_signatures_that_only_go_perun_takes():
    alice = channel()
    update = offer(alice, 5)
    r, s, v = update.sig[:32], update.sig[32:64], update.sig[64]
    high = (ORDER - int.from_bytes(s, "big")).to_bytes(32, "big")
    useless = (
        r + s + bytes((v - 27,)),
        r + high + bytes((55 - v,)),
        r + high + bytes((28 - v,)),
        r + s,
        update.sig + b"\0",
        bytes(65),
    )
    for sig in useless:
        assert "signature" in refusal(alice.receive(replace(update, sig=sig)))
    deliver(alice, [update])
    mine = transfer(alice.current.state, 0, (1,))
    alice.propose(mine)
    acc = answer(mine)
    bad = acc.sig[:64] + bytes((acc.sig[64] - 27,))
    raises(ProtocolError, alice.receive, replace(acc, sig=bad))
    assert alice.current.state == update.state and alice.phase == SIGNING
    alice.receive(acc)
    assert alice.current.state == mine


def test_the_first_signature_has_to_be_strict_as_well():
    alice, bob = machines(kind=ForeignChannel)
    alice.open()
    (acc,) = sent(bob.open())
    bad = acc.sig[:64] + bytes((acc.sig[64] - 27,))
    raises(ProtocolError, alice.receive, replace(acc, sig=bad))
    alice.receive(acc)


def test_the_newest_early_update_counts():
    alice, bob = machines(kind=ForeignChannel)
    deliver(alice, sent(bob.open()))
    first, second = offer(alice, 5), offer(alice, 6)
    assert not alice.receive(first) and not alice.receive(second)
    alice.funded()
    alice.accept()
    assert alice.current.state == second.state


def test_sync_is_answered_once():
    alice = channel()
    shown = ChannelSync(ACTING, alice.current)
    assert sent(alice.ask()) == [shown]
    assert not sent(alice.receive(shown))  # the peer's answer
    assert len(sent(alice.receive(shown))) == 1  # nobody asked here: it may be a question
    assert not sent(alice.receive(shown))


def test_a_peer_that_is_behind_is_not_answered_for_ever():
    alice = channel()
    old = ChannelSync(ACTING, alice.current)
    deliver(alice, [offer(alice, 5)])
    alice.ask()
    (again,) = sent(alice.receive(old))
    assert type(again) is ChannelUpdateAcc and again.version == 1
    answers = [len(sent(alice.receive(old))) for _ in range(6)]
    assert sum(answers) <= 6 + 3


def test_the_peers_newer_state_is_taken_over():
    alice = channel()
    state = transfer(alice.current.state, 0, (10,))
    alice.propose(state)
    own = alice.staged.sig
    alice.ask()
    alice.receive(ChannelSync(ACTING, Transaction(state, (own, answer(state).sig))))
    assert alice.current.state == state and alice.confirmed == 1


def test_what_is_sent_over_a_new_link():
    alice = channel()
    assert not alice.remind()
    update = offer(alice, 5)
    (acc,) = sent(deliver(alice, [update]))
    assert sent(alice.remind()) == [acc]
    own = sent(alice.propose(transfer(alice.current.state, 0, (1,))))
    assert sent(alice.remind()) == own + [acc]
    alice.receive(answer(alice.staged.state))
    assert not alice.remind()  # the peer has signed the newest state itself
    again = load_channel(dump_channel(alice), CHAIN, ALICE)
    again.doubts = DOUBT_PEER
    assert [type(m) for m in sent(again.remind())] == [ChannelUpdateAcc]


def test_restart_hears_the_peer_first():
    alice = channel()
    again = load_channel(dump_channel(alice), CHAIN, ALICE)
    again.doubts = DOUBT_PEER | DOUBT_SERVICE
    raises(RuleError, again.propose, transfer(alice.current.state, 0, (1,)))
    effects = again.receive(offer(again, 5))
    assert "heard first" in refusal(effects)
    assert [type(m) for m in sent(effects)] == [ChannelUpdateRej, ChannelSync]
    again.receive(ChannelSync(ACTING, alice.current))
    again.service_holds()
    deliver(again, [offer(again, 5)])
    assert again.current.state.version == 1


def test_the_end():
    alice = channel()
    end = with_balances(alice.current.state, alice.current.state.allocation.balances, True)
    deliver(alice, [by(BOB, 1, end)])
    assert alice.phase == FINAL
    late = by(BOB, 1, with_balances(end, end.allocation.balances, False))
    assert "not open" in refusal(alice.receive(late))


def test_never_two_states_with_one_version():
    # A peer that does anything, and a machine that is restarted at any time.
    random = Random(7)
    for _ in range(12):
        alice, signed, stored = channel(), {}, None
        for _ in range(40):
            stored = dump_channel(alice)
            state = alice.current.state
            what = random.below(8)
            effects = []
            amount = random.between(1, 3)
            try:
                if what < 2:
                    effects = alice.propose(transfer(state, 0, (amount,), alice.next_version))
                elif what < 4:
                    update = offer(alice, amount, state.version + random.choice((0, 1, 1, 1, 2)))
                    agree = random.below(2)
                    effects = deliver(alice, [update], lambda s: None if agree else "no")
                elif what == 4 and alice.staged:
                    version = alice.staged.state.version
                    effects = alice.receive(ChannelUpdateRej(alice.id, version, "no"))
                elif what == 5 and alice.staged:
                    effects = alice.receive(answer(alice.staged.state))
                elif what == 6:
                    effects = alice.retry()
                elif what == 7:
                    alice = load_channel(stored, CHAIN, ALICE)
            except (RuleError, ValueError):
                assert dump_channel(alice) == stored
            for message in sent(effects):
                if type(message) is ChannelUpdate:
                    given = message.state
                elif type(message) is ChannelUpdateAcc:
                    given = alice.current.state
                else:
                    continue
                assert signed.setdefault(given.version, given) == given
            assert sum(alice.current.state.allocation.balances[0]) == 150


# -- a client with such a peer --------------------------------------------------------------------

LIMITS = Limits((ASSET,), (1000,), 30, 3600)
OURS, THEIRS = b"car", b"node"


class Node:
    """A go-perun node: one channel, which it answers by hand."""

    def __init__(self, link):
        self.link = link
        self.codec = Protobuf(1, THEIRS, OURS)

    async def recv(self, kind):
        while True:
            message = self.codec.decode(await self.link.recv())
            if type(message) is kind:
                return message

    async def send(self, message):
        await self.link.send(self.codec.encode(message))


async def met():
    one, other = pair()
    client = Client(ALICE, CHAIN_ID, LIMITS, b"\x99" * 20, MemoryStore(), 1, Random(3).bytes)
    client.errors = []
    client.on_error = client.errors.append
    peer = client.foreign("node")
    peer.use(OURS, THEIRS, Protobuf(1, OURS, THEIRS))
    await peer.attach(one)
    return client, peer, Node(other)


async def funded(client, peer, node):
    """A channel that the client proposed: its handle."""
    chain = Ethereum(1)
    task = asyncio.create_task(client.propose(peer, ((100, 50),), 60))
    offered = await node.recv(LedgerChannelProposal)
    assert offered.peers == (OURS, THEIRS) and offered.participant == ALICE.address
    await node.send(LedgerChannelProposalAcc(offered.proposal_id, b"\x22" * 32, BOB.address))
    acc = await node.recv(ChannelUpdateAcc)
    state = client.channels[acc.channel_id].state
    sig = chain.sign(BOB, chain.state_hash(state))
    await node.send(ChannelUpdateAcc(acc.channel_id, 0, sig))
    handle = await task
    await handle.happened("funded")
    return handle


def run(coroutine):
    asyncio.run(asyncio.wait_for(coroutine, 60))


def test_a_client_opens_and_pays_over_protobuf():
    async def main():
        client, peer, node = await met()
        handle = await funded(client, peer, node)
        chain = Ethereum(1)
        paying = asyncio.create_task(handle.pay(10))
        update = await node.recv(ChannelUpdate)
        assert chain.verify(ALICE.address, chain.state_hash(update.state), update.sig)
        await node.send(ChannelUpdateRej(handle.id, 1, "no"))
        try:
            await paying
            raise AssertionError("refused")
        except Refused as error:
            assert "no" in str(error)
        again = asyncio.create_task(handle.pay(10))
        assert await node.recv(ChannelUpdate) == update
        sig = chain.sign(BOB, chain.state_hash(update.state))
        await node.send(ChannelUpdateAcc(handle.id, 1, sig))
        assert await again == 1
        restored = Client(ALICE, CHAIN_ID, LIMITS, b"\x99" * 20, client.store, 1)
        (back,) = restored.restore()
        assert type(back.machine) is ForeignChannel and back.peer is restored.foreign("node")
        restored.forget(back)
        assert [key[:1] for key in client.store.keys()] == [b"s"]

    run(main())


def test_a_peer_proposes():
    async def main():
        client, peer, node = await met()
        client.on_proposal = lambda proposal: None
        from perun.channel.opening import propose
        from perun.model import Allocation

        allocation = Allocation((ASSET,), ((100, 50),), ())
        made = propose(b"\xaa" * 32, b"\x11" * 32, 60, allocation, BOB.address, (THEIRS, OURS))
        await node.send(replace(made, peers=(OURS, THEIRS)))
        for _ in range(200):
            if client.errors:
                break
            await asyncio.sleep(0.005)
        assert "somebody else" in client.errors[0] and not client.channels
        await node.send(made)
        acc = await node.recv(LedgerChannelProposalAcc)
        assert acc.participant == ALICE.address
        first = await node.recv(ChannelUpdateAcc)
        assert first.version == 0 and list(client.channels) == [first.channel_id]

    run(main())
