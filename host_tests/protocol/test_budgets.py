"""What a device may take of its memory. Raise a number here only with a reason in the commit.

The aim for a station with TLS, a peer and one channel is 176 KB on the x64 VM; `make bench` says
where it is (device.peak_heap_bytes).
"""

from __future__ import annotations

import os
from typing import Any

from bench import size, station

HEAP = 192 * 1024  # of a station with its service by TLS, a car over TCP and one channel
GROWTH = 4096  # bytes more in use after many payments: what may be under way when it is asked
FLASH = 44 * 1024  # .mpy files of what a device of x64 loads for that, cryptography apart
PAYMENTS = int(os.environ.get("GROWTH_PAYMENTS", "150"))


def test_a_station_fits() -> None:
    stations = station.Stations(payments=40, progress=lambda _: None)
    assert stations.run(HEAP) is not None, stations.failure


def test_payments_leave_nothing_behind() -> None:
    """GROWTH_PAYMENTS=10000 takes some minutes."""
    in_use = []
    for count in (30, PAYMENTS):
        stations = station.Stations(count, lambda _: None)
        in_use.append(stations.run(512 * 1024))
        assert in_use[-1] is not None, stations.failure
    assert in_use[1] - in_use[0] <= GROWTH, in_use


def test_what_a_station_loads() -> None:
    modules: Any = size.measure()["modules"]
    loaded = ("perun.client", "perun.compat", "perun.link.handshake", "perun.link.tls_micropython")
    loaded += ("perun.channel.opening", "perun.store.journal")
    assert sum(modules[name]["flash"] for name in loaded) <= FLASH
