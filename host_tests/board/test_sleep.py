"""Sleep between payments, and a watchdog: channels outlive what resets a board."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path
from typing import Any

import pytest
from board.definitions import ROOT
from board.virtual import Virtual
from boardkit import NewBoard, put
from eth_utils import to_canonical_address
from marketkit import DEPOSIT, board_and_market
from perun.chain.account import Account
from perun.channel import SIGNED
from perun.client import Client
from perun.client.handle import ChannelHandle, TimedOut
from perun.link import tcp
from perun.store.memory import MemoryStore
from perun.wire.messages import ChannelUpdate

pytestmark = pytest.mark.timeout(300)  # generous, for a busy machine

EXAMPLE = ROOT / "firmware" / "examples" / "sleeper.py"
SLICE = 1_000_000_007
WAKES = """\
import sleeper
from perun.chain.address import from_text
from perun.model import ether
sleeper.ETHER = ether(1337, from_text("{holder}"))
sleeper.OWNER = from_text("{owner}")
sleeper.SLICE, sleeper.ASLEEP, sleeper.AWAKE = {slice}, 0.3, 20
sleeper.run(("127.0.0.1", {service}), ("127.0.0.1", {station}))
"""


# A command that an application might have, with a mistake in it.
HANGING = """\
import time, ev_station
async def hang():
    while True:
        time.sleep_ms(10)
ev_station.App.commands = lambda _: {"hang": hang}
import device
device.main()
"""


def first_word(one: Virtual) -> str:
    """Reset the board; the address that it shows."""
    with open(one.port, "rb", buffering=0) as port:
        one.reset()
        said = b""
        while not (found := re.search(rb"0x[0-9a-fA-F]{40}", said)):
            said += port.read(100)
    return found[0].decode()


async def close(channel: ChannelHandle) -> None:
    """Close it, however its payments fall. A slow board may sleep longer than one close waits."""
    for _ in range(3):
        try:
            return await channel.close()
        except TimedOut as error:
            assert "does not answer" in str(error)
    raise AssertionError("the sleeper is gone")


async def test_a_sleeper(new_board: NewBoard, tmp_path: Path) -> None:
    """Each wake pays a slice; one is cut when it has signed: no version is signed twice."""
    async with board_and_market(new_board, tmp_path) as (one, _, market):
        seen: dict[int, set[Any]] = {}  # version -> the states that the sleeper signed
        cuts = []

        class Station(Client):
            """Keeps what it is shown, and has no answer once, while the power is cut."""

            async def receive(self, peer: Any, message: Any) -> None:
                if type(message) is ChannelUpdate:
                    version = message.state.version
                    seen.setdefault(version, set()).add(message.state)
                    if version == 3 and not cuts:
                        cuts.append(one.boots)
                        await asyncio.to_thread(one.reset)
                        return
                await super().receive(peer, message)

        account = Account(os.urandom(32))
        wallet = to_canonical_address(market.wallets[1])
        limits = market.payer.limits
        station = Station(account, 1337, limits, wallet, MemoryStore())
        channels: list[ChannelHandle] = []
        station.on_proposal = lambda _: "one is enough" if channels else None
        station.on_event = lambda channel, kind, _: kind == SIGNED and channels.append(channel)
        await market.service.allow("0x" + account.address.hex(), "station", 0)
        place = ("127.0.0.1", market.service.port)
        guard = asyncio.create_task(station.guard(lambda: tcp.connect(*place)))
        server = await tcp.serve("127.0.0.1", market.port, station.accept)

        await asyncio.to_thread(put, one, "sleeper.py", EXAMPLE.read_text())
        text = WAKES.format(
            holder=market.chain.place.eth_holder,
            owner=market.wallets[0],
            slice=SLICE,
            service=market.service.port,
            station=market.port,
        )
        await asyncio.to_thread(put, one, "main.py", text)
        address = await asyncio.to_thread(first_word, one)
        await market.service.allow(address, "sleeper", DEPOSIT)
        await market.until("it has paid", lambda: channels and channels[0].version >= 6, 120)
        (channel,) = channels
        sleeps = lambda: [line for line in one.heard if line.startswith("sleep")]
        await market.until("it sleeps again", lambda: len(sleeps()) >= 5, 60)
        assert set(sleeps()) == {"sleep 300"} and cuts
        await close(channel)
        await channel.settled(60)
        await market.until("the money is there", lambda: market.chain.contract_balance() == 0)
        one.power_off()
        assert all(len(states) == 1 for states in seen.values()), seen
        paid = channel.balance()
        assert paid % SLICE == 0 and paid >= 6 * SLICE
        assert market.chain.balance(market.wallets[1]) == paid
        assert market.chain.balance(market.wallets[0]) == DEPOSIT - paid
        guard.cancel()
        server.close()


async def test_a_task_that_hangs(new_board: NewBoard, tmp_path: Path) -> None:
    """It holds the machine: the watchdog resets the board, and the channel goes on."""
    async with board_and_market(new_board, tmp_path, 1) as (one, _, market):
        hardware = {"watchdog": 8, "buttons": [{"pin": 16, "command": "hang"}]}
        await market.provide(one, {"uart": 1}, hardware=hardware)
        await asyncio.to_thread(put, one, "main.py", HANGING)
        await asyncio.to_thread(one.reset)
        market.guard()
        channel = await market.open()
        await channel.pay(1_000_001)
        boots, version = one.boots, channel.version
        one.heard.clear()
        one.set_pin(16, 0)
        await market.until("the watchdog bites", lambda: one.boots > boots)
        await market.connect()
        await channel.pay(2_000_002)
        assert channel.version == version + 1
        await market.settle(channel, 3_000_003)
