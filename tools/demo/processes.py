"""Child processes that never outlive the demonstration."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import resource
import signal
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


class Died(RuntimeError):
    """A process ended before it should. The text has the end of what it wrote."""


def _die_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


async def spawn(
    command: list[str], log: Path, cwd: Path, **more: str
) -> asyncio.subprocess.Process:
    """Start a program in a session of its own, so that Ctrl-C reaches the demonstration alone.

    stdin and stdout are pipes, stderr goes to the end of `log`; more: environment variables. If
    the demonstration is killed, the kernel kills the process.
    """
    with log.open("ab") as errors:
        return await asyncio.create_subprocess_exec(
            *command,
            cwd=cwd,
            env={**os.environ, **more},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            limit=1 << 20,
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )


async def end(process: asyncio.subprocess.Process, patience: float = 3) -> None:
    """Ask the process to end, then make it. Safe when it has ended."""
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), patience)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def kill(process: asyncio.subprocess.Process) -> None:
    """What `kill -9` does: no warning, no good-bye."""
    with contextlib.suppress(ProcessLookupError):
        process.kill()


def forbid_growth(process: asyncio.subprocess.Process, size: int) -> None:
    """Have the kernel cut off what the process writes to a file beyond `size` bytes, and kill it
    when it goes on."""
    resource.prlimit(process.pid, resource.RLIMIT_CORE, (0, 0))
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size, size))


def tail(log: Path, lines: int = 12) -> str:
    """The end of a log, for the text of an error."""
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""
