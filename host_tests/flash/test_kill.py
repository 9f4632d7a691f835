"""A process that is killed while it writes its journal: on a real file system, on both VMs."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from perun.store.journal import Journal

ROOT = Path(__file__).resolve().parents[2]
WRITER = Path(__file__).with_name("writer.py")
VMS = {
    "cpython": [sys.executable],
    "micropython": [str(ROOT / "build" / "venv" / "bin" / "micropython")],
}
KILLS = 30


def start(
    vm: str, path: Path, first: int, size: int, limit: int | None = None
) -> subprocess.Popen[str]:
    """The writer. limit: the size that no file of it may have."""

    def restrict() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return subprocess.Popen(
        [*VMS[vm], str(WRITER), str(path), str(first), str(size)],
        env={"PYTHONPATH": str(ROOT / "lib"), "MICROPYPATH": f"{ROOT / 'lib'}:.frozen"},
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=restrict,
    )


def found(path: Path) -> int:
    """The number of the newest record; the key is there as well."""
    store = Journal(str(path))
    value = store.get(b"c")
    assert store.get(b"k") == b"secret"
    store.close()
    if value is None:
        return 0
    words = set(value.split())
    assert len(words) == 1  # whole
    return int(words.pop())


@pytest.mark.parametrize("vm", VMS)
def test_killed_at_any_time(tmp_path: Path, vm: str) -> None:
    path = tmp_path / "journal"
    chance = random.Random(11)
    number, rewritten = 0, 0
    for _ in range(KILLS):
        process = start(vm, path, number + 1, chance.randrange(10, 4000))
        assert process.stdout is not None
        lines = [process.stdout.readline()]  # it is up
        threading.Timer(chance.random() * 0.03, process.kill).start()
        lines += process.stdout.readlines()
        assert process.wait() == -signal.SIGKILL
        confirmed = int([line for line in lines if line.endswith("\n")][-1])
        number = found(path)
        assert number in (confirmed, confirmed + 1)
        store = Journal(str(path))
        rewritten = store.stats()[1]
        store.close()
    assert number > KILLS and rewritten > 0


def test_killed_at_every_byte_of_an_append(tmp_path: Path) -> None:
    """The kernel kills MicroPython in its write as soon as a file exceeds the limit."""
    path = tmp_path / "journal"
    begin(path)
    before = path.stat().st_size
    for more in range(7 + 1 + 60):
        begin(path)
        process = start("micropython", path, 2, 60, before + more)
        process.communicate(timeout=60)
        assert process.returncode == -signal.SIGXFSZ
        assert path.stat().st_size == before + more
        assert found(path) == 1
    process = start("micropython", path, 2, 60, before + 7 + 1 + 60)
    process.communicate(timeout=60)
    assert found(path) == 2


def begin(path: Path) -> None:
    """A journal whose newest record is number 1."""
    for old in (path, path.with_name("journal.mark") / "mark"):
        old.unlink(missing_ok=True)
    store = Journal(str(path))
    store.put(b"k", b"secret")
    store.put(b"c", b"1 " * 30)
    store.close()


def test_a_full_disk(tmp_path: Path) -> None:
    """CPython ignores the signal: its write fails, as on a full disk."""
    path = tmp_path / "journal"
    begin(path)
    process = start("cpython", path, 2, 1000, 5000)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    *confirmed, failure = output.splitlines()
    assert failure.startswith("failed: store: ") and "nothing is signed" in failure
    assert confirmed and found(path) == int(confirmed[-1])


def test_a_read_only_file(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        path = Path("/proc/version")  # even root may not write here
    else:
        path = tmp_path / "journal"
        begin(path)
        path.chmod(0o400)
    with pytest.raises(OSError, match="nothing is signed"):
        Journal(str(path))
