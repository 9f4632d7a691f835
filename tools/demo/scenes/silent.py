"""The car vanishes in the middle of a slice. Energy stops, and the station settles without it."""

from __future__ import annotations

import asyncio

from demo.scenes.base import (
    Scene,
    Verdict,
    connect,
    fair_shares,
    mid_slice,
    order,
    until_registered,
    until_wallet,
)
from demo.world import CHALLENGE, SLICE_WH, World

PAYMENTS = 11  # before the car vanishes
PATIENCE = 3  # seconds until the station gives the car up


async def play(world: World) -> Verdict:
    """Who vanishes loses the slice in flight; all the rest goes where it belongs."""
    story, chain = world.story, world.chain
    await connect(world)
    await order(world, 4000)
    with story.step("The car charges and pays slice by slice") as step:
        await world.car.said("channel", kind="updated", detail=PAYMENTS)
        received = await mid_slice(world)
        step.detail = f"{received:,} Wh received"
    with story.step("The car vanishes in the middle of a slice: kill -9"):
        await world.car.kill()
    with story.step("Energy stops when what is paid for was delivered") as step:
        delivered = await energy_off(world)
        # It asks and pays on until it is killed: a payment says what had arrived before it.
        status = await world.station.ask()
        received = max(received, status["channels"][0]["version"] * SLICE_WH - SLICE_WH)
        step.detail = f"{delivered - received} Wh more were delivered"
    with story.step(f"After {PATIENCE} s the station has its service open a dispute") as step:
        await world.station.said("settling")
        dispute = await until_registered(world, PAYMENTS)
        step.detail = f"version {dispute.version} is registered"
    with story.step(f"{CHALLENGE} s of challenge period pass on the chain"):
        await asyncio.to_thread(chain.node.pass_time, CHALLENGE + 1)
    # What the meter counted is what there is to pay.
    delivered = (await world.station.ask())["delivered_wh"]
    car, station = fair_shares(delivered)
    with story.step("The service concludes and withdraws to the station's owner"):
        station_wallet = await until_wallet(world, world.station_wallet, station)
        held = await asyncio.to_thread(chain.holding, world.channel, world.car.address)
    with story.step("The car is switched on again and comes back for what is left"):
        await world.car.start()
        car_wallet = await until_wallet(world, world.car_wallet, car)
    return Verdict(
        dispute.version,
        {
            "the station's wallet": station,
            "left for the car": car,
            "the car's wallet": car,
            "left in the contract": 0,
            "Wh lost beyond a slice": 0,
        },
        {
            "the station's wallet": station_wallet,
            "left for the car": held,
            "the car's wallet": car_wallet,
            "left in the contract": await asyncio.to_thread(chain.contract_balance),
            "Wh lost beyond a slice": max(0, delivered - received - SLICE_WH),
        },
    )


async def energy_off(world: World) -> int:
    """Wait until the station's relay is open; returns what its meter shows."""
    while True:
        status = await world.station.ask()
        if not status["charging"]:
            return int(status["delivered_wh"])
        await asyncio.sleep(0.02)


SCENE = Scene(
    "silent",
    "The car vanishes in the middle of a slice",
    play,
    station={"settle_after": PATIENCE},
    power=400,
)
