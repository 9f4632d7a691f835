"""The formats of the store that the sources read and write, for a version's manifest.

Each is a word: what it is the format of, and the number that the sources know it by. A device
compares them before it runs another version (firmware/versions.py).
"""

from __future__ import annotations

import ast

from bundle.world import BundleError, World

# Module, the name in it that says the format (one or a tuple of them), the beginning of its word.
_BOTH = (
    ("perun.store.journal", "_MAGIC", ""),
    ("perun.store.flash", "_MAGIC", ""),
    ("vault", "_FORMAT", "key"),
)
_READS = (*_BOTH, ("perun.client.keeping", "_FORMATS", "channel"))
_WRITES = (
    *_BOTH,
    ("perun.channel.machine", "FORMAT", "channel"),
    ("perun.channel.foreign", "FORMAT", "channel"),
)


def text(world: World) -> str:
    """Two lines, as they stand in a manifest. Raises BundleError."""
    lines = (("reads", _READS), ("writes", _WRITES))
    return "".join(
        " ".join((verb, *sorted({word for one in table for word in _words(world, *one)}))) + "\n"
        for verb, table in lines
    )


def _words(world: World, module: str, name: str, prefix: str) -> list[str]:
    value = _value(world, module, name)
    return [
        prefix + (one.decode() if isinstance(one, bytes) else str(one))
        for one in (value if isinstance(value, tuple) else (value,))
    ]


def _value(world: World, module: str, name: str) -> object:
    if module not in world.modules:
        raise BundleError(f"{module}: no such module, and it says a format of the store")
    for node in ast.walk(ast.parse(world.modules[module].text)):
        if isinstance(node, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == name for target in node.targets
        ):
            value = node.value
            if isinstance(value, ast.Call):  # const(1)
                value = value.args[0]
            return ast.literal_eval(value)
    raise BundleError(f"{module}: {name} is gone, and it says a format of the store")
