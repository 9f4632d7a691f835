"""Follows the chain block by block and visits the channels that something happens to."""

from __future__ import annotations

import asyncio
import contextlib

import structlog

from adoption.chain import Block, Chain, ChainError, Reverted
from adoption.chain.rpc import UPDATE_TOPIC
from adoption.chain.sender import Sender
from adoption.config import Config
from adoption.keeper import Keeper
from adoption.store import Store, blocks, channels
from adoption.visit import Due

log = structlog.get_logger(__name__)

_VISITS = 8  # channels that are looked after at the same time
_LONGEST_PAUSE = 60.0


class Watcher:
    """`run` until it is cancelled; `wake` makes it look at a channel soon."""

    def __init__(
        self, config: Config, chain: Chain, sender: Sender, store: Store, keeper: Keeper
    ) -> None:
        self._config = config
        self._chain = chain
        self._sender = sender
        self._store = store
        self._keeper = keeper
        self._due: dict[bytes, Due] = {}  # channels to look at again
        self._failures: dict[bytes, int] = {}
        self._visits: dict[bytes, asyncio.Task[None]] = {}
        self._again: set[bytes] = set()  # woken while being visited
        self._room = asyncio.Semaphore(_VISITS)
        self._head: Block | None = None

    def wake(self, channel: bytes) -> None:
        """Look at a channel now, or again if it is being looked at."""
        if channel in self._visits:
            self._again.add(channel)
            return
        task = asyncio.create_task(self._visit(channel))
        self._visits[channel] = task
        task.add_done_callback(lambda _: self._ended(channel))

    async def run(self) -> None:
        """Catch up from the stored cursor, then follow the chain for ever."""
        async with self._store.read() as tx:
            known = await channels.open_ids(tx)
        for channel in known:
            self.wake(channel)
        log.info("watching", channels=len(known))
        failures = 0
        try:
            while True:
                try:
                    await self.poll()
                    failures = 0
                except (ChainError, Reverted) as error:
                    failures += 1
                    log.warning("the chain cannot be reached", error=str(error))
                except Exception:
                    failures += 1
                    log.exception("following the chain failed")
                await asyncio.sleep(_pause(self._config.chain.poll_interval, failures))
        finally:
            await self._stop()

    async def poll(self) -> None:
        """See what is new on the chain."""
        await self._sender.tick()
        head = await self._chain.head()
        if head != self._head:
            for channel in await self._follow(head):
                self.wake(channel)
            self._head = head
        self._visit_due(head)

    def _visit_due(self, head: Block) -> None:
        for channel, due in list(self._due.items()):
            later = due.next_block and head.number > due.seen
            if later or (due.at is not None and head.timestamp >= due.at):
                del self._due[channel]
                self.wake(channel)

    async def _visit(self, channel: bytes) -> None:
        async with self._room:
            self._due.pop(channel, None)
            try:
                due = await self._keeper.visit(channel)
                self._failures.pop(channel, None)
            except (ChainError, Reverted) as error:
                due = self._failed(channel, str(error))
            except Exception:
                log.exception("a visit failed", channel=channel.hex())
                due = self._failed(channel, "internal error")
        if due.now:
            self._again.add(channel)
        elif due.next_block or due.at is not None:
            self._due[channel] = due

    def _failed(self, channel: bytes, reason: str) -> Due:
        """Try again, later and later."""
        failures = self._failures[channel] = self._failures.get(channel, 0) + 1
        pause = _pause(self._config.chain.poll_interval, failures)
        log.warning("will try again", channel=channel.hex(), reason=reason, seconds=pause)
        asyncio.get_running_loop().call_later(pause, self._retry, channel)
        return Due()

    def _retry(self, channel: bytes) -> None:
        self.wake(channel)

    def _ended(self, channel: bytes) -> None:
        task = self._visits.pop(channel)
        if channel in self._again and not task.cancelled():
            self._again.discard(channel)
            self.wake(channel)

    async def _stop(self) -> None:
        tasks = list(self._visits.values())
        for task in tasks:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)

    # -- following the blocks ---------------------------------------------------------------------

    async def _follow(self, head: Block) -> set[bytes]:
        """The channels with events since the cursor; moves the cursor to the head."""
        async with self._store.read() as tx:
            seen = await blocks.newest(tx)
            everything = await channels.open_ids(tx)
        if not seen:
            await self._advance(head.number, head.hash)
            return set(everything)
        touched: set[bytes] = set()
        cursor = await self._common_block(seen)
        if cursor != seen[0][0]:
            log.warning("reorganisation", depth=seen[0][0] - cursor)
            touched.update(everything)
        first = cursor + 1
        while first <= head.number:
            last = min(head.number, first + self._config.chain.log_range - 1)
            touched |= await self._touched(first, last)
            block = head if last == head.number else await self._chain.block(last)
            if block is None:
                raise ChainError("blocks vanish while they are read")
            await self._advance(block.number, block.hash)
            first = last + 1
        return touched

    async def _common_block(self, seen: list[tuple[int, bytes]]) -> int:
        """The newest block that was seen and is still the chain's; forgets those after it."""
        for number, block_hash in seen:
            block = await self._chain.block(number)
            if block is not None and block.hash == block_hash:
                break
            async with self._store.write() as tx:
                await blocks.rewind(tx, number)
        else:
            return seen[-1][0] - 1
        return number

    async def _advance(self, number: int, block_hash: bytes) -> None:
        async with self._store.write() as tx:
            await blocks.advance(tx, number, block_hash)

    async def _touched(self, first: int, last: int) -> set[bytes]:
        touched = set()
        events = await self._chain.events(first, last)
        async with self._store.read() as tx:
            for event in events:
                if event.topic == UPDATE_TOPIC:
                    if await channels.get(tx, event.key) is not None:
                        touched.add(event.key)
                else:
                    found = await channels.by_funding_id(tx, event.key)
                    if found is not None:
                        touched.add(found)
        return touched


def _pause(interval: float, failures: int) -> float:
    return min(max(interval, _LONGEST_PAUSE), interval * 2.0 ** min(failures, 16))
