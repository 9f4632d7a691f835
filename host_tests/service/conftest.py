"""Fixtures: a chain with contracts, and services on it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from adoption.service import Service
from chainkit import Chain, anvil, chain, deployment
from service import kit

__all__ = ["anvil", "chain", "deployment"]

Start = Callable[..., Awaitable[Service]]


@pytest.fixture
async def start(chain: Chain, tmp_path: Path) -> AsyncIterator[Start]:
    """start(devices, section={...}) runs a service in this process; stopped after the test."""
    running: list[tuple[Service, asyncio.Task[None]]] = []
    kit.write_wallet(tmp_path)

    async def start_one(*devices: kit.Device, **sections: dict[str, Any]) -> Service:
        config = kit.parse(kit.document(chain, devices, **sections), tmp_path)
        service = Service(config)
        task = asyncio.create_task(service.run())
        running.append((service, task))
        ready = asyncio.create_task(service.ready.wait())
        await asyncio.wait({task, ready}, timeout=60, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if task.done():
            running.pop()
            task.result()
        assert service.ready.is_set()
        return service

    async def stop(service: Service) -> None:
        for one, task in running:
            if one is service:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    start_one.stop = stop  # type: ignore[attr-defined]
    yield start_one
    for service, _ in running:
        await stop(service)


@pytest.fixture(autouse=True)
def logs() -> Iterator[None]:
    """A test of the command line leaves no settings behind."""
    yield
    structlog.reset_defaults()


@pytest.fixture
def cars(chain: Chain) -> tuple[kit.Device, kit.Device]:
    """Two devices."""
    return kit.Device(), kit.Device()


def port(service: Service) -> int:
    return service.listeners.addresses[0][1]
