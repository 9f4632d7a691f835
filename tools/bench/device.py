"""What a payment costs a device: instructions and garbage, in the real MicroPython VM.

The machines of both sides replay a recorded conversation, each in a VM of its own with its modules
loaded from .mpy files; what they send must be what was recorded, byte by byte.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bench import conversation
from bench.counter import Counter, Failed

ROOT = Path(__file__).resolve().parents[2]
VM = ROOT / "build" / "venv" / "bin" / "micropython"
MPY = ROOT / "build" / "mpy" / "x64"
SCRIPT = Path(__file__).with_name("vm") / "payment.py"

SIDES = ("payer", "payee")
# Parts of a payment, and how often each is done: cheap ones often enough that a collection of
# garbage more or less does not matter.
PARTS = {
    "sign": 6,
    "verify": 6,
    "verify_new": 3,
    "state_hash": 40,
    "encode": 60,
    "decode": 60,
    "journal": 12,
}
PAYMENTS = 6  # few enough that the journal is not rewritten within twice as many

_HEAP = "192k"  # a device's
_ROOMY_HEAP = "64m"  # nothing is collected in it

Progress = Callable[[str], None]


class Bench:
    """`with Bench() as bench:` records a conversation for the VM to replay."""

    def __init__(self, payments: int = PAYMENTS) -> None:
        self._payments = payments

    def __enter__(self) -> Bench:
        if not VM.exists() or not (MPY / "perun").exists():
            raise Failed("the VM or its modules are missing: run `make setup mpy`")
        self._folder = tempfile.TemporaryDirectory()
        # The first payment is the warm-up.
        recording = conversation.record(2 * self._payments + 1)
        path = Path(self._folder.name, "recording.json")
        path.write_text(
            json.dumps(
                {
                    "secrets": [account._secret.hex() for account in conversation.ACCOUNTS],
                    "records": [record.hex() for record in recording.records],
                    "price": conversation.PRICE,
                    "payments": [[part.hex() for part in one] for one in recording.payments],
                }
            )
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    def allocated(self, work: str, count: int) -> int:
        """The bytes that one time allocates and nobody gives back before a collection."""
        with tempfile.TemporaryDirectory(dir=self._folder.name) as cwd:
            done = subprocess.run(
                [*self._command(_ROOMY_HEAP, work, count), "weigh"],
                env=_environment(),
                cwd=cwd,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
        if done.returncode:
            raise Failed(f"{work}: {done.stdout}{done.stderr}")
        return round(int(done.stdout) / count)

    def instructions(self, work: str, count: int, counter: Counter) -> int:
        """The instructions of one time, collections of garbage in a device's heap included."""
        once, twice = (self._run(work, times, counter) for times in (count, 2 * count))
        return round((twice - once) / count)

    def _run(self, work: str, count: int, counter: Counter) -> int:
        with tempfile.TemporaryDirectory(dir=self._folder.name) as cwd:
            command = self._command(_HEAP, work, count)
            return counter.count(command, _environment(), Path(cwd))

    def _command(self, heap: str, work: str, count: int) -> list[str]:
        recording = Path(self._folder.name, "recording.json")
        options = ["-X", f"heapsize={heap}", str(SCRIPT), str(recording), work, str(count)]
        return [str(VM), *options]


def measure(
    counter: Counter | None, progress: Progress, payments: int = PAYMENTS
) -> dict[str, dict[str, Any]]:
    """{"payment": the sum and {side: costs}, "part": {part: costs}}; costs: allocated_bytes, and
    instructions_x64 if there is a counter."""
    counts = {**dict.fromkeys(SIDES, payments), **PARTS}

    with Bench(payments) as bench:

        def costs(work: str) -> dict[str, int]:
            found = {"allocated_bytes": bench.allocated(work, counts[work])}
            if counter is not None:
                found["instructions_x64"] = bench.instructions(work, counts[work], counter)
            progress(work)
            return found

        with ThreadPoolExecutor(max_workers=2) as pool:
            found = dict(zip(counts, pool.map(costs, counts), strict=True))
    sides = {side: found[side] for side in SIDES}
    total = {key: sum(side[key] for side in sides.values()) for key in sides["payer"]}
    return {
        "payment": {**total, **sides},
        "part": {part: found[part] for part in PARTS},
    }


def _environment() -> dict[str, str]:
    return {**os.environ, "MICROPYPATH": f"{MPY}:.frozen"}
