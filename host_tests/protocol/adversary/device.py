"""A device: a real client on a flash of its own, whose power can fail before each effect."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import ContextVar, copy_context
from typing import Any

from perun.channel import Limits
from perun.client import Client
from perun.client.keeping import load_channel
from perun.link import LinkClosed, LinkError
from perun.model import ether

from protocol.adversary.crypto import SWIFT

CHAIN_ID = 1337
ASSET = ether(CHAIN_ID, b"\x5b" * 20)
DURATION = 600  # the challenge duration, seconds: longer than the longest pause of a guardian
LIMITS = Limits((ASSET,), (1000,), 60, 3600)

OWNER: ContextVar[Device] = ContextVar("OWNER")


class PowerCut(BaseException):
    """The power failed: no code of the device may go on, so it is nothing that code catches."""


class End:
    """One end of a link, as perun.link makes them; out: what takes the bodies that are sent."""

    name = "simulated"
    binding = b""

    def __init__(self, out: Callable[[bytes], None], on_close: Callable[[], None]) -> None:
        self.closed = False
        self._out = out
        self._on_close = on_close
        self._inbox: deque[bytes] = deque()
        self._news = asyncio.Event()

    async def send(self, body: bytes) -> None:
        if self.closed:
            raise LinkClosed("the link is closed")
        self._out(body)

    async def recv(self) -> bytes:
        while not self._inbox:
            if self.closed:
                raise LinkClosed("the link is closed")
            self._news.clear()
            await self._news.wait()
        return self._inbox.popleft()

    def push(self, body: bytes) -> None:
        """A body arrives."""
        self._inbox.append(body)
        self._news.set()

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._news.set()
            self._on_close()


def pair(before: Callable[[], None]) -> tuple[End, End]:
    """Two ends of a line that loses nothing; before: called at each message of the first end."""

    def out(body: bytes) -> None:
        before()
        other.push(body)

    one = End(out, lambda: other.close())
    other = End(lambda body: one.push(body), one.close)
    return one, other


class Device:
    """account: its key; receiver: where its owner's money goes.

    client      None while it is switched off
    flash       what survives a power cut: key -> value
    fuse        effects (writes and messages) until the power fails; None: it does not
    allows      whether the application agrees to what the peer proposes
    """

    def __init__(self, loop: Any, account: Any, receiver: bytes) -> None:
        self.account = account
        self.receiver = receiver
        self.client: Client | None = None
        self.flash: dict[bytes, bytes] = {}
        self.fuse: int | None = None
        self.dead = False
        self.allows = True
        self.link: End | None = None  # to the peer
        self.events: list[tuple[str, Any]] = []
        self.errors: list[str] = []
        self.tasks: set[asyncio.Task[Any]] = set()
        self._loop = loop

    # -- the store, as the client sees it: each write is one, whole or not at all --------------

    def keys(self) -> list[bytes]:
        return list(self.flash)

    def get(self, key: bytes) -> bytes | None:
        return self.flash.get(key)

    def put(self, key: bytes, value: bytes) -> None:
        self.burn()
        self.flash[key] = value

    def delete(self, key: bytes) -> None:
        self.burn()
        self.flash.pop(key, None)

    # -- power ------------------------------------------------------------------------------------

    def burn(self) -> None:
        """One more effect; it does not happen when the power fails now."""
        if self.fuse == 0:
            self.dead = True
        if self.dead:
            raise PowerCut
        if self.fuse is not None:
            self.fuse -= 1

    def switch_on(self, dial: Callable[[], Coroutine[Any, Any, Any]], service: bytes) -> None:
        """Start from what is on the flash. dial: reaches the service with this address."""
        self.dead, self.fuse = False, None
        client = Client(self.account, CHAIN_ID, LIMITS, self.receiver, self)
        client.chain = SWIFT
        client.on_proposal = lambda proposal: None if self.allows else "no"
        agree = client.on_update
        client.on_update = lambda handle, state: agree(handle, state) if self.allows else "no"
        client.on_event = lambda handle, kind, detail: self.events.append((kind, detail))
        client.on_error = self.errors.append
        client.restore()
        self.client = client
        self.spawn(client.guard(dial, service))

    def switch_off(self) -> None:
        """Cut the power."""
        self.dead = True
        self.client = None
        for task in list(self.tasks):
            task.cancel()
        self._loop.advance()
        if self.link is not None:
            self.link.close()
            self.link = None

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run something as a task of this device."""
        context = copy_context()
        context.run(OWNER.set, self)
        return self._loop.create_task(work, context=context)

    # -- what is known of it ----------------------------------------------------------------------

    @property
    def handle(self) -> Any:
        """The ChannelHandle, or None."""
        return next(iter(self.client.channels.values()), None) if self.client else None

    def stored(self) -> Any:
        """The machine that a power cut would leave, or None."""
        for key, value in self.flash.items():
            if key[:1] == b"c":
                return load_channel(value, SWIFT, self.account)
        return None


def factory(problems: list[str]) -> Any:
    """A task factory that knows whose task it is, and writes down what no task may end with."""

    def ended(task: asyncio.Task[Any]) -> None:
        if task.cancelled():
            return
        error = task.exception()
        if error is not None and not isinstance(error, PowerCut | LinkError | TimeoutError):
            problems.append(repr(error))

    def make(loop: Any, coroutine: Any, **more: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, **more)
        context = more.get("context")
        owner = context.get(OWNER) if context is not None else OWNER.get(None)
        if owner is not None:
            owner.tasks.add(task)
            task.add_done_callback(owner.tasks.discard)
        task.add_done_callback(ended)
        return task

    return make
