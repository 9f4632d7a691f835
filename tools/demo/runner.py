"""Plays scenes, one after the other, each in a world of its own."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress

from contracts.toolchain import BUILD

from demo.device import HEAP
from demo.report import Outcome
from demo.scenes.base import Scene
from demo.story import Story
from demo.world import World

DIRECTORY = BUILD / "demo"


async def play(
    scene: Scene,
    story: Story,
    heap: str = HEAP,
    keep: bool = False,
) -> Outcome:
    """Play a scene; whatever happens, nothing of its world is left but its directory if `keep`,
    or if it went wrong."""
    sweep()
    directory = DIRECTORY / f"{os.getpid()}" / scene.name
    shutil.rmtree(directory, ignore_errors=True)
    try:
        async with World(directory, story, heap, scene.car) as world:
            world.keep = True  # until all is well
            verdict = await scene.play(world)
            world.keep = keep or not verdict.ok
    except (RuntimeError, OSError) as error:  # Died, TimeoutError, a refusal of the chain
        text = str(error) or type(error).__name__
        story.remark(f"{text}\n  the logs are in {directory}")
        return Outcome(scene.name, False, round(story.seconds, 2), 0, {}, {}, text)
    seconds = round(story.seconds, 2)
    return Outcome(
        scene.name, verdict.ok, seconds, verdict.payments, verdict.expected, verdict.actual
    )


def sweep() -> None:
    """Remove what runs that are over left behind, unless they were to keep it."""
    if not DIRECTORY.is_dir():
        return
    for directory in DIRECTORY.iterdir():
        with suppress(OSError):
            directory.rmdir()  # only empty ones go
