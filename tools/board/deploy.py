"""Brings a version of the software onto a board: only what differs, and all of it or nothing.

firmware/versions.py is the part that runs on the board; it is sent over the REPL, so that a bare
board needs nothing of ours. Steps, each of which may be the last one when a cable or the power
fails: files into a folder beside the running version, check them by their hashes, give the folder
its name, switch. What an interrupted deploy has copied is used by the next one.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from board.closure import needed
from board.definitions import ROOT, BoardError
from board.port import Identity, RemoteError, Repl

SOURCE = ROOT / "firmware" / "versions.py"
_MPY_VERSION = 6
_BLOCK = 4096
_INLINE = 512  # an eighth of a block
_FLASH = 60  # seconds that a long work on the flash may take
_FULL = (28, 27)  # ENOSPC, EFBIG

Progress = Callable[[str, int, int], None]  # (what, bytes done, of how many)


@dataclass(frozen=True)
class Software:
    """files: name on the board -> content."""

    files: dict[str, bytes]

    @property
    def hashes(self) -> dict[str, str]:
        """name -> SHA-256."""
        return {name: hashlib.sha256(data).hexdigest() for name, data in self.files.items()}

    @property
    def manifest(self) -> str:
        """The text of its manifest: a line for each file."""
        return "".join(f"{digest} {name}\n" for name, digest in sorted(self.hashes.items()))

    @property
    def version(self) -> str:
        """Its name: the same for the same files."""
        return hashlib.sha256(self.manifest.encode()).hexdigest()[:10]


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
    """The .mpy files of a folder, or those of the modules that are wanted."""
    return Software(
        {
            str(path.relative_to(folder)): path.read_bytes()
            for path in sorted(folder.rglob("*.mpy"))
            if wanted is None or _module(path.relative_to(folder)) in wanted
        }
    )


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


def deploy(repl: Repl, software: Software, progress: Progress = lambda *_: None) -> Deployed:
    """Bring this version onto the board and have it run from the next start on.

    Raises BoardError; then the board runs what it ran before.
    """
    identity = repl.identify()
    check(identity, software)
    repl.run(SOURCE.read_text())
    version = software.version
    before = repl.ask("say(current()[0])")
    _place_launcher(repl)
    if before == version and not repl.ask(_call("broken", version, software.hashes), _FLASH):
        return Deployed(version, before, 0, len(software.files), len(software.files))
    copied = 0
    if repl.ask(_call("manifest", version)) != software.hashes:
        copied = _write(repl, software, before, progress)
    elif bad := repl.ask(_call("broken", version, software.hashes), _FLASH):
        if before == version:
            raise BoardError(
                f"damaged on the board: {', '.join(bad)}; the version runs, so it is not "
                "touched: restart the board, or deploy another version first"
            )
        repl.run(f"remove(folder({version!r}))", _FLASH)
        copied = _write(repl, software, before, progress)
    with _room():
        repl.run(f"switch({version!r})\ntidy()", _FLASH)
    kept = len(software.files) - copied_files(repl)
    return Deployed(version, before, copied, kept, len(software.files))


def copied_files(repl: Repl) -> int:
    """How many files went over the line in this session."""
    return int(repl.ask("say(globals().get('_copied', 0))"))


def _call(function: str, *arguments: object) -> str:
    return f"say({function}({', '.join(map(repr, arguments))}))"


class _room:
    """A full flash, in words that say what to do."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
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
    with _room():
        repl.replace("/main.py", ours)


def _write(repl: Repl, software: Software, before: str | None, progress: Progress) -> int:
    """Write the version beside the running one; how many bytes went over the line."""
    version, hashes = software.version, software.hashes
    repl.run(f"tidy([{version + '.part'!r}, {version!r}])", _FLASH)
    missing = repl.ask(_call("broken", version, hashes, True), _FLASH)
    old = repl.ask(_call("manifest", before)) if before else {}
    same = [name for name in missing if old.get(name) == hashes[name]]
    need = _need(software, missing)
    free = repl.identify().free
    if need > free:  # without a way back, if there is no room for it
        keep = {before, version, version + ".part"}
        old_one = repl.ask("say(current()[1])")
        if old_one and old_one not in keep:
            repl.run(f"remove(folder({old_one!r}))", _FLASH)
            free = repl.identify().free
    if need > free:
        raise BoardError(
            f"the flash is full: {need // 1024} KB are needed and {free // 1024} KB free; nothing "
            "was changed. Remove files that the board does not need (mpremote fs ls, fs rm)"
        )
    total = sum(len(software.files[name]) for name in missing)
    done = sent = 0
    repl.run("_copied = 0")
    place = f"/app/{version}.part/"
    with _room():
        for name in missing:
            size = len(software.files[name])
            if name in same:
                repl.run(f"adopt({version!r}, {name!r}, {before!r})", _FLASH)
                # A file that rotted on the flash is not taken for the same.
                if repl.ask(f"say(digest({place + name!r}))") == hashes[name]:
                    done += size
                    progress(name, done, total)
                    continue
            repl.run(f"make_folders({place + name!r})\n_copied += 1")
            repl.write(place + name, software.files[name])
            sent += size
            done += size
            progress(name, done, total)
        bad = repl.ask(_call("broken", version, hashes, True), _FLASH)
        if bad:
            raise BoardError(
                f"not as it was sent: {', '.join(bad)}. The board runs what it ran before; "
                "try again, and look at the cable and at the flash if it happens again"
            )
        repl.run(f"complete({version!r}, {software.manifest!r})", _FLASH)
    return sent


def _need(software: Software, names: list[str]) -> int:
    """Bytes of flash that these files take in LittleFS: small ones lie in their folder's pair of
    blocks, which is begun anew when it is half full."""
    sizes = [len(software.files[name]) for name in names]
    blocks = sum(-(-size // _BLOCK) for size in sizes if size > _INLINE)
    inline = sum(64 + (size if size <= _INLINE else 0) for size in sizes)
    folders = {name.rpartition("/")[0] for name in names} | {""}
    return _BLOCK * (blocks + 2 * len(folders) + 2 * (inline // (_BLOCK // 2)))


def roll_back(repl: Repl) -> str:
    """Have the version before the current one run from the next start on. Raises BoardError."""
    repl.run(SOURCE.read_text())
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
