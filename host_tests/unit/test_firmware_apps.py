"""The station and the car with each other: links in memory, a meter that the tests turn."""

import asyncio
import json
import sys

import commands
import config
import ev_car
import ev_station
import tariff
from channels import ALICE, ASSET, BOB, CHAIN_ID
from charger import Charger
from console import Console
from perun.channel import ACTING, FINAL
from perun.channel import Limits
from perun.client import Client
from perun.client.handle import ClientError, Refused
from perun.link.memory import pair
from perun.model import transfer, with_balances
from perun.store.memory import MemoryStore
from support import Random

PRICE = 3500  # a kWh; 3.5 for a Wh
LIMITS = Limits((ASSET,), (100000,), 30, 3600)


class Cable(Charger):
    """A charger that counts what the tests say."""

    def __init__(self, settings):
        super().__init__()
        self.history = []
        settings["made"].append(self)

    def _drive(self, closed):
        self.history.append(closed)


class Module:
    """What charger.load() imports under the name test_cable."""

    Driver = Cable


sys.modules["test_cable"] = Module


class Peering:
    """Stands for the car's link to the station."""

    def __init__(self, peer):
        self._peer = peer
        self.links = 1

    async def peer(self):
        return self._peer


class World:
    """A car (ALICE) and a station (BOB) that are connected; the chain is played by the tests."""

    def __init__(self, settle_after=0):
        self.lines = []
        made = []
        self.console = Console(write=self.lines.append)
        charger = {"module": "test_cable", "made": made}
        self.car_client = self._client(ALICE, 1)
        self.station_client = self._client(BOB, 2)
        station = {"price_per_kwh": PRICE, "min_payment": 2, "checkpoint_after": 1}
        station["settle_after"] = settle_after
        station["charger"] = charger
        self.station = ev_station.App(self.station_client, station, self.console, None)
        self.car_settings = {
            "price_per_kwh": PRICE,
            "slice_wh": 10,
            "deposit": 5000,
            "station_deposit": 100,
            "challenge_duration": 60,
            "patience": 1,
            "lost_slices": 1,
            "close_when_charged": True,
            "charger": charger,
        }
        self.made = made
        self.tasks = []

    @staticmethod
    def _client(account, seed):
        random = Random(seed).bytes
        return Client(account, CHAIN_ID, LIMITS, b"\x99" * 20, MemoryStore(), random=random)

    async def connect(self):
        one, other = pair()
        accepting = asyncio.create_task(self.station_client.accept(other))
        self.peer = await self.car_client.connect(one, BOB.address)
        await accepting
        self.car = ev_car.App(self.car_client, self.car_settings, self.console, Peering(self.peer))
        self.station_cable, self.car_cable = self.made
        jobs = self.station.jobs() + self.car.jobs()
        self.tasks = [asyncio.create_task(job()) for _, job in jobs]

    def flow(self, wh=1):
        """Energy flows if the relay lets it."""
        for _ in range(wh):
            if self.station_cable.closed:
                self.station_cable.count(1)
                self.car_cable.count(1)

    async def fund(self):
        """What the service would tell both."""
        await soon(lambda: self.station_channel() and self.station_channel().phase == 2)
        for client in (self.car_client, self.station_client):
            for channel in client.channels.values():
                await channel.happened("funded")

    def station_channel(self):
        return next(iter(self.station_client.channels.values()), None)

    def car_channel(self):
        return next(iter(self.car_client.channels.values()), None)

    async def open(self):
        """A channel of which the tests make the payments; returns the car's handle."""
        opening = asyncio.create_task(self.car_client.propose(self.peer, [(5000, 100)], 60))
        await self.fund()
        return await opening

    def stop(self):
        for task in self.tasks:
            task.cancel()


async def soon(ready):
    for _ in range(1000):
        if ready():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not happen")


def play(scene, **settings):
    """Run a scene in a connected world."""

    async def main():
        world = World(**settings)
        await world.connect()
        try:
            await scene(world)
        finally:
            world.stop()

    asyncio.run(asyncio.wait_for(main(), 60))


def test_tariff():
    random = Random(7)
    for _ in range(200):
        price, wh = random.between(1000, 10**18), random.below(10**6)
        assert tariff.energy(tariff.cost(wh, price), price) == wh
    assert tariff.cost(1, 1) == 1 and tariff.energy(999, 10**6) == 0


