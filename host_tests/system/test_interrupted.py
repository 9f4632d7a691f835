"""However the demonstration ends, no process and no tty of it is left."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from worlds import COMMAND, environment

MARK = "UPERUN_TEST_MARK"


class Run:
    """A demonstration under way. Its processes are known by a mark in their environment."""

    def __init__(self) -> None:
        self._mark = secrets.token_hex(8)
        self.process = subprocess.Popen(
            [*COMMAND, "--scene", "honest", "--plain"],
            env={**environment(), MARK: self._mark},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # What a shell starts in the background ignores interrupts: this one listens.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def until(self, text: str) -> None:
        """Read its lines up to one with this text."""
        assert self.process.stdout is not None
        seen = []
        for line in self.process.stdout:
            seen.append(line)
            if text in line:
                return
        raise AssertionError("".join(seen))

    def _alive(self) -> Iterator[Path]:
        """Its processes, as /proc shows them."""
        mark = f"{MARK}={self._mark}".encode()
        for directory in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if directory.name.isdigit() and mark in (directory / "environ").read_bytes():
                    yield directory

    def left(self) -> list[str]:
        """The command lines of its processes that are alive."""
        found = []
        for directory in self._alive():
            with contextlib.suppress(OSError):
                line = (directory / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                if line:  # a zombie has none
                    found.append(line)
        return found

    def ttys(self) -> set[str]:
        """The ptys that its processes have open: other tests have some, too."""
        found = set()
        for directory in self._alive():
            for file in (directory / "fd").iterdir():
                with contextlib.suppress(OSError):
                    target = os.readlink(file)
                    if re.fullmatch(r"/dev/pts/\d+", target):
                        found.add(target)
        return found


@pytest.fixture
def run() -> Iterator[Run]:
    one = Run()
    yield one
    if one.process.poll() is None:
        one.process.kill()
    one.process.communicate()


@pytest.mark.parametrize(
    ("number", "step", "status"),
    [
        (signal.SIGINT, "A chain", 130),
        (signal.SIGINT, "The service deposits", 130),
        (signal.SIGTERM, "Two devices", 143),
        (signal.SIGKILL, "Handshakes", -signal.SIGKILL),
    ],
    ids=["interrupt-early", "interrupt", "terminate", "kill"],
)
def test_nothing_is_left(run: Run, number: int, step: str, status: int) -> None:
    run.until(step)
    if step != "A chain":
        assert len(run.left()) == 5  # itself, anvil, the service, two devices
    ttys = run.ttys()
    os.kill(run.process.pid, number)
    run.process.communicate(timeout=60)
    assert run.process.returncode == status
    deadline = time.monotonic() + 60
    while run.left() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert run.left() == []
    if step != "A chain":
        assert len(ttys) >= 2
        # The number may be another's by now; what matters is that nothing of the run holds it.
        assert not run.ttys()
