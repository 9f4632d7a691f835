"""A real station whose service lies. The car is honest; what happens to the station's states?"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from eth_utils import to_checksum_address
from perun.link import LinkError
from perun.wire import service_messages as sm

from adversaries.cheater import Cheater
from adversaries.liar import Liar
from adversaries.places import CAR_DEPOSIT, DEPOSIT, SLICE, Station

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOLDER = bytes(range(1, 21))
WALLET = to_checksum_address(bytes(range(2, 22)))
ROW = (CAR_DEPOSIT, DEPOSIT)


class Scenery:
    """A liar, a station that trusts it, and a car with an open channel."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.liar = Liar(HOLDER)
        self.station: Any = None
        self.car: Any = None

    async def start(self) -> None:
        await self.liar.start()
        holder = to_checksum_address(HOLDER)
        self.station = Station(self.directory, holder, WALLET, self.liar.place)
        await self.station.device.start()
        await self.station.event("listening")
        self.car = Cheater(self.station.port, b"", HOLDER)
        await self.car.connect()
        await self.car.open(ROW)
        await self.station.event("channel", kind="open")
        await self.car.pay(SLICE)

    async def stop(self) -> None:
        self.car.hang_up()
        await self.station.device.stop()
        await self.liar.stop()

    async def again(self, lie: str) -> int:
        """A new session in which this lie is told; returns the mark for what is said from now."""
        since = self.station.mark()
        self.liar.lie = lie
        sessions = self.liar.sessions
        self.liar.hang_up()
        await self._until(lambda: self.liar.sessions > sessions)
        return since

    async def _until(self, ready: Any, seconds: float = 60) -> None:
        async with asyncio.timeout(seconds):
            while not ready():  # noqa: ASYNC110 - several things may change it
                await asyncio.sleep(0.02)

    async def holds(self, version: int) -> None:
        """Wait until the service has this version."""
        held = self.liar.held
        ident = self.car.state.id
        await self._until(lambda: ident in held and held[ident].state.version >= version)

    async def watched(self) -> int:
        (channel,) = (await self.station.device.ask())["channels"]
        return int(channel["watched"])

    async def still_good(self) -> None:
        """The truth again: payments go on, and the service gets what it lacks."""
        self.liar.lie = ""
        state = await self.car.pay(SLICE)
        await self.holds(state.version)
        await self.station.unharmed(state.version)
        await self._until_watched(state.version)

    async def _until_watched(self, version: int) -> None:
        async with asyncio.timeout(60):
            while await self.watched() != version:  # noqa: ASYNC110 - a process of its own
                await asyncio.sleep(0.1)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scenery(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scenery]:
    made = Scenery(tmp_path_factory.mktemp("liar"))
    await made.start()
    yield made
    await made.stop()


@pytest.mark.parametrize(
    ("lie", "words"),
    [
        ("wrong hash", "wrong hash or signature"),
        ("wrong signature", "wrong hash or signature"),
        ("old receipt", "receipt for something else"),
        ("something else", "answers with something else"),
    ],
)
async def test_false_answers(scenery: Scenery, lie: str, words: str) -> None:
    """The session ends, nothing counts as guarded, and payments go on meanwhile."""
    station = scenery.station
    await scenery.still_good()
    guarded = await scenery.watched()
    since = station.mark()
    scenery.liar.lie = lie
    state = await scenery.car.pay(SLICE)
    await station.warned(words, since)
    assert await scenery.watched() == guarded < state.version
    await station.unharmed(state.version)
    await scenery.still_good()


async def test_acknowledges_and_forgets(scenery: Scenery) -> None:
    """At the next session the service gets the newest state with everything that it needs."""
    await scenery.still_good()
    scenery.liar.held.clear()
    await scenery.again("forgets")
    await scenery.holds(scenery.car.state.version)
    request = scenery.liar.held[scenery.car.state.id]
    assert request.params == scenery.car.params and request.auths
    await scenery.still_good()


async def test_forges_a_newer_state(scenery: Scenery) -> None:
    await scenery.still_good()
    since = await scenery.again("newer state")
    await scenery.station.warned("without both signatures", since)
    await scenery.station.unharmed(scenery.car.state.version)
    await scenery.still_good()


async def test_never_answers(scenery: Scenery) -> None:
    """Fifteen seconds, then another session is tried; payments need no service."""
    since = await scenery.again("never answers")
    for _ in range(3):
        await scenery.car.pay(SLICE)
    await scenery.station.unharmed(scenery.car.state.version)
    await scenery.station.warned("does not answer", since, 20)
    await scenery.still_good()


async def test_noise_and_strange_events(scenery: Scenery) -> None:
    """Events of channels that nobody knows, of kinds that nobody knows, and noise."""
    await scenery.still_good()
    liar, station = scenery.liar, scenery.station
    for kind in (sm.EVENT_FUNDED, sm.EVENT_WITHDRAWN, sm.EVENT_CONCLUDED, 200):
        await liar.say(sm.ChainEvent(bytes(range(32)), kind, 9, 9))
    await liar.say(sm.ChainEvent(scenery.car.state.id, 201, 9, 9))
    await liar.say(sm.ChainEvent(scenery.car.state.id, sm.EVENT_NEED_AUTHORIZATION, 9, 9))
    for number in range(9):
        await liar.say(sm.Ack(1000 + number))
    await station.unharmed(scenery.car.state.version)
    sessions = liar.sessions
    with contextlib.suppress(LinkError):  # it hangs up
        for size in range(1, 40):
            await liar.noise(size)
    await scenery._until(lambda: liar.sessions > sessions)  # one that listens better, perhaps
    await scenery.still_good()


async def test_asks_for_authorizations(scenery: Scenery) -> None:
    """All that it can get are authorizations that pay to the owner's own receiver."""
    await scenery.still_good()
    receivers = {
        auth.receiver
        for request in scenery.liar.requests
        if isinstance(request, sm.WatchRequest)
        for auth in request.auths
    }
    assert receivers == {bytes(range(2, 22))}


async def test_the_limit_it_says_that_the_money_is_there(tmp_path: Path) -> None:
    """What a device without a chain cannot know: the station believes that the channel is funded,
    and delivers. It loses what it delivers in this channel, no more than the car's balance in
    it, and no money: nothing was deposited for it."""
    other = Scenery(tmp_path)
    try:
        await other.start()  # nobody has deposited anything
        await other.car.pay(SLICE)
        status = await other.station.device.ask()
        assert int(status["paid_wh"]) == 200
        assert 2 * SLICE <= CAR_DEPOSIT
    finally:
        await other.stop()


async def test_the_limit_it_says_that_all_is_over(tmp_path: Path) -> None:
    """A service says that the money has arrived while the channel is in use: the station stops
    the energy and serves the next car; the newest state can still be exported."""
    other = Scenery(tmp_path)
    try:
        await other.start()
        version = other.car.state.version
        since = await other.again("withdrawn")
        await other.station.event("channel", since, kind="withdrawn")
        assert int((await other.station.newest())["state"][1]) == version
        assert (await other.station.device.ask())["charging"] is False
    finally:
        await other.stop()
