"""What uPerun costs a board: flash and RAM of the modules of lib/perun. `make size`.

A bundle (tools/bundle) is one module. Its members' own names, which only forward to it, are
nothing that a device loads; their few bytes of flash are "forward_flash_bytes".

Writes build/size.json and prints it as tables:

    flash_by_arch           for each architecture of a board the bytes of .mpy files: "all", and
                            of these "station", what a charging station loads (its service by TLS,
                            a car over TCP: loaded.py lets one run), and each group of GROUPS,
                            what only others load
    firmware_flash_by_arch  the same for the applications of firmware/, without groups
    mpy_flash_bytes         all modules of lib/perun as .mpy files for x64
    forward_flash_bytes     part of it: the names of modules that are in a bundle
    ram_loaded_bytes        heap taken once every module is imported, needed or not
    ram_station_bytes       heap taken by what a station loads and keeps
    ram_built_in_bytes      part of both: the VM's own modules, asyncio above all
    modules                 name -> {"flash", "ram", "lines", "group"}

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
from typing import Any

from rich.console import Console
from rich.table import Table

from bench import loaded
from bundle.plan import BUNDLES

ROOT = Path(__file__).resolve().parents[2]
FIRMWARE = ROOT / "firmware"
DEVICE = ROOT / "build" / "device" / "x64"
MPY = ROOT / "build" / "mpy" / "x64"
TOOLS = ROOT / "build" / "venv" / "bin"
# x64: the unix port. Boards: RP2040, RP2350, ESP32 (S2, S3), ESP32-C3 and -C6.
ARCHITECTURES = ("x64", "armv6m", "armv7emsp", "xtensawin", "rv32imc")
BUILT_IN = "(built-in)"
STATION = "station"
FORWARD = "names of what is in a bundle"
OTHER = "others"  # say in GROUPS who
_TEXTS = "_texts"  # the texts of errors, which every day brings
_NATIVE = ("_viper", "_viper64", "_thumb", "_umaal")  # each architecture has its own
# Who loads what a station does not: the first group that names a module, or a package above it.
GROUPS = {
    "service on a serial line": ("perun.link.serial", "perun.link.tty"),
    "who opens a channel": ("perun.client.proposing",),
    "who pays or ends it": ("perun.client.paying",),
    "a witness": ("perun.client.witness", "perun.wire.witness_messages"),
    "after a restart, in a dispute": ("perun.wire.compact_inquiry",),
    "who is pinged": ("perun.wire.compact_control",),  # and go-perun nodes
    "channels on a partition": ("perun.store.flash",),
    "safe mode": ("perun.store.salvage", "perun.store.salvage_flash"),
    "go-perun nodes": (
        *("perun.client.bridge", "perun.client.direct", "perun.client.foreign"),
        *("perun.link.go_perun", "perun.wire.compact_bridge"),
        *("perun.wire.protobuf", "perun.wire.protobuf_asset"),
    ),
    "go-perun nodes, gen1": ("perun.wire.protobuf_gen1",),
    "go-perun nodes, gen2": ("perun.wire.protobuf_gen2",),
    "sub-channels": ("perun.wire.compact_subchannel", "perun.wire.protobuf_subchannel"),
    "chips without native code": (
        *("perun.crypto._keccak_portable", "perun.crypto._secp256k1_bigint"),
    ),
    "the owner over the network": ("perun.crypto.cipher",),
    "without a store": ("perun.store.memory",),
}

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


def module_name(path: Path, root: Path) -> str:
    """`perun.model` for perun/model/__init__.py below its root."""
    name = ".".join(path.relative_to(root).with_suffix("").parts)
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


def group(name: str, station: frozenset[str]) -> str:
    """Who loads a module. station: what a station on x64 loads."""
    if name in station or name.endswith((*_NATIVE, _TEXTS)):
        return STATION
    for title, members in GROUPS.items():
        if name in members:
            return title
    return FORWARD if is_forward(name) else OTHER


def is_forward(name: str) -> bool:
    """Whether it only stands for a member of a bundle."""
    members = (one for bundle in BUNDLES for one in BUNDLES[bundle] if one != bundle)
    return name.endswith("._names") or name in members


def compiled(arch: str) -> dict[str, int]:
    """The bytes of each module for an architecture."""
    # A make that called us must not tell this one what to do.
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    subprocess.run(["make", "-s", "mpy", f"ARCH={arch}"], cwd=ROOT, env=env, check=True)
    folder = MPY.parent / arch
    return {module_name(path, folder): path.stat().st_size for path in folder.rglob("*.mpy")}


def by_group(sizes: dict[str, int], station: frozenset[str]) -> dict[str, Any]:
    """{"all", "station", "groups"} of the bytes of modules."""
    sums = dict.fromkeys((STATION, *GROUPS, FORWARD, OTHER), 0)
    for name, size in sizes.items():
        sums[group(name, station)] += size
    return {"all": sum(sums.values()), STATION: sums.pop(STATION), "groups": sums}


def measure() -> dict[str, Any]:
    """Everything that build/size.json holds."""
    loads = loaded.measure()
    with ThreadPoolExecutor() as pool:
        sizes = dict(zip(ARCHITECTURES, pool.map(compiled, ARCHITECTURES), strict=True))
    engine = {
        arch: {name: size for name, size in found.items() if _is_ours(name)}
        for arch, found in sizes.items()
    }
    by_arch = {arch: by_group(engine[arch], loads.ever) for arch in ARCHITECTURES}
    here = engine[ARCHITECTURES[0]]
    sources = {module_name(path, DEVICE): path for path in (DEVICE / "perun").rglob("*.py")}
    names = sorted(name for name in here if not is_forward(name))
    taken, kept = ram(*names), ram(*sorted(filter(_is_ours, loads.stay)))
    modules = {
        name: {
            "flash": here[name],
            "ram": taken[name],
            "lines": len(sources[name].read_text().splitlines()),
            "group": group(name, loads.ever),
        }
        for name in names
    }
    return {
        "mpy_flash_bytes": sum(here.values()),
        "forward_flash_bytes": by_arch[ARCHITECTURES[0]]["groups"][FORWARD],
        "ram_loaded_bytes": sum(taken.values()),
        "ram_station_bytes": sum(kept.values()),
        "ram_built_in_bytes": taken[BUILT_IN],
        "flash_by_arch": by_arch,
        "firmware_flash_by_arch": {
            arch: _firmware(sizes[arch], loads.ever) for arch in ARCHITECTURES
        },
        "modules": modules,
    }


def _is_ours(name: str) -> bool:
    """Whether it is a module of lib/."""
    return name.split(".", maxsplit=1)[0] == "perun"


def _firmware(sizes: dict[str, int], station: frozenset[str]) -> dict[str, int]:
    """{"all", "station"} of the bytes of the applications of firmware/."""
    names = [path.stem for path in FIRMWARE.glob("*.py") if path.stem in sizes]
    return {
        "all": sum(sizes[name] for name in names),
        STATION: sum(sizes[name] for name in names if name in station),
    }


def bytes_of(mpy: Path) -> int:
    """The size of a compiled file; a package of words alone has none."""
    return mpy.stat().st_size if mpy.exists() else 0


def show(sizes: dict[str, Any]) -> None:
    """Print the measurements."""
    table = Table("module", title="lib/perun on the x64 VM, in bytes", title_justify="left")
    for column in ("lines", "flash", "RAM"):
        table.add_column(column, justify="right")
    table.add_column("who loads it")
    modules = sizes["modules"]
    for name, module in modules.items():
        numbers = (str(module[what]) for what in ("lines", "flash", "ram"))
        table.add_row(name, *numbers, module["group"])
    table.add_row(FORWARD, "", str(sizes["forward_flash_bytes"]), "")
    table.add_row(BUILT_IN, "", "", str(sizes["ram_built_in_bytes"]), end_section=True)
    lines = sum(module["lines"] for module in modules.values())
    table.add_row("all", str(lines), str(sizes["mpy_flash_bytes"]), str(sizes["ram_loaded_bytes"]))
    console = Console()
    console.print(table)
    console.print(f"RAM of what a station loads and keeps: {sizes['ram_station_bytes']}")
    table = Table("flash", title="bytes of .mpy files", title_justify="left")
    for arch in ARCHITECTURES:
        table.add_column(arch, justify="right")
    by_arch, firmware = sizes["flash_by_arch"], sizes["firmware_flash_by_arch"]
    table.add_row(STATION, *(str(by_arch[arch][STATION]) for arch in ARCHITECTURES))
    for title in (*GROUPS, FORWARD, OTHER):
        table.add_row(title, *(str(by_arch[arch]["groups"][title]) for arch in ARCHITECTURES))
    table.add_row("all of lib", *(str(by_arch[arch]["all"]) for arch in ARCHITECTURES))
    for title in (STATION, "all"):
        row = (str(firmware[arch][title]) for arch in ARCHITECTURES)
        table.add_row(f"firmware, {title}", *row)
    console.print(table)


def main() -> None:
    """Measure, write build/size.json, print."""
    sizes = measure()
    target = ROOT / "build" / "size.json"
    target.write_text(json.dumps(sizes, indent=2) + "\n")
    show(sizes)


if __name__ == "__main__":
    main()
