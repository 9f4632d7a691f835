"""Which modules a charging station loads: its day in the VM, with an import that tells."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple

from contracts.ports import free_port
from demo.device import Device

from bench import station
from bench.counter import Failed

_PAYMENTS = 3
_SECONDS = 60
_HEAP = "4m"  # the names of the modules take memory
_PROGRAM = """\
import builtins
import json
import sys

load = builtins.__import__
seen = set()


def tell(name, *how):
    if name == "status":  # asked for at the end: what is there stays
        print(json.dumps({"event": "kept", "modules": list(sys.modules)}))
    module = load(name, *how)
    for one in sys.modules:
        if one not in seen:
            seen.add(one)
            print(json.dumps({"event": "loaded", "module": one}))
    return module


builtins.__import__ = tell
import main

main.main()
"""


class Loaded(NamedTuple):
    """Names of modules, MicroPython's own included."""

    ever: frozenset[str]
    stay: frozenset[str]  # the others are forgotten once they have run


def measure(tls: bool = True) -> Loaded:
    """What a station loads from its start to the end of a channel: with its service by TLS or over
    a serial line, one car over TCP. Raises Failed."""
    return asyncio.run(_day(tls))


async def _day(tls: bool) -> Loaded:
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "watch.py").write_text(_PROGRAM)
        serving = station.by_tls(folder) if tls else station.by_line()
        service, place = await stack.enter_async_context(serving)
        port = free_port()
        config = station.configuration(place, port)
        device = Device("station", folder, config, _HEAP, "watch")
        failure, _ = await station.spend(device, service, _work(device, port), _SECONDS)
    if failure:
        raise Failed(f"the station fails: {failure}")
    ever = {event["module"] for event in device.events if event["event"] == "loaded"}
    stay = [event["modules"] for event in device.events if event["event"] == "kept"][-1]
    return Loaded(frozenset(ever), frozenset(stay))


def _work(device: Device, port: int) -> Callable[[], station.Work]:
    async def work() -> int:
        # The service is there first: about channels that a device has before, it is asked more.
        await device.said("loaded", module="perun.client.catching_up")
        await station.charge(device, port, _PAYMENTS)
        await device.ask()
        return 0

    return work
