"""What came out: a table for people, build/demo.json for programs."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from contracts.toolchain import BUILD
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

RESULT = BUILD / "demo.json"


@dataclass(frozen=True)
class Outcome:
    """How a scene ended. error: why it did not come to a verdict, else an empty text."""

    name: str
    ok: bool
    seconds: float
    payments: int
    expected: dict[str, int]
    actual: dict[str, int]
    error: str = ""


def write(outcomes: list[Outcome], path: Path = RESULT) -> None:
    """Write the result for programs."""
    scenes = []
    for outcome in outcomes:
        scene = asdict(outcome)
        if not outcome.error:
            del scene["error"]
        scenes.append(scene)
    result = {"ok": bool(outcomes) and all(one.ok for one in outcomes), "scenes": scenes}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n")


def show(outcomes: list[Outcome], console: Console) -> None:
    """Print a table for each scene."""
    for outcome in outcomes:
        mark = Text("✓ ", "bold green") if outcome.ok else Text("✗ ", "bold red")
        facts = f"  {outcome.seconds:.1f} s, {outcome.payments} payments"
        console.print(Text.assemble("\n", mark, (outcome.name, "bold"), (facts, "dim")))
        if outcome.expected:
            console.print(_table(outcome))
        if outcome.error:
            console.print(Text(outcome.error, "red"))
    console.print(Text("\nAmounts in wei, energy in Wh; gas apart.", "dim"))


def _table(outcome: Outcome) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    table.add_column("must be", justify="right", no_wrap=True)
    table.add_column("is", justify="right", no_wrap=True)
    table.add_column("")
    for name, expected in outcome.expected.items():
        actual = outcome.actual.get(name)
        good = actual == expected
        table.add_row(
            name,
            f"{expected:,}",
            "-" if actual is None else f"{actual:,}",
            Text("✓", "green") if good else Text("✗", "bold red"),
        )
    return table
