"""What uPerun costs a board: flash and RAM of the modules of lib/perun. `make size`.

A bundle (tools/bundle) is one module. Its members' own names, which only forward to it, are
nothing that a device loads; their few bytes of flash are "forward_flash_bytes".

Writes build/size.json and prints it as a table:

    mpy_flash_bytes         all modules of lib/perun as .mpy files for x64
    forward_flash_bytes     part of it: the names of modules that are in a bundle
    ram_loaded_bytes        heap taken once every module is imported, needed or not
    ram_client_bytes        heap taken by `import perun.client` and what it pulls in
    ram_built_in_bytes      part of both: the VM's own modules, asyncio above all
    flash_by_arch           the same flash for each architecture of a board
    firmware_flash_bytes    the applications of firmware/, for x64
    modules                 name -> {"flash", "ram", "lines"}

The RAM is what gc.mem_alloc() says inside the real VM around each import, without
the imports inside it, so that every module is charged for its own code only. The
x64 VM has words of 8 bytes, so its tables and objects are up to twice as large as
on a board; native code lies outside its heap, but inside that of a board.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bundle.plan import BUNDLES

ROOT = Path(__file__).resolve().parents[2]
FIRMWARE = ROOT / "firmware"
DEVICE = ROOT / "build" / "device" / "x64"
MPY = ROOT / "build" / "mpy" / "x64"
TOOLS = ROOT / "build" / "venv" / "bin"
# x64: the unix port. Boards: RP2040, RP2350, ESP32 (S2, S3), ESP32-C3 and -C6.
ARCHITECTURES = ("x64", "armv6m", "armv7emsp", "xtensawin", "rv32imc")
BUILT_IN = "(built-in)"

# Runs in the VM: imports the modules named by its arguments and prints what each one that
# was loaded left on the heap. It takes the place of __import__ to see imports in imports.
WEIGH = """
import gc
gc.collect()
before = gc.mem_alloc()
import asyncio, binascii, builtins, errno, hashlib, json, micropython, os, random, select
import socket, struct, sys, time
gc.collect()
print("(built-in)", gc.mem_alloc() - before)

load, weights, inside, mark = builtins.__import__, {}, [None] * 99, [0, 0]

def charge():
    gc.collect()
    now = gc.mem_alloc()
    if inside[mark[0]]:
        weights[inside[mark[0]]] += now - mark[1]
    mark[1] = gc.mem_alloc()

def weigh(name, *how):
    end = 0
    while end >= 0 and name.startswith("perun"):
        end = name.find(".", end + 1)
        part = name[:end] if end > 0 else name
        if part not in sys.modules:
            charge()
            weights[part] = 0
            mark[0] += 1
            inside[mark[0]] = part
            mark[1] = gc.mem_alloc()
            load(part)
            charge()
            mark[0] -= 1
    return load(name, *how)

builtins.__import__ = weigh
for name in sys.argv[1:]:
    weigh(name)
for name in weights:
    print(name, weights[name])
"""


def module_name(source: Path) -> str:
    """`perun.model` for perun/model/__init__.py of the device's build."""
    name = ".".join(source.relative_to(DEVICE).with_suffix("").parts)
    return name.removesuffix(".__init__")


def ram(*names: str) -> dict[str, int]:
    """The heap taken by each module that importing the named ones loads, in bytes."""
    command = [str(TOOLS / "micropython"), "-X", "heapsize=4m", "-c", WEIGH, *names]
    done = subprocess.run(
        command,
        env={**os.environ, "MICROPYPATH": f"{MPY}:.frozen"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode:
        sys.exit(f"size: not all modules import on MicroPython\n{done.stdout}{done.stderr}")
    return {name: int(taken) for name, taken in map(str.split, done.stdout.splitlines())}


def flash(arch: str) -> int:
    """The bytes of all modules of lib/perun compiled for one architecture."""
    # A make that called us must not tell this one what to do.
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    subprocess.run(["make", "-s", "mpy", f"ARCH={arch}"], cwd=ROOT, env=env, check=True)
    return sum(path.stat().st_size for path in (MPY.parent / arch / "perun").rglob("*.mpy"))


def measure() -> dict[str, object]:
    """Everything that build/size.json holds."""
    sources = {module_name(path): path for path in (DEVICE / "perun").rglob("*.py")}
    bundled = {member for bundle in BUNDLES for member in BUNDLES[bundle] if member != bundle}
    names = {name for name in sources if name in bundled or name.endswith("._names")}
    forward = sum(mpy_file(sources[name], DEVICE).stat().st_size for name in names)
    here = sorted(name for name in sources if name not in names)
    client, taken = ram("perun.client"), ram(*here)
    with ThreadPoolExecutor() as pool:
        by_arch = dict(zip(ARCHITECTURES, pool.map(flash, ARCHITECTURES), strict=True))
    modules = {
        name: {
            "flash": mpy_file(sources[name], DEVICE).stat().st_size,
            "ram": taken[name],
            "lines": len(sources[name].read_text().splitlines()),
        }
        for name in here
    }
    applications = [mpy_file(path, FIRMWARE) for path in FIRMWARE.glob("*.py")]
    return {
        "mpy_flash_bytes": sum(module["flash"] for module in modules.values()) + forward,
        "forward_flash_bytes": forward,
        "ram_loaded_bytes": sum(taken.values()),
        "ram_client_bytes": sum(client.values()),
        "ram_built_in_bytes": taken[BUILT_IN],
        "flash_by_arch": by_arch,
        "firmware_flash_bytes": sum(mpy.stat().st_size for mpy in applications if mpy.exists()),
        "modules": modules,
    }


def mpy_file(source: Path, root: Path) -> Path:
    """The compiled file of a source below root."""
    return MPY / source.relative_to(root).with_suffix(".mpy")


def bytes_of(mpy: Path) -> int:
    """The size of a compiled file; a package of words alone has none."""
    return mpy.stat().st_size if mpy.exists() else 0


def show(sizes: dict[str, object]) -> None:
    """Print the measurements."""
    table = Table("module", title="lib/perun on the x64 VM, in bytes", title_justify="left")
    for column in ("lines", "flash", "RAM"):
        table.add_column(column, justify="right")
    modules = sizes["modules"]
    assert isinstance(modules, dict)
    for name, module in modules.items():
        table.add_row(name, str(module["lines"]), str(module["flash"]), str(module["ram"]))
    table.add_row(BUILT_IN, "", "", str(sizes["ram_built_in_bytes"]), end_section=True)
    lines = sum(module["lines"] for module in modules.values())
    table.add_row("all", str(lines), str(sizes["mpy_flash_bytes"]), str(sizes["ram_loaded_bytes"]))
    console = Console()
    console.print(table)
    by_arch = sizes["flash_by_arch"]
    assert isinstance(by_arch, dict)
    flash_text = ", ".join(f"{arch} {size}" for arch, size in by_arch.items())
    console.print(f"RAM after import perun.client: {sizes['ram_client_bytes']}")
    console.print(f"flash by architecture: {flash_text}")
    console.print(f"flash of firmware/: {sizes['firmware_flash_bytes']}")


def main() -> None:
    """Measure, write build/size.json, print."""
    sizes = measure()
    target = ROOT / "build" / "size.json"
    target.write_text(json.dumps(sizes, indent=2) + "\n")
    show(sizes)


if __name__ == "__main__":
    main()
