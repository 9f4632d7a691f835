"""The owner's door: commands, events and calls through it, strangers at it."""

# timeout: 300

import asyncio
import json
import os
import sys

import called
import control
from channels import ALICE, BOB
from console import Console
from perun.chain.account import Account
from perun.chain.ethereum import Ethereum
from perun.link import LinkError, owner, tcp, visitor
from perun.wire.compact import Compact, Contexts
from perun.wire.control_messages import Shutdown
from perun.wire.messages import ROLE_OWNER, Hello, HelloProof

HOST = "127.0.0.1"
SOON = 60  # seconds
CHAIN = Ethereum()
CAROL = Account(bytes([3]) * 32)
CODEC = Compact(Contexts())


async def soon(operation):
    return await asyncio.wait_for(operation, SOON)


async def fails(operation, *words):
    try:
        result = await soon(operation)
    except LinkError as error:
        for word in words:
            assert word in str(error), str(error)
        return
    raise AssertionError("no LinkError but %r" % (result,))


class Place:
    """A device's console behind a door."""

    def __init__(self):
        self.lines = []
        self.console = Console("text", self.lines.append)
        self.console.commands = {"status": self._status, "shout": self._shout, "fail": self._fail}
        self.shout = asyncio.Event()

    async def __aenter__(self):
        while not any(line.startswith("control") for line in self.lines):
            self.port = 20000 + int.from_bytes(os.urandom(2), "big") % 40000
            here = {"listen": {"host": HOST, "port": self.port}, "owner": ALICE.address}
            await control.door(here, self.console, BOB, self, 0)()
        return self

    async def __aexit__(self, *_):
        pass

    async def _status(self):
        self.console.event("status", amount=1 << 70, id=b"\xab" * 300)

    async def _shout(self, count):
        await self.shout.wait()
        for number in range(int(count)):
            self.console.event("shout", number=number)

    async def _fail(self):
        raise ValueError("no")

    async def said(self, text):
        async def wait():
            while not any(text in line for line in self.lines):  # noqa: ASYNC110 - as the VM has it
                await asyncio.sleep(0.01)

        await soon(wait())

    async def connect(self):
        return await tcp.connect(HOST, self.port, 512)

    async def enter(self, account=ALICE, device=BOB):
        """A Visitor."""
        link = await self.connect()
        sealed, _ = await soon(
            visitor.enter(link, CODEC, CHAIN, account, device.address, os.urandom)
        )
        return Visitor(sealed)


class Visitor:
    """The owner."""

    def __init__(self, sealed):
        self.sealed = sealed

    async def line(self, text):
        await self.sealed.send(owner.LINE + text)

    async def call(self, name, argument=b""):
        await self.sealed.send(owner.CALL + name + b" " + argument)
        return await self.next(owner.ANSWER, owner.FAILURE)

    async def next(self, *kinds):
        """(kind, the whole text) of the next record of such a kind."""
        text = b""
        while True:
            body = await soon(self.sealed.recv())
            assert len(body) <= 257
            text += body[1:]
            if body[:1].lower() in kinds and body[:1].lower() == body[:1]:
                return body[:1], text
            if body[:1].lower() not in kinds:
                text = b""

    async def event(self, name):
        while True:
            event = json.loads((await self.next(owner.EVENT))[1])
            if event["event"] == name:
                return event

    async def leave(self, place):
        self.sealed.close()
        await place.said("owner disconnected")


async def test_the_owner():
    """What is typed is obeyed; what happens is told in JSON, whatever the console shows."""
    async with Place() as place:
        visitor = await place.enter()
        await visitor.line(b"status")
        status = await visitor.event("status")
        assert status["amount"] == str(1 << 70) and status["id"] == "0x" + "ab" * 300
        assert any(line.startswith("status amount=") for line in place.lines)
        await visitor.line(b"fail")
        error = await visitor.event("error")
        assert (error["command"], error["text"]) == ("fail", "no")
        for wrong in (b"fly", b"", b"\xff", b"status " + b"x" * 500):
            await visitor.line(wrong)
            assert (await visitor.event("commands"))["known"] == ["fail", "shout", "status"]
        # A command that takes its time keeps no other one waiting.
        await visitor.line(b"shout 1")
        await visitor.line(b"status")
        await visitor.event("status")
        place.shout.set()
        await visitor.event("shout")
        await visitor.sealed.send(owner.PING)
        assert await visitor.next(owner.PING) == (owner.PING, b"")
        await visitor.leave(place)
        assert place.console.copy is None
        visitor = await place.enter()  # and again
        await visitor.line(b"status")
        await visitor.event("status")
        await visitor.leave(place)


