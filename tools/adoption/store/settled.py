"""What is left of channels that are paid out: enough to answer their devices, to refuse an old
state that somebody brings again, and to notice a deposit that comes too late."""

from __future__ import annotations

import time
from dataclasses import dataclass

from sqlalchemy import delete, exists, insert, select
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from adoption import encoding
from adoption.store import channels
from adoption.store.tables import (
    FUNDING_FAILED,
    authorization,
    channel,
    deposit,
    evidence,
    funding_id,
    holding,
    job,
    late,
    member,
    settled,
    settled_funding,
    settled_member,
)


@dataclass(frozen=True)
class Settled:
    """A channel that is over. version, hash: of the newest state that was held; payouts: what the
    outcome gave, per asset and participant, or None if it was never known."""

    id: bytes
    version: int
    hash: bytes
    payouts: tuple[tuple[int, ...], ...] | None
    closed_at: float


async def ripe(tx: AsyncConnection, before: float, limit: int) -> list[bytes]:
    """Channels that were closed before this time, and for which nothing is left to do."""
    unpaid = exists().where(
        member.c.channel == channel.c.id,
        member.c.withdrawn.is_(False),
        channel.c.funding != FUNDING_FAILED,
    )
    old = select(channel.c.id).where(
        channel.c.closed.is_(True), channel.c.closed_at <= before, ~unpaid
    )
    found = list(await tx.scalars(old.order_by(channel.c.closed_at).limit(limit)))
    busy = " ".join(await tx.scalars(select(job.c.key)))
    return [ident for ident in found if ident.hex() not in busy]


async def bury(tx: AsyncConnection, ident: bytes) -> None:
    """Put what must stay in the place of everything that is known about a channel."""
    known = await channels.get(tx, ident)
    if known is None:
        return
    outcome = known.chain.state if known.chain is not None else None
    rows = None if outcome is None else channels.write_rows(outcome.allocation.balances)
    closed_at = await tx.scalar(select(channel.c.closed_at).where(channel.c.id == ident))
    values = {
        "id": ident,
        "version": known.held.state.version,
        "hash": known.held.hash,
        "participants": len(known.params.participants),
        "payouts": rows,
        "closed_at": closed_at or time.time(),
    }
    await tx.execute(insert(settled).values(**values))
    for one in await channels.members(tx, ident):
        row = {"channel": ident, "participant": one.participant, "device": one.device}
        await tx.execute(insert(settled_member).values(**row))
        await _expect(tx, ident, one.device)
    await clear(tx, ident)


async def complete(tx: AsyncConnection) -> None:
    """Have deposits expected for channels that an older version of the service pruned."""
    named = exists().where(settled_funding.c.channel == settled_member.c.channel)
    for row in list(await tx.execute(select(settled_member).where(~named))):
        await _expect(tx, row.channel, row.device)


async def _expect(tx: AsyncConnection, ident: bytes, device: bytes) -> None:
    name = encoding.funding_id(ident, device)
    values = {"id": name, "channel": ident, "device": device}
    await tx.execute(upsert(settled_funding).values(**values).on_conflict_do_nothing())


async def clear(tx: AsyncConnection, ident: bytes) -> None:
    """Delete a channel."""
    for table in (authorization, evidence, holding, deposit, funding_id, member):
        await tx.execute(delete(table).where(table.c.channel == ident))
    await tx.execute(delete(channel).where(channel.c.id == ident))


async def get(tx: AsyncConnection, ident: bytes) -> Settled | None:
    """What is left of a channel, or None."""
    row = (await tx.execute(select(settled).where(settled.c.id == ident))).first()
    if row is None:
        return None
    payouts = None if row.payouts is None else channels.read_rows(row.payouts, row.participants)
    return Settled(row.id, row.version, row.hash, payouts, row.closed_at)


async def participant(tx: AsyncConnection, ident: bytes, device: bytes) -> int | None:
    """The device's part in a settled channel, or None."""
    where = (settled_member.c.channel == ident) & (settled_member.c.device == device)
    return (await tx.execute(select(settled_member.c.participant).where(where))).scalar()


async def by_funding_id(tx: AsyncConnection, ident: bytes) -> tuple[bytes, bytes] | None:
    """(channel, device) that a deposit is for, if the channel is settled."""
    found = select(settled_funding).where(settled_funding.c.id == ident)
    row = (await tx.execute(found)).first()
    return None if row is None else (row.channel, row.device)


async def came_late(
    tx: AsyncConnection, ident: bytes, device: bytes, holder: bytes, amount: int
) -> bool:
    """Note what an asset holder has for a device in a settled channel; True if it is news."""
    where = (late.c.channel == ident) & (late.c.device == device) & (late.c.holder == holder)
    known = (await tx.execute(select(late.c.amount).where(where))).scalar()
    if amount == (known or 0):
        return False
    await tx.execute(delete(late).where(where))
    if amount:
        row = {"channel": ident, "device": device, "holder": holder, "amount": amount}
        await tx.execute(insert(late).values(**row))
    return True
