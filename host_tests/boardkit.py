"""Virtual boards for tests: they end with the test, and so do their processes.

A folder of tests that wants them says in its conftest.py

    from boardkit import deployed, device, new_board
    __all__ = ["deployed", "device", "new_board"]
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from board import deploy
from board.definitions import ROOT, board
from board.port import Repl
from board.virtual import Virtual

NewBoard = Callable[..., Virtual]
MPREMOTE = [sys.executable, "-m", "mpremote"]


@pytest.fixture
def new_board(tmp_path: Path) -> Iterator[NewBoard]:
    """A function (name of the board, settings of Virtual...) -> a board that is switched on."""
    with ExitStack() as stack:
        count = 0

        def make(name: str = "RPI_PICO", **more: Any) -> Virtual:
            nonlocal count
            count += 1
            directory = more.pop("directory", tmp_path / f"{name}-{count}")
            return stack.enter_context(Virtual(board(name), directory, **more))

        yield make


@pytest.fixture(scope="session")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The flash of a Pico W with our software on it and no configuration."""
    directory = tmp_path_factory.mktemp("deployed")
    with Virtual(board("RPI_PICO_W"), directory) as one:
        one.wait_repl()
        with Repl(one.port) as repl:
            deploy.deploy(repl, deploy.build("x64"))
    return directory / "flash.bin"


@pytest.fixture
def device(deployed: Path, new_board: NewBoard, tmp_path: Path) -> Virtual:
    """A Pico W with our software and no configuration; its device has said so and ended."""
    directory = tmp_path / "device"
    directory.mkdir()
    shutil.copy(deployed, directory)
    one = new_board("RPI_PICO_W", directory=directory)
    one.wait_repl()
    return one


def mpremote(one: Virtual, *arguments: str, resume: bool = True) -> str:
    """Run mpremote on the board's pty; what it prints. Raises CalledProcessError."""
    command = [*MPREMOTE, "connect", one.port, *(["resume"] if resume else []), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return done.stdout.replace("\r\n", "\n")


def put(one: Virtual, name: str, text: str) -> None:
    """Write a file on the board."""
    path = one.directory / "put.py"
    path.write_text(text)
    mpremote(one, "fs", "cp", str(path), f":{name}")


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`python -m board`, as a user types it."""
    return subprocess.run(
        [sys.executable, "-m", "board", *words],
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'tools'}:{ROOT / 'lib'}", **environment},
        capture_output=True,
        text=True,
        timeout=240,
    )
