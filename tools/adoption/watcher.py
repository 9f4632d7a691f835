"""Follows the chain block by block and visits the channels that something happens to."""

from __future__ import annotations

import asyncio
import contextlib

import structlog

from adoption.chain import Block, Chain, ChainError, Reverted
from adoption.chain.rpc import UPDATE_TOPIC, Event
from adoption.chain.sender import Sender
from adoption.config import Config
from adoption.keeper import Keeper
from adoption.store import Store, blocks, channels, settled
from adoption.visit import Due

log = structlog.get_logger(__name__)

_VISITS = 8  # channels that are looked after at the same time
_LONGEST_PAUSE = 60.0
_NEAR = 32  # blocks before the head whose events are read block by block


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
        self._range = config.chain.log_range

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
        async with self._store.write() as tx:
            known = await channels.open_ids(tx)
            seen = await blocks.newest(tx)
            await settled.complete(tx)
        if seen:  # what a node that lags says at the start is not believed either
            self._chain.newest = max(self._chain.newest, seen[0][0])
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
                    log.warning("the chain cannot be followed", error=str(error))
                except Exception:
                    failures += 1
                    log.exception("following the chain failed")
                await asyncio.sleep(self._pause(failures))
        finally:
            await self._stop()

    async def poll(self) -> None:
        """See what is new on the chain."""
        await self._sender.tick()
        head = await self._chain.latest()
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
        pause = self._pause(failures)
        log.warning("will try again", channel=channel.hex(), reason=reason, seconds=pause)
        asyncio.get_running_loop().call_later(pause, self._retry, channel)
        return Due()

    def _pause(self, failures: int) -> float:
        """Seconds until the next try: there must be several within a challenge period."""
        interval = self._config.chain.poll_interval
        longest = min(_LONGEST_PAUSE, self._config.policy.min_challenge_duration / 8)
        return min(max(interval, longest), interval * 2.0 ** min(failures, 16))

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
        cursor = await self._common_block(seen, head)
        if cursor != seen[0][0]:
            log.warning("reorganisation", depth=seen[0][0] - cursor)
            touched.update(everything)
            async with self._store.write() as tx:
                await blocks.rewind(tx, cursor + 1)
            self._chain.newest = head.number
        first = cursor + 1
        while first <= head.number:
            near = head.number - first < _NEAR
            last = first if near else min(head.number - _NEAR, first + self._range - 1)
            block = head if last == head.number else await self._chain.block(last)
            if block is None:
                raise ChainError("blocks vanish while they are read")
            # By its hash a block is read, or missed; a range of blocks may be read in part.
            events = self._chain.events_of(block) if near else self._chain.events(first, last)
            touched |= await self._touched(await events, head)
            if self._was_another(block):
                log.warning("a block was replaced before it was followed", number=block.number)
                touched.update(everything)
            await self._advance(block.number, block.hash)
            first = last + 1
        return touched

    def _was_another(self, block: Block) -> bool:
        """Has a look at a channel rested on a block that this one has replaced since?"""
        seen: set[bytes] = set()
        for number in [one for one in self._chain.sightings if one <= block.number]:
            hashes = self._chain.sightings.pop(number)
            seen |= hashes if number == block.number else set()
        return not seen <= {block.hash}

    async def _common_block(self, seen: list[tuple[int, bytes]], head: Block) -> int:
        """The newest block that was seen and is still the chain's. Raises ChainError when the
        node lags: it has what was seen up to its head, but no more."""
        replaced = False
        for number, block_hash in seen:
            if number > head.number:
                continue
            block = head if number == head.number else await self._chain.block(number)
            if block is None:
                raise ChainError(f"the node misses block {number} and is at {head.number}")
            if block.hash == block_hash:
                if number < seen[0][0] and not replaced:
                    behind = seen[0][0] - head.number
                    raise ChainError(f"the node lags: it is {behind} blocks behind")
                return number
            replaced = True
        if not replaced:
            raise ChainError(
                f"the node is at block {head.number}, far behind {seen[0][0]}: it lags, or the"
                " chain began anew and needs another database"
            )
        return min(seen[-1][0] - 1, head.number)

    async def _advance(self, number: int, block_hash: bytes) -> None:
        async with self._store.write() as tx:
            await blocks.advance(tx, number, block_hash)

    async def _touched(self, events: list[Event], head: Block) -> set[bytes]:
        touched, over = set(), set()
        async with self._store.read() as tx:
            for event in events:
                if event.topic == UPDATE_TOPIC:
                    if await channels.get(tx, event.key) is not None:
                        touched.add(event.key)
                else:
                    found = await channels.by_funding_id(tx, event.key)
                    if found is not None:
                        touched.add(found)
                    elif late := await settled.by_funding_id(tx, event.key):
                        over.add(late)
        for channel, device in over:
            await self._came_late(channel, device, head)
        return touched

    async def _came_late(self, channel: bytes, device: bytes, head: Block) -> None:
        """Something came for, or went from, a channel that was paid out and pruned. To get it out
        takes a new signature of the device: its owner must know."""
        for holder in self._chain.holders:
            amount = await self._chain.holdings(holder, channel, device, head.number)
            async with self._store.write() as tx:
                news = await settled.came_late(tx, channel, device, holder, amount)
            if news and amount:
                log.warning(
                    "a deposit for a channel that is over: adoption late says how to get it back",
                    channel=channel.hex(),
                    device=device.hex(),
                    holder=holder.hex(),
                    amount=amount,
                )
