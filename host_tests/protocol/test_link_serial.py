"""Serial links over real pseudo-terminals: CPython on one end, the MicroPython VM on the other."""

from __future__ import annotations

import asyncio
import os
import random
import termios
import tty
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from perun.link import Link, LinkClosed, LinkError, serial
from perun.wire.serial import serial_frame

ROOT = Path(__file__).resolve().parent.parent.parent
VM = ROOT / "build" / "venv" / "bin" / "micropython"
PEER = ROOT / "host_tests" / "protocol" / "serial_peer.py"
SOON = 60  # seconds


class Line:
    """A pty in raw mode: this end is a descriptor, the far end the tty at `path`."""

    def __init__(self) -> None:
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        self.path = os.ttyname(self._slave)
        self._links: list[Link] = []

    async def open(self, port: str | int = -1, dial: bool = False) -> Link:
        """A link at this end, or at another port."""
        if port == -1:
            port = os.dup(self._master)
        self._links.append(await (serial.dial if dial else serial.open)(port))
        return self._links[-1]

    def cook(self) -> None:
        """Terminal manners: echo, line editing, carriage returns, signals."""
        mode = termios.tcgetattr(self._slave)
        mode[0] |= termios.ICRNL | termios.IXON | termios.ISTRIP
        mode[1] |= termios.OPOST | termios.ONLCR
        mode[3] |= termios.ECHO | termios.ICANON | termios.ISIG
        termios.tcsetattr(self._slave, termios.TCSANOW, mode)

    def cut(self) -> None:
        """Let go of the far end: it now exists only while somebody has opened it."""
        os.close(self._slave)
        self._slave = -1

    def close(self) -> None:
        for link in self._links:
            link.close()
        for descriptor in {self._master, self._slave} - {-1}:
            os.close(descriptor)
        self._master = self._slave = -1


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    line = Line()
    yield line
    line.close()
    await asyncio.sleep(0.01)  # the transports close in the next turn of the loop


@asynccontextmanager
async def peer(line: Line, mode: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The MicroPython VM on the far end of the line, past its "ready"."""
    process = await asyncio.create_subprocess_exec(
        str(VM),
        *("-X", "heapsize=192k", str(PEER), line.path, mode),
        env={**os.environ, "MICROPYPATH": f"{ROOT / 'lib'}:.frozen"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        assert process.stdout
        assert await asyncio.wait_for(process.stdout.readline(), SOON) == b"ready\n"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def output(process: asyncio.subprocess.Process) -> str:
    """What the VM prints until it ends by itself, which must be soon and without an error."""
    text, _ = await asyncio.wait_for(process.communicate(), SOON)
    assert process.returncode == 0, text.decode()
    return text.decode()


async def recv(link: Link) -> bytes:
    return await asyncio.wait_for(link.recv(), SOON)


@pytest.mark.parametrize("mode", ["echo", "uart-echo"])
async def test_bodies_come_back(line: Line, mode: str) -> None:
    link = await line.open()
    chance = random.Random(1)
    async with peer(line, mode) as process:
        for size in (1, 2, 253, 254, 255, 256, 257, 1000, 2048):
            for body in (bytes(size), b"\xff" * size, chance.randbytes(size)):
                await link.send(body)
                assert await recv(link) == body
        await link.send(b"stop")
        assert await recv(link) == b"stop"
        if mode == "uart-echo":  # the stream still belongs to its owner, who uses it again
            assert await recv(link) == b"still open"
        assert await output(process) == ""


async def test_frames_are_found_again_after_noise(line: Line) -> None:
    link = await line.open()
    chance = random.Random(2)
    async with peer(line, "echo"):
        for i in range(60):
            damaged = bytearray(serial_frame(b"payment %d" % i))
            damaged[chance.randrange(1, len(damaged) - 1)] ^= chance.randrange(1, 256)
            noise = (
                b"MPY: soft reboot\r\n",
                chance.randbytes(300),
                bytes(damaged),
                b"\x03" * 5000,
            )
            await link._stream.write(noise[i % 4])
            await link.send(b"after %d" % i)
            assert await recv(link) == b"after %d" % i


async def test_a_new_session_drops_what_is_old(line: Line) -> None:
    far = await line.open(line.path)
    for i in range(5):
        await far.send(b"for whoever was here before %d" % i)
    near = await line.open(dial=True)
    await far.send(b"new")
    assert await recv(near) == b"new"


async def test_a_slow_reader_slows_the_device_and_does_not_stop_it(line: Line) -> None:
    async with peer(line, "flood") as process:
        assert process.stdout
        told = await asyncio.wait_for(process.stdout.readline(), SOON)
        assert told == b"held\n"
        link = await line.open()
        for i in range(100):
            assert await recv(link) == bytes([i]) * 2000
        await link.send(b"done")
        assert await output(process) == "sent 100\n"


async def test_a_slow_device_slows_the_host(line: Line) -> None:
    link = await line.open()
    sent = 0

    async def flood() -> None:
        nonlocal sent
        while True:
            await link.send(bytes(2048))
            sent += 1

    task = asyncio.create_task(flood())  # nobody reads at the far end
    held = -1
    while held < sent < 100:  # the kernel takes the last of it slowly
        held = sent
        await asyncio.sleep(0.4)
    assert sent < 100
    link.close()
    with pytest.raises(LinkClosed):
        await asyncio.wait_for(task, SOON)


@pytest.mark.parametrize("mode", ["wait", "uart-wait"])
async def test_closing_wakes_the_device(line: Line, mode: str) -> None:
    async with peer(line, mode) as process:
        assert "closed: " in await output(process)


async def test_the_line_goes_away(line: Line) -> None:
    link = await line.open()
    async with peer(line, "echo") as process:
        line.cut()
        await link.send(b"there?")
        assert await recv(link) == b"there?"
        process.kill()
        with pytest.raises(LinkError):
            await recv(link)
        assert link.closed
        with pytest.raises(LinkClosed):
            await link.send(b"too late")


async def test_the_line_goes_away_from_the_device(line: Line) -> None:
    await line.open()
    async with peer(line, "echo") as process:
        line.close()
        assert (await output(process)).startswith("Link")


async def test_the_host_opens_a_tty_by_its_path(line: Line) -> None:
    line.cook()  # what opening has to undo
    here, there = await line.open(line.path), await line.open()
    for sender, receiver in ((here, there), (there, here)):
        for body in (bytes(range(256)), b"\r\n\x03\x04\x11\x13\x1a", b"\xff\x00" * 700):
            await sender.send(body)
            assert await recv(receiver) == body


async def test_what_is_no_serial_port(line: Line, tmp_path: Path) -> None:
    with pytest.raises(LinkError, match="cannot open"):
        await serial.open(str(tmp_path / "missing"))
    plain = tmp_path / "plain"
    plain.write_bytes(b"")
    with pytest.raises(LinkError, match="cannot open"):
        await serial.open(str(plain))
    with pytest.raises(LinkError, match="baud rate 12345"):
        await serial.open(line.path, 12345)
