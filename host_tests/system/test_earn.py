"""The application of the README, which earns money in twenty lines, earns money."""

from __future__ import annotations

import asyncio
import os
import re

from contracts.ports import free_port
from contracts.toolchain import ROOT
from demo import processes
from demo.device import MICROPYTHON, MODULES
from demo.world import World
from eth_utils import to_canonical_address
from perun.chain.account import Account
from perun.channel import Limits
from perun.client import Client
from perun.link import tcp
from perun.model import ether
from perun.store.memory import MemoryStore
from worlds import NewWorld

EXAMPLE = ROOT / "firmware" / "examples" / "earn.py"
PAID = 123_456_789


def test_twenty_lines() -> None:
    lines = [line for line in EXAMPLE.read_text().splitlines()[1:] if line.strip()]
    assert len(lines) <= 20


async def test_earn(new_world: NewWorld) -> None:
    world = await new_world()
    port = free_port()
    driver = (
        "import asyncio, earn\n"
        "from perun.chain.address import from_text\n"
        "from perun.model import ether\n"
        f"earn.ETHER = ether(1337, from_text('{world.chain.place.eth_holder}'))\n"
        f"earn.OWNER = from_text('{world.station_wallet}')\n"
        f"asyncio.run(earn.earn(('127.0.0.1', {world.service.port}), {port}))\n"
    )
    process = await processes.spawn(
        [str(MICROPYTHON), "-c", driver],
        world.directory / "earn.log",
        world.directory,
        MICROPYPATH=f"{EXAMPLE.parent}:{MODULES}:.frozen",
    )
    try:
        assert process.stdout is not None
        line = (await asyncio.wait_for(process.stdout.readline(), 60)).decode()
        found = re.search("0x[0-9a-fA-F]{40}", line)
        assert found, line
        await pay(world, found[0], port)
        said = []
        while not said or not said[-1].startswith("withdrawn"):
            said.append((await asyncio.wait_for(process.stdout.readline(), 60)).decode().strip())
        assert f"updated {PAID}" in said and f"withdrawn {PAID}" in said
        assert world.chain.balance(world.station_wallet) == PAID
    finally:
        await processes.end(process)


async def pay(world: World, earner: str, port: int) -> None:
    """Pay the device, with the same client on CPython."""
    account = Account(os.urandom(32))
    asset = ether(1337, to_canonical_address(world.chain.place.eth_holder))
    limits = Limits((asset,), (10**15,), 60, 3600)
    wallet = to_canonical_address(world.car_wallet)
    client = Client(account, 1337, limits, wallet, MemoryStore())
    await world.service.allow(earner, "earner", 0)
    await world.service.allow("0x" + account.address.hex(), "payer", 10**15)
    guard = asyncio.create_task(client.guard(lambda: tcp.connect("127.0.0.1", world.service.port)))
    try:
        peer = await client.connect(await tcp.connect("127.0.0.1", port))
        channel = await client.propose(peer, [(10**15, 0)], 600)
        await channel.opened(60)
        for amount in (PAID // 2, PAID - PAID // 2):
            await channel.pay(amount)
        await channel.close()
        await channel.settled(60)
        peer.close()
    finally:
        guard.cancel()
