"""What a scene tells while it runs: steps, remarks, and how things stand."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from demo.chain import Dispute


@dataclass
class Step:
    """One step of a scene. seconds: how long it took, None while it runs."""

    text: str
    detail: str = ""
    seconds: float | None = None
    ok: bool = True


@dataclass(frozen=True)
class Snapshot:
    """How things stand: each part's own word. Amounts in wei."""

    car: dict[str, Any] = field(default_factory=dict)
    station: dict[str, Any] = field(default_factory=dict)
    car_on: bool = False
    station_on: bool = False
    channel: str = ""
    held: dict[str, Any] | None = None  # what the service has stored for the channel
    block: int = 0
    time: int = 0
    deposits: int = 0
    dispute: Dispute | None = None
    car_wallet: int = 0
    station_wallet: int = 0


class Story:
    """The telling of one scene. listener: called at the beginning and end of a step, and for
    remarks, with a line of text."""

    def __init__(self, name: str, title: str, listener: Callable[[str], None]) -> None:
        self.name = name
        self.title = title
        self.steps: list[Step] = []
        self.remarks: list[str] = []
        self.snapshot = Snapshot()
        self.goal_wh = 0  # what the car is going to charge
        self.began = time.monotonic()
        self._listener = listener
        self._over = False

    def mute(self) -> None:
        """The story is over: no more remarks."""
        self._over = True

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self.began

    @contextmanager
    def step(self, text: str) -> Iterator[Step]:
        """`with story.step(text) as step:` tells a step; step.detail may be set in it."""
        step = Step(text)
        self.steps.append(step)
        start = time.monotonic()
        try:
            yield step
        except BaseException:
            step.ok = False
            raise
        finally:
            step.seconds = time.monotonic() - start
            mark = "ok" if step.ok else "FAILED"
            detail = f": {step.detail}" if step.detail else ""
            self._listener(f"[{step.seconds:5.1f} s] {mark:2} {step.text}{detail}")

    def remark(self, text: str) -> None:
        """Something that was not planned; once, however often it happens in a row."""
        if self._over or self.remarks[-1:] == [text]:
            return
        self.remarks.append(text)
        self._listener(f"          ! {text}")
