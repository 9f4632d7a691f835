"""Generation 1 with a service of its own: a device that speaks to the node itself over plain TCP,
and devices that speak perun-rs's protocol to the service."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest
from adoption.perun_rs.messages import DisputeNotification, FundingResponse, WatchResponse
from goperun.node import Identity
from perun.chain.account import Account
from perun.channel import FINAL, Limits
from perun.client import Client
from perun.client.direct import Direct
from perun.link import tcp
from perun.model import ether
from perun.store.memory import MemoryStore
from service import kit
from service.conftest import port, start
from service.kit import until
from service.perun_rs_device import Connection, Deal
from test_generation1 import chain, deployment

__all__ = ["chain", "deployment", "start"]


class Device:
    """A client of generation 1, its service, and a way to dial a node or wait for it."""

    def __init__(self, chain: Any, name: str) -> None:
        self.chain = chain
        self.name = name.encode()
        self.receiver = secrets.token_bytes(20)
        account = Account(secrets.token_bytes(32))
        self.address = account.address
        asset = ether(chain.web3.eth.chain_id, kit.eth(chain))
        limits = Limits((asset,), (10**18,), 60, 86400)
        chain_id = chain.web3.eth.chain_id
        self.client = Client(account, chain_id, limits, self.receiver, MemoryStore(), 1)
        self.errors: list[str] = []
        self.client.on_error = self.errors.append
        self.client.on_proposal = lambda proposal: None
        self.direct = Direct(self.client, "Alice", 1, self.name, b"Alice")
        self.tasks: list[asyncio.Task[Any]] = []

    def guard(self, service: Any) -> None:
        where = port(service)
        guarding = self.client.guard(lambda: tcp.connect("127.0.0.1", where))
        self.tasks.append(asyncio.create_task(guarding))

    async def dial(self, node: Any) -> Any:
        return await self.direct.connect(await tcp.connect("127.0.0.1", node.port))

    async def stop(self) -> None:
        for task in self.tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def paid(self) -> int:
        address = self.chain.web3.to_checksum_address(self.receiver)
        return int(self.chain.web3.eth.get_balance(address))


@pytest.fixture
async def meet(chain, start, new_node) -> AsyncIterator[Any]:
    made = []

    async def make(name: str = "Bob") -> tuple[Any, Device]:
        node = await new_node(identity=Identity("Alice"), generation=1, payer=7)
        device = Device(chain, name)
        made.append(device)
        registered = kit.Device()
        registered.address = device.address
        device.guard(await start(registered, chain={"generation": 1}))
        return node, device

    yield make
    for device in made:
        await device.stop()


async def test_the_device_dials_opens_pays_and_settles(meet):
    node, device = await meet()
    peer = await device.dial(node)
    handle = await device.client.propose(peer, ((1000, 500),), 600)
    await handle.opened(60)
    channel = handle.id.hex()
    await node.told("channel", channel=channel)
    assert await handle.pay(100) == 1
    assert (await node.pay(channel, 30))["balances"] == [["930", "570"]]
    await handle.close()
    assert handle.phase >= FINAL
    await asyncio.gather(handle.settled(60), node.settle(channel))
    assert device.paid() == 930


async def test_the_node_dials_opens_pays_and_settles(meet):
    node, device = await meet()
    server = await tcp.serve("127.0.0.1", 0, device.direct.accept)
    at = server.sockets[0].getsockname()[1]
    await node.peer(device.name, f"127.0.0.1:{at}")
    opened = await node.propose(device.name, [(1000, 500)])
    handle = device.client.channels[bytes.fromhex(opened["channel"])]
    assert (await node.pay(opened["channel"], 100))["version"] == 1
    await handle.opened(60)
    assert await handle.pay(7) == 2
    await node.finalize(opened["channel"])
    await asyncio.gather(handle.settled(60), node.settle(opened["channel"]))
    assert device.paid() == 593
    server.close()


async def test_the_service_refutes_an_old_state(meet, chain, time_passes):
    node, device = await meet()
    handle = await device.client.propose(await device.dial(node), ((1000, 0),), 600)
    await handle.opened(60)
    for _ in range(3):
        await handle.pay(100)
    await node.pay(handle.id.hex(), 250)
    await handle.paid(4)
    await handle.checkpoint()
    await node.register(handle.id.hex(), 3)
    await until(lambda: handle.registered and handle.registered[0] == 4)
    chain.node.pass_time(601)
    await handle.settled(60)
    assert device.paid() == 950


@pytest.mark.parametrize("name", ["AAA", "Bob"])
async def test_the_device_dials_again_while_the_node_holds_the_old_link(meet, name):
    """What the smaller name dials is dropped after the handshake until the node has noticed."""
    node, device = await meet(name)
    peer = await device.dial(node)
    handle = await device.client.propose(peer, ((1000, 500),), 600)
    await handle.opened(60)

    async def back() -> bool:
        with contextlib.suppress(OSError):
            await device.dial(node)
            await asyncio.sleep(0.3)
        return peer.connected

    await device.dial(node)  # a second one, while the first is alive
    await asyncio.sleep(0.3)
    await until(lambda: peer.connected or back())
    assert await handle.pay(1) == 1


async def test_perun_rs_devices_live_on(chain, start):
    """Two of them: funded, paid, ended and paid out, by a service that knows nothing else."""
    deal = Deal(chain.web3.eth.chain_id, kit.eth(chain), ((1000, 500),))
    registered = []
    for address in deal.parts:
        device = kit.Device()
        device.address = address
        registered.append(device)
    section = {
        "listen": ["127.0.0.1:0"],
        "devices": ["0x" + address.hex() for address in deal.parts],
    }
    service = await start(*registered, chain={"generation": 1}, perun_rs=section)
    receivers = [secrets.token_bytes(20) for _ in range(2)]
    at = service.perun_rs.addresses[0][1]
    lines = [await Connection.dial(at) for _ in range(2)]
    for index, line in enumerate(lines):
        line.send(deal.watch(index, deal.state(0), receivers[index]))
        line.send(deal.fund(index))
    for line in lines:
        assert await line.recv() == WatchResponse(deal.id, 0, True)
        assert await line.recv(30) == FundingResponse(deal.id, True)
    for index, line in enumerate(lines):
        paid = deal.state(1, ((900, 600),))
        assert (await line.ask(deal.watch(index, paid, receivers[index]))).success
    for index, line in enumerate(lines):
        final = deal.state(2, ((850, 650),), final=True)
        assert (await line.ask(deal.watch(index, final, receivers[index]))).success

    def balances() -> list[int]:
        web3 = chain.web3
        return [web3.eth.get_balance(web3.to_checksum_address(one)) for one in receivers]

    await until(lambda: balances() == [850, 650])


async def test_perun_rs_force_close(chain, start, time_passes):
    deal = Deal(chain.web3.eth.chain_id, kit.eth(chain), ((1000, 0),))
    registered = kit.Device()
    registered.address = deal.parts[0]
    section = {"listen": ["127.0.0.1:0"], "devices": ["0x" + deal.parts[0].hex()]}
    service = await start(registered, chain={"generation": 1}, perun_rs=section)
    line = await Connection.dial(service.perun_rs.addresses[0][1])
    receiver = secrets.token_bytes(20)
    line.send(deal.watch(0, deal.state(0), receiver))
    line.send(deal.fund(0))
    assert await line.recv() == WatchResponse(deal.id, 0, True)
    assert await line.recv(30) == FundingResponse(deal.id, True)
    latest = deal.watch_message(0, deal.state(1, ((700, 300),)), receiver)
    assert (await line.ask(deal.force_close(latest))).success
    assert await line.recv(30) == DisputeNotification(deal.id)
    chain.node.pass_time(601)
    web3 = chain.web3
    address = web3.to_checksum_address(receiver)
    await until(lambda: web3.eth.get_balance(address) == 700)
