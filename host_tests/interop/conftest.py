"""A chain with Perun's own contracts, and go-perun nodes on it.

Without Go these tests cannot run: they say so in one line, and fail where CI is set, so that no
green run hides them.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from adoption.bridge import line
from chainkit import Chain, anvil
from contracts.anvil import Anvil
from contracts.deploy import Deployment, deploy
from contracts.toolchain import MissingProgram
from goperun.build import PROGRAMS, go, program
from goperun.node import Node
from ours import Ours, node_options
from perun.client import guardian

__all__ = ["anvil"]

NewNode = Callable[..., Awaitable[Node]]

IMPATIENT = (  # what tests need not wait for
    (line, "_FIRST_PAUSE", 0.1),
    (guardian, "_FIRST_PAUSE", 0.1),
    (guardian.Guardian, "quiet", 0.5),
)
SOURCES = {1: "perun-gen1", 2: "perun"}  # of the contracts, by generation


def pytest_report_header() -> str:
    try:
        return f"interop: go-perun nodes, built with {go()}"
    except MissingProgram as error:
        return f"interop: left out, {error}"


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build the nodes before any test's clock runs: it takes minutes at first."""
    here = Path(__file__).parent
    if any(here in item.path.parents for item in session.items):
        with suppress(MissingProgram):
            for generation in PROGRAMS:
                program(generation)


@pytest.fixture(scope="session", autouse=True)
def built() -> None:
    """Nodes are there, or the test is left out; in CI it fails."""
    try:
        program(2)
    except MissingProgram as error:
        if os.environ.get("CI"):
            pytest.fail(f"interop: {error}", pytrace=False)
        pytest.skip(f"interop: {error}")


@pytest.fixture(scope="session")
def deployments(built: None, anvil: Anvil) -> Callable[[int], Deployment]:
    """A function that puts Perun's own contracts of a generation on the chain, once."""
    return functools.cache(lambda generation: deploy(anvil.web3, source=SOURCES[generation]))


@pytest.fixture
def generation() -> int:
    """Of the contracts and of go-perun; tests of both say which."""
    return 2


@pytest.fixture
def deployment(deployments: Callable[[int], Deployment], generation: int) -> Deployment:
    """Perun's own contracts."""
    return deployments(generation)


@pytest.fixture
def chain(anvil: Anvil, deployment: Deployment, generation: int) -> Iterator[Chain]:
    """The contracts as on the first day."""
    before = anvil.snapshot()
    yield Chain(anvil, deployment, SOURCES[generation])
    anvil.revert(before)


@pytest.fixture
async def time_passes(chain: Chain) -> AsyncIterator[None]:
    """A block every now and then, as chains have them. go-perun looks at the clock only when there
    is a new one, and takes an event for final only with the next one if it was not quick enough to
    hear of the block that has it."""
    over = asyncio.Event()

    async def mine() -> None:
        while not over.is_set():
            await asyncio.to_thread(chain.node.mine)
            with suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), 0.3)

    mining = asyncio.create_task(mine())
    yield
    over.set()
    await mining


@pytest.fixture
async def new_node(
    chain: Chain, generation: int, time_passes: None, tmp_path: Path
) -> AsyncIterator[NewNode]:
    """A function that starts a node, `await new_node(persistent=True)`: each has an account of
    its own. They end with the test."""
    numbers = itertools.count()
    async with AsyncExitStack() as stack:

        async def start(**options: Any) -> Node:
            number = next(numbers)
            options.setdefault("payer", 6 + number)  # 5 pays for the service
            options.setdefault("generation", generation)
            node = Node(tmp_path / f"node{number}", chain.node.ws_url, chain.place, **options)
            stack.push_async_callback(node.stop)
            await node.start()
            return node

        yield start


@pytest.fixture
async def meet(
    new_node: Any, chain: Chain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Any]:
    """`node, ours = await meet(way)`: a go-perun node, and a device of ours that has it for a
    peer; dials=False: the node dials. They end with the test."""
    for where, name, seconds in IMPATIENT:
        monkeypatch.setattr(where, name, seconds)
    async with AsyncExitStack() as stack:
        numbers = itertools.count()

        async def make(
            way: str = "tcp", dials: bool = True, name: str = "station", **options: Any
        ) -> tuple[Node, Ours]:
            node = await new_node(**{**node_options(way), **options})
            folder = tmp_path / f"ours{next(numbers)}"
            folder.mkdir()
            ours = Ours(chain, folder, way, node, name)
            stack.push_async_callback(ours.stop)
            await ours.start(dials)
            return node, ours

        yield make
