"""`make firmware` without MicroPython: what it would run. The build itself needs a checkout and
compilers that this test has not; a stand-in for the port's Makefile shows what reaches it."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import emulator
import pytest
from board import firmware
from board.closure import needed
from board.definitions import BOARDS, ROOT, BoardError, board, boards
from board.manifest import Manifest
from board.virtual import MPY_CROSS


def checkout(path: Path, port: str) -> Path:
    """As much of a MicroPython checkout as is looked at."""
    for name in (f"ports/{port}/Makefile", "mpy-cross/Makefile", "py/mpconfig.h"):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).touch()
    # Leaves what it was called with where the port's own would leave the firmware.
    said = "$(BOARD) $(BOARD_DIR) $(FROZEN_MANIFEST) $(MPY_CROSS_FLAGS)"
    recipe = f"\t@mkdir -p $(BUILD) && echo {said} > $(BUILD)/"
    result = firmware._RESULT[port]
    (path / f"ports/{port}/Makefile").write_text(f"all:\n{recipe}{result}\nsubmodules:\n")
    (path / "mpy-cross/Makefile").write_text("all:\n")
    return path


@pytest.mark.parametrize("name", list(boards()))
def test_commands(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = board(name)
    monkeypatch.setattr(firmware, "BUILD", tmp_path / "build")
    result = firmware.run(one, checkout(tmp_path / "micropython", one.port))
    assert result.parent == tmp_path / "build" / name
    said = result.read_text().split()
    if one.port == "unix":
        assert said == [str(one.directory / "manifest.py"), "-march=x64"]
    else:
        assert said == [name, str(one.directory)]


def test_errors(tmp_path: Path) -> None:
    one = board("RPI_PICO")
    with pytest.raises(BoardError, match="no MicroPython checkout"):
        firmware.run(one, tmp_path)
    place = checkout(tmp_path / "micropython", "rp2")
    (place / "ports/rp2/Makefile").write_text("all:\n\tfalse\nsubmodules:\n")
    with pytest.raises(BoardError, match="needs cmake"):
        firmware.run(one, place)


# One for each architecture.
FROZEN = ("RPI_PICO_W", "RPI_PICO2", "ESP32_GENERIC", "ESP32_GENERIC_C3", "UNIX")


@pytest.mark.parametrize("name", FROZEN)
def test_what_is_frozen(name: str, tmp_path: Path) -> None:
    """All that a device of this processor imports, as tools/bundle has put it together, and it
    compiles as MicroPython's tools/makemanifest.py does that. (host_tests/crypto runs the machine
    code at all addresses where its tools/mpy-tool.py may put it.)"""
    assert {board(one).arch for one in FROZEN} == {one.arch for one in boards().values()}
    one = board(name)
    frozen = Manifest(one.directory / "manifest.py").frozen
    built = ROOT / "build" / "device" / one.arch
    ours = {
        file.full_path.relative_to(built) for file in frozen if built in file.full_path.parents
    }
    assert ours == {path.relative_to(built) for path in built.rglob("*.py")}
    others = {file.full_path for file in frozen} - {built / path for path in ours}
    assert all(BOARDS / "common" in path.parents for path in others)
    names = {file.target_path for file in frozen}
    if one.port == "unix":
        assert not others
    else:
        # A port runs the main.py that is frozen: that is not the device's.
        assert {"main.py", "device.py", "partition.py"} <= names
        (main,) = (file for file in frozen if file.target_path == "main.py")
        assert main.full_path == BOARDS / "common" / "main.py"
    for module in needed(built) - {"main"}:
        path = module.replace(".", "/")
        assert {f"{path}.py", f"{path}/__init__.py"} & names, module

    def compile_(file: tuple[Path, str, int | None]) -> emulator.Module:
        source, target, opt = file
        path = tmp_path / target.replace("/", "-")
        command = [MPY_CROSS, "-o", path, "-s", target, f"-O{opt}", f"-march={one.arch}", source]
        subprocess.run(command, check=True)
        return emulator.load(path)

    with ThreadPoolExecutor(4) as pool:
        modules = list(pool.map(compile_, frozen))
    kinds = {piece.kind for module in modules for piece in module.pieces}
    assert ("asm_thumb" if one.arch.startswith("armv") else "viper") in kinds


def test_a_manifest_with_an_unknown_architecture(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BoardError, match="tools/bundle failed"):
        Manifest(ROOT / "firmware" / "manifest.py", arch="armv6")
    assert "bundle: armv6 is none of x64, " in capfd.readouterr().err
