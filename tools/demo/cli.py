"""The command line: `python -m demo --help`."""

from __future__ import annotations

import asyncio
import os
import signal
from enum import Enum
from typing import Annotated

import typer
from rich.console import Console

from demo import report, runner
from demo.device import HEAP
from demo.report import Outcome
from demo.scenes import GO_SCENES, SCENES
from demo.scenes.base import Scene
from demo.screen import show

app = typer.Typer(add_completion=False)
_Choice = Enum("_Choice", {name: name for name in ("all", *SCENES, *GO_SCENES)}, type=str)  # type: ignore[misc]


class _Source(str, Enum):
    own = "own"
    perun = "perun"


class _Peer(str, Enum):
    uperun = "uperun"
    go_perun = "go-perun"


@app.command()
def demo(
    scene: Annotated[
        _Choice, typer.Option(envvar="SCENE", help="Which scene to play.")
    ] = _Choice.all,  # type: ignore[attr-defined]
    plain: Annotated[bool, typer.Option(help="Lines instead of a live screen.")] = False,
    keep: Annotated[bool, typer.Option(help="Keep the logs and stores in build/demo.")] = False,
    heap: Annotated[str, typer.Option(help="The heap of each device.")] = HEAP,
    contracts: Annotated[
        _Source,
        typer.Option(envvar="CONTRACTS", help="Our contracts, or Perun's own, which need Go."),
    ] = _Source.own,
    peer: Annotated[
        _Peer,
        typer.Option(envvar="PEER", help="Who is at the other end; go-perun needs Go."),
    ] = _Peer.uperun,
) -> None:
    """An electric car pays a charging station: a real chain, the adoption service, two devices.

    Ends with a table, writes build/demo.json, and fails if one wei is not where it must be.
    """
    os.environ["CONTRACTS"] = contracts.value  # for everything that reads an artifact
    console = Console()
    scenes = {**SCENES, **GO_SCENES}
    chosen = GO_SCENES if peer is _Peer.go_perun else SCENES
    names = list(chosen) if scene.value == "all" else [scene.value]
    try:
        outcomes = asyncio.run(
            _play(
                [scenes[name] for name in names],
                console,
                plain or not console.is_terminal,
                keep,
                heap,
            )
        )
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except asyncio.CancelledError:
        raise typer.Exit(143) from None
    report.write(outcomes)
    report.show(outcomes, console)
    if not all(outcome.ok for outcome in outcomes):
        raise typer.Exit(1)


async def _play(
    scenes: list[Scene], console: Console, plain: bool, keep: bool, heap: str
) -> list[Outcome]:
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    outcomes = []
    for scene in scenes:
        with show(scene, console, plain) as story:
            outcomes.append(await runner.play(scene, story, heap, keep))
    return outcomes
