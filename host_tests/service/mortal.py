"""A service process that kills itself (SIGKILL) at a chosen moment.

"store" before a transaction is stored, "send" when it is stored but not sent, "sent" when it is
sent but nothing is known about it, "mined" when its receipt is there but not stored, "watched"
when a request is durable but not answered, "prune" when a channel is being pruned, "migrate" when
the store is being brought to a newer schema; each at the how-maniest time. "never" lives on.
"""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from adoption import cli
from adoption.chain.sender import Sender
from adoption.handlers import Handlers
from adoption.store import migrations, outbox, settled


def die(left: list[int]) -> None:
    left[0] -= 1
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)


def before(owner: Any, name: str, left: list[int]) -> None:
    original: Callable[..., Any] = getattr(owner, name)

    def dying(*args: Any) -> Any:
        die(left)
        return original(*args)

    setattr(owner, name, dying)


def after(owner: Any, name: str, left: list[int]) -> None:
    original: Callable[..., Any] = getattr(owner, name)

    async def dying(*args: Any) -> Any:
        result = await original(*args)
        die(left)
        return result

    setattr(owner, name, dying)


def serve(path: str, log: str, moment: str, count: int) -> None:
    """What the process does. log: the file for everything that it prints."""
    with open(log, "ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    left = [count]
    if moment == "store":
        before(outbox, "add", left)
    elif moment == "send":
        before(Sender, "_broadcast", left)
    elif moment == "sent":
        after(Sender, "_broadcast", left)
    elif moment == "mined":
        before(outbox, "mined", left)
    elif moment == "watched":
        after(Handlers, "_watch", left)
    elif moment == "prune":
        after(settled, "clear", left)
    elif moment == "migrate":
        after(migrations, "run", left)
    cli.serve(Path(path), log_json=True, verbose=True)
