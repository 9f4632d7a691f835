"""Reduces channels that are paid out to what must stay of them: the store stops growing."""

from __future__ import annotations

import asyncio
import time

import structlog

from adoption.config import Config
from adoption.store import Store, settled

log = structlog.get_logger(__name__)

_BATCH = 100
_LONGEST_PAUSE = 3600.0
_SHORTEST_PAUSE = 0.05


class Pruner:
    """`run` until it is cancelled."""

    def __init__(self, config: Config, store: Store) -> None:
        self._keep = config.policy.keep_settled
        self._store = store

    async def run(self) -> None:
        """Look now and then."""
        pause = min(max(self._keep / 4, _SHORTEST_PAUSE), _LONGEST_PAUSE)
        while True:
            try:
                await self.prune()
            except Exception:
                log.exception("pruning failed")
            await asyncio.sleep(pause)

    async def prune(self) -> int:
        """Prune what was closed long enough ago; how many channels these were. One transaction
        for each, so that nobody waits."""
        count = 0
        while True:
            async with self._store.read() as tx:
                found = await settled.ripe(tx, time.time() - self._keep, _BATCH)
            for ident in found:
                async with self._store.write() as tx:
                    if ident in await settled.ripe(tx, time.time() - self._keep, _BATCH):
                        await settled.bury(tx, ident)
                        count += 1
            if len(found) < _BATCH:
                break
        if count:
            log.info("pruned", channels=count)
        return count
