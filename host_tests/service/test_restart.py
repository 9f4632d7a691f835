"""The process dies (kill -9) at any moment and is started again: nothing is lost, nothing is
done twice, and every channel ends as it must."""

from __future__ import annotations

import asyncio
import contextlib
import json
import multiprocessing
import os
import signal
import sys
from multiprocessing import forkserver

import pytest
import tomllib
from adoption import status
from contracts.ports import free_port
from perun.wire import inquiry_messages as im
from perun.wire import service_messages as sm
from service import kit, mortal
from service.kit import DURATION, Deal, until

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["service.mortal"])


def toml(found):
    """Enough TOML for a configuration: JSON values are TOML values, nulls aside."""
    lines = []
    for name, section in found.items():
        many = isinstance(section, list)
        for one in section if many else [section]:
            lines.append(f"[[{name}]]" if many else f"[{name}]")
            for key, value in one.items():
                if isinstance(value, dict):
                    inner = ", ".join(f"{k} = {json.dumps(v)}" for k, v in value.items())
                    lines.append(f"{key} = {{{inner}}}")
                else:
                    lines.append(f"{key} = {json.dumps(value)}")
    return "\n".join(lines) + "\n"


class Process:
    """A service in a process of its own, started again whenever it dies.

    The processes come from a server that has imported everything already: that saves a second or
    two for each of them.
    """

    def __init__(self, folder, found):
        self.port = free_port()
        found["service"]["listen"] = [f"127.0.0.1:{self.port}"]
        self.path = folder / "adoption.toml"
        self.path.write_text(toml(found))
        assert tomllib.loads(self.path.read_text()) == found
        self.database = folder / "adoption.sqlite"
        self.log = folder / "log"
        self.deaths = 0
        self.process = None
        self.keeper = None

    def start(self, moment="never", count=0):
        arguments = (str(self.path), str(self.log), moment, count)
        self.process = PROCESSES.Process(target=mortal.serve, args=arguments)
        self.process.start()

    async def ended(self):
        await until(lambda: not self.process.is_alive(), 300)
        return self.process.exitcode

    async def supervise(self):
        while True:
            assert await self.ended() == -signal.SIGKILL
            self.deaths += 1
            self.start()

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        if self.keeper:
            self.keeper.cancel()
        if self.process.is_alive():
            self.process.terminate()
            assert await self.ended() == 0

    async def persist(self, device, request):
        """Ask, with a new session whenever the old one ended, until there is an answer."""
        async with asyncio.timeout(60):
            while True:
                try:
                    if device.wire is None:
                        await device.dial(self.port)
                    return await request()
                except (kit.Hung, OSError, asyncio.IncompleteReadError):
                    device.wire = None
                    await asyncio.sleep(0.1)


@pytest.fixture(scope="module")
def nursery():
    """Starts the server of processes; it finds modules where this process does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
        forkserver.ensure_running()


@pytest.fixture
async def process(chain, tmp_path, cars, nursery):
    kit.write_wallet(tmp_path)
    async with Process(tmp_path, kit.document(chain, cars)) as one:
        yield one


MOMENTS = [
    (moment, count) for count in (1, 2, 3, 4) for moment in ("store", "send", "sent", "mined")
]


@pytest.mark.parametrize(("moment", "count"), MOMENTS)
async def test_killed_while_sending(chain, process, cars, moment, count):
    """Deposit, register, conclude, withdraw: one transaction each, whenever the process dies."""
    car, station = cars
    process.start(moment, count)
    process.keeper = asyncio.create_task(process.supervise())
    wallet = chain.node.web3.eth.accounts[kit.WALLET]
    before = chain.web3.eth.get_transaction_count(wallet)
    deal = Deal(chain, cars, [kit.eth(chain)], ((50, 30),))
    deal.deposit(car)
    ack = await process.persist(station, lambda: station.fund(deal))
    assert isinstance(ack, sm.Ack)
    await until(lambda: deal.holdings(station) == 30)
    state = deal.state(1, ((20, 60),))
    receipt = await process.persist(station, lambda: station.watch(deal, state))
    assert isinstance(receipt, sm.Receipt)
    dispute = await process.persist(station, lambda: station.ask(im.DisputeRequest, deal.id))
    assert isinstance(dispute, sm.Ack)
    await until(lambda: deal.registered() == 1)
    chain.node.pass_time(DURATION)
    await until(lambda: kit.wealth(chain, station) == 60)
    await until(lambda: process.deaths == 1)
    await until(lambda: status.read(process.database)["channels"][0]["closed"])
    assert chain.web3.eth.get_transaction_count(wallet) == before + 4
    assert kit.wealth(chain, station) == 60


async def test_killed_before_the_receipt(chain, process, cars):
    """What is durable is answered the same when it is asked again."""
    process.start("watched", 1)
    process.keeper = asyncio.create_task(process.supervise())
    deal = Deal(chain, cars, [kit.eth(chain)], ((50, 30),))
    receipt = await process.persist(cars[0], lambda: cars[0].watch(deal, deal.state(0)))
    assert isinstance(receipt, sm.Receipt)
    assert process.deaths == 1


async def test_cheated_while_down(chain, process, cars):
    """An old state is registered while the service is dead; more than 100 blocks pass."""
    car, station = cars
    process.start()
    deal = Deal(chain, cars, [kit.eth(chain)], ((50, 30),))
    for device in cars:
        deal.deposit(device)
    state = deal.state(6, ((20, 60),))
    assert isinstance(
        await process.persist(station, lambda: station.watch(deal, state)), sm.Receipt
    )
    process.process.kill()
    assert await process.ended() == -signal.SIGKILL
    deal.register(deal.state(2))
    chain.node.mine(150)
    process.start()
    await until(lambda: deal.registered() == 6)
    chain.node.pass_time(DURATION)
    await until(lambda: kit.wealth(chain, station) == 60)


async def test_graceful_end(process, cars):
    """SIGTERM and SIGINT end it with status 0."""
    for number in (signal.SIGTERM, signal.SIGINT):
        process.start()
        await process.persist(cars[0], lambda: cars[0].ask(im.StatusRequest, b""))
        os.kill(process.process.pid, number)
        async with asyncio.timeout(60):
            assert await process.ended() == 0
        cars[0].wire = None


async def test_node_that_is_down(chain, process, cars, tmp_path):
    """Requests are taken while the node is away; the chain's part follows when it returns."""
    process.start()
    deal = Deal(chain, cars, [kit.eth(chain)], ((50, 30),))
    await process.persist(cars[0], lambda: cars[0].ask(im.StatusRequest, b""))
    pid = chain.node._process.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        answer = await cars[0].fund(deal)
        assert isinstance(answer, sm.Ack)
        await asyncio.sleep(0.3)
    finally:
        os.kill(pid, signal.SIGCONT)
    await until(lambda: deal.holdings(cars[0]) == 50)
    with contextlib.suppress(kit.Hung):
        assert isinstance(await cars[0].watch(deal, deal.state(0)), sm.Receipt)
