"""Gets transactions into the chain: each exactly once, whatever happens in between.

A transaction is signed and stored before it is sent. After a crash the stored one is sent again,
with the same nonce and the same hash, so it cannot happen twice. One that is not mined in time is
replaced by one with the same nonce and higher fees. A mined one is watched until it has the
confirmations that the configuration asks for, and sent again if a reorganisation drops it.

The wallet's key must be used by this service alone, or nonces collide.
"""

from __future__ import annotations

import asyncio
import time
from enum import Enum
from typing import Any

import structlog
from eth_account import Account
from eth_typing import BlockNumber
from eth_utils import to_checksum_address
from hexbytes import HexBytes
from web3.exceptions import TransactionNotFound, Web3RPCError
from web3.types import TxParams

from adoption.chain.rpc import Block, Chain, ChainError, Reverted, rpc_errors
from adoption.keys import Key
from adoption.store import Store, outbox

log = structlog.get_logger(__name__)

_GWEI = 10**9
_PATIENCE = 2  # how often the fee is raised before a caller is told to come back later
_BUMP = (5, 4)  # each replacement pays a quarter more; nodes ask for at least a tenth


class Outcome(Enum):
    """How a transaction ended."""

    MINED = "mined"
    REVERTED = "reverted"  # in a block, without effect
    LOST = "lost"  # its nonce was used by another transaction
    KNOWN = "known"  # it is in a block since an earlier request


