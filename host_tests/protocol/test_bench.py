"""`make bench`: its keys are stable, its numbers are those of real frames and real payments."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from bench import __main__ as program
from bench import channels, conversation, counter, device, frozen, station, wear, wire
from typer.testing import CliRunner

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "tools" / "bench" / "README.md").read_text()

BETWEEN_PEERS = {
    *("handshake", "ping", "proposal", "acceptance", "proposal_rejection", "opening_signature"),
    *("payment", "answer", "rejection", "final", "sync"),
}
WITH_SERVICE = {
    *("hello", "hello_proof", "service_info", "fund", "ack", "watch_first", "watch"),
    *("watch_authorized", "receipt", "dispute", "status_request", "status", "chain_event"),
    *("state_request", "held_state", "error"),
}
COSTS = {"allocated_bytes", "instructions_x64"}
PARTS = {"sign", "verify", "verify_new", "state_hash", "encode", "decode", "journal"}


class NoInstructions:
    """Counts the processes instead, for what is about the keys."""

    name = "none"

    def __init__(self) -> None:
        self.commands: list[list[str]] = []

    def count(self, command: list[str], env: Any, cwd: Path) -> int:
        self.commands.append(command)
        return len(self.commands)


def test_the_keys_of_the_wire():
    sizes = wire.measure()
    foreign = ("gen1", "gen2", "gen2_eth", "gen2_rsa", "perunio")
    assert sizes.keys() == {"compact", "compact_serial", *foreign}
    for codec in ("compact", "compact_serial"):
        assert sizes[codec].keys() == BETWEEN_PEERS | WITH_SERVICE
    for codec in foreign:
        assert sizes[codec].keys() == BETWEEN_PEERS | {"auth"}
    for message in {name for codec in sizes.values() for name in codec}:
        assert f"`{message}`" in README


def test_payments_are_small():
    sizes = wire.measure()
    for codec in ("compact", "compact_serial"):
        assert 65 < sizes[codec]["payment"] <= 110
        assert 65 < sizes[codec]["answer"] <= 110
    for message in BETWEEN_PEERS - {"handshake"}:
        assert sizes["gen1"][message] < sizes["gen2"][message]
    # What go-perun writes for the same messages with other amounts: its frames of a ping have no
    # amounts, and the proposal of generation 2 carries 256 bytes of nothing.
    assert sizes["gen2"]["acceptance"] == 142 and sizes["gen1"]["acceptance"] == 108
    assert sizes["gen2"]["auth"] == 54 and sizes["gen1"]["auth"] == 16


def test_the_recorded_payments_are_the_ones_on_the_wire():
    recording = conversation.record(1)
    sizes = wire.measure()["compact"]
    assert len(recording.payments[0].request) + 2 == sizes["payment"]
    assert len(recording.payments[0].answer) + 2 == sizes["answer"]


def test_the_costs_of_a_payment():
    found = device.measure(None, lambda _: None, payments=1)
    payment, parts = found["payment"], found["part"]
    assert parts.keys() == PARTS
    assert payment.keys() == {"allocated_bytes", "payer", "payee"}
    sides = [payment[side]["allocated_bytes"] for side in ("payer", "payee")]
    assert payment["allocated_bytes"] == sum(sides)
    # A side signs once and verifies once, and that is nearly all of it.
    both = parts["sign"]["allocated_bytes"] + parts["verify"]["allocated_bytes"]
    assert all(both / 2 < side < 2 * both + 20_000 for side in sides)
    for part in PARTS:
        assert parts[part]["allocated_bytes"] > 0
        assert f"`{part}`" in README


def test_instructions_are_asked_for_all_of_it():
    counts = NoInstructions()
    found = device.measure(counts, lambda _: None, payments=1)
    assert found["payment"].keys() == COSTS | {"payer", "payee"}
    for costs in (found["payment"]["payer"], found["payment"]["payee"], *found["part"].values()):
        assert costs.keys() == COSTS
    for command in counts.commands:
        assert "heapsize=192k" in command  # with the garbage collector of a device
    assert len(counts.commands) == 2 * (2 + len(PARTS))


def test_instructions():
    """Counted twice they are the same; where nothing can count, the reasons are told."""
    try:
        found = counter.find()
    except counter.Unavailable as error:
        assert "perf_event_open" in str(error) and "valgrind" in str(error)
        return
    with device.Bench(payments=1) as bench:
        once, again = (bench.instructions("state_hash", 3, found) for _ in range(2))
    assert once == pytest.approx(again, rel=0.05)
    assert once > 7 * 24 * 100  # seven blocks with 24 rounds of Keccak


def test_the_kernel_counts_the_command_alone(tmp_path: Path):
    """With its clock in the place of a processor's counter, which a virtual machine may lack."""
    clock = counter.Processor(kind=1, event=1)  # PERF_TYPE_SOFTWARE, PERF_COUNT_SW_TASK_CLOCK
    loop = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done"
    try:
        short = clock.count(["/bin/true"], {}, tmp_path)
        long = clock.count(["/bin/sh", "-c", loop], {}, tmp_path)
    except counter.Unavailable as error:
        assert "perf_event_open says E" in str(error)  # a container may forbid the call
        return
    assert 0 < short < long / 4
    with pytest.raises(counter.Failed, match="no such thing"):
        clock.count(["/bin/sh", "-c", "echo no such thing; exit 3"], {}, tmp_path)


