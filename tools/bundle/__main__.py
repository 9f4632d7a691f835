"""python -m bundle ARCH: write the device's build for a processor into build/device/ARCH.

It needs nothing but Python, 3.10 or newer: a manifest runs it as well (firmware/manifest.py).
"""

from __future__ import annotations

import fcntl
import hashlib
import sys
from pathlib import Path

from bundle import formats
from bundle.build import texts
from bundle.plan import ARCHITECTURES, BUNDLES, INNER, KINDS, KNOWN, roots, runs_on
from bundle.world import BundleError, World

ROOT = Path(__file__).resolve().parents[2]


def main(arch: str) -> None:
    """Write what changed and delete what is gone, so that `make` compiles no more than it must."""
    if arch not in ARCHITECTURES:
        sys.exit(f"bundle: {arch} is none of {', '.join(ARCHITECTURES)}")
    output = ROOT / "build" / "device" / arch
    output.mkdir(parents=True, exist_ok=True)
    with output.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two at once: the second finds all of it
        _make(arch, output)


def _make(arch: str, output: Path) -> None:
    stamp, digest = output.with_suffix(".made"), _digest(arch)
    if stamp.is_file():
        made, *names = stamp.read_text().splitlines()
        if made == digest and sorted(names) == _names(output):
            return
    try:
        world = World([ROOT / root for root in roots(arch)], BUNDLES, KNOWN, KINDS)
        built = texts(world, INNER) | {Path("formats"): formats.text(world)}
    except BundleError as error:
        sys.exit(f"bundle: {error}")
    found = {output / path: text for path, text in built.items() if runs_on(path.stem, arch)}
    for path in output.rglob("*.py"):
        if path not in found:
            path.unlink(missing_ok=True)
    for path, text in found.items():
        _write(path, text)
    _write(stamp, "\n".join([digest, *_names(output)]) + "\n")


def _digest(arch: str) -> str:
    """Of all that the build is made of: the sources, and the tool."""
    content = hashlib.sha256(sys.version.encode())
    for root in (*roots(arch), "tools/bundle"):
        for path in sorted((ROOT / root).rglob("*.py")):
            content.update(f"\0{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return content.hexdigest()


def _names(output: Path) -> list[str]:
    """What is there, with the time when it was written: what somebody changes is made anew."""
    return sorted(
        f"{path.stat().st_mtime_ns} {path.relative_to(output)}"
        for path in output.rglob("*")
        if path.is_file()
    )


def _write(path: Path, text: str) -> None:
    if not path.exists() or path.read_text() != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(".new")
        new.write_text(text)
        new.replace(path)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m bundle ARCH")
    main(sys.argv[1])
