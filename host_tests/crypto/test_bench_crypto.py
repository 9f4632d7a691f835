"""The cryptography's part of `make bench`: what it counts, on the board and on x64."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from bench import callgrind, crypto
from bench.counter import Failed, Unavailable
from emulator.cycles import HZ_RP2040

ROOT = Path(__file__).parents[2]
README = (ROOT / "tools" / "bench" / "README.md").read_text()

PROFILE = """\
ob=(1) /lib/vm.so
fn=(1) run
10 100
+2 5
cob=(2) ???
cfn=(2) 0x1000
calls=3 0
-1 7000
* 20

ob=(2)
fn=(2)
0 6000
ob=(1)
fn=(3) other
1 1
"""


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    path = tmp_path / "samples.json"
    path.write_text(json.dumps(crypto._samples()))
    return path


def test_a_profile_is_split() -> None:
    """Costs of calls are those of the called: they are there once."""
    assert callgrind.parse(PROFILE) == callgrind.Count(native=6000, other=126)


@pytest.mark.parametrize(("kind", "backend"), [("thumb", "asm_thumb"), ("viper", "viper")])
def test_the_board(kind: str, backend: str, samples: Path) -> None:
    found = board(kind, samples)["operations"]
    assert found.keys() == set(crypto.OPERATIONS)
    permutation = found["keccak_f"]
    assert (permutation["backend"], permutation["calls"]) == (backend, 1)
    for name in ("state_hash", "state_hash_other", "state_hash_first"):
        assert found[name]["backend"] == backend
        # seven blocks, and what it takes to XOR 832 bytes
        assert 7 * permutation["cycles"] < found[name]["cycles"] < 8 * permutation["cycles"]
    for costs in found.values():
        native = costs["backend"] != "bigint"
        assert (costs["cycles"] > 0) == (costs["calls"] > 0) == native


def test_a_hash_is_as_fast_as_promised(samples: Path) -> None:
    """2.8 ms for a state on an RP2040, the modelled part included; and it leaves little."""
    try:
        callgrind.program()
    except Unavailable:
        assert "valgrind" in README  # the figure is missing, and the reader knows why
        return
    results: dict[str, dict[str, Any]] = {}
    for operation in ("keccak_f", "state_hash"):
        script = [str(crypto.SCRIPTS / "crypto.py"), str(samples), "", operation]
        backend, costs = crypto._costs(script, 10)
        assert backend == "viper"
        assert 0 < costs["instructions_x64_bytecode"] < costs["instructions_x64"]
        results.setdefault(backend, {})[operation] = costs
    crypto._on_board(samples, "thumb", results)
    found = results["asm_thumb"]
    assert found["keccak_f"]["ms_rp2040_125mhz"] < 0.35
    assert found["state_hash"]["ms_rp2040_125mhz"] < 2.8
    assert found["keccak_f"]["garbage_bytes"] == 0
    assert found["state_hash"]["garbage_bytes"] < 1000
    for costs in found.values():
        if isinstance(costs, dict):
            assert costs["cycles_cortex_m0plus"] == round(
                costs["cycles_native_emulated"] + costs["cycles_bytecode_modelled"]
            )
            assert costs["ms_rp2040_125mhz"] == pytest.approx(
                1000 * costs["cycles_cortex_m0plus"] / HZ_RP2040, abs=0.001
            )
            for key in costs:
                assert f"`{key}`" in README


def test_a_wrong_signature_is_noticed(samples: Path) -> None:
    content = json.loads(samples.read_text())
    content["signed"] = [[digest, signature[:-1] + "0"] for digest, signature in content["signed"]]
    samples.write_text(json.dumps(content))
    for operation in ("sign", "verify_new", "recover"):
        script = [str(crypto.SCRIPTS / "crypto.py"), str(samples), "", operation, "1"]
        with pytest.raises(Failed, match=r"signature|key"):
            crypto._vm(script, "2m")


def board(kind: str, samples: Path) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "bench.board", str(samples), kind],
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'tools'}:{ROOT / 'lib'}"},
        capture_output=True,
        check=True,
    )
    return json.loads(done.stdout)
