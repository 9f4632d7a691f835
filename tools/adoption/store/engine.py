"""Opens the SQLite file and hands out transactions."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

from sqlalchemy import event, inspect, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from adoption.store import migrations, tables

_PART = 4  # a file is compacted at the start when more than a quarter of it is free


class StoreError(RuntimeError):
    """The file cannot be used; the text says why."""


class Store:
    """The database. `write()` and `read()` are transactions.

    One write runs at a time and sees the newest data from its first statement (BEGIN IMMEDIATE);
    when its block is left without an exception, everything in it is on the disk (WAL with
    synchronous=FULL); with one, nothing is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writer = _engine(path, "BEGIN IMMEDIATE", size=1)
        self._reader = _engine(path, "BEGIN", size=4)

    async def open(self, identity: dict[str, str]) -> None:
        """Make, check or renew the schema. identity: what must be the same as when it was made
        (the chain, the contracts, the wallet). Raises StoreError."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        async with self.write() as tx:
            found = await self._meta(tx)
            schema = int(found.get("schema", tables.SCHEMA))
            if schema > tables.SCHEMA:
                raise StoreError(
                    f"{self.path} was written by a newer version of the service (schema {schema},"
                    f" this one knows {tables.SCHEMA}): use that version"
                )
            for key, value in identity.items():
                if found.get(key, value) != value:
                    raise StoreError(
                        f"{self.path} belongs to {key} {found[key]}, the configuration says"
                        f" {value}: use another database file"
                    )
            if found:
                await migrations.run(tx, schema, tables.SCHEMA)
            await tx.run_sync(tables.metadata.create_all)
            wanted = {**identity, "schema": str(tables.SCHEMA)}
            statement = insert(tables.meta).values(
                [{"key": key, "value": value} for key, value in wanted.items()]
            )
            await tx.execute(
                statement.on_conflict_do_update(
                    index_elements=["key"], set_={"value": statement.excluded.value}
                )
            )
        await asyncio.to_thread(self._compact)

    async def _meta(self, tx: AsyncConnection) -> dict[str, str]:
        """What an existing file says of itself; nothing for a new one."""
        names = await tx.run_sync(lambda connection: inspect(connection).get_table_names())
        if tables.meta.name not in names:
            return {}
        rows = await tx.execute(select(tables.meta.c.key, tables.meta.c.value))
        return {row.key: row.value for row in rows}

    def _compact(self) -> None:
        """Give back what pruned channels have left, if it is much of the file."""
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            pages = connection.execute("PRAGMA page_count").fetchone()[0]
            free = connection.execute("PRAGMA freelist_count").fetchone()[0]
            if free * _PART > pages:
                connection.execute("VACUUM")

    async def close(self) -> None:
        """Close all connections."""
        await self._reader.dispose()
        await self._writer.dispose()

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that may change things."""
        async with self._writer.begin() as tx:
            yield tx

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A consistent view of what is committed."""
        async with self._reader.connect() as tx:
            yield tx


def _engine(path: Path, begin: str, size: int) -> AsyncEngine:
    engine = create_async_engine(
        f"sqlite+aiosqlite:///{path}", pool_size=size, max_overflow=0, pool_timeout=60
    )

    @event.listens_for(engine.sync_engine, "connect")
    def _connected(connection: Any, _record: Any) -> None:
        # SQLAlchemy begins the transactions, in the mode that is wanted here.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.execute("PRAGMA busy_timeout=30000")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def _begin(connection: Any) -> None:
        connection.exec_driver_sql(begin)

    return engine
