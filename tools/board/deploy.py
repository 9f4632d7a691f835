"""Brings a version of the software onto a board: only what differs, and all of it or nothing.

firmware/versions.py and receiver.py are the part that runs on the board; over the REPL they are
sent there, so that a bare board needs nothing of ours. Steps, each of which may be the last one
when a cable or the power fails: files into a folder beside the running version, check them by
their hashes, give the folder its name, switch. What an interrupted deploy has copied is used by
the next one.
"""

from __future__ import annotations

import ast
import base64
import hashlib
import os
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from board.closure import needed
from board.definitions import ROOT, BoardError
from board.port import Identity, RemoteError, Repl

_MANIFEST = "manifest"
_FORMATS = "formats"  # the file of the build that says them
_MPY_VERSION = 6
_CHUNK = 768
_PART = 1024  # bytes of a source that are compiled at once, and its last statement
_AGAIN = 3  # times that a file may begin anew
_FLASH = 60  # seconds that a long work on the flash may take
_FULL = (28, 27)  # ENOSPC, EFBIG

Progress = Callable[[str, int, int], None]  # (what, bytes done, of how many)


@dataclass(frozen=True)
class Software:
    """files: name on the board -> content; reads, writes: formats of the store."""

    files: dict[str, bytes]
    reads: Sequence[str] = ()
    writes: Sequence[str] = ()

    @property
    def manifest(self) -> bytes:
        """What firmware/versions.py says of manifests."""
        lines = [" ".join(("reads", *self.reads)), " ".join(("writes", *self.writes))]
        lines += [
            f"{hashlib.sha256(data).hexdigest()} {len(data)} {name}"
            for name, data in sorted(self.files.items())
        ]
        return "".join(line + "\n" for line in lines).encode()

    @property
    def sha256(self) -> str:
        """Of the manifest."""
        return hashlib.sha256(self.manifest).hexdigest()

    @property
    def version(self) -> str:
        """Its name: the same for the same files."""
        return self.sha256[:10]


@dataclass(frozen=True)
class Deployed:
    """version, before: names; copied: bytes over the line; kept: files that were there."""

    version: str
    before: str | None
    copied: int
    kept: int
    files: int

    @property
    def changed(self) -> bool:
        """Was there anything to do?"""
        return self.version != self.before


def build(arch: str, everything: bool = False) -> Software:
    """What a device of this architecture needs; `make mpy` compiles what changed.

    everything: also what only applications of others import.
    """
    done = subprocess.run(
        ["make", "-C", str(ROOT), "mpy", f"ARCH={arch}"],
        capture_output=True,
        text=True,
        # A make that called us must not tell this one what to do.
        env={name: value for name, value in os.environ.items() if not name.startswith("MAKE")},
    )
    if done.returncode:
        raise BoardError(f"make mpy ARCH={arch} failed:\n{done.stdout}{done.stderr}")
    wanted = None if everything else needed(ROOT / "build" / "device" / arch)
    return load(ROOT / "build" / "mpy" / arch, wanted)


def load(folder: Path, wanted: set[str] | None = None) -> Software:
    """The .mpy files of a folder, or those of the modules that are wanted. Raises BoardError."""
    try:
        lines = [line.split() for line in (folder / _FORMATS).read_text().splitlines()]
        formats = {verb: words for verb, *words in lines}
        reads, writes = formats["reads"], formats["writes"]
    except (OSError, ValueError, KeyError):
        raise BoardError(
            f"{folder / _FORMATS} does not say which formats of the store this version reads and "
            "writes: make mpy writes that file beside the modules"
        ) from None
    files = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*.mpy"))
        if wanted is None or _module(path.relative_to(folder)) in wanted
    }
    return Software(files, reads, writes)


def _module(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def check(identity: Identity, software: Software) -> None:
    """Can this board run it? Raises BoardError."""
    if identity.mpy & 0xFF != _MPY_VERSION:
        raise BoardError(
            f"this board's MicroPython {'.'.join(map(str, identity.version))} loads .mpy files of "
            f"version {identity.mpy & 0xFF}, ours have version {_MPY_VERSION}: flash a newer one"
        )
    for name, data in software.files.items():
        arch = data[2] >> 2 if name.endswith(".mpy") else 0
        if arch and arch != identity.mpy >> 10 & 0x0F:
            raise BoardError(
                f"{name} is for another processor: this board has {identity.arch} "
                f"({identity.machine}); nothing was changed"
            )


class Receiver(Protocol):
    """A device's firmware/receiver.py, wherever it is."""

    @property
    def chunk(self) -> int:
        """Bytes of a piece."""

    def call(self, method: str, *arguments: str | int | bytes) -> Any:
        """What the method returns. Raises BoardError."""


class _OverRepl:
    """The one that was sent to a REPL."""

    chunk = _CHUNK

    def __init__(self, repl: Repl) -> None:
        self._repl = repl
        repl.run("import binascii\n_a = binascii.a2b_base64\n_r = Receiver()")

    def call(self, method: str, *arguments: str | int | bytes) -> Any:
        texts = [
            f"_a({base64.b64encode(one).decode()!r})" if isinstance(one, bytes) else repr(one)
            for one in arguments
        ]
        return self._repl.ask(f"say(_r.{method}({', '.join(texts)}))", _FLASH)


def prepare(repl: Repl, *sources: str) -> None:
    """Send what runs on the board: firmware/versions.py, and further ones that need it."""
    repl.run("import gc\ngc.collect()")
    for name in ("versions.py", *sources):
        for part in _parts((ROOT / "firmware" / name).read_text()):
            repl.run(part)


def _parts(text: str) -> Iterator[str]:
    """A module in pieces that a board compiles one by one: its memory is small, and perhaps full
    of the device that ran before. Without what is for readers, and the import of versions.py."""
    part = ""
    for statement in ast.parse(text).body[1:]:
        if isinstance(statement, ast.ImportFrom) and statement.module == "versions":
            continue
        for node in ast.walk(statement):
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node):
                node.body[0] = ast.Pass()
        part += ast.unparse(statement) + "\n"
        if len(part) > _PART:
            yield part
            part = ""
    yield part