def test_charge_and_close():
    async def scene(world):
        await world.car.charge("25")
        await world.fund()
        while world.car.status()["delivered_wh"] < 25:
            await asyncio.sleep(0.01)
            before = world.station.status()
            world.flow(3)
            station, car = world.station.status(), world.car.status()
            assert station["delivered_wh"] <= before["paid_wh"]  # nothing flows unpaid
            assert car["paid_wh"] - car["delivered_wh"] <= 10  # the car risks one slice
        await soon(lambda: world.station_channel().phase == FINAL)
        assert world.station_channel().balance() == 100 + tariff.cost(25, PRICE)
        assert world.car_channel().balance() == 5000 - tariff.cost(25, PRICE)
        assert not world.station_cable.closed
        for client in (world.car_client, world.station_client):
            for channel in list(client.channels.values()):
                await channel.happened("withdrawn")
            assert not client.channels and len(client.settled()) == 1
        assert world.station.status()["earned"] == tariff.cost(25, PRICE)
        assert world.car.status()["spent"] == tariff.cost(25, PRICE)

    play(scene)


def test_relay_follows_payment():
    async def scene(world):
        channel = await world.open()
        assert not world.station_cable.closed
        await channel.pay(7)  # two Wh
        await soon(lambda: world.station_cable.closed)
        world.flow(100)
        assert world.station_cable.wh == 2 and not world.station_cable.closed
        await channel.pay(3)  # half a Wh has been left over: not yet a third
        assert world.station.status()["paid_wh"] == 2
        world.flow(100)
        assert world.station_cable.wh == 2
        await channel.pay(2)  # 12 in all: three Wh
        await soon(lambda: world.station_cable.closed)
        world.flow(100)
        assert world.station_cable.wh == 3

    play(scene)


def test_station_judges_updates():
    async def scene(world):
        channel = await world.open()
        await channel.pay(20)
        theirs, judge = world.station_channel(), world.station_client.on_update
        state = channel.state
        car, station = state.allocation.balances[0]
        assert "lower" in judge(theirs, transfer(state, 1, (5,)))
        assert "lower" in judge(theirs, with_balances(state, ((car + 5, station - 5),), True))
        assert "at least 2" in judge(theirs, transfer(state, 0, (1,)))
        assert judge(theirs, transfer(state, 0, (2,))) is None
        assert judge(theirs, with_balances(state, state.allocation.balances, True)) is None
        try:
            await channel.pay(1)
            raise AssertionError("the station took too little")
        except Refused as error:
            assert "at least 2" in str(error)
        assert theirs.balance() == 120

    play(scene)


def test_station_judges_proposals():
    async def scene(world):
        for deposits, text in (
            (((3, 100),), "buys no energy"),
            (((5000, 100001),), "limit"),
        ):
            world.car_client.limits = Limits((ASSET,), (10**9,), 1, 10**9)
            await refused(world, deposits, 60, text)
        await refused(world, ((5000, 0),), 29, "challenge duration")
        await world.open()
        await refused(world, ((5000, 0),), 60, "another car")

    async def refused(world, deposits, duration, text):
        try:
            await world.car_client.propose(world.peer, deposits, duration)
            raise AssertionError("the station accepted")
        except Refused as error:
            assert text in str(error), str(error)

    play(scene)


def test_a_car_that_does_not_deposit_keeps_no_other_away():
    async def scene(world):
        for deposit, refusal in ((0, None), (100, "another car")):
            row = [(5000, deposit)]
            await world.car_client.propose(world.peer, row, 60)
            await soon(lambda: world.station_channel() and world.station_channel().phase == 2)
            first = world.station_channel()
            try:
                await world.car_client.propose(world.peer, row, 60)
                raise AssertionError("the station accepted")
            except Refused as error:
                assert "another car" in str(error)
            world.station_client.tell(first, "funding failed", None)
            try:
                await world.car_client.propose(world.peer, row, 60)
                assert not refusal and first.id not in world.station_client.channels
                world.station_client.forget(world.station_channel())
            except Refused as error:  # what is the station's may be in it: the service settles it
                assert refusal and refusal in str(error)
                assert first.id in world.station_client.channels

    play(scene)


