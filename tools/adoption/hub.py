"""Which devices are connected: brings events to their sessions and limits how much they ask."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from perun.wire.service_messages import ChainEvent


class Subscriber(Protocol):
    """A session."""

    def push(self, event: ChainEvent) -> None:
        """Send an event without waiting."""

    def replace(self) -> None:
        """End, because the device has a newer session."""


class TokenBucket:
    """Allows `burst` requests at once and `rate` a second in the long run."""

    def __init__(
        self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate = rate
        self._burst = float(burst)
        self._tokens = float(burst)
        self._clock = clock
        self._last = clock()

    def take(self) -> bool:
        """Is one more request allowed now?"""
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._last) * self._rate)
        self._last = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Buckets:
    """A bucket for each device, over all its sessions."""

    def __init__(self, rate: float, burst: int) -> None:
        self._buckets: dict[bytes, TokenBucket] = {}
        self._rate = rate
        self._burst = burst

    def allows(self, device: bytes) -> bool:
        """May the device make one more request now?"""
        bucket = self._buckets.get(device)
        if bucket is None:
            bucket = self._buckets[device] = TokenBucket(self._rate, self._burst)
        return bucket.take()


class Hub(Buckets):
    """The sessions by device: one each, the newest wins (a device that lost its link may come
    back before the service notices)."""

    def __init__(self, rate: float, burst: int) -> None:
        super().__init__(rate, burst)
        self._sessions: dict[bytes, Subscriber] = {}

    def enter(self, device: bytes, session: Subscriber) -> None:
        """A session begins."""
        old = self._sessions.get(device)
        self._sessions[device] = session
        if old is not None and old is not session:
            old.replace()

    def leave(self, device: bytes, session: Subscriber) -> None:
        """A session ended."""
        if self._sessions.get(device) is session:
            del self._sessions[device]

    def connected(self, device: bytes) -> bool:
        """Has the device a session?"""
        return device in self._sessions

    def publish(self, device: bytes, event: ChainEvent) -> None:
        """Bring an event to the device if it is connected; if not, its Status tells later."""
        session = self._sessions.get(device)
        if session is not None:
            session.push(event)