def deploy(repl: Repl, software: Software, progress: Progress = lambda *_: None) -> Deployed:
    """Bring this version onto the board and have it run from the next start on.

    Raises BoardError; then the board runs what it ran before.
    """
    identity = repl.identify()
    check(identity, software)
    prepare(repl, "receiver.py")
    version, files = software.version, len(software.files)
    before = repl.ask("say(current()[0])")
    _place_launcher(repl)
    with refusals():
        if before == version:
            bad = repl.ask(f"say(broken({version!r}))", _FLASH)
            if bad:
                raise BoardError(
                    f"damaged on the board: {', '.join(bad)}; the version runs, so it is not "
                    "touched: restart the board, or deploy another version first"
                )
            return Deployed(version, before, 0, files, files)
        sent = bring(_OverRepl(repl), software, progress)
        repl.run(f"switch({version!r})\ntidy()", _FLASH)
    return Deployed(version, before, sent.total(), files - len(sent), files)


def bring(receiver: Receiver, software: Software, progress: Progress) -> Counter[str]:
    """Give the device what it has not got yet; how much of which files went over the line."""
    manifest = software.manifest
    files = {_MANIFEST: manifest, **dict(sorted(software.files.items()))}  # as they are wanted
    order = {name: place for place, name in enumerate(files)}
    sizes = [len(data) for data in files.values()]
    begun: Counter[str] = Counter()
    sent: Counter[str] = Counter()
    wanted = receiver.call("begin", software.sha256, len(manifest))
    while wanted:
        name, offset = wanted
        if not name:
            wanted = receiver.call("wanted")
            continue
        if name not in files:
            raise BoardError(f"the device asks for {name!r}, which is no file of this version")
        begun[name] += not offset
        if begun[name] > _AGAIN:
            raise BoardError(
                f"not as it was sent: {name}. The board runs what it ran before; try again, and "
                "look at the cable and at the flash if it happens again"
            )
        piece = files[name][offset:][: receiver.chunk]
        wanted = receiver.call("piece", name, offset, piece)
        sent[name] += len(piece)
        progress(name, sum(sizes[: order[name]]) + offset + len(piece), sum(sizes))
    receiver.call("finish")
    del sent[_MANIFEST]
    return sent


class refusals:
    """What the board refuses, and a full flash, in words that say what to do."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, RemoteError) and error.name == "Refused":
            hint = ""
            if "the flash is full" in error.detail:
                hint = ". Remove files that the board does not need (mpremote fs ls, fs rm)"
            raise BoardError(f"{error.detail}; nothing was changed{hint}") from None
        if isinstance(error, RemoteError) and error.errno in _FULL or "ENOSPC" in str(error):
            raise BoardError(
                "the flash is full; the board runs what it ran before. Remove files that it does "
                "not need (mpremote fs ls, fs rm), then deploy again"
            ) from None


def _place_launcher(repl: Repl) -> None:
    """main.py of the root. One that is not ours is its owner's business."""
    there = repl.read("/main.py")
    ours = str(repl.ask("say(LAUNCHER)")).encode()
    if there == ours:
        return
    if there is not None and there.strip() and not there.startswith(b"# uPerun"):
        raise BoardError(
            "the board has a main.py of its own: save it (mpremote fs cp :main.py .), remove it "
            "(mpremote fs rm :main.py), then deploy again"
        )
    with refusals():
        repl.replace("/main.py", ours)


def roll_back(repl: Repl) -> str:
    """Have the version before the current one run from the next start on. Raises BoardError."""
    prepare(repl)
    with refusals():
        version = repl.ask("say(roll_back())", _FLASH)
    if version is None:
        raise BoardError("the board has no earlier version to go back to")
    return str(version)


def wait_for(path: Path, seconds: float) -> None:
    """Wait until a port is there again after a reset."""
    end = time.monotonic() + seconds
    while not path.exists():
        if time.monotonic() > end:
            raise BoardError(f"{path} did not come back: unplug the board and plug it in again")
        time.sleep(0.1)
