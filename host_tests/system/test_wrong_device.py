"""A device that cannot start says why, in one line, and ends."""

from __future__ import annotations

import json
import socket
import subprocess
from pathlib import Path
from typing import Any

import config
import pytest
from contracts.ports import free_port
from contracts.toolchain import ROOT
from demo.device import HEAP, MICROPYTHON, MODULES

RIGHT = {
    "chain": {
        "id": 1337,
        "assets": [
            {"holder": "0x5FbDB2315678afecb367f032d93F642f64180aa3", "max_deposit": "1000"}
        ],
    },
    "receiver": "0x" + "11" * 20,
    "service": {"tcp": {"host": "127.0.0.1", "port": 9}},
    "peer": {"dial": {"host": "127.0.0.1", "port": 9}},
    "app": {
        "module": "ev_car",
        "price_per_kwh": "1000",
        "deposit": "1000",
        "charger": {"module": "cable", "end": "car", "port": 9},
    },
    "console": "json",
}


def start(directory: Path, words: str = "stop\n") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(MICROPYTHON), "-X", f"heapsize={HEAP}", "-m", "main"],
        cwd=directory,
        env={"MICROPYPATH": f"{MODULES}:.frozen"},
        input=words,
        capture_output=True,
        text=True,
        timeout=60,
    )


def without(*path: str) -> str:
    document: dict[str, Any] = json.loads(json.dumps(RIGHT))
    place = document
    for name in path[:-1]:
        place = place[name]
    del place[path[-1]]
    return json.dumps(document)


def with_port(port: int) -> str:
    document: dict[str, Any] = json.loads(json.dumps(RIGHT))
    document["app"]["charger"]["port"] = port
    return json.dumps(document)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "config.json: cannot be read"),
        ("", "config.json: not valid JSON"),
        ("{", "config.json: not valid JSON"),
        (without("chain", "id"), "config.json: chain.id: missing"),
        (without("app", "charger", "end"), "config.json: app.charger.end: missing"),
        (with_port(0), "config.json: app.charger.port: expected a port from 1 to 65535"),
        (json.dumps({**RIGHT, "recever": 1}), "config.json: recever: unknown"),
        (json.dumps({**RIGHT, "receiver": "0x" + "00" * 20}), "config.json: receiver: expected"),
        (json.dumps({**RIGHT, "app": {"module": "nothing"}}), "config.json: app.module: expected"),
    ],
)
def test_wrong_configuration(tmp_path: Path, text: str | None, words: str) -> None:
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    done = start(tmp_path)
    assert done.returncode == 2
    assert words in done.stdout and len(done.stdout.splitlines()) == 1
    assert "Traceback" not in done.stdout + done.stderr
    assert not (tmp_path / "perun.journal").exists()  # no key is made for a wrong device


def test_damaged_store(tmp_path: Path) -> None:
    """A device does not make a new key over a store that it cannot read."""
    (tmp_path / "config.json").write_text(with_port(free_port(socket.SOCK_DGRAM)))
    first = start(tmp_path)
    assert first.returncode == 0 and '"ready"' in first.stdout
    store = tmp_path / "perun.journal"
    data = store.read_bytes()
    damaged = data[:-1] + bytes((data[-1] ^ 1,)) + data  # not the end: no write was cut short
    store.write_bytes(damaged)
    done = start(tmp_path)
    assert done.returncode == 2 and "store" in done.stdout, done.stdout
    assert store.read_bytes() == damaged


def test_same_key_after_a_restart(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(with_port(free_port(socket.SOCK_DGRAM)))
    one, two = start(tmp_path), start(tmp_path)
    made, *first = map(json.loads, one.stdout.splitlines())
    second = [json.loads(line) for line in two.stdout.splitlines()]
    assert made["event"] == "key made" and {"urandom", "jitter"} < set(made["sources"])
    assert first[0]["address"] == second[0]["address"]
    secret = (tmp_path / "perun.journal").read_bytes()[-32:].hex()
    assert secret not in one.stdout + one.stderr + two.stdout + two.stderr


def test_configuration_of_the_readme() -> None:
    text = (ROOT / "firmware" / "README.md").read_text()
    settings = config.check(json.loads(text.split("```json\n")[1].split("```")[0]))
    assert settings["app"]["module"] == "ev_station"
