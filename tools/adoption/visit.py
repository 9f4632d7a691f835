"""What a look at a channel leaves behind: when to look again, and whom to tell."""

from __future__ import annotations

from dataclasses import dataclass

from perun.wire.service_messages import ChainEvent

from adoption.hub import Hub
from adoption.store.channels import Member


@dataclass
class Due:
    """When to look at a channel again, besides when an event of it appears.

    now: at once; next_block: at the first block after `seen`, the one that was looked at; at:
    when the block time reaches it (None: never).
    """

    seen: int = 0
    now: bool = False
    next_block: bool = False
    at: int | None = None

    def by(self, time: int) -> None:
        """Not later than at this block time."""
        self.at = time if self.at is None else min(self.at, time)


def tell(
    hub: Hub, members: list[Member], channel: bytes, kind: int, version: int, timeout: int = 0
) -> None:
    """Bring an event to all devices of a channel."""
    for member in members:
        hub.publish(member.device, ChainEvent(channel, kind, version, timeout))
