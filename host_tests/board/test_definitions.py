"""The definitions of the boards fit together, and their manifests freeze what a device needs."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from board.definitions import BOARDS, Board, BoardError, boards
from board.manifest import Manifest
from board.virtual import MPY_CROSS

ALL = list(boards().values())
KINDS = {"app": 0, "data": 1}
SUBTYPES = {"factory": 0, "nvs": 2, "phy": 1, "fat": 129}
DEVICE = {"main.py", "config.py", "perun/client/__init__.py", "perun/crypto/secp256k1.py"}
each = pytest.mark.parametrize("board", ALL, ids=lambda board: board.name)


def test_the_boards() -> None:
    assert set(boards()) == {
        *("ESP32_GENERIC", "ESP32_GENERIC_S3", "ESP32_GENERIC_C3", "UNIX"),
        *("RPI_PICO", "RPI_PICO_W", "RPI_PICO2", "RPI_PICO2_W"),
    }
    folders = {path.name for path in BOARDS.iterdir() if path.is_dir()}
    assert folders - {"common", "__pycache__"} == set(boards())


def test_the_document_says_the_same() -> None:
    rows = {}
    for line in (BOARDS / "README.md").read_text().splitlines():
        cells = [cell.strip(" `") for cell in line.strip("|").split("|")]
        if cells[0] in boards():
            rows[cells[0]] = cells[1:]
    assert set(rows) == set(boards())
    for one in boards().values():
        chip, arch, flash, place, heap, network = rows[one.name]
        if one.port == "unix":
            assert arch == one.arch
            continue
        assert (chip, arch) == (one.chip, one.arch)
        assert flash == f"{one.flash_size >> 20} MB"
        assert heap == f"{one.heap_free >> 10} KB"
        assert (network == "Wi-Fi") == one.network
        if one.port == "esp32":
            assert int(place, 0) == one.firmware_offset
        else:
            assert place == "UF2" and one.uf2_family


@each
@pytest.mark.parametrize("table", ["partitions", "stock"])
def test_partitions(board: Board, table: str) -> None:
    assert board.flash_sector == 4096 and board.flash_page == 256
    end = 0
    for one in sorted(getattr(board, table), key=lambda one: one.start):
        assert one.start % board.flash_sector == one.size % board.flash_sector == 0, one
        assert one.start >= end, f"{one.name} begins in the partition before it"
        assert one.size > 0 and one.end <= board.flash_size, one
        if one.kind == 0 and board.port == "esp32":
            assert one.start % 0x10000 == 0, "an ESP32 maps its application in pages of 64 KB"
        end = one.end
    names = [one.name for one in getattr(board, table)]
    assert len(set(names)) == len(names) and "vfs" in names
    assert ("channels" in names and "romfs" in names) == (table == "partitions")


@each
def test_storage_of_rp2(board: Board) -> None:
    """The file system begins where it does without us, so that a change of firmware finds it."""
    if board.port != "rp2":
        return
    vfs, channels = board.partition("vfs"), board.partition("channels")
    assert vfs.start == board.partition("vfs", stock=True).start
    assert channels.start == vfs.end and channels.end == board.flash_size
    text = (BOARDS / "common/rp2/partition.py").read_text()
    assert f"_CHANNELS = const({channels.size})" in text
    header = (board.directory / "mpconfigboard.h").read_text()
    storage, romfs = (
        int(re.search(rf"{name} \((\d+) \* 1024\)", header)[1]) * 1024  # type: ignore[index]
        for name in ("STORAGE_BYTES", "ROMFS_BYTES")
    )
    assert storage == vfs.size + channels.size and romfs == board.partition("romfs").size


@each
def test_partition_table(board: Board) -> None:
    """What the build of an ESP32 reads is what board.json says."""
    if board.port != "esp32":
        return
    (path,) = board.directory.glob("partitions-*.csv")
    assert path.name in (board.directory / "mpconfigboard.cmake").read_text()
    rows = []
    for line in path.read_text().splitlines():
        if line and not line.startswith("#"):
            name, kind, subtype, start, size = (part.strip() for part in line.split(","))
            number = SUBTYPES[subtype] if subtype in SUBTYPES else int(subtype, 0)
            rows.append((name, KINDS[kind], number, int(start, 0), int(size, 0)))
    ours = [(one.name, one.kind, one.subtype, one.start, one.size) for one in board.partitions]
    assert rows == ours


@each
def test_architecture(board: Board, tmp_path: Path) -> None:
    """mpy-cross knows it and emits native code for it."""
    source = tmp_path / "native.py"
    source.write_text("import micropython\n@micropython.viper\ndef f(x: int) -> int:\n return x\n")
    command = [MPY_CROSS, f"-march={board.arch}", "-o", tmp_path / "native.mpy", source]
    subprocess.run(command, check=True)
    assert (tmp_path / "native.mpy").read_bytes()[:2] == b"M\x06"


@each
def test_pins(board: Board) -> None:
    assert {"relay", "meter", "led", "button_start", "button_stop"} <= set(board.pins)
    numbers = [pin for pin in board.pins.values() if isinstance(pin, int)]
    assert len(set(numbers)) == len(numbers), "two things at one pin"


@each
def test_manifest(board: Board) -> None:
    """The port's own manifest comes first, and nothing is frozen twice."""
    manifest = Manifest(board.directory / "manifest.py")
    assert manifest.foreign[0].startswith("$(PORT_DIR)/")
    targets = [one.target_path for one in manifest.frozen]
    assert len(set(targets)) == len(targets)
    assert DEVICE <= set(targets)
    assert ("_boot.py" in targets) == (board.port == "rp2")
    assert ("partition.py" in targets) == (board.port in ("rp2", "esp32"))
    assert "asyncio" in manifest.required


@pytest.mark.parametrize("name", ["RPI_PICO", "RPI_PICO2_W"])
def test_our_boot_replaces_the_ports(name: str, tmp_path: Path) -> None:
    """With a port that freezes its own _boot.py, as MicroPython's does."""
    (tmp_path / "boards").mkdir()
    (tmp_path / "modules").mkdir()
    (tmp_path / "boards/manifest.py").write_text('freeze("$(PORT_DIR)/modules")\n')
    for module in ("_boot.py", "rp2.py"):
        (tmp_path / "modules" / module).write_text("")
    manifest = Manifest(boards()[name].directory / "manifest.py", {"PORT_DIR": tmp_path})
    boot = [one for one in manifest.frozen if one.target_path == "_boot.py"]
    assert [one.full_path for one in boot] == [BOARDS / "common/rp2/_boot.py"]
    assert any(one.full_path == tmp_path / "modules/rp2.py" for one in manifest.frozen)


def test_manifest_errors(tmp_path: Path) -> None:
    for text, said in (
        ('module("nowhere.py")', "no such file"),
        ('package("nowhere")', "no such package"),
        ("nonsense()", "NameError"),
    ):
        (tmp_path / "manifest.py").write_text(text)
        with pytest.raises(BoardError, match=said):
            Manifest(tmp_path / "manifest.py")