def test_no_gift():
    """A proposal in which the station's balance is not its deposit is refused."""

    async def scene(world):
        class Proposal:
            class init_bals:
                balances = ((5000, 100),)

            funding_agreement = ((5001, 99),)

        assert "what it deposits" in world.station_client.on_proposal(Proposal)

    play(scene)


def test_no_energy():
    """The station takes the money and gives nothing: the car loses one slice and closes."""

    async def scene(world):
        await world.car.charge("100")
        await world.fund()
        await soon(lambda: world.car_channel() and world.car_channel().phase == FINAL)
        assert world.car_channel().balance() == 5000 - tariff.cost(10, PRICE)
        assert [line for line in world.lines if line.startswith("no energy")]

    play(scene)


def test_a_slice_lost_with_the_link_is_written_off():
    """The station had no power and counts all of it as delivered: the car goes on, once."""

    async def scene(world):
        async def lose(after):
            await soon(lambda: world.station_cable.closed)
            world.flow(after)
            while world.station_cable.closed:
                world.station_cable.count(1)  # leaves here and never arrives
            world.car._peering.links += 1

        await world.car.charge("40")
        await world.fund()
        await lose(4)
        await soon(lambda: world.station.status()["paid_wh"] == 20)
        assert world.car.status()["lost_wh"] == 6
        world.flow(10)
        await lose(7)  # more than the car puts up with
        await soon(lambda: world.car_channel().phase == FINAL)
        assert world.car_channel().balance() == 5000 - tariff.cost(30, PRICE)
        assert world.car.status()["delivered_wh"] == 4 + 10 + 7
        assert [line for line in world.lines if line.startswith("no energy")]

    play(scene)


def test_a_short_break_costs_nothing():
    """The link comes and goes, energy is late: nothing is written off, nothing paid twice."""

    async def scene(world):
        await world.car.charge("20")
        await world.fund()
        await soon(lambda: world.station_cable.closed)
        world.flow(3)
        world.car._peering.links += 1
        await asyncio.sleep(0.7)
        world.car._peering.links += 1
        await asyncio.sleep(0.7)  # longer than the car's patience, not since the last link
        assert world.station.status()["paid_wh"] == 10
        while world.car_channel().phase != FINAL:
            world.flow(1)
            await asyncio.sleep(0.01)
        status = world.car.status()
        assert (status["delivered_wh"], status["paid_wh"], status["lost_wh"]) == (20, 20, 0)

    play(scene)


def test_dispute_stops_the_energy():
    async def scene(world):
        channel = await world.open()
        await channel.pay(350)
        await soon(lambda: world.station_cable.closed)
        await world.station_channel().happened("registered", 0)
        assert not world.station_cable.closed
        await asyncio.sleep(0.3)
        assert not world.station_cable.closed

    play(scene)


def test_energy_off_and_on():
    """energy_off() opens the relay at once; what is paid for flows when charging goes on."""

    async def scene(world):
        channel = await world.open()
        await channel.pay(350)
        await soon(lambda: world.station_cable.closed)
        world.station.energy_off()
        assert not world.station_cable.closed
        await soon(lambda: world.station_cable.closed)

    play(scene)


def test_restart():
    """A station that starts again counts what was paid as delivered."""

    async def scene(world):
        channel = await world.open()
        await channel.pay(350)
        world.flow(4)
        client = World._client(BOB, 3)
        client.store = world.station_client.store
        client.restore()
        settings = {"price_per_kwh": PRICE, "min_payment": 2, "checkpoint_after": 1}
        settings["settle_after"] = 0
        settings["charger"] = {"module": "test_cable", "made": []}
        station = ev_station.App(client, settings, Console(write=lambda line: None), None)
        status = station.status()
        assert (status["delivered_wh"], status["paid_wh"]) == (100, 100)
        assert status["earned"] == 350
        assert [c.phase for c in client.channels.values()] == [ACTING]

    play(scene)


class Guardian:
    """Stands for the station's session with its service."""

    def __init__(self, reachable=True):
        self.disputed = []
        self.reachable = reachable

    def fund(self, handle):
        pass

    def watch(self, handle, authorize=False):
        pass

    async def checkpoint(self, handle):
        pass

    async def dispute(self, handle):
        self.disputed.append(handle.version)
        if not self.reachable:
            raise ClientError("no session with the service")
        await handle.happened("registered", handle.version)


