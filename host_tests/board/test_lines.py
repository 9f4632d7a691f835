"""A station whose service is at the other end of a serial line: the REPL's port, or a UART."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest
from board.console import Console
from board.definitions import board
from board.port import Repl
from board.virtual import Virtual
from boardkit import NewBoard, run
from marketkit import DEPOSIT, board_and_market

pytestmark = pytest.mark.timeout(300)  # generous, for a busy machine

BANNER = (
    b"\x03\x03\r\nMPY: soft reboot\r\nMicroPython v1.99 on 2026-01-01; Raspberry Pi Pico W\r\n"
    b'Type "help()" for more information.\r\n>>> \x03\x04\x00\x03\x00'
)


def send(one: Virtual, data: bytes) -> None:
    """Bytes to the board, from somebody who is not the service."""
    port = os.open(one.port, os.O_RDWR | os.O_NOCTTY)
    os.write(port, data)
    os.close(port)


async def test_the_port_of_the_repl(new_board: NewBoard, tmp_path: Path) -> None:
    """Frames go on among Ctrl-C and banners; at boot the owner gets the REPL back."""
    async with board_and_market(new_board, tmp_path, "repl") as (one, _, market):
        await market.service.stop()  # who else reads from the port takes what is meant for us
        stop = {"buttons": [{"pin": 16, "command": "stop"}]}
        line = {"repl": True, "repl_window": 6}  # seconds, for a busy machine
        await market.provide(one, line, hardware=stop)
        await market.service.start()
        await asyncio.to_thread(one.reset)
        market.guard()
        channel = await market.open()
        market.leave()
        paid = 0
        for amount in (1_000_001, 2_000_002, 3_000_003):
            send(one, BANNER)
            one.noise(BANNER)  # to the service
            await channel.pay(amount)
            paid += amount
            version = channel.version
            await market.until("the service has it", lambda v=version: market.held() == v)
        # The window: mpremote's way in works after a reset, and what was paid is still there.
        await market.service.stop()
        one.heard.clear()
        await asyncio.to_thread(one.reset)
        await market.until("the window is open", lambda: "kbd -1" in one.heard)
        with Repl(one.port) as repl:
            assert repl.ask("import os\nsay('perun.journal' in os.listdir())") is False
            assert repl.read("/config.json")
        await market.service.start()
        one.heard.clear()
        await asyncio.to_thread(one.reset)
        await market.until("the window is open", lambda: "kbd -1" in one.heard)
        send(one, b"\x00\x07\r\x03\x03ab\x00")  # a late frame is no call for the REPL
        market.guard()
        await market.connect()
        await market.settle(channel, paid)
        # A button stops it: Ctrl-C interrupts again, and what happened last is told.
        await market.service.stop()
        one.set_pin(16, 0)
        await asyncio.to_thread(one.wait_repl)
        with open(one.directory / "tty", "rb", buffering=0) as port:  # noqa: ASYNC230 - it is there
            said = b""
            while b'"stopped"}\n' not in said:  # it comes in parts
                said += await asyncio.to_thread(port.read, 4096)
        assert b'"button"' in said and said.count(b'"stopped"') == 1
        with Repl(one.port) as repl:
            assert repl.ask("say(1)") == 1


async def test_safe_mode_has_the_port(new_board: NewBoard, tmp_path: Path) -> None:
    """With a store that cannot be trusted the port is its owner's, not the service's."""
    async with board_and_market(new_board, tmp_path) as (one, _, market):
        await market.provide(one, {"repl": True}, store="file")

        def look() -> dict[str, Any]:
            with Repl(one.port) as repl:
                repl.run(
                    "from perun.store.journal import Journal\n"
                    "store = Journal('perun.journal')\n"
                    "store.put(b'c' + bytes(32), b'from the future')\n"
                    "store.close()\n"
                )
            one.heard.clear()
            one.reset()
            one._until(lambda: "kbd 3" in one.heard, "that it gives the port back")
            with Console(one.port) as console:
                return console.status()

        status = await asyncio.to_thread(look)
        assert status["safe_mode"] and status["service"] != "connected", status


async def test_a_uart(new_board: NewBoard, tmp_path: Path) -> None:
    """The console stays at the REPL's port."""
    async with board_and_market(new_board, tmp_path, 1) as (one, line, market):
        await market.provide(one, {"uart": 1})
        await asyncio.to_thread(one.reset)
        market.guard()
        channel = await market.open()
        market.leave()
        line.inject(BANNER)
        await channel.pay(1_000_001)
        await market.until("the service has it", lambda: market.held() == channel.version)

        def ask() -> dict[str, Any]:
            with Console(one.port) as console:
                return console.status()

        status = await asyncio.to_thread(ask)
        assert status["service"]
        # What has worn the flash is what the chip has counted.
        counts, channels = one.counts(), one.board.partition("channels")
        wear = counts["wear"][channels.start // 4096 : channels.end // 4096]
        assert status["store"]["kind"] == "flash" and status["store"]["erases"] == max(wear)
        assert 0 < status["store"]["programs"] <= counts["programs"]
        market.guard()
        await market.settle(channel, 1_000_001)


@pytest.mark.parametrize("kind", ["repl", "uart"])
async def test_provision(new_board: NewBoard, tmp_path: Path, kind: str) -> None:
    """`board provision --service-serial`, from a board with our firmware to one that is paid; once
    with a witness."""
    at = "repl" if kind == "repl" else board("RPI_PICO_W").uart
    async with board_and_market(new_board, tmp_path, at) as (one, _, market):
        await market.service.stop()  # the tool has the port now
        witness = await market.witness(tmp_path / "witness") if kind == "uart" else None
        words = {
            "--port": one.port,
            "--app": "ev_station",
            "--asset": f"{market.chain.place.eth_holder}:{DEPOSIT}",
            "--receiver": market.wallets[1],
            "--service-serial": kind,
            "--service-address": market.service.identity,
            "--listen": f"127.0.0.1:{market.port}",
            "--price": "1000",
        }
        if witness:
            words |= {
                "--witness": f"127.0.0.1:{witness.tls_port}",
                "--witness-certificate": witness.pin,
                "--witness-address": witness.identity,
            }
        done = await asyncio.to_thread(
            run, "provision", "--json", *(word for pair in words.items() for word in pair)
        )
        assert done.returncode == 0, done.stdout + done.stderr
        result = json.loads(done.stdout.splitlines()[-1])
        assert result["self_test"]["event"] == ("repl" if kind == "repl" else "ready")
        await market.service.start()
        await market.service.allow(result["address"], "station", 0)
        if witness:
            await witness.allow(result["address"], "station", 0)
        market.guard()
        channel = await market.open()
        await channel.pay(1_000_001)
        assert not witness or "session begins" in witness.said()
        await market.settle(channel, 1_000_001)
