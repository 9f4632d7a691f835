"""What is shown while a scene runs: one live screen, or plain lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from demo.scenes.base import Scene
from demo.story import Snapshot, Step, Story
from demo.world import CHALLENGE

_PER_SECOND = 8
_WIDE = 96  # columns from which amounts have separators


@contextmanager
def show(scene: Scene, console: Console, plain: bool) -> Iterator[Story]:
    """Show the story that the scene tells."""
    if plain:
        console.print(f"scene {scene.name}: {scene.title}", highlight=False)
        yield Story(
            scene.name,
            scene.title,
            lambda line: console.print(line, highlight=False, markup=False, soft_wrap=True),
        )
        return
    story = Story(scene.name, scene.title, lambda line: None)
    with Live(
        Screen(story), console=console, refresh_per_second=_PER_SECOND, vertical_overflow="crop"
    ):
        yield story


class Screen:
    """The story as it stands when it is drawn."""

    def __init__(self, story: Story) -> None:
        self._story = story
        self._spinner = Spinner("dots", style="cyan")

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        now = self._story.snapshot
        wei = "{:,}" if options.max_width >= _WIDE else "{}"
        yield Panel(
            Group(
                self._energy(now),
                _pair(_car(now, wei), _station(now, wei)),
                _pair(_service(now), _chain(now, wei)),
                *self._steps(options.max_height),
            ),
            title=f"[bold]uPerun[/] · {self._story.title}",
            subtitle=f"scene [bold]{self._story.name}[/] · {self._story.seconds:.1f} s · in wei",
            border_style="cyan",
            padding=(0, 1),
        )

    def _energy(self, now: Snapshot) -> RenderableType:
        goal = max(self._story.goal_wh, 1)
        delivered = min(int(now.car.get("delivered_wh", 0)), goal)
        bar = Table.grid(expand=True, padding=(0, 1))
        bar.add_column(width=8)
        bar.add_column(ratio=1)
        bar.add_column(width=20, justify="right")
        bar.add_row(
            Text("energy", "bold"),
            ProgressBar(goal, delivered, complete_style="green", finished_style="green"),
            f"{delivered:,} of {self._story.goal_wh:,} Wh",
        )
        return bar

    def _steps(self, height: int) -> Iterator[RenderableType]:
        for step in self._story.steps[-12:]:
            yield _step(step, self._spinner)
        for remark in self._story.remarks[-2:]:
            yield Text("! " + remark, "yellow", overflow="ellipsis", no_wrap=True)


def _step(step: Step, spinner: Spinner) -> RenderableType:
    row = Table.grid(expand=True, padding=(0, 1))
    row.add_column(width=2)
    row.add_column(ratio=1, no_wrap=True)
    row.add_column(justify="right", no_wrap=True, style="dim")
    row.add_column(justify="right", width=7, style="dim")
    if step.seconds is None:
        row.add_row(spinner, Text(step.text, "bold"), step.detail, "")
    elif step.ok:
        row.add_row(Text("✓", "green"), step.text, step.detail, f"{step.seconds:.1f} s")
    else:
        row.add_row(Text("✗", "bold red"), step.text, step.detail, f"{step.seconds:.1f} s")
    return row


def _pair(left: RenderableType, right: RenderableType) -> RenderableType:
    grid = Table.grid(expand=True)
    grid.add_column(ratio=1)
    grid.add_column(ratio=1)
    grid.add_row(left, right)
    return grid


def _box(title: str, rows: Sequence[tuple[str, RenderableType]], colour: str) -> Panel:
    grid = Table.grid(expand=True, padding=(0, 1))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(justify="right", no_wrap=True, ratio=1)
    for name, value in rows:
        grid.add_row(name, value)
    return Panel(grid, title=title, title_align="left", border_style=colour)


def _device(
    title: str, on: bool, status: dict[str, Any], rows: Sequence[tuple[str, RenderableType]]
) -> Panel:
    channel = (status.get("channels") or [{}])[-1]
    heap = status.get("heap", {})
    guarded = channel.get("watched", -1)
    used = Text("off", "bold red")
    if on and not heap:
        used = Text("-", "dim")
    elif on:
        used = Text(f"{heap.get('used', 0) // 1024} KiB used, {heap.get('free', 0) // 1024} free")
    return _box(
        title,
        [
            *rows,
            ("version", f"{channel.get('version', '-')}"),
            ("guarded", f"{guarded if guarded >= 0 else '-'}"),
            ("heap", used),
        ],
        "green" if on else "red",
    )


def _car(now: Snapshot, wei: str) -> Panel:
    status = now.car
    return _device(
        f"[bold]car[/] · {status.get('software', 'MicroPython')}",
        now.car_on,
        status,
        [
            ("received", f"{status.get('delivered_wh', 0):,} Wh"),
            ("paid for", f"{status.get('paid_wh', 0):,} Wh"),
            ("spent", wei.format(int(status.get("spent", 0)))),
        ],
    )


def _station(now: Snapshot, wei: str) -> Panel:
    status = now.station
    closed = now.station_on and status.get("charging")
    return _device(
        f"[bold]station[/] · {status.get('software', 'MicroPython')}",
        now.station_on,
        status,
        [
            ("relay", Text("● closed", "green") if closed else Text("○ open", "dim")),
            ("delivered", f"{status.get('delivered_wh', 0):,} Wh"),
            ("earned", wei.format(int(status.get("earned", 0)))),
        ],
    )


def _service(now: Snapshot) -> Panel:
    held = now.held
    if held is None:
        return _box(
            "[bold]adoption service[/]", [("holds", "nothing yet")] + [("", "")] * 4, "blue"
        )
    stages = {member["participant"]: member["stage"] for member in held["members"]}
    authorized = {member["participant"]: member["authorized"] for member in held["members"]}
    final = " (final)" if held["final"] else ""
    return _box(
        "[bold]adoption service[/]",
        [
            ("holds version", f"{held['version']}{final}"),
            ("car is", stages.get(0, "-")),
            ("can withdraw for it", _version(authorized.get(0))),
            ("station is", stages.get(1, "-")),
            ("can withdraw for it", _version(authorized.get(1))),
        ],
        "blue",
    )


def _chain(now: Snapshot, wei: str) -> Panel:
    dispute = Text("none", "dim")
    if now.dispute:
        left = now.dispute.timeout - now.time
        dispute = Text(f"version {now.dispute.version}, {now.dispute.phase}")
        if now.dispute.phase == "dispute" and 0 < left <= CHALLENGE:
            dispute.append(f", {left} s left", "yellow")
    return _box(
        "[bold]chain[/] · anvil",
        [
            ("block", f"{now.block}"),
            ("registered", dispute),
            ("in the contract", wei.format(now.deposits)),
            ("car's wallet", wei.format(now.car_wallet)),
            ("station's wallet", wei.format(now.station_wallet)),
        ],
        "magenta",
    )


def _version(value: int | None) -> str:
    return "-" if value is None or value < 0 else f"version {value}"
