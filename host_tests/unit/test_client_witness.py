"""A channel opens when the service and the witness both say that it is funded, and not before."""

import asyncio

from channels import ALICE, ASSET, BOB, CHAIN_ID
from perun.chain.account import Account
from perun.chain.ethereum import Ethereum
from perun.channel import ACTING, FUNDING, REGISTERED, Limits
from perun.client import Client
from perun.client.handle import ClientError
from perun.client.witness import Witness
from perun.link import LinkError
from perun.link.handshake import handshake
from perun.link.memory import pair
from perun.store.memory import MemoryStore
from perun.wire import inquiry_messages as im
from perun.wire import service_messages as sm
from perun.wire.compact import Compact, Contexts
from perun.wire.messages import ROLE_SERVICE
from perun.wire.witness_messages import WitnessRequest
from support import Random

CHAIN = Ethereum()
LIMITS = Limits((ASSET,), (1000,), 30, 3600)
RECEIVER = b"\x99" * 20
SERVICE = Account(b"\x03" * 32)
WITNESS = Account(b"\x04" * 32)


class Office:
    """A service that says whatever it is told to. stage: to a WitnessRequest, or the text of an
    Error; questions: what it was asked."""

    def __init__(self, account):
        self.account = account
        self.stage = im.STAGE_FUNDED
        self.answers = True
        self.other_id = None
        self.away = False
        self.questions = []
        self.links = []  # those that are or were open

    async def dial(self):
        if self.away:
            raise LinkError("nobody is there")
        near, far = pair()
        self.links.append(far)
        asyncio.create_task(self._serve(far))
        return near

    async def _serve(self, link):
        self._contexts = Contexts()
        codec = Compact(self._contexts)
        challenge = Random(len(self.links) + 5).bytes(32)
        try:
            await handshake(link, codec, CHAIN, self.account, ROLE_SERVICE, CHAIN_ID, challenge)
            await link.send(codec.encode(sm.ServiceInfo(CHAIN_ID, b"\x44" * 20, (ASSET,), 30)))
            while True:
                message = codec.decode(await link.recv())
                self.questions.append(message)
                for answer in self._answer(message) if self.answers else ():
                    await link.send(codec.encode(answer))
        except LinkError:
            link.close()

    def _answer(self, message):
        kind = type(message)
        number = message.request
        if kind is WitnessRequest:
            if isinstance(self.stage, str):
                return (sm.Error(number, sm.ERROR_CHAIN, self.stage),)
            ident = self.other_id or CHAIN.channel_id(message.params)
            return (im.Status(number, ident, 0, bytes(32), self.stage, 3, 0, (0,), -1),)
        if kind is sm.WatchRequest:
            state = message.state
            self._contexts.add(state.id, state.allocation.assets)
            hashed = CHAIN.state_hash(state)
            signed = sm.receipt_transcript(BOB.address, state.id, state.version, hashed)
            sig = CHAIN.sign_bytes(self.account, signed)
            return (sm.Receipt(number, state.id, state.version, hashed, sig),)
        if kind is sm.FundRequest:
            return (sm.Ack(number), sm.ChainEvent(message.state.id, sm.EVENT_FUNDED, 0, 0))
        if kind is im.DisputeRequest:
            event = sm.ChainEvent(message.channel_id, sm.EVENT_REGISTERED, 0, 99)
            return (sm.Ack(number), event)
        return (sm.Error(number, sm.ERROR_UNKNOWN_CHANNEL, "never heard of it"),)


