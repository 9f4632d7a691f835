"""Two clients over links in memory. What a chain would do is told to them by the tests."""

import asyncio

from channels import ALICE, ASSET, BOB, CHAIN_ID, TOKEN, replace
from perun.chain.account import Account
from perun.channel import (
    ACTING,
    DOUBT_PEER,
    DOUBT_SERVICE,
    FINAL,
    REGISTERED,
    SIGNING,
    WITHDRAWN,
    ProtocolError,
)
from perun.channel import Limits
from perun.client import Client
from perun.client.handle import ClientError, Refused
from perun.link import LinkError
from perun.link.memory import pair
from perun.model import transfer
from perun.store import StoreError
from perun.store.memory import MemoryStore
from perun.wire.service_messages import Receipt, receipt_transcript
from perun.wire.control_messages import Ping
from perun.wire.messages import ChannelUpdateRej, LedgerChannelProposal
from support import Random

LIMITS = Limits((ASSET,), (1000,), 30, 3600)
RECEIVER = b"\x99" * 20
SERVICE = Account(b"\x03" * 32)


def client(account, limits=LIMITS, seed=1, store=None, chain_id=CHAIN_ID):
    made = Client(
        account, chain_id, limits, RECEIVER, store or MemoryStore(), random=Random(seed).bytes
    )
    made.events = []
    made.errors = []
    made.on_event = lambda channel, kind, detail: made.events.append((kind, detail))
    made.on_error = made.errors.append
    made.on_proposal = lambda proposal: None
    return made


async def connect(alice, bob):
    one, other = pair()
    accepting = asyncio.create_task(bob.accept(other))
    peer = await alice.connect(one, bob.account.address)
    await accepting
    return peer


async def soon(ready):
    for _ in range(2000):
        if ready():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not happen")


async def channel(alice, bob, deposits=((100, 50),)):
    """A funded channel: both handles."""
    peer = await connect(alice, bob)
    mine = await alice.propose(peer, deposits, 60)
    await soon(lambda: mine.id in bob.channels and bob.channels[mine.id].phase == 2)
    theirs = bob.channels[mine.id]
    for handle in (mine, theirs):
        await handle.happened("funded")
    return mine, theirs


def run(coroutine):
    asyncio.run(asyncio.wait_for(coroutine, 60))


def test_open_pay_close():
    async def main():
        alice, bob = client(ALICE), client(BOB, seed=2)
        mine, theirs = await channel(alice, bob)
        await mine.opened()
        assert await mine.pay(10) == 1
        assert await mine.pay(20) == 2
        assert (mine.balance(), theirs.balance()) == (70, 80)
        assert await theirs.pay(5) == 3
        assert mine.machine.current == theirs.machine.current
        await mine.close()
        assert mine.phase == theirs.phase == FINAL
        await mine.close()  # twice is no harm
        for handle in (mine, theirs):
            await handle.happened("concluded", 4)
            await handle.happened("withdrawn")
            await handle.settled()
            assert handle.phase == WITHDRAWN
        kinds = [kind for kind, _ in bob.events]
        assert kinds == ["signed", "open"] + 3 * ["updated"] + ["closed", "concluded", "withdrawn"]
        bob.forget(theirs)
        assert not bob.channels and len(bob.store.keys()) == 1
        assert bob.settled()[0].current == theirs.machine.current
        assert not alice.errors and not bob.errors

    run(main())


def test_the_states_of_the_last_settled_channels_are_kept():
    async def main():
        alice, bob = client(ALICE), client(BOB, seed=2)
        ids = []
        for _ in range(6):
            mine, theirs = await channel(alice, bob, ((1, 0),))
            await mine.pay(1)
            await theirs.happened("withdrawn")
            bob.forget(theirs)
            ids.append(theirs.id)
        found = bob.settled()
        assert [machine.id for machine in found] == ids[2:]
        assert all(machine.current.state.version == 1 for machine in found)
        assert not client(BOB, store=bob.store).restore()

    run(main())


