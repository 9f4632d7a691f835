"""What was proven on our contracts holds on Perun's own; and cars charge at go-perun nodes."""

import subprocess
import sys

import pytest
from contracts.toolchain import ROOT
from demo import runner
from demo.scenes import GO_SCENES, SCENES
from demo.story import Story


@pytest.mark.timeout(400)
def test_the_tests_of_the_contracts():
    """Those that must differ fail there, all others pass: tools/contracts/README.md."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "host_tests/contracts", "--contracts=perun"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-5000:]
    assert " xfailed" in done.stdout


# One that ends well, one with a dispute; `make demo CONTRACTS=perun` plays all of them.
@pytest.mark.parametrize("name", ["honest", "cheat"])
async def test_a_scene_on_perun_s_contracts(name, monkeypatch):
    monkeypatch.setenv("CONTRACTS", "perun")
    outcome = await runner.play(SCENES[name], Story(name, "", print))
    assert not outcome.error
    assert outcome.expected == outcome.actual and outcome.payments > 10


@pytest.mark.parametrize("name", list(GO_SCENES))
async def test_a_scene_with_a_go_perun_node(name):
    outcome = await runner.play(GO_SCENES[name], Story(name, "", print))
    assert not outcome.error
    assert outcome.expected == outcome.actual and outcome.payments > 10
