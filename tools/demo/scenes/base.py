"""What scenes have in common."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from demo.chain import Dispute
from demo.world import (
    CAR_DEPOSIT,
    PRICE_PER_KWH,
    SLICE_WH,
    STATION_DEPOSIT,
    WH_PER_SECOND,
    World,
)


@dataclass(frozen=True)
class Verdict:
    """What must be and what is: the same names in both. Amounts in wei, energy in Wh."""

    payments: int
    expected: dict[str, int]
    actual: dict[str, int]

    @property
    def ok(self) -> bool:
        """Does everything agree, to the wei?"""
        return self.expected == self.actual


@dataclass(frozen=True)
class Scene:
    """name: for the command line; play: runs in a fresh world; car, station: settings of theirs;
    power: how fast energy flows, in Wh per second; world: who is in it."""

    name: str
    title: str
    play: Callable[[World], Awaitable[Verdict]]
    car: dict[str, Any] = field(default_factory=dict)
    station: dict[str, Any] = field(default_factory=dict)
    power: int = WH_PER_SECOND
    world: type[World] = World


def price_of(wh: int) -> int:
    """What `wh` cost, in wei: worked out from the tariff, not from what anybody paid."""
    return -(-wh * PRICE_PER_KWH // 1000)


def fair_shares(wh: int) -> tuple[int, int]:
    """What the car and the station own after `wh` were delivered, in wei."""
    return CAR_DEPOSIT - price_of(wh), STATION_DEPOSIT + price_of(wh)


async def connect(world: World) -> None:
    """Wait until both devices have their links."""
    with world.story.step("Handshakes: both devices with the service, the car with the station"):
        for device in (world.car, world.station):
            await device.shows("that the service is there", service=True)
        await world.car.said("peer connected")


async def order(world: World, wh: int) -> int:
    """Have the car begin to charge; the first time it opens the channel.

    Returns where what the car says from now on begins in its `events`.
    """
    car, story = world.car, world.story
    since = len(car.events)
    story.goal_wh += wh
    await car.command(f"charge {wh}")
    if not world.channel:
        with story.step("The car proposes a channel, the station accepts, both sign it"):
            await car.said("channel", kind="signed")
        with story.step("The service deposits for both") as step:
            await car.said("channel", kind="open")
            held = await asyncio.to_thread(world.chain.contract_balance)
            step.detail = f"{held:,} wei in the contract"
    return since


async def charge(world: World, wh: int) -> int:
    """Have the car charge, and wait for it; returns the number of payments until then."""
    since = await order(world, wh)
    with world.story.step(f"The car charges {wh:,} Wh and pays slice by slice") as step:
        began = world.story.seconds
        version = await charged(world, since)
        rate = wh / SLICE_WH / (world.story.seconds - began)
        step.detail = f"version {version}, {rate:.0f} payments a second"
    return version


async def charged(world: World, since: int) -> int:
    """Wait for the end of the order that began at `since`; returns the number of payments."""
    event = await world.car.said("charged", since=since)
    return int(event["version"])


async def mid_slice(world: World) -> int:
    """Wait until the car's meter is in the first half of a slice; returns what it shows."""
    while True:
        received = int((await world.car.ask())["delivered_wh"])
        if SLICE_WH // 10 < received % SLICE_WH < SLICE_WH // 2:
            return received


async def until_wallet(world: World, wallet: str, amount: int, timeout: float = 60) -> int:
    """Wait until a wallet owns at least this amount; returns what it owns when that is so, or
    when nobody wants to wait any longer: the verdict tells the difference."""
    balance = 0
    for _ in range(int(timeout / 0.1)):
        balance = await asyncio.to_thread(world.chain.balance, wallet)
        if balance >= amount:
            break
        await asyncio.sleep(0.1)
    return balance


async def until_registered(world: World, version: int) -> Dispute:
    """The dispute once it has at least this version. TimeoutError."""
    async with asyncio.timeout(60):
        while True:
            dispute = await asyncio.to_thread(world.chain.dispute, world.channel)
            if dispute is not None and dispute.version >= version:
                return dispute
            await asyncio.sleep(0.05)


async def until_withdrawn(world: World) -> None:
    """Wait until both devices know that their owners have their money."""
    for device in (world.car, world.station):
        await device.said("channel", kind="withdrawn")