def test_several_channels_at_once():
    async def main():
        alice, bob = client(ALICE), client(BOB, seed=2)
        pairs = []
        for _ in range(3):
            pairs.append(await channel(alice, bob))
        await asyncio.gather(*[mine.pay(i + 1) for i, (mine, _) in enumerate(pairs)])
        assert [theirs.balance() for _, theirs in pairs] == [51, 52, 53]

    run(main())


def test_both_pay_at_the_same_time():
    async def main():
        mine, theirs = await channel(client(ALICE), client(BOB, seed=2))
        for _ in range(2):
            await asyncio.gather(mine.pay(7), theirs.pay(3))
        assert mine.machine.current == theirs.machine.current
        assert (mine.balance(), theirs.balance()) == (92, 58)

    run(main())


def test_who_crosses_takes_turns():
    """Round after round both pay at the same moment: a version is burnt at most, and both follow.
    Without pauses nobody starves; host_tests/protocol/test_crossing.py has delays and links."""

    async def many(handle):
        versions = []
        for _ in range(10):
            versions.append(await handle.pay(1))
        return versions

    async def main():
        mine, theirs = await channel(client(ALICE), client(BOB, seed=2))
        for count in range(1, 6):
            await asyncio.gather(mine.pay(3), theirs.pay(1))
            assert mine.version == theirs.version <= 3 * count
        versions = await asyncio.gather(many(mine), many(theirs))
        assert max(versions[0] + versions[1]) <= 15 + 30
        for own in versions:
            assert max(after - before for before, after in zip(own, own[1:])) <= 4
        assert mine.machine.current == theirs.machine.current
        assert (mine.balance(), theirs.balance()) == (90, 60)

    run(main())


def test_the_end_comes_before_a_payment():
    async def main(payer):
        mine, theirs = handles = await channel(client(ALICE), client(BOB, seed=2))
        paying = asyncio.create_task(handles[payer].pay(7))
        await asyncio.gather(fails(paying, ValueError, "not open"), handles[1 - payer].close())
        assert mine.machine.current == theirs.machine.current
        assert (mine.balance(), theirs.balance()) == (100, 50)

    for payer in (0, 1):
        run(main(payer))


def test_both_close_at_the_same_time():
    """One of them has burnt more versions than the other knows of."""

    async def main():
        mine, theirs = await channel(client(ALICE), client(BOB, seed=2))
        theirs.machine.burnt = 3
        await asyncio.gather(mine.close(), theirs.close())
        assert mine.phase == theirs.phase == FINAL
        assert mine.machine.current == theirs.machine.current

    run(main())


def test_what_the_peer_owes_comes_before_a_payment():
    """Over a new link the peer sends the end that was not answered: nothing crosses it."""

    async def main():
        alice, bob = client(ALICE), client(BOB, seed=2)
        mine, theirs = await channel(alice, bob)
        mine.peer.close()
        await soon(lambda: not theirs.peer.connected)
        closing = asyncio.create_task(theirs.close())
        await soon(lambda: theirs.phase == SIGNING)
        again = client(ALICE, seed=4, store=alice.store)
        restored = again.restore(DOUBT_PEER)[0]
        await connect(again, bob)
        await soon(lambda: not restored.machine.doubts)
        await fails(restored.pay(1), ValueError, "not open")
        await closing
        assert restored.phase == theirs.phase == FINAL and theirs.version == 1

    run(main())


def test_payments_at_the_same_time_are_queued():
    async def main():
        mine, theirs = await channel(client(ALICE), client(BOB, seed=2))
        versions = await asyncio.gather(mine.pay(1), mine.pay(2), mine.pay(3))
        assert sorted(versions) == [1, 2, 3] and theirs.balance() == 56

    run(main())


def test_the_application_refuses():
    async def main():
        alice, bob = client(ALICE), client(BOB, seed=2)
        bob.on_proposal = lambda proposal: "closed on Sundays"
        peer = await connect(alice, bob)
        await fails(alice.propose(peer, ((100, 50),), 60), Refused, "Sundays")
        bob.on_proposal = lambda proposal: None
        mine, theirs = await channel(alice, bob)
        bob.on_update = lambda handle, state: "too little"
        await fails(mine.pay(1), Refused, "too little")
        bob.on_update = lambda handle, state: None
        assert await mine.pay(2) == 2  # version 1 is burnt
        assert theirs.balance() == 52

    run(main())


