"""python -m bundle OUTPUT ROOT...: write the device's build of the sources below these folders."""

from __future__ import annotations

import sys
from pathlib import Path

from bundle import formats
from bundle.build import texts
from bundle.plan import BUNDLES, KNOWN
from bundle.world import BundleError, World


def main(output: Path, roots: list[Path]) -> None:
    """Write what changed and delete what is gone, so that `make` compiles no more than it must."""
    try:
        world = World(roots, BUNDLES, KNOWN)
        built = texts(world) | {Path("formats"): formats.text(world)}
    except BundleError as error:
        sys.exit(f"bundle: {error}")
    found = {output / path: text for path, text in built.items()}
    for path in output.rglob("*.py"):
        if path not in found:
            path.unlink()
    for path, text in found.items():
        if not path.exists() or path.read_text() != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            new = path.with_suffix(".new")
            new.write_text(text)
            new.replace(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(root) for root in sys.argv[2:]])