def test_a_side_that_sends_something_else_is_noticed(monkeypatch: pytest.MonkeyPatch):
    recorded = conversation.record

    def changed(count: int) -> conversation.Recording:
        recording = recorded(count)
        payments = [one._replace(answer=one.answer[:-1] + b"\0") for one in recording.payments]
        return recording._replace(payments=payments)

    monkeypatch.setattr(conversation, "record", changed)
    with device.Bench(payments=1) as bench:
        for side in ("payer", "payee"):
            with pytest.raises(counter.Failed, match="signature|another answer"):
                bench.allocated(side, 1)


def test_a_station_and_its_heap():
    stations = station.Stations(payments=2, progress=lambda _: None)
    live = stations.run(384 * 1024)
    assert live is not None, stations.failure
    assert 32 * 1024 < live < 384 * 1024
    assert stations.run(96 * 1024) is None
    assert "memory" in stations.failure.lower()


def test_the_wear_of_payments():
    """Issue 6's budget, over as many payments as make bench counts."""
    found = wear.measure(lambda _: None)
    assert found["page_programs_per_payment"] == max(found["page_programs"].values()) <= 2
    assert found["erases_per_sector_10_years"] <= 100_000
    assert min(found["page_programs"].values()) >= 1  # each side stores each payment
    for key in ("page_programs_per_payment", "page_programs.<side>", "erases_per_sector_10_years"):
        assert f"`device.{key}`" in README


def test_the_chip_counts_what_calls_touch():
    chip = wear.Chip(4)
    chip.writeblocks(1, bytes(2), 255)
    assert chip.programs == 2
    chip.writeblocks(1, b"\xff" * 256, 256)
    assert chip.programs == 3 and chip.image[4096 + 255 : 4096 + 258] == b"\0\0\xff"
    chip.ioctl(6, 1)
    assert chip.erases == [0, 1, 0, 0] and chip.image.count(0) == 0


def test_the_program(tmp_path: Path):
    target = tmp_path / "bench.json"
    target.write_text('{"wire": {"old": {"payment": 1}}}')
    done = run("wire", target)
    assert done.exit_code == 0
    assert "compact_serial" in done.stdout
    assert json.loads(target.read_text()) == {"wire": wire.measure(), "missing": {}}


def test_what_cannot_be_measured_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ANVIL", str(tmp_path / "anvil"))
    done = run("contracts", tmp_path / "bench.json")
    assert done.exit_code == 0
    written = json.loads((tmp_path / "bench.json").read_text())
    assert written.keys() == {"missing"}
    assert "make setup" in written["missing"]["contracts.gas"]


def test_what_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A failed measurement keeps no other one from the file."""
    monkeypatch.setattr(device, "VM", tmp_path / "micropython")
    heap = {"peak_heap_bytes": 4096, "live_heap_bytes": 2048}
    heap |= {"romfs_heap_bytes": 3072, "romfs_live_bytes": 1024}
    monkeypatch.setattr(station, "measure", lambda _: heap)
    monkeypatch.setattr(frozen, "measure", lambda *_: {})
    monkeypatch.setattr(channels, "measure", lambda: {})
    monkeypatch.setattr(wear, "measure", lambda _: {})
    done = run("device", tmp_path / "bench.json")
    assert done.exit_code == 1
    written = json.loads((tmp_path / "bench.json").read_text())
    assert written["device"] == heap
    assert written["missing"].keys() >= {"device.payment", "device.part"}
    assert "make setup" in written["missing"]["device.payment"]


def run(section: str, target: Path) -> Any:
    return CliRunner().invoke(program.app, ["--only", section, "--output", str(target)])
