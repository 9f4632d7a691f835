"""How many instructions a process executes outside the kernel.

Asked first is the processor (perf_event_open), then valgrind. Both count the same thing, except
that the processor counts an instruction that repeats itself (`rep movs`) once.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

_TIMEOUT = 120

_SYS_PERF_EVENT_OPEN = 298  # x86-64
_TYPE_HARDWARE = 0
_INSTRUCTIONS = 1
_DISABLED, _INHERIT, _EXCLUDE_KERNEL, _EXCLUDE_HV = 1 << 0, 1 << 1, 1 << 5, 1 << 6
_ENABLE_ON_EXEC = 1 << 12
_TIMES = 1 | 2  # read_format: how long the event was enabled, and how long it counted
_ATTR_SIZE = 64  # the first version of perf_event_attr


class Unavailable(Exception):
    """Something cannot be measured on this machine. The text says why."""


class Failed(Exception):
    """What is measured does not work."""


class Counter(Protocol):
    """name: for people."""

    name: str

    def count(self, command: list[str], env: Mapping[str, str], cwd: Path) -> int:
        """The instructions of a command, which must succeed. Raises Failed."""


def find() -> Counter:
    """The first counter that works here. Raises Unavailable."""
    reasons = []
    for kind in (Processor, Valgrind):
        try:
            counter: Counter = kind()
            if counter.count(["/bin/true"], os.environ, Path.cwd()) > 0:
                return counter
            reasons.append(f"{kind.name} counts nothing")
        except (Unavailable, Failed) as error:
            reasons.append(str(error))
    raise Unavailable("instructions cannot be counted: " + "; ".join(reasons))


class Processor:
    """The processor's own counter. Virtual machines often have none."""

    name = "perf_event_open"

    def __init__(self, kind: int = _TYPE_HARDWARE, event: int = _INSTRUCTIONS) -> None:
        """kind, event: of perf_event_attr, for tests on machines without such a counter."""
        self._kind = kind
        self._event = event

    def count(self, command: list[str], env: Mapping[str, str], cwd: Path) -> int:
        """Counts from the moment at which a waiting shell turns into the command."""
        with subprocess.Popen(
            ["/bin/sh", "-c", 'read -r _ && exec "$@"', "sh", *command],
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            try:
                event = self._open(process.pid)
            except Unavailable:
                process.kill()
                raise
            try:
                output, _ = process.communicate("\n", timeout=_TIMEOUT)
                count, enabled, running = struct.unpack("QQQ", os.read(event, 24))
            except subprocess.TimeoutExpired as error:
                process.kill()
                raise Failed(f"{command[-1]}: not done after {_TIMEOUT} s") from error
            finally:
                os.close(event)
        if process.returncode:
            raise Failed(output.strip() or f"exit status {process.returncode}")
        if not running or running != enabled:
            raise Unavailable("others use the processor's counters")
        return int(count)

    def _open(self, pid: int) -> int:
        if not (sys.platform == "linux" and os.uname().machine == "x86_64"):
            raise Unavailable("perf_event_open is for Linux on x86-64 here")
        flags = _DISABLED | _INHERIT | _EXCLUDE_KERNEL | _EXCLUDE_HV | _ENABLE_ON_EXEC
        attr = struct.pack(
            "=IIQQQQQIIQ", self._kind, _ATTR_SIZE, self._event, 0, 0, _TIMES, flags, 0, 0, 0
        )
        libc = ctypes.CDLL(None, use_errno=True)
        libc.syscall.restype = ctypes.c_long
        libc.syscall.argtypes = [
            *(ctypes.c_long, ctypes.c_char_p, ctypes.c_int),
            *(ctypes.c_int, ctypes.c_int, ctypes.c_ulong),
        ]
        event = libc.syscall(_SYS_PERF_EVENT_OPEN, attr, pid, -1, -1, 0)
        if event < 0:
            number = ctypes.get_errno()
            reason = errno.errorcode.get(number, str(number))
            raise Unavailable(f"perf_event_open says {reason} ({os.strerror(number)})")
        return int(event)


class Valgrind:
    """Cachegrind without its caches, which counts every instruction of an emulated processor."""

    name = "valgrind"

    def __init__(self) -> None:
        program = shutil.which("valgrind")
        if program is None:
            raise Unavailable("valgrind is not installed")
        self._program = program

    def count(self, command: list[str], env: Mapping[str, str], cwd: Path) -> int:
        """Runs some dozens of times slower than without."""
        tool = ["--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
        try:
            done = subprocess.run(
                [self._program, *tool, *command],
                env=dict(env),
                cwd=cwd,
                capture_output=True,
                text=True,
                timeout=_TIMEOUT,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise Failed(f"{command[-1]}: not done after {_TIMEOUT} s") from error
        found = re.search(r"I\s+refs:\s+([\d,]+)", done.stderr)
        if done.returncode or not found:
            raise Failed("\n".join([done.stdout, done.stderr]).strip())
        return int(found[1].replace(",", ""))
