"""The commands for a running device, over its serial port and over the network: a station and a
car on virtual boards, with a chain and a service; all of it real."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from board.cable import ChargingCable
from board.virtual import Virtual
from boardkit import NewBoard
from streetkit import Street

pytestmark = pytest.mark.timeout(300)  # generous, for a busy machine


@pytest.fixture
async def street(
    deployed: Path, new_board: NewBoard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Street, Virtual, Virtual]]:
    boards = {}
    for name in ("station", "car"):
        (tmp_path / name).mkdir()
        shutil.copy(deployed, tmp_path / name)
        boards[name] = new_board("RPI_PICO_W", directory=tmp_path / name)
        await asyncio.to_thread(boards[name].wait_repl)
    monkeypatch.setenv("UPERUN_HOME", str(tmp_path / "home"))
    street = Street(tmp_path)
    async with contextlib.AsyncExitStack() as stack:
        await street.set_up(stack, boards)
        stack.enter_context(ChargingCable(boards["station"], boards["car"], 100))
        yield street, boards["station"], boards["car"]


async def test_every_command(street: tuple[Street, Virtual, Virtual]) -> None:
    """Over both lines each says the same."""
    town, station, car = street
    door, port = ("--host", town.doors["car"]), ("--port", car.port)
    await town.until("both have met", "car", lambda status: status["service"])

    lines = (("--host", town.doors["station"]), ("--port", station.port))
    logs = [asyncio.create_task(town.board("logs", *line, "--seconds=9")) for line in lines]
    (paid,) = await town.board("pay", "40", *door)
    assert (paid["paid_wh"], paid["delivered_wh"]) == (40, 40)
    (paid,) = await town.board("pay", "20", *port)
    assert paid["paid_wh"] == 60
    while not all(log.done() for log in logs):  # whenever both have begun, there is a payment
        await town.board("pay", "20", *door)
    heard, heard_serially = [log.result() for log in logs]
    said, said_serially = (
        {json.dumps(event) for event in events if event["event"] == "channel"}
        for events in (heard, heard_serially)
    )
    assert said & said_serially, (heard, heard_serially)

    for _ in range(20):
        (there,), (here,) = await town.board("status", *door), await town.board("status", *port)
        assert there.pop("heap").keys() == here.pop("heap").keys()
        if there == here:  # nothing has happened in between: a receipt of the service, say
            break
    assert there == here and there["address"] == town.addresses["car"]

    findings = {}
    for where in (door, port):  # serially it is stopped, and starts anew
        lines = await town.board("doctor", *where)
        findings[where] = {line["check"]: line for line in lines if "check" in line}
        assert all(line["ok"] for line in findings[where].values())
    # How much is free changes with the journal.
    free = [finding.pop("board")["text"].rpartition(", free ")[0] for finding in findings.values()]
    assert findings[door] == findings[port] and free[0] == free[1]

    await town.until("both have met again", "car", lambda status: status["service"])
    await town.until(
        "the channel is whole",
        "car",
        lambda status: status["channels"] and status["channels"][0]["peer"],
    )
    (closed,) = await town.board("close", *door)
    assert closed["kind"] in ("closed", "concluded", "withdrawn")
    (nothing,) = await town.board("close", *port)
    assert nothing == {"channels": 0} or nothing["kind"]
    for where in (door, port):
        await town.until("it is settled", "car", lambda status: not status["channels"])
        (paid,) = await town.board("pay", "20", *where)
        (disputed,) = await town.board("dispute", *where)
        assert disputed["kind"] == "disputed"
        await asyncio.to_thread(town.node.pass_time, 61)
    await town.until("it is settled", "car", lambda status: not status["channels"])
    await town.paid_out()
    for done in (
        await asyncio.to_thread(town.command, "close", *door),
        await asyncio.to_thread(town.command, "dispute", *port),
    ):
        assert done.returncode == 0 and "there is no open channel" in done.stdout
