"""`make firmware` without MicroPython: what it would run. The build itself needs a checkout and
compilers that this test has not; a stand-in for the port's Makefile shows what reaches it."""

from __future__ import annotations

from pathlib import Path

import pytest
from board import firmware
from board.definitions import BoardError, board, boards


def checkout(path: Path, port: str) -> Path:
    """As much of a MicroPython checkout as is looked at."""
    for name in (f"ports/{port}/Makefile", "mpy-cross/Makefile", "py/mpconfig.h"):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).touch()
    # Leaves what it was called with where the port's own would leave the firmware.
    recipe = "\t@mkdir -p $(BUILD) && echo $(BOARD) $(BOARD_DIR) $(FROZEN_MANIFEST) > $(BUILD)/"
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
        assert said == [str(one.directory / "manifest.py")]
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