def test_a_car_that_vanished_is_disputed():
    async def scene(world):
        guardian = world.station_client.guardian = Guardian()
        channel = await world.open()
        await channel.pay(35)
        await soon(lambda: world.station_cable.closed)
        world.peer.close()
        await asyncio.sleep(1.5)
        assert not guardian.disputed  # energy that is paid for flows, whoever is there
        world.flow(10)
        await soon(lambda: guardian.disputed)
        await asyncio.sleep(2.5)
        assert guardian.disputed == [1]  # once
        assert world.station.status()["earned"] == 35

    play(scene, settle_after=1)


def test_a_dispute_that_fails_is_tried_again():
    async def scene(world):
        guardian = world.station_client.guardian = Guardian(reachable=False)
        await world.open()
        world.peer.close()
        await soon(lambda: len(guardian.disputed) == 2)
        assert [line for line in world.lines if line.startswith("no dispute")]

    play(scene, settle_after=1)


def test_a_car_that_stays_without_paying_agrees_to_the_end():
    async def scene(world):
        world.station_client.guardian = Guardian()
        channel = await world.open()
        for _ in range(4):  # payments are a sign of life
            await asyncio.sleep(0.8)
            await channel.pay(7)
            world.flow(10)
        assert channel.phase == ACTING
        await soon(lambda: channel.phase == FINAL)
        assert not world.station_client.guardian.disputed
        assert world.station_channel().balance() == 100 + 4 * 7

    play(scene, settle_after=2)


def test_by_default_a_silent_car_has_time():
    assert config.check_section({}, {"x": ev_station.FIELDS["settle_after"]}, "")["x"] >= 600


def test_wrong_orders():
    async def scene(world):
        for words in ("", "x", "-5", "0", "1.5", "1000001"):
            try:
                await world.car.charge(words)
                raise AssertionError(words)
            except ValueError as error:
                assert "charge WH" in str(error)

    play(scene)


def test_console():
    """Commands in pieces, too long, unknown and wrong; a device's console survives them all."""

    class Reader:
        def __init__(self, data):
            self._data = data

        async def read(self, count):
            piece, self._data = self._data[:1], self._data[1:]
            return piece

    lines, calls = [], []

    async def note(*words):
        calls.append(words)

    async def fail():
        raise ValueError("not now")

    async def main():
        console = Console("json", lines.append)
        console.commands.update({"note": note, "fail": fail})
        noise = b"note a  b\r\n\n" + b"x" * 5000 + b"\n\xff\xfe\nnope\nfail\nnote\nunfinished"
        await console.run(Reader(noise))
        await asyncio.sleep(0)

    asyncio.run(main())
    assert calls == [("a", "b"), ()]
    assert len([line for line in lines if '"commands"' in line]) == 3
    assert any("not now" in line for line in lines)


def test_console_forms():
    lines = []
    Console("json", lines.append).event("x", amount=10**30, data=b"\x01\xff", row=(1, (2,)))
    assert '"1000000000000000000000000000000"' in lines[0]
    assert '"0x01ff"' in lines[0] and "[1, [2]]" in lines[0]
    Console("text", lines.append).event("paid", amount=5, of={"a": [1, 2]})
    assert lines[1].startswith("paid ") and "amount=5" in lines[1] and "a=[1, 2]" in lines[1]


def test_a_withdrawal_of_what_came_late():
    """`export CHANNEL AMOUNT`: signed for the owner's address, whatever channel it is."""
    world = World()
    client = world.station_client
    lines = []

    class Device:
        pass

    device = Device()
    device.client, device.console = client, Console("json", lines.append)
    channel = bytes(range(32))
    asyncio.run(commands.export(device, "0x" + channel.hex(), "7"))
    shown = json.loads(lines[0])
    assert (shown["amount"], shown["receiver"]) == (7, "0x" + client.receiver.hex())
    digest = client.chain.withdrawal_hash(channel, BOB.address, client.receiver, 7)
    assert shown["sig"] == "0x" + client.chain.sign(BOB, digest).hex()
    for words in (("0x12", "x"), ("zz", "1"), ("0x" + channel.hex(),)):
        with_error = []
        try:
            asyncio.run(commands.export(device, *words))
        except (TypeError, ValueError):
            with_error.append(words)
        assert with_error, words
    assert len(lines) == 1
