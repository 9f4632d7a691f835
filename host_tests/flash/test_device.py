"""A device whose store does not open says so, goes to safe mode, and makes no new key."""

from __future__ import annotations

import json
import socket
import subprocess
from pathlib import Path

import pytest
from contracts.ports import free_port
from demo.device import HEAP, MICROPYTHON, MODULES

FILES = ("perun.journal", "perun.journal.mark/mark")


def settings() -> str:
    return json.dumps(
        {
            "chain": {
                "id": 1337,
                "assets": [{"holder": "0x" + "5b" * 20, "max_deposit": "1000"}],
            },
            "receiver": "0x" + "11" * 20,
            "service": {"tcp": {"host": "127.0.0.1", "port": 9}},
            "peer": {"dial": {"host": "127.0.0.1", "port": 9}},
            "app": {
                "module": "ev_car",
                "price_per_kwh": "1000",
                "deposit": "1000",
                "charger": {
                    "module": "cable",
                    "end": "car",
                    "port": free_port(socket.SOCK_DGRAM),
                },
            },
            "console": "json",
        }
    )


def run(directory: Path, first: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(MICROPYTHON), "-X", f"heapsize={HEAP}", "-m", "main"],
        cwd=directory,
        env={"MICROPYPATH": f"{first}{MODULES}:.frozen"},
        input="stop\n",
        capture_output=True,
        text=True,
        timeout=60,
    )


def content(directory: Path) -> list[bytes | None]:
    paths = [directory / name for name in FILES]
    return [path.read_bytes() if path.exists() else None for path in paths]


def flip(data: bytes, at: int) -> bytes:
    at %= len(data)
    return data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :]


DAMAGE = {
    "header": (0, lambda data: flip(data, 5)),
    "length of the key": (0, lambda data: flip(data, 22)),
    "key": (0, lambda data: flip(data, -1)),
    "last record lost": (0, lambda data: data[:20]),
    "record cut short": (0, lambda data: data[:-1]),
    "empty": (0, lambda data: b""),
    "gone": (0, lambda data: None),
    "mark damaged": (1, lambda data: flip(data, 0)),
    "mark empty": (1, lambda data: b""),
    "mark gone": (1, lambda data: None),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_store(tmp_path: Path, damage: str) -> None:
    (tmp_path / "config.json").write_text(settings())
    first = run(tmp_path)
    assert first.returncode == 0 and '"ready"' in first.stdout, first.stdout + first.stderr
    which, change = DAMAGE[damage]
    path = tmp_path / FILES[which]
    data = change(path.read_bytes())
    if data is None:
        path.unlink()
    else:
        path.write_bytes(data)
    before = content(tmp_path)
    done = run(tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    error, safe, stopped = map(json.loads, done.stdout.splitlines())
    assert error["event"] == "error"
    assert "damaged" in error["text"] and "nothing is signed" in error["text"]
    assert (safe["event"], stopped["event"]) == ("safe mode", "stopped")
    assert not done.stderr
    assert content(tmp_path) == before


# A board's module: flash in a file, as a virtual board has it.
PARTITION = r"""
SECTORS, SIZE = 16, 4096

class Flash:
    def __init__(self):
        self.file = open("chip", "r+b")

    def readblocks(self, block, buffer, offset=0):
        self.file.seek(block * SIZE + offset)
        self.file.readinto(buffer)

    def writeblocks(self, block, buffer, offset=0):
        self.file.seek(block * SIZE + offset)
        self.file.write(buffer)
        self.file.flush()

    def ioctl(self, operation, argument):
        if operation == 6:
            self.writeblocks(argument, b"\xff" * SIZE)
        return {4: SECTORS, 5: SIZE}.get(operation, 0)

def channels():
    return Flash()
"""


def test_a_store_on_a_partition(tmp_path: Path) -> None:
    """The device keeps its key there; what is damaged is restored, or brings it to safe mode."""
    (tmp_path / "config.json").write_text(settings())
    (tmp_path / "partition.py").write_text(PARTITION)
    chip = tmp_path / "chip"
    chip.write_bytes(b"\xff" * 65536)
    first = run(tmp_path, ".:")
    assert first.returncode == 0 and '"key made"' in first.stdout, first.stdout + first.stderr
    assert not (tmp_path / FILES[0]).exists()
    (account,) = accounts(first.stdout)
    again = run(tmp_path, ".:")
    assert again.returncode == 0 and accounts(again.stdout) == [account]
    image = chip.read_bytes()

    quarter = bytearray(image)
    quarter[4096 + 256 : 4096 + 256 + 64] = bytes(64)  # of the page with the key: restored
    chip.write_bytes(quarter)
    assert accounts(run(tmp_path, ".:").stdout) == [account]

    chip.write_bytes(image[:4096] + bytes(256) + image[4096 + 256 :])  # the sector's header
    before = chip.read_bytes()
    damaged = run(tmp_path, ".:")
    assert damaged.returncode == 2 and '"safe mode"' in damaged.stdout, damaged.stderr
    assert "neither erased nor a journal" in damaged.stdout and '"key made"' not in damaged.stdout
    assert chip.read_bytes() == before


def accounts(output: str) -> list[str]:
    events = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    return [event["address"] for event in events if event.get("event") == "ready"]
