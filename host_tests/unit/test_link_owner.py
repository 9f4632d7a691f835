"""The owner's link: who gets in, and what somebody in between can do with what he sees."""

# timeout: 300

import asyncio
import os

from channels import ALICE, BOB
from perun.chain.account import Account
from perun.chain.ethereum import Ethereum
from perun.link import LinkError, memory, owner, visitor
from perun.wire.compact import Compact, Contexts
from perun.wire.messages import ROLE_OWNER, ROLE_PEER, Hello, HelloProof
from support import Random

CHAIN = Ethereum()
CAROL = Account(bytes([3]) * 32)
SOON = 60  # seconds
CODEC = Compact(Contexts())


async def fails(operation, *words):
    """It must fail with a LinkError that says this."""
    try:
        result = await asyncio.wait_for(operation, SOON)
    except LinkError as error:
        for word in words:
            assert word in str(error), str(error)
        return
    raise AssertionError("no LinkError but %r" % (result,))


async def admit(link, device=BOB, own=ALICE):
    """The device BOB lets its owner ALICE in."""
    body = await link.recv()
    return await owner.admit(link, CODEC, CHAIN, device, own.address, os.urandom, body)


def enter(link, own=ALICE, device=BOB):
    expect = device and device.address
    return visitor.enter(link, CODEC, CHAIN, own, expect, os.urandom)


class Between:
    """Two ends with somebody in between, who sees each body and passes on what `change` gives.

    change(to_device, number, body) -> bodies.
    """

    def __init__(self, change=None):
        self.seen = [[], []]  # to the owner, to the device
        self._change = change or (lambda to_device, number, body: (body,))

    async def __aenter__(self):
        self.owner, near = memory.pair()
        far, self.device = memory.pair()
        self._near, self._far = near, far
        self._tasks = [
            asyncio.create_task(self._pass(near, far, True)),
            asyncio.create_task(self._pass(far, near, False)),
        ]
        return self

    async def __aexit__(self, *_):
        for link in (self.owner, self.device, self._near, self._far):
            link.close()
        await asyncio.sleep(0)
        for task in self._tasks:
            task.cancel()

    async def _pass(self, source, target, to_device):
        seen = self.seen[to_device]
        try:
            while True:
                body = await source.recv()
                seen.append(body)
                for one in self._change(to_device, len(seen) - 1, body):
                    await target.send(one)
        except LinkError:
            source.close()
            target.close()

    async def meet(self):
        """(owner's end, device's end)"""
        admitted = asyncio.create_task(admit(self.device))
        ours, hello = await enter(self.owner)
        assert hello.address == BOB.address
        return ours, await admitted


# -- the honest way -----------------------------------------------------------------------------


async def test_what_is_said():
    async with Between() as way:
        ours, theirs = await way.meet()
        for size in (0, 1, 15, 16, 17, 255, 256, 1024):
            body = Random(size).bytes(size)
            await ours.send(body)
            assert await theirs.recv() == body
            await theirs.send(body)
            assert await ours.recv() == body
            if size > 14:
                assert all(body[:15] not in record for record in way.seen[0] + way.seen[1])
        for record in way.seen[0][2:] + way.seen[1][2:]:
            assert len(record) % 16 == 0


async def test_equal_bodies_do_not_look_alike():
    async with Between() as way:
        ours, theirs = await way.meet()
        for _ in range(3):
            await ours.send(b"status")
            await theirs.recv()
            await theirs.send(b"status")
            await ours.recv()
        records = way.seen[0][2:] + way.seen[1][2:]
        assert len(records) == 6 == len(set(records))
        assert len({record[16:] for record in records}) == 6


async def test_memoryviews_are_bodies():
    async with Between() as way:
        ours, theirs = await way.meet()
        await ours.send(memoryview(bytearray(b"view")))
        assert await theirs.recv() == b"view"


# -- who does not get in ------------------------------------------------------------------------


async def test_another_owner():
    """CAROL says so; and CAROL says that she is ALICE, whose key she does not have."""
    near, far = memory.pair()
    asking = asyncio.create_task(fails(enter(near, CAROL)))
    await fails(admit(far), "not a Hello of the owner")
    far.close()
    await asking

    near, far = memory.pair()
    asking = asyncio.create_task(fails(admit(far), "the proof is wrong"))
    _, x = owner._cipher.ephemeral(os.urandom)
    await near.send(CODEC.encode(Hello(1, ROLE_OWNER, ALICE.address, 0, x)))
    assert type(CODEC.decode(await near.recv())) is Hello
    await near.send(CODEC.encode(HelloProof(CHAIN.sign_bytes(CAROL, b"anything"))))
    await asking
    far.close()
    await fails(near.recv())  # no signature for her


async def test_what_is_no_hello():
    for body in (
        b"\xff" * 61,
        CODEC.encode(Hello(1, ROLE_PEER, ALICE.address, 0, bytes(32))),
        CODEC.encode(Hello(2, ROLE_OWNER, ALICE.address, 0, bytes(32))),
        CODEC.encode(HelloProof(bytes(65))),
    ):
        near, far = memory.pair()
        await near.send(body)
        await fails(admit(far), "owner: ")


