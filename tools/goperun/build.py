"""Builds the Go programs of host_tests/interop into build/interop, once for their sources."""

import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from contracts.toolchain import BUILD, ROOT, MissingProgram

SOURCES = ROOT / "host_tests" / "interop"
OUTPUT = BUILD / "interop"
# By generation: the program's name, and what else `go build` is told. One source for both.
PROGRAMS = {1: ("peer_gen1", ["-modfile", "gen1.mod", "-tags", "gen1"]), 2: ("peer", [])}


class BuildError(RuntimeError):
    """What the Go compiler says."""


def go() -> Path:
    """The Go program. MissingProgram when there is none."""
    found = os.environ.get("GO") or shutil.which("go")
    if not found:
        raise MissingProgram("there is no go on the PATH: install Go 1.23 or newer, or set GO")
    return Path(found)


def program(generation: int = 2) -> Path:
    """The node of a generation, built if need be: about two minutes the first time, since most of
    go-ethereum is part of it. MissingProgram, BuildError."""
    name, options = PROGRAMS[generation]
    OUTPUT.mkdir(parents=True, exist_ok=True)
    target, stamp = OUTPUT / name, OUTPUT / f"{name}.stamp"
    with (OUTPUT / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        digest = _digest()
        if not (target.is_file() and stamp.is_file() and stamp.read_text() == digest):
            _compile(target, options)
            stamp.write_text(digest)
    return target


def _digest() -> str:
    text = hashlib.sha256()
    for folder in (SOURCES / "control", SOURCES / "peer"):
        for path in sorted(folder.iterdir()):
            if path.suffix in (".go", ".mod", ".sum"):
                text.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return text.hexdigest()


def _compile(target: Path, options: list[str]) -> None:
    scratch = target.with_name(f"{target.name}.new")
    run = subprocess.run(
        [str(go()), "build", "-trimpath", "-buildvcs=false", *options, "-o", str(scratch), "."],
        cwd=SOURCES / "peer",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # The toolchain that is here, and the modules that go.sum names: nothing else.
        env={**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly"},
    )
    if run.returncode:
        raise BuildError(f"go build of {target.name} failed:\n{run.stdout}")
    scratch.replace(target)
