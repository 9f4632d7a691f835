"""The emulated RP2040: what can be tested without MicroPython for it, which no registry has.

A program of ours boots there from a UF2 file and echoes over the pty; MicroPython mounts a file
system that was made on the computer; what is missing is said. Never run here: MicroPython itself
in the emulator, and so its USB port.
"""

from __future__ import annotations

import struct
import time
from pathlib import Path

import pytest
import serial
from board import emulate, image, uf2
from board.definitions import BoardError, board
from boardkit import NewBoard, mpremote

# Writes its text to UART0, then echoes what comes in.
ECHO = (
    struct.pack(
        "<16H",
        0x4807,  # ldr r0, uart
        0x4B08,  # ldr r3, control
        0x6303,  # str r3, [r0, #0x30]
        0xA108,  # adr r1, text
        0x780A,  # next: ldrb r2, [r1]
        0x2A00,  # cmp r2, #0
        0xD002,  # beq echo
        0x6002,  # str r2, [r0]
        0x3101,  # adds r1, #1
        0xE7F9,  # b next
        0x6982,  # echo: ldr r2, [r0, #0x18]
        0x06D2,  # lsls r2, #27: is the input empty?
        0xD4FC,  # bmi echo
        0x6802,  # ldr r2, [r0]
        0x6002,  # str r2, [r0]
        0xE7F9,  # b echo
    )
    + struct.pack("<II", 0x40034000, 0x301)
    + b"uPerun\n\0"
)


def test_a_program_in_the_emulator(tmp_path: Path) -> None:
    pico, rom = board("RPI_PICO"), tmp_path / "rom.bin"
    rom.write_bytes(bytes(16384))
    assert pico.uf2_family is not None
    program = uf2.make(ECHO, 0x10000000, pico.uf2_family)
    with emulate.Emulated(image.flash(pico, program, {}), rom, "uart") as one:
        with serial.Serial(one.port, timeout=60) as port:
            assert port.read_until(b"\n") == b"uPerun\n", one.errors.read_text()
            port.write(b"hello\n")
            assert port.read_until(b"\n") == b"hello\n"
        assert one.running


def test_a_file_system_for_micropython(new_board: NewBoard, tmp_path: Path) -> None:
    """LittleFS as the computer writes it is what MicroPython mounts."""
    pico = board("RPI_PICO")
    files = {"app/test/a.py": b"print('a')\n", "big.bin": bytes(range(256)) * 100}
    (tmp_path / "board").mkdir()
    (tmp_path / "board/flash.bin").write_bytes(image.flash(pico, None, files))
    one = new_board("RPI_PICO", directory=tmp_path / "board")
    text = (
        "import sys; sys.path.append('/app/test'); import a\n"
        "print(len(open('/big.bin', 'rb').read()))"
    )
    assert mpremote(one, "exec", text) == "a\n25600\n"
    assert mpremote(one, "exec", "f = open('/new', 'w'); f.write('x'); f.close()") == ""
    with pytest.raises(BoardError, match="do not fit"):
        image.file_system({"x": bytes(100000)}, 65536)


def test_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(BoardError, match=r"micropython.org/download/RPI_PICO[\s\S]*bootrom"):
        emulate.emulate(None, None)
    firmware, rom = tmp_path / "x.uf2", tmp_path / "b2.bin"
    firmware.write_bytes(b"no")
    rom.write_bytes(b"no")
    with pytest.raises(BoardError, match="no UF2 file"):
        emulate.emulate(firmware, rom)
    firmware.write_bytes(uf2.make(ECHO, 0x10000000, 0xE48BFF56))
    with pytest.raises(BoardError, match="no boot ROM"):
        emulate.emulate(firmware, rom)


def test_an_emulator_that_ends() -> None:
    with emulate.Emulated(b"", Path("/nonexistent"), "uart") as one:
        end = time.monotonic() + 60
        while one.running:
            assert time.monotonic() < end
            time.sleep(0.05)
        with pytest.raises(BoardError, match="the emulator ended"):
            emulate.self_test(one)
