"""A key under a PIN on a real device: it waits, counts, opens, and tells a thief nothing."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from demo.device import Device
from contracts.ports import free_port


def device(directory: Path, **service) -> Device:
    """A station that speaks to nobody."""
    config = {
        "chain": {"id": 1337, "assets": [{"holder": "0x" + "5b" * 20, "max_deposit": "1000"}]},
        "receiver": "0x" + "11" * 20,
        "service": service or {"tcp": {"host": "127.0.0.1", "port": 9}},
        "peer": {"listen": {"host": "127.0.0.1", "port": free_port()}},
        "app": {
            "module": "ev_station",
            "price_per_kwh": "1000",
            "charger": {"module": "cable", "end": "station", "port": free_port()},
        },
        "console": "json",
    }
    return Device("station", directory, config)


async def locked(one: Device) -> None:
    """Switch it on; it waits for its PIN."""
    since = len(one.events)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(one, "said", lambda *_, **__: _ready())
        await one.start()
    assert (await one.said("locked", since=since))["address"].startswith("0x")


async def _ready() -> dict[str, str]:
    return {"address": ""}


async def test_a_day_with_a_pin(tmp_path):
    one = device(tmp_path)
    try:
        await one.start()
        address = one.address
        bare = (tmp_path / "perun.journal").read_bytes()[-32:]
        await one.command("pin 1")
        assert "4 to 64" in (await one.said("error", command="pin"))["text"]
        await one.command("pin seven-random-words-are-better")
        await one.said("pin changed")
        await one.kill()

        await locked(one)
        assert bare not in (tmp_path / "perun.journal").read_bytes()
        said = len(one.events)
        for number, wait in ((1, 0), (2, 0), (3, 2)):
            await one.command(f"unlock wrong-{number}")
            error = await one.said("error", since=said + number - 1)
            assert f"the {number}. in a row" in error["text"] and f"in {wait} s" in error["text"]
        await one.command("unlock seven-random-words-are-better")
        assert (
            "wait" in (await one.said("error", since=said + 3))["text"]
        )  # too soon, though right
        assert (await one.ask())["wrong_pins"] == 3
        await one.kill()

        await locked(one)  # neither the count nor the pause is gone
        assert (await one.ask())["wrong_pins"] == 3
        said = len(one.events)
        await one.command("unlock seven-random-words-are-better")
        assert "wait" in (await one.said("error", since=said))["text"]
        await one._until(lambda: not one.running or _open(one, said), 30, "ready")
        assert [e["address"] for e in one.events if e["event"] == "ready"][-1] == address
        await one.command("pin seven-random-words-are-better -")
        await one.said("pin changed", since=said)
        await one.kill()
        await one.start()
        assert one.address == address
    finally:
        await one.kill()
        await one.stop()
    text = (tmp_path / "console.log").read_text()
    assert "seven-random" not in text and bare.hex() not in text


def _open(one: Device, since: int) -> bool:
    """Asks for the lock to open again and again, for the test's clock is not the device's."""
    assert one._process is not None and one._process.stdin is not None
    one._process.stdin.write(b"unlock seven-random-words-are-better\nstatus\n")
    return any(event["event"] == "ready" for event in one.events[since:])


async def test_stop_while_locked(tmp_path):
    one = device(tmp_path)
    try:
        await one.start()
        await one.command("pin 2580")
        await one.said("pin changed")
        await one.kill()
        before = (tmp_path / "perun.journal").read_bytes()
        await locked(one)
        await one.command("close")
        known = (await one.said("commands"))["known"]
        assert known == ["status", "stop", "unlock"]
        await one.command("stop")
        assert await one._process.wait() == 0
        assert (tmp_path / "perun.journal").read_bytes() == before
    finally:
        await one.kill()
        await one.stop()
    assert not re.search("Traceback", json.dumps(one.events))
