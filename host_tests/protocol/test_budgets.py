"""What a device may take of its memory. Raise a number here only with a reason in the commit.

`make bench` says how far a station is below its heap (device.peak_heap_bytes).
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from bench import channels, size, station
from contracts.ports import free_port
from demo.device import Device

HEAP = 176 * 1024  # of a station with its service by TLS or a serial line, a car and a channel
ROMFS = 132 * 1024  # of the same with its modules in a ROMFS, which does not count
WITNESS = 8 * 1024  # more of a station with a witness by TLS
CHANNEL = 16 * 1024  # for each further channel, its car and its link
GROWTH = 4096  # bytes more in use after many payments: what may be under way when it is asked
FLASH = 90 * 1024  # .mpy files of the engine: what it loads on any architecture
ALL = {"x64": 109, "armv6m": 90, "armv7emsp": 88, "xtensawin": 99, "rv32imc": 98}  # KB, all files
RAM = 90 * 1024  # heap of the x64 VM that a station keeps for them, asyncio apart
BOOT = 3  # seconds
PAYMENTS = int(os.environ.get("GROWTH_PAYMENTS", "150"))


@pytest.mark.parametrize("tls", [True, False], ids=["tls", "serial"])
def test_a_station_fits(tls: bool) -> None:
    stations = station.Stations(40, lambda _: None, tls)
    assert stations.run(HEAP) is not None, stations.failure


def test_a_station_that_comes_back_fits() -> None:
    stations = station.Stations(20, lambda _: None, again=True)
    assert stations.run(HEAP) is not None, stations.failure


def test_a_station_with_a_witness_fits() -> None:
    stations = station.Stations(20, lambda _: None, witness=True)
    assert stations.run(HEAP + WITNESS) is not None, stations.failure


def test_a_station_with_its_modules_in_flash_fits() -> None:
    stations = station.RomfsStations(20, lambda _: None)
    assert stations.run(ROMFS) is not None, stations.failure


def test_a_further_channel_fits() -> None:
    assert 0 < channels.measure()["further_channel_bytes"] <= CHANNEL


async def test_listens_soon(tmp_path: Path) -> None:
    """From power to a port that takes peers; the best of three, for others use this machine."""
    times = []
    for number in range(3):
        place = {"tcp": {"host": "127.0.0.1", "port": 9}}
        config = station.configuration(place, free_port())
        device = Device("station", tmp_path / str(number), config)
        began = time.monotonic()
        try:
            await device.start()
            await device.said("listening")
        finally:
            await device.kill()
            await device.stop()
        times.append(time.monotonic() - began)
    assert min(times) < BOOT, times


def test_payments_leave_nothing_behind() -> None:
    """GROWTH_PAYMENTS=10000 takes some minutes."""
    in_use = []
    for count in (30, PAYMENTS):
        stations = station.Stations(count, lambda _: None)
        in_use.append(stations.run(512 * 1024))
        assert in_use[-1] is not None, stations.failure
    assert in_use[1] - in_use[0] <= GROWTH, in_use


def test_what_a_station_loads() -> None:
    sizes: Any = size.measure()
    flash = {arch: sizes["flash_by_arch"][arch]["station"] for arch in size.ARCHITECTURES}
    assert max(flash.values()) <= FLASH, flash
    for arch, most in ALL.items():
        assert sizes["flash_by_arch"][arch]["all"] <= most * 1024, arch
    assert sizes["ram_station_bytes"] - sizes["ram_built_in_bytes"] <= RAM
    # All are in the list, and nothing is that a station has no use for.
    loads = {name for name, one in sizes["modules"].items() if one["group"] == size.STATION}
    assert {"perun.client", "perun.store.journal", "perun.link.dial_micropython"} <= loads
    assert not any("protobuf" in name or "salvage" in name for name in loads)
