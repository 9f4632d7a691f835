"""A station with a service and a witness, one of which lies, or is away. The other one is a real
service on a real chain; the car is honest."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from contracts.ports import free_port
from perun.wire import messages as m
from perun.wire.witness_messages import WitnessRequest

from adversaries.cheater import Cheater
from adversaries.liar import Liar
from adversaries.places import CAR_DEPOSIT, DEPOSIT, DURATION, SLICE, Town

# The witness is asked again after pauses that grow with the time that has passed.
pytestmark = pytest.mark.timeout(300)

ROW = (CAR_DEPOSIT, DEPOSIT)
SECONDS = 100


class Scenery:
    """What the tests have in common: who is who is said by `begin`."""

    def __init__(self, directory: Path, stack: AsyncExitStack) -> None:
        self._directory = directory
        self._stack = stack
        self.liar = Liar(bytes(range(1, 21)))
        self.town: Any = None
        self.station: Any = None
        self.car: Any = None

    async def begin(self, sections: Any) -> None:
        """A station with this configuration, and a car with which it has signed version 0."""
        self._stack.push_async_callback(self.liar.stop)
        self.town = town = Town(self._directory, sections)
        await self._stack.enter_async_context(town)
        self.station = town.station
        self.car = Cheater(self.station.port, b"", town.holder)
        self._stack.callback(self.car.hang_up)
        await self.car.connect()
        await self.car.open(ROW)

    def deposit(self, who: bytes, amount: int) -> None:
        """Somebody deposits, of which no service need know."""
        self.town.deposit(self.car.state.id, who, amount)

    async def says(self, kind: str, since: int = 0) -> Any:
        """What the station says of its channel."""
        return (await self.station.event("channel", since, SECONDS, kind=kind))["detail"]

    async def gives_nothing(self) -> dict[str, Any]:
        """The car pays: no answer, no energy. Returns how the station describes its channel."""
        await self.car.update(self.car.next(SLICE))
        with pytest.raises(TimeoutError):
            await self.answered(1)
        status = await self.station.device.ask()
        assert (status["charging"], status["delivered_wh"], status["paid_wh"]) == (False, 0, 0)
        (channel,) = status["channels"]
        assert channel["version"] == 0
        return dict(channel)

    async def answered(self, seconds: float) -> None:
        """The station signs the first payment, not only version 0 again."""
        async with asyncio.timeout(seconds):
            while not (acc := await self.car.recv(m.ChannelUpdateAcc)).version:
                pass
        self.car.history.append(self.car.both(self.car.next(SLICE), acc.sig))

    async def charges(self) -> None:
        """The payment that was not answered counts now, and the next ones."""
        await self.says("open")
        await self.answered(SECONDS)
        state = await self.car.pay(SLICE)
        await self.station.unharmed(state.version)
        assert int((await self.station.device.ask())["paid_wh"]) == 200

    async def until_delivered(self) -> None:
        async with asyncio.timeout(SECONDS):
            while not (await self.station.device.ask())["delivered_wh"]:  # noqa: ASYNC110
                await asyncio.sleep(0.05)


@pytest_asyncio.fixture
async def scenery(tmp_path: Path) -> AsyncIterator[Scenery]:
    async with AsyncExitStack() as stack:
        yield Scenery(tmp_path, stack)


async def test_the_service_says_that_the_money_is_there(scenery: Scenery) -> None:
    """The witness sees that it is not: the car gets nothing, and the owner reads why. When the
    deposits come after all, the channel opens, and nothing was lost."""
    await scenery.liar.start()
    await scenery.begin(lambda honest: {"service": scenery.liar.place, "witness": honest})
    reason = await scenery.says("unwitnessed")
    assert "the witness that they are not" in reason
    channel = await scenery.gives_nothing()
    assert channel["witness"] == reason
    scenery.deposit(scenery.car.account.address, CAR_DEPOSIT)
    assert (await scenery.gives_nothing())["witness"] == reason
    scenery.deposit(scenery.station.address, DEPOSIT)
    await scenery.charges()
    await scenery.until_delivered()
    (channel,) = (await scenery.station.device.ask())["channels"]
    assert channel["witness"] is None


@pytest.mark.parametrize("by_itself", [True, False])
async def test_the_witness_denies(scenery: Scenery, by_itself: bool) -> None:
    """It alone lies: the channel does not open, and each gets back what it has deposited, when the
    station's patience has come to an end, or its owner's."""
    await scenery.liar.start()
    scenery.liar.funds = False
    patience = 3 if by_itself else 0
    await scenery.begin(
        lambda honest: {
            "service": honest,
            "witness": {**scenery.liar.place, "patience": patience},
        }
    )
    town, station, car = scenery.town, scenery.station, scenery.car
    scenery.deposit(car.account.address, CAR_DEPOSIT)
    await scenery.says("unwitnessed")
    await scenery.gives_nothing()
    if by_itself:
        assert "not confirmed within 3 s" in await scenery.says("funding failed")
    else:
        await station.device.command("dispute")
    assert await scenery.says("disputed") == 0
    town.node.pass_time(DURATION)
    await scenery.says("withdrawn")
    assert await town.wallet(DEPOSIT) == DEPOSIT
    status = await station.device.ask()
    assert (status["channels"], status["delivered_wh"]) == ([], 0)
    # The station takes the next car.
    other = Cheater(station.port, b"", town.holder)
    await other.connect()
    await other.agree(ROW)
    other.hang_up()


async def test_the_witness_is_away(scenery: Scenery) -> None:
    """The channel waits, also across a power cut, and opens when the witness is back."""
    scenery.liar.port = free_port()
    await scenery.begin(
        lambda honest: {"service": honest, "witness": {**scenery.liar.place, "patience": 0}}
    )
    station = scenery.station
    scenery.deposit(scenery.car.account.address, CAR_DEPOSIT)
    assert "cannot connect" in await scenery.says("unwitnessed")
    await scenery.gives_nothing()
    since = station.mark()
    await station.device.kill()
    await station.device.start()
    await station.event("listening", since)
    assert "cannot connect" in await scenery.says("unwitnessed", since)
    await scenery.car.connect()
    await scenery.car.send(m.ChannelSync(2, scenery.car.history[-1]))
    await scenery.gives_nothing()
    await scenery.liar.start(scenery.liar.port)
    await scenery.charges()
    (question,) = [one for one in scenery.liar.requests if isinstance(one, WitnessRequest)]
    assert question.params == scenery.car.params


async def test_the_witness_is_the_service(scenery: Scenery) -> None:
    """One that is configured as both, at two ports, with no address to tell: it is no witness."""

    def both(honest: dict[str, Any]) -> dict[str, Any]:
        port = scenery.town.service.port  # without TLS
        plain = {"tcp": {"host": "127.0.0.1", "port": port}}
        return {"service": plain, "witness": {"tcp": honest["tcp"]}}

    await scenery.begin(both)
    scenery.deposit(scenery.car.account.address, CAR_DEPOSIT)
    assert "the service itself" in await scenery.says("unwitnessed")
    await scenery.gives_nothing()
