"""The station loses its power three times, also in the middle of a flash write, and goes on."""

from __future__ import annotations

import asyncio

from demo.scenes.base import (
    Scene,
    Verdict,
    charged,
    connect,
    fair_shares,
    mid_slice,
    order,
    until_wallet,
    until_withdrawn,
)
from demo.world import SLICE_WH, World

WH = 5000
_CUTS = (5, 10, 15)  # versions after which the power is cut: long before the last payment
_TORN = 100  # bytes of a record that get to the flash


async def play(world: World) -> Verdict:
    """No payment is lost or made twice; of the energy at most the slice in flight."""
    story, chain = world.story, world.chain
    car, station = fair_shares(WH)
    await connect(world)
    began = await order(world, WH)
    for version, cut in zip(_CUTS, (_between_writes, _in_a_write, _in_a_slice), strict=True):
        with story.step(f"The car charges and pays, up to version {version}"):
            await world.car.said("channel", kind="updated", detail=version, since=began)
        await cut(world)
        await _returns(world)
    with story.step("The car has its energy, both sign the final state") as step:
        payments = await charged(world, began)
        closed = await world.car.said("channel", kind="closed")
        status = await world.car.ask()
        received, lost = int(status["delivered_wh"]), int(status["lost_wh"])
        step.detail = f"version {closed['detail']}, {lost} Wh were lost in flight"
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
            "payments": WH // SLICE_WH,
            "Wh received or lost": WH,
            "Wh lost beyond a slice": 0,
        },
        {
            "the car's wallet": car_wallet,
            "the station's wallet": station_wallet,
            "left in the contract": await asyncio.to_thread(chain.contract_balance),
            "payments": payments,
            "Wh received or lost": received + lost,
            "Wh lost beyond a slice": max(0, lost - SLICE_WH),
        },
    )


async def _between_writes(world: World) -> None:
    with world.story.step("Power cut at the station: between two writes to its flash") as step:
        await world.station.cut_in_write(0)
        step.detail = await _in_flight(world)


async def _in_a_write(world: World) -> None:
    with world.story.step("Power cut at the station: in the middle of a write") as step:
        await world.station.cut_in_write(_TORN)
        step.detail = await _in_flight(world)


async def _in_a_slice(world: World) -> None:
    with world.story.step("Power cut at the station: while energy flows") as step:
        received = await mid_slice(world)
        await world.station.kill()
        step.detail = f"{SLICE_WH - received % SLICE_WH} Wh in flight"


async def _in_flight(world: World) -> str:
    version = (await world.car.ask())["channels"][0]["version"]
    return f"payment {version + 1} in flight, signed by the car only"


async def _returns(world: World) -> None:
    since = len(world.car.events)
    with world.story.step("It returns, hears the car and the service, and charging goes on"):
        world.line.flush()
        await world.station.start()
        await world.car.said("channel", kind="updated", since=since)


SCENE = Scene(
    "power-cut",
    "The station loses its power while the car charges",
    play,
    car={"patience": 4},
    power=1000,
)