async def test_too_many_events():
    """What is not sent in time is counted; nothing grows."""
    async with Place() as place:
        visitor = await place.enter()
        place.shout.set()
        await visitor.line(b"shout 100")
        lost = await visitor.event("lost")
        assert 0 < lost["count"] < 100
        await visitor.line(b"status")
        await visitor.event("status")
        await visitor.leave(place)


async def test_calls():
    sys.modules["checkup"] = called  # the module of the call `examine`
    async with Place() as place:
        visitor = await place.enter()
        assert await visitor.call(b"examine", b"ab") == (owner.ANSWER, b"abab,1")
        binary = bytes(range(256)) * 4
        kind, answer = await visitor.call(b"examine", binary)
        assert kind == owner.ANSWER and answer == binary * 2 + b",2"
        assert await visitor.call(b"examine", b"fail") == (owner.FAILURE, b"as you like it")
        kind, text = await visitor.call(b"fly")
        assert kind == owner.FAILURE and b"no call fly" in text
        await visitor.leave(place)
    sys.modules.pop("checkup", None)


async def test_refusals_are_messages():
    """The bytes in control.py are what a codec makes of them."""
    for text in ("busy", "stranger", "memory"):
        code = CODEC.encode(Shutdown(text))
        assert bytes((0x92, 2, 0xA0 + len(text))) + text.encode() == code
    assert len(CODEC.encode(Hello(1, ROLE_OWNER, ALICE.address, 0, bytes(32)))) == 61


async def test_one_at_a_time():
    async with Place() as place:
        visitor = await place.enter()
        await fails(place.enter(), "busy")
        await visitor.line(b"status")
        await visitor.event("status")
        await visitor.leave(place)


async def test_strangers():
    """Another key changes nothing, and keeps nobody away."""
    async with Place() as place:
        for _ in range(20):
            await fails(place.enter(CAROL), "stranger")
        assert not any("warning" in line for line in place.lines)
        link = await place.connect()
        await link.send(b"\0" * 400)
        try:
            assert CODEC.decode(await soon(link.recv())) == Shutdown("stranger")
            await fails(link.recv())
        except LinkError:
            pass  # what else was sent made it a reset
        visitor = await place.enter()
        await visitor.leave(place)
        await fails(place.enter(ALICE, CAROL), "another address")


async def test_somebody_who_says_that_he_is_the_owner():
    """He cannot prove it, and the door stays closed for a moment, longer each time."""
    async with Place() as place:
        for number in range(2):
            link = await place.connect()
            _, x = owner._cipher.ephemeral(os.urandom)
            await link.send(CODEC.encode(Hello(1, ROLE_OWNER, ALICE.address, 0, x)))
            assert type(CODEC.decode(await soon(link.recv()))) is Hello
            await link.send(CODEC.encode(HelloProof(CHAIN.sign_bytes(CAROL, b"anything"))))
            await fails(link.recv())
            if number == 0:
                await fails(place.enter(), "busy")
                await asyncio.sleep(1.2)
        await asyncio.sleep(1.2)
        await fails(place.enter(), "busy")  # two seconds this time
        assert sum("the proof is wrong" in line for line in place.lines) == 2
        await asyncio.sleep(1.2)
        visitor = await place.enter()
        await visitor.leave(place)


async def test_silent_strangers():
    """A few are waited for, not for long; more are turned away at once."""
    async with Place() as place:
        silent = []
        for _ in range(6):
            silent.append(await place.connect())
        for link in silent[2:]:
            await fails(link.recv())
        await fails(place.enter())  # the price of it: the owner is turned away, too
        for link in silent[:2]:
            await fails(link.recv())  # after five seconds
        visitor = await place.enter()
        await visitor.leave(place)


async def test_a_record_that_is_not_the_owner_s():
    """The visit ends, nothing is obeyed; the device goes on."""
    async with Place() as place:
        visitor = await place.enter()
        await visitor.sealed._link.send(os.urandom(48))
        await fails(visitor.sealed.recv())
        await place.said("owner disconnected")
        assert not any(line.startswith(("status", "commands")) for line in place.lines)
        visitor = await place.enter()
        await visitor.sealed.send(b"?of another version")
        await fails(visitor.sealed.recv())
        visitor = await place.enter()
        await visitor.line(b"status")
        await visitor.event("status")
        await visitor.leave(place)


async def test_a_port_that_is_taken():
    """It is told, and nothing else: no task dies, for that would open the relay."""
    async with Place() as place:
        here = {"listen": {"host": HOST, "port": place.port}, "owner": ALICE.address}
        await control.door(here, place.console, BOB, place, 0)()
        assert any(line.startswith("warning text=control.listen") for line in place.lines)
