"""The station is a go-perun node: the car, a device of ours, charges there and pays."""

from __future__ import annotations

import asyncio
from typing import cast

from demo.foreign import ForeignWorld
from demo.scenes.base import Scene, Verdict, charge, fair_shares, until_wallet
from demo.world import World

WH = 3000


async def play(world: World) -> Verdict:
    """From the handshake to the money of both."""
    world = cast(ForeignWorld, world)
    story, chain, node = world.story, world.chain, world.node
    car, station = fair_shares(WH)
    with story.step("Handshakes: the device with the service, the service with the node"):
        await world.device.shows("that the service is there", service=True)
        await world.device.said("peer connected")
    payments = await charge(world, WH)
    with story.step("Both sign the final state") as step:
        closed = await world.device.said("channel", kind="closed")
        await node.told("update", final=True)
        step.detail = f"version {closed['detail']}"
    with story.step("The service concludes and withdraws for the car, the node for itself"):
        wallet = await until_wallet(world, world.car_wallet, car)
        await node.settle(world.side.newest["channel"])
    return Verdict(
        payments,
        {
            "the car's wallet": car,
            "paid to the go-perun node": station,
            "left in the contract": 0,
            "Wh delivered": WH,
            "Wh received": WH,
        },
        {
            "the car's wallet": wallet,
            "paid to the go-perun node": await asyncio.to_thread(world.withdrawn, node.account),
            "left in the contract": await asyncio.to_thread(chain.contract_balance),
            "Wh delivered": world.side.wh,
            "Wh received": (await world.device.ask())["delivered_wh"],
        },
    )


SCENE = Scene("go-station", "A car of ours charges at a go-perun node", play, world=ForeignWorld)