class Town:
    """Alice proposes a channel to Bob, whose service says at once that it is funded."""

    def __init__(self):
        self.service = Office(SERVICE)
        self.witness = Office(WITNESS)
        self.alice = _client(ALICE, 1)
        self.bob = None
        self.tasks = []

    def bob_with(self, store, expect=WITNESS.address, patience=None):
        """Bob's device, with a service and a witness."""
        bob = self.bob = _client(BOB, 2, store)
        bob.witness = Witness(bob, self.witness.dial, expect, patience)
        bob.witness.pause = 0.02
        self.tasks.append(asyncio.create_task(bob.guard(self.service.dial, SERVICE.address)))
        return bob

    def cut_power(self):
        """Bob's device does nothing any more."""
        self.tasks.pop().cancel()
        self.bob.channels.clear()

    async def meet(self):
        one, other = pair()
        accepting = asyncio.create_task(self.bob.accept(other))
        peer = await self.alice.connect(one)
        await accepting
        return peer

    async def open(self):
        """Both handles of a channel that is funded for Alice, and for Bob's service."""
        peer = await self.meet()
        mine = await self.alice.propose(peer, ((100, 50),), 60)
        await mine.happened("funded")
        await soon(lambda: mine.id in self.bob.channels)
        theirs = self.bob.channels[mine.id]
        await theirs.signed()
        return mine, theirs


def _client(account, seed, store=None):
    made = Client(
        account, CHAIN_ID, LIMITS, RECEIVER, store or MemoryStore(), random=Random(seed).bytes
    )
    made.events = []
    made.errors = []
    made.on_event = lambda channel, kind, detail: made.events.append((kind, detail))
    made.on_error = made.errors.append
    made.on_proposal = lambda proposal: None
    return made


async def soon(ready):
    for _ in range(12000):
        if ready():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not happen")


def run(story, **how):
    """story(town), with Bob's device made for it."""

    async def main():
        town = Town()
        town.bob_with(MemoryStore(), **how)
        try:
            await story(town)
        finally:
            for task in town.tasks:
                task.cancel()

    asyncio.run(asyncio.wait_for(main(), 100))


def told(client, kind):
    return [detail for what, detail in client.events if what == kind]


def asked(office):
    return [one for one in office.questions if type(one) is WitnessRequest]


def test_both_say_so():
    async def story(town):
        mine, theirs = await town.open()
        await theirs.opened()
        assert await mine.pay(10) == 1
        assert told(town.bob, "unwitnessed") == [] and not town.bob.witness.reasons
        (question,) = asked(town.witness)
        assert question.params == theirs.machine.params
        assert question.funding_agreement == ((100, 50),) and question.assets == (ASSET,)
        await soon(lambda: town.witness.links[0].closed)
        await asyncio.sleep(0.1)
        assert len(town.witness.links) == 1  # nothing goes on that would ask again

    run(story)


def test_the_service_alone_says_so():
    """The liar's case: nothing counts, what the peer pays is not answered, and nothing is lost
    when the deposits come after all."""

    async def story(town):
        town.witness.stage = im.STAGE_FUNDING
        mine, theirs = await town.open()
        paying = asyncio.create_task(mine.pay(10))
        await soon(lambda: len(asked(town.witness)) > 3)
        assert theirs.phase == FUNDING and theirs.version == 0
        (reason,) = told(town.bob, "unwitnessed")  # once, not each time
        assert "the witness that they are not" in reason
        assert town.bob.witness.reasons[theirs.id] == reason
        assert told(town.bob, "open") == []
        await fails(theirs.pay(1), "not open")
        assert not paying.done()
        town.witness.stage = im.STAGE_FUNDED
        await theirs.opened()
        assert await paying == 1 and theirs.balance() == 60
        assert not town.bob.witness.reasons

    run(story)


async def fails(coroutine, words):
    try:
        await coroutine
    except (ClientError, ValueError) as error:
        assert words in str(error), error
        return
    raise AssertionError("no error")


def test_the_witness_alone_says_so():
    """It is not even asked."""

    async def story(town):
        town.service.answers = False
        _, theirs = await town.open()
        await asyncio.sleep(0.2)
        assert theirs.phase == FUNDING and town.witness.links == []

    run(story)


def test_a_registered_channel_does_not_open():
    async def story(town):
        town.witness.stage = im.STAGE_DISPUTE
        _, theirs = await town.open()
        for stage in (im.STAGE_CONCLUDED, im.STAGE_WITHDRAWN, 77):
            seen = len(asked(town.witness))
            await soon(lambda: len(asked(town.witness)) > seen)
            assert theirs.phase == FUNDING
            town.witness.stage = stage
        assert told(town.bob, "unwitnessed") == [
            "the witness says that version 3 is registered on the chain"
        ]

    run(story)


