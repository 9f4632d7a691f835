"""Why the wire room has its own MessagePack: the packages against what the compact codec needs.

    python -m bench.msgpack [DIRECTORY ...]

Each package is compiled by mpy-cross and loaded into the real VM, which tells the heap that it
takes and what becomes of a few bodies of the compact codec ("+": as it must). A package that no
registry carries (mip's micropython-msgpack) can be named by the directory of its sources.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / "build" / "venv" / "bin"
OURS = "perun.wire.msgpack"
PACKAGES = ("umsgpack", "chumicro_msgpack")

# What a codec must do with these bodies: a value (as JSON), or REFUSE.
REFUSE = "refuse"
MESSAGES = {
    "10**18": ("9200cf0de0b6b3a7640000", [0, 10**18]),
    "5 in three bytes": ("9200cd0005", REFUSE),
    "bytes left over": ("92000505", REFUSE),
    "UTF-8 in an overlong form": ("9202a2c080", REFUSE),
    "2000 arrays, one in the other": ("91" * 2000, REFUSE),
    "2 GiB of bytes announced": ("9203c67fffffff", REFUSE),
    "2**32-1 values announced": ("ddffffffff00", REFUSE),
}

# Runs in the VM: prints the heap taken, and what became of each body.
PROBE = """
import gc, json, sys
name, ours, bodies = sys.argv[1], sys.argv[2] == "ours", json.loads(sys.stdin.read())
import perun.wire
gc.collect()
start = gc.mem_alloc()
if ours:
    import perun.wire.msgpack
else:
    module = __import__(name)
    read = getattr(module, "unpackb", None) or module.loads
    write = getattr(module, "packb", None) or module.dumps
    read(write([1]))  # some load more when they are first used
gc.collect()
results = [gc.mem_alloc() - start]
if ours:
    from perun.wire.compact import Compact, Contexts
    codec = Compact(Contexts())
    def read(body):
        return [body[1]] + list(codec.decode(body))
for body in bodies:
    gc.collect()
    try:
        results.append(repr(read(bytes.fromhex(body)))[:40])
    except Exception as error:
        results.append([type(error).__name__])
print(json.dumps(results))
"""


def compile_package(source: Path, folder: Path) -> None:
    """The package in the directory `source` as .mpy files below `folder`."""
    for path in source.rglob("*.py"):
        target = folder / path.relative_to(source.parent).with_suffix(".mpy")
        target.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([TOOLS / "mpy-cross", "-march=x64", "-o", target, path], check=True)


def probe(name: str, source: Path | None = None) -> list[object] | str:
    """[heap, what became of each body] of the package in `source`, or why it does not run."""
    with tempfile.TemporaryDirectory() as folder:
        compile_package(ROOT / "lib" / "perun", Path(folder))
        if source:
            compile_package(source, Path(folder))
        bodies = json.dumps([body for body, _ in MESSAGES.values()])
        arguments = [name, "" if source else "ours"]
        done = subprocess.run(
            [TOOLS / "micropython", "-X", "heapsize=192k", "-c", PROBE, *arguments],
            env={**os.environ, "MICROPYPATH": f"{folder}:.frozen"},
            input=bodies,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    if done.returncode:
        return (done.stdout + done.stderr).strip().splitlines()[-1]
    results: list[object] = json.loads(done.stdout)
    return results


def verdict(result: object, wanted: object) -> str:
    """What the table says about a result."""
    refused = isinstance(result, list)
    what = " ".join(result) if isinstance(result, list) else f"takes it for {result}"
    good = refused if wanted == REFUSE else result == repr(wanted)
    return f"{'+' if good else '-'} {what}"


def main(directories: list[str]) -> None:
    """Measure and print."""
    sources: dict[str, Path | None] = {OURS: None}
    for name in PACKAGES:
        found = importlib.util.find_spec(name)
        if found is None or found.origin is None:
            sys.exit(f"{name} is not installed: make setup")
        sources[name] = Path(found.origin).parent
    for directory in directories:
        sources[Path(directory).resolve().name] = Path(directory).resolve()
    table = Table("", *sources, title="MessagePack on the x64 VM", title_justify="left")
    columns = [probe(name, source) for name, source in sources.items()]
    heaps = [column if isinstance(column, str) else str(column[0]) for column in columns]
    table.add_row("heap in bytes, or why none", *heaps)
    for i, (title, (_, wanted)) in enumerate(MESSAGES.items(), 1):
        cells = ["" if isinstance(c, str) else verdict(c[i], wanted) for c in columns]
        table.add_row(title, *cells)
    Console().print(table)


if __name__ == "__main__":
    main(sys.argv[1:])
