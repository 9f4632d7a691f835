"""Deposits for devices, watches the others' deposits, and gives up in time."""

from __future__ import annotations

import structlog
from perun.wire import service_messages as sm
from sqlalchemy.ext.asyncio import AsyncConnection

from adoption import deposits
from adoption.chain import Block, Chain, Dispute
from adoption.chain.sender import Outcome, Sender
from adoption.config import Config
from adoption.hub import Hub
from adoption.store import Store, channels, devices, funding, outbox
from adoption.store.channels import Channel, Member
from adoption.store.funding import Deposit
from adoption.store.tables import FUNDING_DONE, FUNDING_FAILED
from adoption.visit import Due, tell

log = structlog.get_logger(__name__)


class Funder:
    """`step` brings the funding of one channel forward; it can be repeated at any time."""

    def __init__(
        self, config: Config, chain: Chain, sender: Sender, store: Store, hub: Hub
    ) -> None:
        self._config = config
        self._chain = chain
        self._sender = sender
        self._store = store
        self._hub = hub

    async def step(
        self,
        channel: Channel,
        members: list[Member],
        dispute: Dispute | None,
        head: Block,
        due: Due,
    ) -> None:
        """One look at a channel whose funding runs."""
        agreement = channel.agreement or ()
        deadline = channel.deadline
        if deadline is None:
            deadline = head.timestamp + channel.params.challenge_duration
            async with self._store.write() as tx:
                await channels.set_fields(tx, channel.id, deadline=deadline)
        parties = channel.params.participants
        assets = channel.held.state.allocation.assets
        final = deposits.confirmed(self._chain, head)
        there = await deposits.all_held(self._chain, channel.id, assets, parties, final)
        if deposits.complete(there, agreement, range(len(parties))):
            await self._done(channel, members)
            return
        if dispute is not None or head.timestamp >= deadline:
            await self.give_up(channel, members)
            tell(self._hub, members, channel.id, sm.EVENT_FUNDING_FAILED, 0)
            due.now = True
            return
        due.by(deadline)
        for deposit in await self._open_deposits(channel):
            member = next(m for m in members if m.participant == deposit.participant)
            others = [p for p in range(len(there[0])) if p != deposit.participant]
            if await self._egoistic(member) and not deposits.complete(there, agreement, others):
                continue
            if await self._deposit(channel, deposit):
                # What was just deposited counts at once where one confirmation is enough.
                due.now = self._config.chain.confirmations == 1
                due.next_block = True
        # Where it is not, deposits begin to count without a further event.
        due.next_block |= self._config.chain.confirmations > 1

    async def _open_deposits(self, channel: Channel) -> list[Deposit]:
        async with self._store.read() as tx:
            return [
                deposit for deposit in await funding.deposits(tx, channel.id) if not deposit.done
            ]

    async def _egoistic(self, member: Member) -> bool:
        """Does this participant deposit only after all others?"""
        async with self._store.read() as tx:
            device = await devices.get(tx, member.device)
        if device is not None and device.egoistic is not None:
            return device.egoistic
        policy = self._config.policy.egoistic
        return policy == "always" or (policy == "responder" and member.participant > 0)

    async def _deposit(self, channel: Channel, deposit: Deposit) -> bool:
        """Make a deposit unless it is there. True if it is there now."""
        asset = channel.held.state.allocation.assets[deposit.asset]
        served = self._config.asset_at(asset.holder)
        if served is None:
            log.error("the asset of a deposit is no longer configured", channel=channel.id.hex())
            return False
        async with self._store.read() as tx:
            running = await outbox.find(tx, deposit.job)
        address = channel.params.participants[deposit.participant]
        amount = deposit.amount
        if running is None:
            # In a block that is no older than the look at the outbox: a deposit that was made and
            # forgotten meanwhile is in it.
            now = (await self._chain.head()).number
            amount -= await deposits.held(self._chain, channel.id, asset, address, now)
        if amount <= 0:
            async with self._store.write() as tx:
                await funding.done(tx, deposit.job)
            return True
        if served.token is not None and not await self._allowed(
            served.token, asset.holder, amount
        ):
            return False
        data = self._chain.deposit(asset.holder, channel.id, address, amount)
        value = 0 if served.token is not None else amount
        outcome = await self._sender.submit(deposit.job, asset.holder, data, value)
        log.info("deposit", channel=channel.id.hex(), amount=amount, outcome=outcome.value)
        return outcome is Outcome.MINED

    async def _allowed(self, token: bytes, holder: bytes, amount: int) -> bool:
        """Let the asset holder take tokens from the wallet; once is enough."""
        owner = self._sender.address
        if await self._chain.allowance(token, owner, holder) >= amount:
            return True
        data = self._chain.approve(token, holder)
        outcome = await self._sender.submit(f"approve {holder.hex()}", token, data)
        return outcome in (Outcome.MINED, Outcome.KNOWN)

    async def _done(self, channel: Channel, members: list[Member]) -> None:
        async with self._store.write() as tx:
            await channels.set_fields(tx, channel.id, funding=FUNDING_DONE)
            for deposit in await funding.deposits(tx, channel.id):
                if not deposit.done:  # somebody else made it
                    await self._give_back(tx, channel, members, deposit)
        log.info("funded", channel=channel.id.hex())
        tell(self._hub, members, channel.id, sm.EVENT_FUNDED, channel.held.state.version)

    async def give_up(self, channel: Channel, members: list[Member]) -> None:
        """Free the budget of what is not on its way, and get the rest back by a dispute."""
        async with self._store.write() as tx:
            recover = False
            for deposit in await funding.deposits(tx, channel.id):
                if deposit.done or await outbox.find(tx, deposit.job) is not None:
                    recover = True
                else:
                    await self._give_back(tx, channel, members, deposit)
            values = {"funding": FUNDING_FAILED, "dispute_wanted": recover}
            await channels.set_fields(tx, channel.id, **values)
        log.warning("funding failed", channel=channel.id.hex(), recover=recover)

    async def _give_back(
        self,
        tx: AsyncConnection,
        channel: Channel,
        members: list[Member],
        deposit: Deposit,
    ) -> None:
        member = next(m for m in members if m.participant == deposit.participant)
        holder = channel.held.state.allocation.assets[deposit.asset].holder
        await devices.spend(tx, member.device, holder, -deposit.amount)
        await funding.drop(tx, deposit.job)
