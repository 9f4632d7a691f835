"""The deposits that the service makes for its devices."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from adoption.store.tables import deposit


@dataclass(frozen=True)
class Deposit:
    """One deposit. done: its transaction is in a block. job: the key of that transaction."""

    channel: bytes
    participant: int
    asset: int
    amount: int
    done: bool
    job: str


async def plan(
    tx: AsyncConnection, ident: bytes, participant: int, asset: int, amount: int
) -> None:
    """Decide on a deposit. The budget was booked in the same transaction."""
    key = f"deposit {ident.hex()} {participant} {asset}"
    row = {"channel": ident, "participant": participant, "asset": asset}
    await tx.execute(insert(deposit).values(amount=amount, done=False, job=key, **row))


async def deposits(tx: AsyncConnection, ident: bytes) -> list[Deposit]:
    """All deposits for a channel, by participant and asset."""
    rows = select(deposit).where(deposit.c.channel == ident)
    ordered = rows.order_by(deposit.c.participant, deposit.c.asset)
    return [Deposit(*row) for row in await tx.execute(ordered)]


async def done(tx: AsyncConnection, job: str) -> None:
    """The deposit of this job is in a block (nothing happens if the job is no deposit)."""
    await tx.execute(update(deposit).where(deposit.c.job == job).values(done=True))


async def undone(tx: AsyncConnection, job: str) -> None:
    """The deposit of this job is not on the chain after all."""
    await tx.execute(update(deposit).where(deposit.c.job == job).values(done=False))


async def drop(tx: AsyncConnection, job: str) -> None:
    """A deposit will not be made."""
    await tx.execute(delete(deposit).where(deposit.c.job == job))
