"""Plays scenes, one after the other, each in a world of its own."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from contracts.toolchain import BUILD

from demo.device import HEAP
from demo.report import Outcome
from demo.scenes.base import Scene
from demo.story import Story

DIRECTORY = BUILD / "demo"


async def play(
    scene: Scene,
    story: Story,
    heap: str = HEAP,
    keep: bool = False,
) -> Outcome:
    """Play a scene. Whatever happens, no process of its world is left.

    Its directory is left if `keep`, or if it went wrong, until the next run.
    """
    sweep()
    directory = DIRECTORY / str(os.getpid()) / scene.name
    shutil.rmtree(directory, ignore_errors=True)
    try:
        async with scene.world(
            directory, story, heap, scene.car, scene.station, scene.power
        ) as world:
            world.keep = True  # until all is well
            verdict = await scene.play(world)
            await world.look()  # the last picture
            world.keep = keep or not verdict.ok
    except (RuntimeError, OSError) as error:  # Died, TimeoutError, a refusal of the chain
        text = f"{str(error) or type(error).__name__}\nThe logs are in {directory}"
        return Outcome(scene.name, False, round(story.seconds, 2), 0, {}, {}, text)
    finally:
        with suppress(OSError):  # not empty: it is kept
            directory.parent.rmdir()
    seconds = round(story.seconds, 2)
    return Outcome(
        scene.name, verdict.ok, seconds, verdict.payments, verdict.expected, verdict.actual
    )


def sweep() -> None:
    """Remove what earlier runs left. A directory has the process id of its run."""
    for directory in DIRECTORY.glob("*"):
        if not Path("/proc", directory.name).exists():
            shutil.rmtree(directory, ignore_errors=True)
