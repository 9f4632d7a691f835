"""An asyncio loop with virtual time: runs until everybody waits, then jumps to the next timer."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Mapping
from typing import Any

_START = 1_000_000.0  # seconds; also the chain's time at its beginning
_TICK = 1e-6  # what the loop's own rounding may leave of a timer


class _Selector(selectors.SelectSelector):
    """Nobody waits for a file here: when nothing is ready, time passes."""

    idle: Any = None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout > 0:
            self.idle(timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """`advance` is the only way to let anything happen."""

    def __init__(self) -> None:
        selector = _Selector()
        selector.idle = self._idle
        self._now = self._until = _START
        super().__init__(selector)

    def time(self) -> float:
        return self._now

    def _idle(self, timeout: float | None) -> None:
        later = self._until + _TICK if timeout is None else self._now + timeout + _TICK
        if later <= self._until:
            self._now = later
        else:
            self._now = max(self._now, self._until)
            self.stop()

    def advance(self, seconds: float = 0) -> None:
        """Let this time pass and everything happen that is due; returns when everybody waits."""
        self._until = self._now + seconds
        self.run_forever()

    def finish(self) -> None:
        """Cancel what is left and close."""
        for task in asyncio.all_tasks(self):
            task.cancel()
        self.advance()
        self.close()


def silent(loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
    """An exception handler: the world looks at the tasks itself."""
