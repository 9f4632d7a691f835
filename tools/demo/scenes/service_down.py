"""The service dies while the car charges: payments need none. It returns and catches up."""

from __future__ import annotations

import asyncio

from demo.scenes.base import (
    Scene,
    Verdict,
    charged,
    connect,
    fair_shares,
    order,
    until_wallet,
    until_withdrawn,
)
from demo.world import SLICE_WH, World

WH = 4000
_DIES, _RETURNS = 8, 24  # versions: payments until it dies, and until it is started again


async def play(world: World) -> Verdict:
    """Both devices charge and pay on; the channel closes as if nothing had been."""
    story, chain, service = world.story, world.chain, world.service
    car, station = fair_shares(WH)
    await connect(world)
    began = await order(world, WH)
    with story.step("The car charges and pays, the service keeps up"):
        await world.car.said("channel", kind="updated", detail=_DIES)
    with story.step("kill -9 for the service") as step:
        await service.kill()
        held = service.holds()["channels"][0]["version"]
        step.detail = f"it holds version {held}"
    with story.step("Payments go on between the devices") as step:
        await world.car.said("channel", kind="updated", detail=_RETURNS)
        step.detail = f"version {_RETURNS}: the service missed {_RETURNS - held}"
    with story.step("The service starts again, with the same store"):
        await service.start()
    with story.step("The car has its energy, both sign the final state") as step:
        payments = await charged(world, began)
        closed = await world.car.said("channel", kind="closed")
        step.detail = f"version {closed['detail']}"
    with story.step("The service catches up, concludes and withdraws"):
        car_wallet = await until_wallet(world, world.car_wallet, car)
        station_wallet = await until_wallet(world, world.station_wallet, station)
        await until_withdrawn(world)
    concluded = await asyncio.to_thread(chain.dispute, world.channel)
    return Verdict(
        payments,
        {
            "the car's wallet": car,
            "the station's wallet": station,
            "left in the contract": 0,
            "Wh delivered": WH,
            "Wh received": WH,
            "version that counts": WH // SLICE_WH + 1,
        },
        {
            "the car's wallet": car_wallet,
            "the station's wallet": station_wallet,
            "left in the contract": await asyncio.to_thread(chain.contract_balance),
            "Wh delivered": (await world.station.ask())["delivered_wh"],
            "Wh received": (await world.car.ask())["delivered_wh"],
            "version that counts": concluded.version if concluded else -1,
        },
    )


SCENE = Scene("service-down", "The service dies while the car charges, and returns", play)
