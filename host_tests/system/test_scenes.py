"""The scenes of the demonstration, judged as the demonstration judges them."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from demo import report, runner
from demo.processes import Died
from demo.report import Outcome
from demo.scenes import SCENES
from demo.scenes.base import Scene, Verdict
from demo.story import Story
from demo.world import World
from worlds import COMMAND, environment


@pytest.mark.timeout(300)  # generous, for a busy machine
@pytest.mark.parametrize("name", list(SCENES))
async def test_scene(name: str) -> None:
    outcome = await runner.play(SCENES[name], Story(name, "", print))
    assert not outcome.error
    assert outcome.expected == outcome.actual
    assert outcome.ok and outcome.payments > 10 and outcome.seconds < 120


async def test_wrong_wei_is_found() -> None:
    """A scene whose outcome is one wei off is not ok."""
    verdict = Verdict(1, {"wallet": 5}, {"wallet": 6})
    assert not verdict.ok


async def test_a_scene_that_fails_leaves_nothing() -> None:
    async def play(world: World) -> Verdict:
        worlds.append(world)
        assert ttys() != before
        raise Died("on purpose")

    worlds: list[World] = []
    before = ttys()
    outcome = await runner.play(Scene("fails", "", play), Story("fails", "", print))
    assert not outcome.ok and outcome.error.startswith("on purpose\n")
    assert not worlds[0].car.running and not worlds[0].station.running
    assert ttys() == before


def ttys() -> list[str]:
    """Those that this process has open: their numbers may be another's a moment later."""
    found = []
    for file in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found.append(os.readlink(file))
    return sorted(name for name in found if re.fullmatch(r"/dev/(ptmx|pts/(ptmx|\d+))", name))


def test_command_rejects_an_unknown_scene() -> None:
    done = subprocess.run(
        [*COMMAND, "--scene", "nonsense"], env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 2 and "nonsense" in done.stderr


def test_report(tmp_path: Path) -> None:
    good = Outcome("a", True, 1.5, 3, {"wei": 5}, {"wei": 5})
    bad = replace(good, name="b", ok=False, actual={"wei": 4})
    failed = Outcome("c", False, 1.0, 0, {}, {}, "it died")
    path = tmp_path / "demo.json"
    report.write([good], path)
    written = json.loads(path.read_text())
    assert written == {
        "ok": True,
        "scenes": [
            {
                "name": "a",
                "ok": True,
                "seconds": 1.5,
                "payments": 3,
                "expected": {"wei": 5},
                "actual": {"wei": 5},
            }
        ],
    }
    for outcomes in ([good, bad], [failed], []):
        report.write(outcomes, path)
        assert json.loads(path.read_text())["ok"] is False
