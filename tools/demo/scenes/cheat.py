"""The car's side cheats: it registers an old, cheaper state while the station has no power."""

from __future__ import annotations

import asyncio
from typing import Any

from eth_utils import to_checksum_address

from demo.scenes.base import (
    Scene,
    Verdict,
    charge,
    connect,
    fair_shares,
    until_registered,
    until_wallet,
)
from demo.world import CHALLENGE, World, short

CHEAP_WH = 300  # what the cheater would like to pay for
MORE_WH = 2200
_CHEATER = 7  # an account of the development chain

_NO_APP = "0x" + "00" * 20
_NO_FOREIGN = bytes(32)  # the part of participants and assets that only other chains use


async def play(world: World) -> Verdict:
    """The station gets every wei although it is switched off."""
    story, chain = world.story, world.chain
    car, station = fair_shares(CHEAP_WH + MORE_WH)
    await connect(world)
    await charge(world, CHEAP_WH)
    with story.step("The cheater keeps the state of now and cuts the car's own service link"):
        old = await export(world)
        await world.cable.cut()
    newest = await charge(world, MORE_WH)
    with story.step("Charging is over: the station gives its service what a withdrawal needs"):
        await world.station.said("checkpoint", version=newest)
    with story.step("Power cut: kill -9 for the station"):
        await world.station.kill()
    with story.step("The cheater registers the old state on the chain") as step:
        await asyncio.to_thread(register, world, old)
        step.detail = f"version {old['state'][1]} of {newest}"
    with story.step("The service refutes it with the newest state") as step:
        dispute = await until_registered(world, newest)
        step.detail = f"version {dispute.version} is registered"
    with story.step(f"{CHALLENGE} s of challenge period pass on the chain"):
        await asyncio.to_thread(chain.node.pass_time, CHALLENGE + 1)
    with story.step("The service concludes and withdraws to the station's owner") as step:
        wallet = await until_wallet(world, world.station_wallet, station)
        step.detail = f"wallet {short(world.station_wallet)}, the station is still off"
    held = await asyncio.to_thread(chain.holding, world.channel, world.car.address)
    with story.step("The car comes back for what is left"):
        await world.cable.plug()
        rest = await until_wallet(world, world.car_wallet, car)
    return Verdict(
        newest,
        {
            "the station's wallet": station,
            "left for the car": car,
            "the car's wallet": car,
            "left in the contract": 0,
            "version that counts": newest,
        },
        {
            "the station's wallet": wallet,
            "left for the car": held,
            "the car's wallet": rest,
            "left in the contract": await asyncio.to_thread(chain.contract_balance),
            "version that counts": dispute.version,
        },
    )


async def export(world: World) -> dict[str, Any]:
    """The newest fully signed state, which the device hands to its owner on request."""
    await world.car.command("export")
    return await world.car.said("export")


def register(world: World, exported: dict[str, Any]) -> None:
    """Send an exported state to the adjudicator from an account of the cheater's own."""
    duration, nonce, participants, app, ledger, virtual = exported["params"]
    channel, version, _, (assets, balances, locked), data, final = exported["state"]
    params = (
        int(duration),
        int(nonce),
        [(to_checksum_address(address), _NO_FOREIGN) for address in participants],
        app if app != "0x" else _NO_APP,
        ledger,
        virtual,
    )
    outcome = (
        [(int(chain), to_checksum_address(holder), _NO_FOREIGN) for chain, holder, _ in assets],
        [backend for _, _, backend in assets],
        [[int(amount) for amount in row] for row in balances],
        locked,
    )
    state = (channel, version, outcome, data, final)
    sender = world.chain.node.web3.eth.accounts[_CHEATER]
    world.chain.register(sender, (params, state, exported["sigs"]))


SCENE = Scene(
    "cheat",
    "The car registers an old state while the station is off",
    play,
    car={"close_when_charged": False},
)
