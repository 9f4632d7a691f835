"""The ROM of an ESP32 behind a pty: as much of its serial protocol as esptool needs to find out
the chip, to write, and to verify, with a flash in RAM. Nothing of it is a chip.

https://docs.espressif.com/projects/esptool/en/latest/esp32/advanced-topics/serial-protocol.html
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
import threading
import tty
from typing import Self

_END = 0xC0
_MAGIC_REGISTER = 0x40001000
_CHIPS = {"esp32": (0x00F01D83, None), "esp32s3": (0, 9), "esp32c3": (0, 5)}

SYNC, WRITE_REG, READ_REG, ATTACH, SET_PARAMS = 0x08, 0x09, 0x0A, 0x0D, 0x0B
FLASH_BEGIN, FLASH_DATA, FLASH_END, ERASE, MD5, SECURITY = 0x02, 0x03, 0x04, 0xD0, 0x13, 0x14


class Rom:
    """chip: as board.json names it; flash: what was written; commands: what was asked."""

    def __init__(self, chip: str, size: int = 4 << 20) -> None:
        self.magic, self.number = _CHIPS[chip]
        self.flash = bytearray(b"\xff" * size)
        self.commands: list[int] = []
        self._at = 0
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        self.port = os.ttyname(self._slave)
        threading.Thread(target=self._run, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for number in (self._slave, self._master):
            os.close(number)

    def _run(self) -> None:
        packet, inside = bytearray(), False
        with contextlib.suppress(OSError):
            while data := os.read(self._master, 4096):
                for byte in data:
                    if byte != _END:
                        packet.append(byte)
                        continue
                    if inside and packet:
                        self._serve(
                            packet.replace(b"\xdb\xdc", b"\xc0").replace(b"\xdb\xdd", b"\xdb")
                        )
                    packet, inside = bytearray(), True

    def _answer(self, command: int, value: int = 0, data: bytes = b"", error: int = 0) -> None:
        # The status of the ROM is 4 bytes long: failed, the error, and two that are reserved.
        data += bytes((bool(error), error, 0, 0))
        packet = struct.pack("<BBHI", 1, command, len(data), value) + data
        packet = packet.replace(b"\xdb", b"\xdb\xdd").replace(b"\xc0", b"\xdb\xdc")
        os.write(self._master, b"\xc0" + packet + b"\xc0")

    def _serve(self, packet: bytes) -> None:
        if len(packet) < 8 or packet[0] != 0:
            return
        command, data = packet[1], bytes(packet[8:])
        self.commands.append(command)
        words = struct.unpack(f"<{len(data) // 4}I", data[: len(data) // 4 * 4])
        match command:
            case 0x08:
                for _ in range(8):
                    self._answer(SYNC)
            case 0x0A:
                self._answer(READ_REG, self.magic if words[0] == _MAGIC_REGISTER else 0)
            case 0x14 if self.number is not None:
                self._answer(SECURITY, 0, struct.pack("<IB7BII", 0, 0, *bytes(7), self.number, 0))
            case 0x02:
                size, _, _, self._at = words[:4]
                self.flash[self._at : self._at + size] = b"\xff" * size
                self._answer(FLASH_BEGIN)
            case 0x03:
                part = data[16 : 16 + words[0]]
                end = min(self._at + len(part), len(self.flash))
                self.flash[self._at : end] = part[: end - self._at]
                self._at += len(part)
                self._answer(FLASH_DATA)
            case 0x13:
                digest = hashlib.md5(self.flash[words[0] : words[0] + words[1]]).hexdigest()
                self._answer(MD5, 0, digest.encode())
            case 0x04 | 0x09 | 0x0B | 0x0D:
                self._answer(command)
            case _:
                self._answer(command, error=5)
