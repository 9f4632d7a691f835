"""Worlds for system tests: real processes on a real chain. For host_tests/system's conftest.py."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from contracts.toolchain import ROOT
from demo.device import HEAP
from demo.story import Story
from demo.world import World

NewWorld = Callable[..., Awaitable[World]]

COMMAND = [sys.executable, "-m", "demo"]


def environment() -> dict[str, str]:
    """What `make demo` sets, and none of the caller's own settings."""
    return {**os.environ, "PYTHONPATH": f"{ROOT / 'tools'}:{ROOT / 'lib'}", "SCENE": "all"}


@pytest.fixture
async def new_world(tmp_path: Path) -> AsyncIterator[NewWorld]:
    """A function that sets up a world; heap: of each device; car: settings of the car. It ends
    with the test."""
    async with AsyncExitStack() as stack:

        async def make(heap: str = HEAP, **car: Any) -> World:
            story = Story("test", "", print)
            world = World(tmp_path / "world", story, heap, car=car)
            await stack.enter_async_context(world)
            return world

        yield make
