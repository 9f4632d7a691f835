"""A key under a PIN on a real device: it waits, counts, opens, and tells a thief nothing."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from demo.device import Device
from stationkit import Lonely

# A PIN costs two seconds of a processor, of which a busy machine has little to give.
pytestmark = pytest.mark.timeout(900)
PATIENCE = 200
RIGHT = "seven-random-words-are-better"


async def test_a_day_with_a_pin(tmp_path: Path) -> None:
    one = Lonely(tmp_path)
    try:
        await one.start()
        address = one.address
        bare = (tmp_path / "perun.journal").read_bytes()[-32:]
        await one.command("pin 1")
        assert "4 to 64" in (await one.said("error", command="pin"))["text"]
        await one.command(f"pin {RIGHT}")
        await one.said("pin changed", PATIENCE)
        await one.kill()

        assert (await one.start("locked"))["address"] == address
        assert bare not in (tmp_path / "perun.journal").read_bytes()
        said = len(one.events)
        # All at once: the last one, though right, must come while it is too soon.
        await one.command(f"unlock wrong-1\nunlock wrong-2\nunlock wrong-3\nunlock {RIGHT}")
        for number, wait in ((1, 0), (2, 0), (3, 2)):
            error = await one.said("error", PATIENCE, said + number - 1)
            assert f"the {number}. in a row" in error["text"] and f"in {wait} s" in error["text"]
        assert "wait 2 s" in (await one.said("error", since=said + 3))["text"]
        assert (await one.ask())["wrong_pins"] == 3
        await one.kill()

        said = len(one.events)
        await one.start("locked", f"unlock {RIGHT}")  # neither the pause nor the count is gone
        assert "wait" in (await one.said("error", since=said))["text"]
        assert (await one.ask())["wrong_pins"] == 3
        await one._until(lambda: not one.running or _open(one, said), PATIENCE, "ready")
        assert [e["address"] for e in one.events if e["event"] == "ready"][-1] == address
        await one.command(f"pin {RIGHT} -")
        await one.said("pin changed", PATIENCE, said)
        await one.kill()
        await one.start()
        assert one.address == address
    finally:
        await one.kill()
        await one.stop()
    text = (tmp_path / "console.log").read_text()
    assert RIGHT not in text and bare.hex() not in text


def _open(one: Device, since: int) -> bool:
    """Asks for the lock to open again and again, for the test's clock is not the device's."""
    assert one._process is not None and one._process.stdin is not None
    one._process.stdin.write(f"unlock {RIGHT}\nstatus\n".encode())
    return any(event["event"] == "ready" for event in one.events[since:])


async def test_stop_while_locked(tmp_path: Path) -> None:
    one = Lonely(tmp_path)
    try:
        await one.start()
        await one.command("pin 2580")
        await one.said("pin changed", PATIENCE)
        await one.kill()
        before = (tmp_path / "perun.journal").read_bytes()
        await one.start("locked")
        await one.command("close")
        known = (await one.said("commands"))["known"]
        assert known == ["status", "stop", "unlock"]
        await one.command("stop")
        assert one._process is not None and await one._process.wait() == 0
        assert (tmp_path / "perun.journal").read_bytes() == before
    finally:
        await one.kill()
        await one.stop()
    assert not re.search("Traceback", json.dumps(one.events))
