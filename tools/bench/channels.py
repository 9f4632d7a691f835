"""What a further channel costs a device: the firmware in the VM with three cars at the same time.

A station of ours charges one car. So the device has an application that accepts every channel, and
each car a key and a link of its own, which is the dearest kind of channel. What lives on the heap
after the first car's payments and after the last one's tells the cost.
"""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

from perun.chain.account import Account
from contracts.ports import free_port
from demo.device import Device

from bench import station
from bench.counter import Failed

_CARS = 3  # as many links as the firmware has
_PAYMENTS = 5  # of each
_SECONDS = 60
_APPLICATION = """\
FIELDS = {}


class App:
    def __init__(self, client, settings, console, peering):
        client.on_proposal = lambda proposal: None

    def jobs(self):
        return ()

    def commands(self):
        return {}

    def energy_off(self):
        pass

    def status(self):
        return {}
"""


def measure() -> dict[str, int]:
    """{"further_channel_bytes"}. Raises Failed."""
    failure, cost = asyncio.run(_day())
    if failure:
        raise Failed(f"a device with {_CARS} channels fails: {failure}")
    return {"further_channel_bytes": cost}


async def _day() -> tuple[str, int]:
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        service, place = await stack.enter_async_context(station.by_line())
        port = free_port()
        config = {**station.configuration(place, port), "app": {"module": "everybody"}}
        (folder / "everybody.py").write_text(_APPLICATION)
        device = Device("device", folder, config, str(station.LARGEST))
        return await station.spend(device, service, partial(_cars, device, port), _SECONDS)


async def _cars(device: Device, port: int) -> int:
    """One car after the other opens a channel and pays; all stay. The bytes of a further one."""
    await device.said("listening")
    used = []
    async with AsyncExitStack() as stack:
        for number in range(_CARS):
            account = Account(bytes([0x11 + number]) * 32)
            channel = await stack.enter_async_context(station.car(account, port))
            for _ in range(_PAYMENTS):
                await channel.pay(station.PAYMENT)
            status = await device.ask()
            if len(status["channels"]) != number + 1:
                raise Failed(f"{len(status['channels'])} channels instead of {number + 1}")
            used.append(int(status["heap"]["used"]))
    return (used[-1] - used[0]) // (_CARS - 1)