def test_nothing_is_taken_by_default():
    async def main():
        alice, bob = client(ALICE), client(BOB, seed=2)
        mine, theirs = await channel(alice, bob)
        state = transfer(mine.state, 1, (1,))  # Alice asks for Bob's money
        await mine.happened("propose", state)
        await soon(lambda: alice.events[-1][0] == "rejected")
        assert theirs.version == 0

    run(main())


def test_a_failing_application_refuses():
    async def main():
        alice, bob = client(ALICE), client(BOB, seed=2)
        mine, _ = await channel(alice, bob)
        bob.on_update = lambda handle, state: 1 // 0
        await fails(mine.pay(1), Refused, "internal error")
        assert "on_update" in bob.errors[-1]

    run(main())


def test_a_failing_listener_stops_nothing():
    async def main():
        alice, bob = client(ALICE), client(BOB, seed=2)
        mine, theirs = await channel(alice, bob)
        bob.on_event = lambda handle, kind, detail: 1 // 0
        assert await mine.pay(1) == 1 and await mine.pay(1) == 2
        assert "on_event" in bob.errors[-1]

    run(main())


def test_no_more_than_allowed_is_earned_unwatched():
    async def main():
        alice, bob = client(ALICE), client(BOB, seed=2)
        mine, theirs = await channel(alice, bob)
        bob.max_unwatched = (10,)
        await mine.pay(6)
        await fails(mine.pay(5), Refused, "service is behind")
        theirs.is_watched(theirs.state)
        await mine.pay(5)
        assert theirs.balance() == 61 and theirs.watched == 1

    run(main())


async def fails(coroutine, exception, text):
    try:
        await coroutine
    except exception as error:
        assert text in str(error), error
        return
    raise AssertionError("no " + exception.__name__)


def test_own_proposals_are_within_the_limits():
    async def main():
        alice, bob = client(ALICE), client(BOB, seed=2)
        peer = await connect(alice, bob)
        await fails(alice.propose(peer, ((1001, 0),), 60), ProtocolError, "limit")
        await fails(alice.propose(peer, ((1, 0),), 5), ProtocolError, "challenge duration")
        await fails(alice.propose(peer, ((1, -1),), 60), ProtocolError, "negative")
        # The peer's limits count for the peer.
        bob.limits = Limits((TOKEN,), (1000,), 30, 3600)
        await fails(alice.propose(peer, ((1, 0),), 60), Refused, "not on the list")
        assert not alice.channels and not bob.channels

    run(main())


def test_handshakes_that_fail():
    async def main():
        alice = client(ALICE)
        for other, expect, text in (
            (client(BOB, seed=2), b"\x07" * 20, "another address"),
            (client(BOB, seed=2, chain_id=1), None, "chain"),
            (client(ALICE, seed=3), None, "own Hello"),
        ):
            one, two = pair()
            accepting = asyncio.create_task(other.accept(two))
            await fails(alice.connect(one, expect), LinkError, text)
            await accepting
            assert other.errors

    run(main())


def test_nonsense_on_the_link():
    async def main():
        alice, bob = client(ALICE), client(BOB, seed=2)
        mine, theirs = await channel(alice, bob)
        link = mine.peer._link
        for body in (b"\x00", b"\xff" * 100, b"\x93\x0f", b"\x90"):
            await link.send(body)
        await mine.peer.send(Ping(7))
        await mine.peer.send(ChannelUpdateRej(mine.id, 9, "no"))
        other = replace(mine.machine.current.state, id=b"\x31" * 32)
        await mine.peer.send(ChannelUpdateRej(other.id, 1, "of an unknown channel"))
        assert await mine.pay(1) == 1  # the process lives, nothing changed
        assert len(bob.errors) >= 5

    run(main())


