"""Everybody is honest: the car charges, pays, closes; the service settles."""

from __future__ import annotations

import asyncio

from demo.scenes.base import (
    Scene,
    Verdict,
    charge,
    connect,
    fair_shares,
    until_wallet,
    until_withdrawn,
)
from demo.world import World

WH = 5000


async def play(world: World) -> Verdict:
    """From the handshake to the money in both wallets."""
    story, chain = world.story, world.chain
    car, station = fair_shares(WH)
    await connect(world)
    payments = await charge(world, WH)
    with story.step("Both sign the final state") as step:
        closed = await world.car.said("channel", kind="closed")
        step.detail = f"version {closed['detail']}"
    with story.step("The service concludes and withdraws to the wallets of the owners"):
        car_wallet = await until_wallet(world, world.car_wallet, car)
        station_wallet = await until_wallet(world, world.station_wallet, station)
        await until_withdrawn(world)
    return Verdict(
        payments,
        {
            "the car's wallet": car,
            "the station's wallet": station,
            "left in the contract": 0,
            "Wh delivered": WH,
            "Wh received": WH,
        },
        {
            "the car's wallet": car_wallet,
            "the station's wallet": station_wallet,
            "left in the contract": await asyncio.to_thread(chain.contract_balance),
            "Wh delivered": (await world.station.ask())["delivered_wh"],
            "Wh received": (await world.car.ask())["delivered_wh"],
        },
    )


SCENE = Scene("honest", "An electric car pays a charging station", play)
