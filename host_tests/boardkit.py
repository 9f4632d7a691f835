"""Virtual boards for tests: they end with the test, and so do their processes.

A folder of tests that wants them says in its conftest.py

    from boardkit import new_board
    __all__ = ["new_board"]
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from board.definitions import board
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


def mpremote(one: Virtual, *arguments: str, resume: bool = True) -> str:
    """Run mpremote on the board's pty; what it prints. Raises CalledProcessError."""
    command = [*MPREMOTE, "connect", one.port, *(["resume"] if resume else []), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    return done.stdout.replace("\r\n", "\n")


def put(one: Virtual, name: str, text: str) -> None:
    """Write a file on the board."""
    path = one.directory / "put.py"
    path.write_text(text)
    mpremote(one, "fs", "cp", str(path), f":{name}")
