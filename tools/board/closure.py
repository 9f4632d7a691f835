"""Which modules a device needs: what its entry points import, directly or late.

The build has every module under its own name, also those that are part of another one
(tools/bundle). On a flash with blocks of 4 KB each file counts, so what nothing imports is not
deployed; an application that imports more says so by its name among the roots.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

# Where execution begins: the device, every application and driver, and what tools run on the REPL.
ROOTS = (
    *("main", "config", "identity", "update", "ev_station", "ev_car", "pins", "cable"),
    *("perun.store.journal", "perun.store.flash", "perun.chain.address"),
)


def modules(folder: Path) -> dict[str, Path]:
    """Dotted name -> source, of all modules below a folder."""
    found = {}
    for path in folder.rglob("*.py"):
        parts = path.relative_to(folder).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def _mentioned(path: Path) -> Iterator[str]:
    """Names of modules that a source may import: also in texts, for what is imported late."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def needed(folder: Path, roots: tuple[str, ...] = ROOTS) -> set[str]:
    """The names of the modules that the roots need, packages around them included."""
    known = modules(folder)
    result: set[str] = set()
    waiting = [name for name in roots if name in known]
    while waiting:
        name = waiting.pop()
        if name in result:
            continue
        result.add(name)
        parent = name.rpartition(".")[0]
        for other in (parent, *_mentioned(known[name])):
            if other in known:
                waiting.append(other)
            elif other.startswith("perun.") and other.endswith("_"):  # one of several kinds
                waiting += [one for one in known if one.startswith(other)]
    return result
