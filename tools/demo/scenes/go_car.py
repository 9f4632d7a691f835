"""The car is a go-perun node: it charges at a station of ours, behind a serial line, and pays."""

from __future__ import annotations

import asyncio
from typing import cast

from demo.foreign import Car, NodeIsCar
from demo.scenes.base import Scene, Verdict, fair_shares, price_of, until_wallet
from demo.world import CAR_DEPOSIT, CHALLENGE, SLICE_WH, STATION_DEPOSIT, World

WH = 3000


async def play(world: World) -> Verdict:
    """From the handshake to the money of both."""
    world = cast(NodeIsCar, world)
    story, chain, node = world.story, world.chain, world.node
    meter = cast(Car, world.side)
    car, station = fair_shares(WH)
    story.goal_wh = WH
    with story.step("Handshakes: the device with the service, the service with the node"):
        await world.device.shows("that the service is there", service=True)
        await world.device.said("peer connected")
    with story.step("The node proposes a channel, the station accepts, both deposit") as step:
        opened = await node.propose(world.wire, [(CAR_DEPOSIT, STATION_DEPOSIT)], CHALLENGE)
        held = await asyncio.to_thread(chain.contract_balance)
        step.detail = f"{held:,} wei in the contract"
    channel = opened["channel"]
    with story.step(f"The car charges {WH:,} Wh and pays slice by slice") as step:
        began = story.seconds
        for wh in range(SLICE_WH, WH + 1, SLICE_WH):
            paid = await node.pay(channel, price_of(wh) - price_of(wh - SLICE_WH))
            await meter.received(wh)
        rate = WH / SLICE_WH / (story.seconds - began)
        step.detail = f"version {paid['version']}, {rate:.0f} payments a second"
    with story.step("Both sign the final state") as step:
        final = await node.finalize(channel)
        await world.device.said("channel", kind="closed")
        step.detail = f"version {final['version']}"
    with story.step("The service concludes and withdraws for the station, the node for itself"):
        wallet = await until_wallet(world, world.station_wallet, station)
        await node.settle(channel)
    return Verdict(
        paid["version"],
        {
            "the station's wallet": station,
            "paid to the go-perun node": car,
            "left in the contract": 0,
            "Wh received": WH,
        },
        {
            "the station's wallet": wallet,
            "paid to the go-perun node": await asyncio.to_thread(world.withdrawn, node.account),
            "left in the contract": await asyncio.to_thread(chain.contract_balance),
            "Wh received": meter.wh,
        },
    )


SCENE = Scene("go-car", "A go-perun node charges at a station of ours", play, world=NodeIsCar)
