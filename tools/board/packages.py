"""Packages for mip, one for each architecture: what `make packages` writes.

    build/packages/ARCH/package.json     names the files beside it, by relative URLs
    build/packages/ARCH/...              the .mpy files

An index of packages knows the version of .mpy files and not the processor, so the URL chooses: a
board of the wrong architecture still runs them, slowly, for native modules that do not load have
portable twins.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from board.definitions import ROOT, boards
from board.deploy import Software, build

PACKAGES = ROOT / "build" / "packages"


def architectures() -> list[str]:
    """Of all boards."""
    return sorted({one.arch for one in boards().values()})


def write(software: Software, folder: Path) -> Path:
    """Write a package; its package.json comes last."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, data in software.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    document = {
        "version": software.version,
        "urls": [[name, name] for name in sorted(software.files)],
        "deps": [],
    }
    result = folder / "package.json"
    result.write_text(json.dumps(document, indent=1) + "\n")
    return result


def write_all(folder: Path = PACKAGES) -> dict[str, Path]:
    """Architecture -> package.json."""
    return {arch: write(build(arch, everything=True), folder / arch) for arch in architectures()}