def test_an_endless_stream_of_nonsense_ends_the_link():
    async def main():
        alice, bob = client(ALICE), client(BOB, seed=2)
        mine, theirs = await channel(alice, bob)
        link = mine.peer._link
        try:
            for _ in range(100):
                await link.send(b"\xc1")
                await asyncio.sleep(0)
        except LinkError:
            pass
        await soon(lambda: not theirs.peer.connected)
        await connect(alice, bob)
        assert await mine.pay(1) == 1

    run(main())


def test_a_lost_link_loses_nothing():
    async def main():
        alice, bob = client(ALICE), client(BOB, seed=2)
        mine, theirs = await channel(alice, bob)
        mine.peer.close()
        theirs.peer.close()
        await soon(lambda: not mine.peer.connected)
        paying = asyncio.create_task(mine.pay(10))
        await soon(lambda: mine.phase == SIGNING)
        await connect(alice, bob)
        await paying
        assert theirs.balance() == 60

    run(main())


def test_a_lost_answer_comes_again():
    async def main():
        alice, bob = client(ALICE), client(BOB, seed=2)
        mine, theirs = await channel(alice, bob)
        send = theirs.peer.send

        async def lose(message):
            raise LinkError("cut")

        theirs.peer.send = lose
        paying = asyncio.create_task(mine.pay(10))
        await soon(lambda: theirs.version == 1)
        theirs.peer.send = send
        assert mine.version == 0
        await connect(alice, bob)
        await paying
        assert mine.machine.current == theirs.machine.current

    run(main())


def test_restart_from_the_store():
    async def main():
        alice, bob = client(ALICE), client(BOB, seed=2)
        mine, theirs = await channel(alice, bob)
        await mine.pay(10)
        again = client(BOB, seed=4, store=bob.store)
        restored = again.restore(DOUBT_PEER)[0]
        assert restored.machine.current == mine.machine.current
        await fails(restored.pay(1), ValueError, "heard first")
        await connect(alice, again)
        await mine.pay(10)
        assert restored.balance() == 70 and restored.phase == ACTING

    run(main())


def test_a_payment_is_made_up_for_when_the_doubts_end():
    """It arrives while the service is not heard yet. Nobody waits for a timeout afterwards."""

    async def main():
        alice, bob = client(ALICE), client(BOB, seed=2)
        mine, theirs = await channel(alice, bob)
        theirs.peer.close()
        await soon(lambda: not mine.peer.connected)
        paying = asyncio.create_task(mine.pay(10))
        await soon(lambda: mine.phase == SIGNING)
        again = client(BOB, seed=4, store=bob.store)
        restored = again.restore()[0]
        await connect(alice, again)
        await soon(lambda: restored.machine.doubts == DOUBT_SERVICE and len(again.errors) > 0)
        assert "heard first" in again.errors[-1] and restored.version == 0
        await restored.happened("service_holds")
        await asyncio.wait_for(paying, 5)  # the peer has ten seconds before it is asked again
        assert restored.machine.current == mine.machine.current and restored.balance() == 60

    run(main())


def test_receipts_outlive_a_restart():
    async def main():
        alice, bob = client(ALICE), client(BOB, seed=2)
        _, theirs = await channel(alice, bob)
        receipt = Receipt(7, theirs.id, 0, b"\x44" * 32, b"\x31" * 65)
        theirs.is_watched(theirs.state, receipt, True)
        theirs.is_watched(theirs.state, replace_request(receipt, 8))
        assert theirs.receipt.request == 8
        again = client(BOB, seed=4, store=bob.store)
        assert again.restore()[0].receipt == receipt
        again.forget(again.channels[theirs.id])
        assert not [key for key in bob.store.keys() if key[:1] == b"r"]

    run(main())


class Counting(MemoryStore):
    """Counts what is written, by the kind of key."""

    def __init__(self):
        super().__init__()
        self.puts = {}

    def put(self, key, value):
        kind = key[:1]
        self.puts[kind] = self.puts.get(kind, 0) + 1
        super().put(key, value)


def word_of_the_service(handle, chain):
    """A receipt for the handle's state, signed by a service."""
    state_hash = chain.state_hash(handle.state)
    signed = receipt_transcript(BOB.address, handle.id, handle.version, state_hash)
    return Receipt(1, handle.id, handle.version, state_hash, chain.sign_bytes(SERVICE, signed))