class Sender:
    """The wallet. `submit` sends, `tick` (called for each new block) takes care of the rest."""

    def __init__(self, chain: Chain, store: Store, key: Key) -> None:
        self._chain = chain
        self._store = store
        self._key = key
        self._limits = chain.config.chain
        self._lock = asyncio.Lock()  # one at a time changes the outbox
        self._waiting: dict[str, asyncio.Future[Outcome]] = {}
        self._resumed = False
        self._missing: dict[str, int] = {}  # job -> since which block its nonce is used up

    @property
    def address(self) -> bytes:
        """The wallet's address."""
        return self._key.address

    async def submit(self, key: str, target: bytes, data: bytes, value: int = 0) -> Outcome:
        """Send a transaction and wait until it is in a block.

        key names the purpose: while a job with this key is under way, asking again joins it.
        Raises Reverted if the chain would refuse it now, ChainError if it cannot be sent.
        """
        async with self._store.read() as tx:
            known = await outbox.find(tx, key)
        if known is None:
            gas = await self._estimate(target, data, value)
            async with self._lock:
                async with self._store.read() as tx:
                    known = await outbox.find(tx, key)
                if known is None:
                    known = await self._start(key, target, data, value, gas)
        if known.mined_block is not None:
            return Outcome.KNOWN if known.succeeded else Outcome.REVERTED
        waiting = self._waiting.setdefault(key, asyncio.get_running_loop().create_future())
        await self.tick()
        try:
            async with asyncio.timeout(_PATIENCE * self._limits.bump_after):
                return await asyncio.shield(waiting)
        except TimeoutError as error:
            raise ChainError("the transaction waits for a block") from error

    async def tick(self) -> None:
        """Look after all jobs: receipts, confirmations, fees, retransmission."""
        async with self._lock:
            async with self._store.read() as tx:
                jobs = await outbox.jobs(tx)
            if not jobs:
                return
            head = await self._chain.latest()
            used = await self._used(head)
            for job in jobs:
                await self._look_after(job, head, used)
            self._resumed = True

    @property
    def _checksum(self) -> Any:
        return to_checksum_address(self._key.address)

    async def _used(self, head: Block) -> int:
        """How many nonces are used up in this block. In this very block: when one is missed, a
        look at the state of a later one shows what was done with it."""
        with rpc_errors():
            return int(
                await self._chain.web3.eth.get_transaction_count(
                    self._checksum, block_identifier=BlockNumber(head.number)
                )
            )

    async def _estimate(self, target: bytes, data: bytes, value: int) -> int:
        head = await self._chain.head()
        transaction: TxParams = {
            "from": self._checksum,
            "to": to_checksum_address(target),
            "data": HexBytes(data),
            "value": value,  # type: ignore[typeddict-item]
        }
        with rpc_errors():
            gas = await self._chain.web3.eth.estimate_gas(transaction, BlockNumber(head.number))
            return int(gas) * 13 // 10

    async def _start(
        self, key: str, target: bytes, data: bytes, value: int, gas: int
    ) -> outbox.Job:
        """Sign, store, send. Under the lock: nonces are given out one by one."""
        nonce = await self._used(await self._chain.head())
        async with self._store.read() as tx:
            taken = [job.nonce for job in await outbox.jobs(tx)]
        nonce = max([nonce, *(number + 1 for number in taken)])
        job = outbox.Job(key, nonce, target, data, value, gas)
        first = self._sign(job, *await self._fees())
        async with self._store.write() as tx:
            await outbox.add(tx, job, first)
        refusal = await self._broadcast(first)
        if refusal is not None and "insufficient funds" in refusal:
            # The node has seen it and never will take it: the nonce is free again.
            async with self._store.write() as tx:
                await outbox.remove(tx, key)
            raise ChainError("the service's wallet is empty")
        log.info("sent", job=key, nonce=nonce)
        return job

    async def _fees(self) -> tuple[int, int]:
        """(max fee, priority fee) in wei that get into one of the next blocks."""
        with rpc_errors():
            block = await self._chain.web3.eth.get_block("latest")
            priority = int(await self._chain.web3.eth.max_priority_fee)
            most = int(self._limits.max_fee_gwei * _GWEI)
            fee = min(most, 2 * int(block.get("baseFeePerGas", 0)) + priority)
            return fee, min(priority, fee)

    def _sign(self, job: outbox.Job, max_fee: int, priority_fee: int) -> outbox.Attempt:
        transaction = {
            "chainId": self._limits.chain_id,
            "nonce": job.nonce,
            "to": to_checksum_address(job.target),
            "data": "0x" + job.data.hex(),
            "value": job.value,
            "gas": job.gas,
            "maxFeePerGas": max_fee,
            "maxPriorityFeePerGas": priority_fee,
            "type": 2,
        }
        signed = Account.sign_transaction(transaction, self._key.secret_for_transactions())
        return outbox.Attempt(
            bytes(signed.hash), bytes(signed.raw_transaction), max_fee, priority_fee, time.time()
        )

    async def _broadcast(self, attempt: outbox.Attempt) -> str | None:
        """Hand it to the node. What the node says against it, or None; never raises: it is
        stored, and handed over again until it is mined."""
        try:
            with rpc_errors():
                await self._chain.web3.eth.send_raw_transaction(HexBytes(attempt.raw))
        except (ChainError, Reverted) as error:
            text = str(error).lower()
            if isinstance(error.__cause__, Web3RPCError):
                return text
            log.warning("cannot hand over a transaction", error=text)
        return None

    # -- looking after ----------------------------------------------------------------------------

    async def _look_after(self, job: outbox.Job, head: Block, used: int) -> None:
        async with self._store.read() as tx:
            attempts = await outbox.attempts(tx, job.key)
        receipt = await self._receipt(attempts)
        if receipt is not None:
            self._missing.pop(job.key, None)
            await self._mined(job, *receipt, head)
        elif job.mined_block is not None:
            log.warning("a reorganisation dropped a transaction", job=job.key)
            async with self._store.write() as tx:
                await outbox.unmined(tx, job.key)
            await self._broadcast(attempts[-1])
        elif used > job.nonce and self._long_missing(job.key, head):
            log.warning("another transaction used the nonce", job=job.key, nonce=job.nonce)
            async with self._store.write() as tx:
                await outbox.lost(tx, job.key)
            self._finish(job.key, Outcome.LOST)
        elif not self._resumed:
            # Stored before a restart, and perhaps never sent.
            await self._broadcast(attempts[-1])
        elif used <= job.nonce and time.time() - attempts[-1].sent_at > self._limits.bump_after:
            await self._raise_fee(job, attempts[-1])

    async def _receipt(self, attempts: list[outbox.Attempt]) -> tuple[int, bool] | None:
        """(block, whether it succeeded) of the attempt that is in a block, or None."""
        for attempt in reversed(attempts):
            with rpc_errors():
                try:
                    found = await self._chain.web3.eth.get_transaction_receipt(
                        HexBytes(attempt.hash)
                    )
                    return int(found["blockNumber"]), int(found["status"]) == 1
                except TransactionNotFound:
                    continue
        return None

    async def _mined(self, job: outbox.Job, block: int, succeeded: bool, head: Block) -> None:
        if job.mined_block != block or job.succeeded != succeeded:
            async with self._store.write() as tx:
                await outbox.mined(tx, job.key, block, succeeded)
        if block <= head.number + 1 - self._limits.confirmations:
            async with self._store.write() as tx:
                await outbox.remove(tx, job.key)
        self._finish(job.key, Outcome.MINED if succeeded else Outcome.REVERTED)

    def _finish(self, key: str, outcome: Outcome) -> None:
        waiting = self._waiting.pop(key, None)
        if waiting is not None and not waiting.done():
            log.info("done", job=key, outcome=outcome.value)
            waiting.set_result(outcome)

    def _long_missing(self, key: str, head: Block) -> bool:
        """A node that lags may not know a receipt yet: wait for some blocks."""
        since = self._missing.setdefault(key, head.number)
        return head.number > since + self._limits.confirmations

    async def _raise_fee(self, job: outbox.Job, last: outbox.Attempt) -> None:
        fee, priority = await self._fees()
        up, down = _BUMP
        max_fee = max(fee, last.max_fee * up // down + 1)
        priority_fee = max(priority, last.priority_fee * up // down + 1)
        if max_fee > self._limits.max_fee_gwei * _GWEI:
            await self._broadcast(last)
            return
        following = self._sign(job, max_fee, min(priority_fee, max_fee))
        async with self._store.write() as tx:
            await outbox.add_attempt(tx, job.key, following)
        log.info("raised the fee", job=job.key, nonce=job.nonce)
        await self._broadcast(following)
