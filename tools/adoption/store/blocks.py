"""The cursor: up to which block events were seen, and what these blocks were."""

from __future__ import annotations

from sqlalchemy import delete, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from adoption.store.tables import block

KEPT = 256  # blocks; a deeper reorganisation is found by looking at everything again


async def newest(tx: AsyncConnection) -> list[tuple[int, bytes]]:
    """(number, hash) of the blocks that are remembered, newest first; the first is the cursor."""
    rows = await tx.execute(select(block).order_by(block.c.number.desc()))
    return [(row.number, row.hash) for row in rows]


async def advance(tx: AsyncConnection, number: int, block_hash: bytes) -> None:
    """The events up to this block were seen."""
    statement = insert(block).values(number=number, hash=block_hash)
    await tx.execute(
        statement.on_conflict_do_update(index_elements=["number"], set_={"hash": block_hash})
    )
    await tx.execute(delete(block).where(block.c.number < number - KEPT))


async def rewind(tx: AsyncConnection, number: int) -> None:
    """Forget the blocks from this number on: they are no longer the chain's."""
    await tx.execute(delete(block).where(block.c.number >= number))