def test_the_witness_is_away():
    """Whatever its trouble is, it is named, and the channel opens when it is over."""

    async def story(town):
        witness = town.witness
        witness.away = True
        _, theirs = await town.open()
        reasons = told(town.bob, "unwitnessed")
        await soon(lambda: len(told(town.bob, "unwitnessed")) == 1)
        witness.stage, witness.away = "the chain cannot be reached", False
        await soon(lambda: len(told(town.bob, "unwitnessed")) == 2)
        witness.other_id, witness.stage = b"\x55" * 32, im.STAGE_FUNDED
        await soon(lambda: len(told(town.bob, "unwitnessed")) == 3)
        assert theirs.phase == FUNDING
        reasons = told(town.bob, "unwitnessed")
        for words, reason in zip(("nobody is there", "cannot be reached", "else"), reasons):
            assert words in reason, reason
        witness.other_id = None
        await theirs.opened()

    run(story)


def test_another_one_answers_there():
    async def story(town):
        town.witness.account = Account(b"\x05" * 32)
        _, theirs = await town.open()
        await soon(lambda: told(town.bob, "unwitnessed"))
        assert "another address answered" in told(town.bob, "unwitnessed")[0]
        assert asked(town.witness) == [] and theirs.phase == FUNDING

    run(story)


def test_the_service_is_no_witness():
    async def story(town):
        town.witness.account = SERVICE
        _, theirs = await town.open()
        await soon(lambda: told(town.bob, "unwitnessed"))
        assert "the service itself" in told(town.bob, "unwitnessed")[0]
        assert asked(town.witness) == [] and theirs.phase == FUNDING

    run(story, expect=None)


def test_patience_ends():
    """The service is asked to settle: what was deposited comes back. The channel stays until then,
    and a witness that comes late changes nothing."""

    async def story(town):
        town.witness.stage = im.STAGE_FUNDING
        _, theirs = await town.open()
        await soon(lambda: told(town.bob, "funding failed"))
        (reason,) = told(town.bob, "funding failed")
        assert "within 1 s" in reason and "the witness that they are not" in reason
        town.witness.stage = im.STAGE_FUNDED
        await soon(lambda: theirs.phase == REGISTERED)
        assert told(town.bob, "disputed") == [0] and told(town.bob, "open") == []
        for event in ("concluded", "withdrawn"):
            await theirs.happened(event, *((0,) if event == "concluded" else ()))
        assert told(town.bob, "withdrawn") == [None]

    run(story, patience=1)


def test_a_dispute_ends_the_questions():
    async def story(town):
        town.witness.stage = im.STAGE_FUNDING
        _, theirs = await town.open()
        await soon(lambda: asked(town.witness))
        await theirs.dispute()
        await soon(lambda: theirs.phase == REGISTERED)
        await soon(lambda: not town.bob.witness.reasons)

    run(story)


def test_a_restart_forgets_nothing():
    """A channel that waited waits again; one that was open does not ask any more."""

    async def story(town):
        town.witness.stage = im.STAGE_FUNDING
        _, theirs = await town.open()
        await soon(lambda: asked(town.witness))
        store, ident = town.bob.store, theirs.id
        for phase in (FUNDING, ACTING):
            town.cut_power()
            bob = town.bob_with(store)
            (handle,) = bob.restore()
            assert (handle.id, handle.phase) == (ident, phase)
            await town.meet()
            if phase == FUNDING:
                seen = len(asked(town.witness))
                await soon(lambda: len(asked(town.witness)) > seen)
                assert handle.phase == FUNDING
                town.witness.stage = im.STAGE_FUNDED
                await handle.opened()
                seen = len(asked(town.witness))
            else:
                await soon(lambda: bob.guardian.connected and not handle.machine.doubts)
                await asyncio.sleep(0.2)
                assert len(asked(town.witness)) == seen

    run(story)
