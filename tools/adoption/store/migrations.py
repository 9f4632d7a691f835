"""From the schema of an older version to the one of `tables`, step by step.

A step is never changed once it was released. All steps that a file lacks run in one transaction,
so a file has one schema or the other, whenever the process dies.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy.ext.asyncio import AsyncConnection

# Schema -> the statements that make it of the one before. Tables that are new are made from
# `tables` afterwards.
STEPS: Mapping[int, tuple[str, ...]] = {
    # Channels that are paid out are pruned, some time after they were closed.
    2: (
        "ALTER TABLE channel ADD COLUMN closed_at FLOAT",
        "UPDATE channel SET closed_at = CAST(strftime('%s', 'now') AS FLOAT) WHERE closed",
    ),
    # Deposits for pruned channels are noticed: tables that are new, filled by settled.complete().
    3: (),
}


async def run(tx: AsyncConnection, found: int, wanted: int) -> None:
    """Bring a file from schema `found` to schema `wanted`."""
    for number in range(found + 1, wanted + 1):
        for statement in STEPS[number]:
            await tx.exec_driver_sql(statement)
