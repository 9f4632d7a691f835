"""Who may use the service, and how much it spends for each."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, select, update
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from adoption.store.tables import budget, device


@dataclass(frozen=True)
class Device:
    """A device that the service knows. egoistic None: as the policy says."""

    address: bytes
    name: str
    enabled: bool
    egoistic: bool | None


@dataclass(frozen=True)
class Budget:
    """What may be deposited for a device in one asset, and what has been."""

    holder: bytes
    granted: int
    spent: int

    @property
    def left(self) -> int:
        """What may still be deposited."""
        return max(0, self.granted - self.spent)


async def put(tx: AsyncConnection, address: bytes, name: str, egoistic: bool | None) -> None:
    """Add a device, or rename one and allow it again."""
    row = {"address": address, "name": name, "enabled": True, "egoistic": egoistic}
    statement = insert(device).values(registered_at=time.time(), **row)
    await tx.execute(statement.on_conflict_do_update(index_elements=["address"], set_=row))


async def disable(tx: AsyncConnection, address: bytes) -> None:
    """Let the device no longer in. Its channels stay guarded."""
    await tx.execute(update(device).where(device.c.address == address).values(enabled=False))


async def get(tx: AsyncConnection, address: bytes) -> Device | None:
    """The device, or None."""
    row = (await tx.execute(select(device).where(device.c.address == address))).first()
    return None if row is None else _device(row)


async def every(tx: AsyncConnection) -> list[Device]:
    """All devices in the order of their registration."""
    rows = await tx.execute(select(device).order_by(device.c.registered_at))
    return [_device(row) for row in rows]


async def grant(tx: AsyncConnection, address: bytes, holder: bytes, amount: int) -> None:
    """Set what may be deposited for the device in an asset, in total."""
    statement = insert(budget).values(device=address, holder=holder, granted=amount, spent=0)
    await tx.execute(
        statement.on_conflict_do_update(
            index_elements=["device", "holder"], set_={"granted": amount}
        )
    )


async def budgets(tx: AsyncConnection, address: bytes) -> dict[bytes, Budget]:
    """The device's budgets by asset holder."""
    rows = await tx.execute(select(budget).where(budget.c.device == address))
    return {row.holder: Budget(row.holder, row.granted, row.spent) for row in rows}


async def spend(tx: AsyncConnection, address: bytes, holder: bytes, amount: int) -> None:
    """Book a deposit (a negative amount gives it back). The caller has checked the budget."""
    current = (await budgets(tx, address))[holder]
    where = (budget.c.device == address) & (budget.c.holder == holder)
    await tx.execute(update(budget).where(where).values(spent=current.spent + amount))


def _device(row: Row[Any]) -> Device:
    return Device(row.address, row.name, row.enabled, row.egoistic)
