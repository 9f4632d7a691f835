"""Instructions of a process outside the kernel, and which of them were native modules' code."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

from bench.counter import Failed, Unavailable

_TIMEOUT = 300
_NOWHERE = "???"  # code that no file holds: what MicroPython loaded from a .mpy


class Count(NamedTuple):
    """Instructions."""

    native: int  # in memory that belongs to no file
    other: int

    def __sub__(self, before: Count) -> Count:
        return Count(self.native - before.native, self.other - before.other)

    @property
    def total(self) -> int:
        return self.native + self.other


def program() -> str:
    """Valgrind. Raises Unavailable."""
    found = shutil.which("valgrind")
    if found is None:
        raise Unavailable("valgrind is not installed")
    return found


def count(command: list[str], environment: dict[str, str], cwd: Path | None = None) -> Count:
    """Run a command, which must succeed. Raises Failed."""
    with tempfile.TemporaryDirectory() as folder:
        profile = Path(folder, "profile")
        tool = ["-q", "--tool=callgrind", f"--callgrind-out-file={profile}"]
        try:
            done = subprocess.run(
                [program(), *tool, *command],
                env={**os.environ, **environment},
                cwd=cwd,
                capture_output=True,
                text=True,
                timeout=_TIMEOUT,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise Failed(f"{command}: not done after {_TIMEOUT} s") from error
        if done.returncode:
            raise Failed(f"{command}: {done.stdout}{done.stderr}")
        return parse(profile.read_text())


def parse(profile: str) -> Count:
    """Sum up a profile.

    An "ob=" line names the file that the following lines of cost belong to, by a number in
    brackets once its name is known. A line after "calls=" is the cost of the function that is
    called, which stands at that function already.
    """
    names: dict[str, str] = {}
    totals = {True: 0, False: 0}
    here = ""
    called = False
    for line in profile.splitlines():
        if named := re.match(r"(c?)ob=\((\d+)\)(?: (.*))?", line):
            callee, number, name = named.groups()
            if name:
                names[number] = name
            if not callee:
                here = names[number]
        elif line.startswith("calls="):
            called = True
        elif cost := re.fullmatch(r"[+*-]?\d* (\d+)", line):
            if not called:
                totals[here == _NOWHERE] += int(cost[1])
            called = False
    return Count(totals[True], totals[False])
