"""Transactions that were signed: stored before they are sent, so that none is made twice."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from adoption.store import funding
from adoption.store.tables import attempt, job


@dataclass(frozen=True)
class Attempt:
    """A signed transaction. Fees in wei per gas; sent_at: Unix time."""

    hash: bytes
    raw: bytes
    max_fee: int
    priority_fee: int
    sent_at: float


@dataclass(frozen=True)
class Job:
    """One nonce for one purpose. mined_block None: not in a block yet."""

    key: str
    nonce: int
    target: bytes
    data: bytes
    value: int
    gas: int
    mined_block: int | None = None
    succeeded: bool | None = None


async def jobs(tx: AsyncConnection) -> list[Job]:
    """All jobs by nonce."""
    return [Job(*row) for row in await tx.execute(select(job).order_by(job.c.nonce))]


async def find(tx: AsyncConnection, key: str) -> Job | None:
    """The job, or None."""
    row = (await tx.execute(select(job).where(job.c.key == key))).first()
    return None if row is None else Job(*row)


async def add(tx: AsyncConnection, new: Job, first: Attempt) -> None:
    """Store a job with its first attempt, before it is sent."""
    await tx.execute(insert(job).values(**vars(new)))
    await add_attempt(tx, new.key, first)


async def add_attempt(tx: AsyncConnection, key: str, new: Attempt) -> None:
    """Store a further attempt, before it is sent."""
    await tx.execute(insert(attempt).values(job=key, **vars(new)))


async def attempts(tx: AsyncConnection, key: str) -> list[Attempt]:
    """The attempts of a job, oldest first."""
    rows = select(attempt).where(attempt.c.job == key).order_by(attempt.c.sent_at)
    return [
        Attempt(row.hash, row.raw, row.max_fee, row.priority_fee, row.sent_at)
        for row in await tx.execute(rows)
    ]


async def mined(tx: AsyncConnection, key: str, block: int, succeeded: bool) -> None:
    """The job is in a block; a deposit is marked with it."""
    values = {"mined_block": block, "succeeded": succeeded}
    await tx.execute(update(job).where(job.c.key == key).values(**values))
    if succeeded:
        await funding.done(tx, key)


async def unmined(tx: AsyncConnection, key: str) -> None:
    """A reorganisation took the job out of its block."""
    values = {"mined_block": None, "succeeded": None}
    await tx.execute(update(job).where(job.c.key == key).values(**values))


async def remove(tx: AsyncConnection, key: str) -> None:
    """Forget a job that is final, or that will never be mined."""
    await tx.execute(delete(attempt).where(attempt.c.job == key))
    await tx.execute(delete(job).where(job.c.key == key))


async def lost(tx: AsyncConnection, key: str) -> None:
    """Another transaction used the nonce: the job never happened."""
    await funding.undone(tx, key)
    await remove(tx, key)
