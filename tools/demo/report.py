"""What came out: a table for people, build/demo.json for programs."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from contracts.toolchain import BUILD
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
    """Print the table."""
    table = Table(title="What must be, and what the chain and the meters say", title_style="bold")
    table.add_column("scene")
    table.add_column("")
    table.add_column("expected", justify="right")
    table.add_column("actual", justify="right")
    table.add_column("")
    for outcome in outcomes:
        table.add_section()
        note = f"{outcome.seconds:.1f} s, {outcome.payments} payments"
        first = Text(outcome.name, "bold")
        for name, expected in outcome.expected.items():
            actual = outcome.actual.get(name)
            good = actual == expected
            table.add_row(
                first,
                name,
                f"{expected:,}",
                "-" if actual is None else f"{actual:,}",
                Text("✓", "green") if good else Text("✗", "bold red"),
            )
            first, note = Text(note, "dim"), ""
        if outcome.error:
            table.add_row(first, Text(outcome.error.splitlines()[0], "red"), "", "", "✗")
    console.print(table)
    console.print(Text("Amounts in wei, energy in Wh.", "dim"))
