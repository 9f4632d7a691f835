"""Flashing: esptool against a ROM behind a pty, UF2 onto a virtual boot loader's drive.

What is not here: a chip. esptool's reset by DTR and RTS, its stub, and a real boot loader's drive
were never run by these tests.
"""

from __future__ import annotations

import os
import struct
import time
from pathlib import Path

import pytest
from board import flash, uf2
from board.definitions import Board, BoardError, board, boards
from boardkit import NewBoard
from espkit import ERASE, FLASH_DATA, Rom

CHIPS = {"esp32": 0, "esp32s3": 9, "esp32c3": 5}


def image(path: Path, chip: str, size: int = 6000) -> Path:
    head = struct.pack("<BBBBIIH", 0xE9, 1, 2, 0x20, 0, 0, CHIPS[chip])
    path.write_bytes(head + os.urandom(size))
    return path


@pytest.mark.timeout(300)  # the first one installs esptool
@pytest.mark.parametrize("name", ["ESP32_GENERIC", "ESP32_GENERIC_C3"])
def test_esptool_writes_and_verifies(name: str, tmp_path: Path) -> None:
    one = board(name)
    firmware = image(tmp_path / "firmware.bin", one.chip)
    with Rom(one.chip) as rom:
        flash.flash_esp32(one, rom.port, firmware, False, print, "no-reset", ("--no-stub",))
        assert FLASH_DATA in rom.commands and ERASE not in rom.commands
        data = firmware.read_bytes()
        assert rom.flash[one.firmware_offset :][: len(data)] == data
        rom.flash[one.firmware_offset + 100] ^= 1
        verify = flash.commands(one, rom.port, firmware, False, "no-reset", ("--no-stub",))[-1]
        verify[verify.index("hard-reset")] = "no-reset"
        with pytest.raises(BoardError, match="esptool failed"):
            flash._esptool(verify, print)


@pytest.mark.timeout(300)
def test_esptool_refuses_the_wrong_chip(tmp_path: Path) -> None:
    one = board("ESP32_GENERIC")
    firmware = image(tmp_path / "firmware.bin", "esp32")
    with Rom("esp32s3") as rom:
        with pytest.raises(BoardError, match="is an esp32s3.*nothing written"):
            flash.flash_esp32(one, rom.port, firmware, False, print, "no-reset")
        assert bytes(rom.flash) == b"\xff" * len(rom.flash)


def test_command_lines(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    offsets = {"ESP32_GENERIC": "0x1000", "ESP32_GENERIC_S3": "0x0", "ESP32_GENERIC_C3": "0x0"}
    for name, offset in offsets.items():
        erase, write, verify = flash.commands(board(name), "/dev/ttyUSB0", path, erase=True)
        assert erase[-1] == "erase-flash"
        assert write[-3:] == ["write-flash", offset, str(path)]
        assert verify[-3:] == ["verify-flash", offset, str(path)]
        assert write[:2] == ["--chip", board(name).chip]


@pytest.mark.parametrize("one", list(boards().values()), ids=lambda one: one.name)
def test_wrong_firmware(one: Board, tmp_path: Path) -> None:
    """Before anything is written: another chip's file, no firmware, a file that is cut short."""
    other = {"esp32": "esp32c3"}.get(one.chip, "esp32")
    rp2 = uf2.make(bytes(1000), 0x10000000, one.uf2_family or 0xE48BFF56)
    files = {
        "other.bin": image(tmp_path / "x", other).read_bytes(),
        "other.uf2": uf2.make(bytes(1000), 0x10000000, 0xE48BFF5B),
        "text": b"<html>404</html>",
        "short.uf2": rp2[:-512],
        "torn.uf2": rp2[:-100],
        "empty": b"",
    }
    for name, data in files.items():
        path = tmp_path / name
        path.write_bytes(data)
        with pytest.raises(BoardError):
            flash.check(one, path)
    with pytest.raises(BoardError, match="No such file"):
        if one.port == "unix":
            raise BoardError("No such file")
        flash.check(one, tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["RPI_PICO", "RPI_PICO2_W"])
def test_uf2(new_board: NewBoard, tmp_path: Path, name: str) -> None:
    """A running MicroPython is sent to its boot loader, takes the file and runs again."""
    one = new_board(name)
    one.wait_repl()
    program = os.urandom(3000)
    firmware = tmp_path / "firmware.uf2"
    assert one.board.uf2_family is not None
    firmware.write_bytes(uf2.make(program, 0x10000000, one.board.uf2_family))
    drive, boots = one.directory / "drive", one.boots
    flash.flash_rp2(one.board, firmware, one.port, lambda: iter([drive]), print)
    end = time.monotonic() + 60
    while one.boots == boots:
        assert time.monotonic() < end
        time.sleep(0.02)
    assert one.flash.read_bytes()[: len(program)] == program
    assert not drive.exists()


def test_uf2_refusals(new_board: NewBoard, tmp_path: Path) -> None:
    one = new_board("RPI_PICO")
    pico2 = tmp_path / "pico2.uf2"
    pico2.write_bytes(uf2.make(bytes(1000), 0x10000000, 0xE48BFF59))
    with pytest.raises(BoardError, match="is for rp2350"):
        flash.flash_rp2(one.board, pico2, one.port)
    with pytest.raises(BoardError, match="hold BOOTSEL"):
        pico = tmp_path / "pico.uf2"
        pico.write_bytes(uf2.make(bytes(1000), 0x10000000, 0xE48BFF56))
        flash.flash_rp2(one.board, pico, None, lambda: iter([]), print, 0.2)
    # The file is for the board that was named, and another one waits.
    (tmp_path / "INFO_UF2.TXT").write_text("UF2 Bootloader v1.0\nBoard-ID: RP2350\n")
    with pytest.raises(BoardError, match="nothing written"):
        flash.flash_rp2(one.board, pico, None, lambda: iter([tmp_path]), print)
    assert one.running
