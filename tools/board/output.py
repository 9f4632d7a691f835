"""What commands say: for people with colours and progress, with --json one object per line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

_console = Console(highlight=False, soft_wrap=True)


class Output:
    """json: whether tools read it."""

    def __init__(self, json: bool = False) -> None:
        self.json = json

    def say(self, line: str, /, **facts: Any) -> None:
        """A line for people; for tools its facts, if it has any."""
        if not self.json:
            _console.print(line, markup=False)
        elif facts:
            print(json.dumps(facts), flush=True)

    def result(self, facts: dict[str, Any], text: str = "") -> None:
        """What a command has found: for people `text`, or its facts as a table."""
        if self.json:
            print(json.dumps(facts), flush=True)
        elif text:
            _console.print(text, markup=False)
        else:
            width = max((len(name) for name in facts), default=0)
            for name, value in facts.items():
                shown = value if isinstance(value, str | int) else json.dumps(value)
                _console.print(f"{name:{width}}  {shown}", markup=False)

    @contextmanager
    def progress(self, what: str, total: int) -> Iterator[Any]:
        """A bar; yields a function of how much more is done."""
        bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            console=_console,
            disable=self.json or not _console.is_terminal,
            transient=True,
        )
        with bar:
            task: TaskID = bar.add_task(what, total=total)
            yield lambda amount: bar.advance(task, amount)