def proven(handle, chain):
    """The version of which the device can prove that the service took it over; None: of none."""
    receipt = handle.receipt
    if not receipt:
        return None
    signed = receipt_transcript(BOB.address, handle.id, receipt.version, receipt.state_hash)
    assert chain.verify_bytes(SERVICE.address, signed, receipt.sig)
    return receipt.version


def test_what_the_device_can_prove_after_a_reset():
    """Before it, the newest receipt; after it the one of the first state, of a checkpoint at most
    seven versions back, or of the end. A payment costs no write for it."""

    async def main():
        store = Counting()
        alice, bob = client(ALICE), client(BOB, seed=2, store=store)
        mine, theirs = await channel(alice, bob)
        chain = bob.chain

        def after_a_reset():
            return proven(client(BOB, seed=9, store=store).restore()[0], chain)

        assert after_a_reset() is None
        theirs.is_watched(theirs.state, word_of_the_service(theirs, chain), True)
        assert after_a_reset() == 0
        for version in range(1, 6):  # ordinary payments
            await mine.pay(1)
            await theirs.paid(version)
            theirs.is_watched(theirs.state, word_of_the_service(theirs, chain))
        assert (proven(theirs, chain), after_a_reset(), store.puts[b"r"]) == (5, 0, 1)
        for version in range(6, 26):  # pauses after each of them: checkpoints
            await mine.pay(1)
            await theirs.paid(version)
            theirs.is_watched(theirs.state, word_of_the_service(theirs, chain), True)
            assert version - after_a_reset() < 8
        assert store.puts[b"r"] == 4 and after_a_reset() == 24
        await mine.close()
        await theirs.paid(26)
        theirs.is_watched(theirs.state, word_of_the_service(theirs, chain), True)
        assert (after_a_reset(), store.puts[b"r"]) == (26, 5)
        assert len([key for key in store.keys() if key[:1] == b"r"]) == 1
        assert store.puts[b"c"] == 3 + 26  # opening, and one for each update

    run(main())


def replace_request(receipt, request):
    return Receipt(request, *receipt[1:])


def test_nothing_is_signed_when_the_store_fails():
    async def main(error, text):
        alice, bob = client(ALICE), client(BOB, seed=2)
        mine, theirs = await channel(alice, bob)

        def fail(key, value):
            raise error

        sent = []
        bob.store.put = fail
        theirs.peer.send = sent.append
        paying = asyncio.create_task(mine.pay(10))
        await soon(lambda: theirs.failed)
        assert not sent and text in bob.errors[-1]
        await fails(theirs.pay(1), ClientError, "frozen")
        paying.cancel()
        try:
            await paying
        except asyncio.CancelledError:
            pass

    run(main(StoreError("store: cannot write: full"), "full"))
    run(main(MemoryError("allocating 375 bytes"), "MemoryError"))


def test_a_dispute_stops_payments():
    async def main():
        mine, theirs = await channel(client(ALICE), client(BOB, seed=2))
        await mine.happened("registered", 0)
        assert mine.phase == REGISTERED
        await fails(mine.pay(1), ValueError, "not open")
        await fails(mine.dispute(), ClientError, "no service")

    run(main())


def test_proposals_for_somebody_else():
    async def main():
        alice, bob = client(ALICE), client(BOB, seed=2)
        peer = await connect(alice, bob)
        captured = []
        peer.send, send = capture(captured), peer.send
        asking = asyncio.create_task(alice.propose(peer, ((1, 1),), 60, 1))
        await soon(lambda: captured)
        offer = captured[0]
        assert type(offer) is LedgerChannelProposal
        for changes in (
            {"peers": tuple(reversed(offer.peers))},
            {"participant": b"\x31" * 20},
            {"participant": BOB.address},
        ):
            await send(replace(offer, **changes))
        await soon(lambda: len(bob.errors) == 3)
        assert not bob.channels
        await fails(asking, ClientError, "")

    run(main())


def capture(captured):
    async def send(message):
        captured.append(message)

    return send