async def test_a_challenge_that_is_no_point():
    """Nothing can be agreed on with it, whoever has signed it."""
    near, far = memory.pair()
    asking = asyncio.create_task(fails(admit(far), "no point"))
    from perun.wire.messages import hello_transcript

    own = Hello(1, ROLE_OWNER, ALICE.address, 0, bytes(31) + b"\x05")
    await near.send(CODEC.encode(own))
    other = CODEC.decode(await near.recv())
    sig = CHAIN.sign_bytes(ALICE, hello_transcript(own, other))
    await near.send(CODEC.encode(HelloProof(sig)))
    await asking


async def test_another_device():
    near, far = memory.pair()
    asking = asyncio.create_task(fails(admit(far, device=CAROL)))
    await fails(enter(near), "another address")
    near.close()
    await asking


async def test_a_device_that_has_another_key():
    """CAROL says that she is BOB."""
    near, far = memory.pair()
    asking = asyncio.create_task(fails(enter(near), "the proof is wrong"))
    CODEC.decode(await far.recv())
    _, x = owner._cipher.ephemeral(os.urandom)
    await far.send(CODEC.encode(Hello(1, 4, BOB.address, 0, x)))
    await far.recv()
    await far.send(CODEC.encode(HelloProof(CHAIN.sign_bytes(CAROL, b"anything"))))
    await asking


async def test_a_recorded_visit_opens_no_door():
    async with Between() as way:
        ours, theirs = await way.meet()
        await ours.send(b"pay")
        await theirs.recv()
        recorded = way.seen[1]
    near, far = memory.pair()
    asking = asyncio.create_task(fails(admit(far), "the proof is wrong"))
    for body in recorded:
        await near.send(body)
    await asking


async def test_challenges_in_between():
    """Whoever puts his own challenge in, so that he knows the secret, is noticed by both."""
    _, x = owner._cipher.ephemeral(os.urandom)
    for which in (True, False):

        def change(to_device, number, body, which=which):
            if number == 0 and to_device == which:
                hello = CODEC.decode(body)
                return (CODEC.encode(Hello(*(hello[:4] + (x,)))),)
            return (body,)

        async with Between(change) as way:
            admitting = asyncio.create_task(fails(admit(way.device), "the proof is wrong"))
            entering = asyncio.create_task(fails(enter(way.owner)))
            await admitting
            way.device.close()
            await entering


# -- what somebody in between can do with records ------------------------------------------------


async def spoiled(change, sent=(b"one", b"two", b"three")):
    """Send to the device, and to the owner; what arrived before the link broke, of both."""
    arrived = []
    for to_device in (True, False):
        got = []

        def only(there, number, body, to_device=to_device):
            # The first two bodies of each direction are the handshake.
            return change(number - 2, body) if there == to_device and number > 1 else (body,)

        async with Between(only) as way:
            ours, theirs = await way.meet()
            source, target = (ours, theirs) if to_device else (theirs, ours)
            for body in sent:
                await source.send(body)
            try:
                while len(got) < len(sent):
                    got.append(await asyncio.wait_for(target.recv(), 1))
            except LinkError as error:
                got.append(type(error))
                await fails(target.recv())  # and stays so
            except asyncio.TimeoutError:
                pass
        arrived.append(got)
    assert arrived[0] == arrived[1], arrived
    return arrived[0]


async def test_unchanged():
    assert await spoiled(lambda number, body: (body,)) == [b"one", b"two", b"three"]


async def test_a_bit_changes():
    for at in (0, 15, 16, 31):

        def change(number, body, at=at):
            if number != 1:
                return (body,)
            return (body[:at] + bytes((body[at] ^ 1,)) + body[at + 1 :],)

        assert await spoiled(change) == [b"one", LinkError]


async def test_a_record_comes_twice():
    assert await spoiled(lambda number, body: (body, body)) == [b"one", LinkError]


async def test_a_record_is_left_out():
    assert await spoiled(lambda number, body: () if number == 0 else (body,)) == [LinkError]


async def test_records_change_places():
    kept = []

    def change(number, body):
        if number == 0:
            kept[:] = [body]
            return ()
        return (body, kept[0]) if number == 1 else (body,)

    assert await spoiled(change) == [LinkError]


async def test_a_record_is_injected():
    for record in (b"\0" * 32, b"\0" * 16, b"\0", b"\0" * 47, os.urandom(48)):
        assert await spoiled(lambda number, body: (record, body)) == [LinkError], record


async def test_a_record_is_cut():
    for size in (1, 15, 16, 31):
        assert await spoiled(lambda number, body: (body[:size],)) == [LinkError], size


async def test_what_one_side_said_comes_back_to_it():
    async with Between() as way:
        ours, theirs = await way.meet()
        await ours.send(b"pay")
        await theirs.recv()
        await theirs._link.send(way.seen[1][-1])  # as if the device had said it
        await fails(ours.recv(), "a record is not")


async def test_another_session_s_record():
    async with Between() as first:
        ours, theirs = await first.meet()
        await ours.send(b"pay")
        await theirs.recv()
        record = first.seen[1][-1]
    assert await spoiled(lambda number, body: (record,)) == [LinkError]
