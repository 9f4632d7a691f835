"""Pays concluded channels out, to the receivers that the devices signed for."""

from __future__ import annotations

import time

import structlog
from perun.wire import service_messages as sm

from adoption.chain import Block, Chain, Dispute
from adoption.chain.sender import Outcome, Sender
from adoption.config import Config
from adoption.decide import choose_authorization
from adoption.hub import Hub
from adoption.store import Store, channels
from adoption.store.channels import Channel, Member
from adoption.visit import Due, tell

log = structlog.get_logger(__name__)


class Withdrawer:
    """`step` withdraws what it can for all devices of a channel; it can be repeated."""

    def __init__(
        self, config: Config, chain: Chain, sender: Sender, store: Store, hub: Hub
    ) -> None:
        self._config = config
        self._chain = chain
        self._sender = sender
        self._store = store
        self._hub = hub

    async def holdings(self, channel: Channel, member: Member, at: int) -> list[int]:
        """What waits for a member in block `at`, per asset."""
        found = []
        for asset in channel.held.state.allocation.assets:
            address = channel.params.participants[member.participant]
            found.append(await self._chain.holdings(asset.holder, channel.id, address, at))
        return found

    async def step(
        self,
        channel: Channel,
        members: list[Member],
        dispute: Dispute,
        head: Block,
        due: Due,
    ) -> bool:
        """One look at a concluded channel. True if nothing is left for any member."""
        nothing_left = True
        for member in members:
            amounts = await self.holdings(channel, member, head.number)
            if any(amounts):
                nothing_left = False
                await self._withdraw(channel, member, amounts, dispute, head, due)
            elif not member.withdrawn:
                final = head.number + 1 - self._config.chain.confirmations
                if any(await self.holdings(channel, member, max(final, 0))):
                    nothing_left = False
                    due.next_block = True
                else:
                    await self._done(channel, member, dispute)
        return nothing_left

    async def _withdraw(
        self,
        channel: Channel,
        member: Member,
        amounts: list[int],
        dispute: Dispute,
        head: Block,
        due: Due,
    ) -> None:
        async with self._store.read() as tx:
            auths = await channels.authorizations(tx, channel.id, member.participant)
        since, now = member.needed_since, time.time()
        patience = self._config.policy.authorization_wait - (now - since if since else 0.0)
        missing = False
        for index, amount in enumerate(amounts):
            auth = choose_authorization(auths, index, amount, patience > 0)
            if auth is not None:
                outcome = await self._send(channel, member, auth, amount)
                due.now |= outcome is Outcome.MINED
                due.next_block = True
            elif amount:
                missing = True
        if missing:
            await self._ask(channel, member, dispute, now)
            if patience > 0:
                due.by(head.timestamp + int(patience) + 1)
        elif since is not None:
            async with self._store.write() as tx:
                await channels.set_member(tx, channel.id, member.participant, needed_since=None)

    async def _send(
        self, channel: Channel, member: Member, auth: sm.WithdrawalAuth, holdings: int
    ) -> Outcome:
        holder = channel.held.state.allocation.assets[auth.asset].holder
        address = channel.params.participants[member.participant]
        data = self._chain.withdraw(holder, channel.id, address, auth)
        # What is there is part of the purpose: two withdrawals of one amount are two jobs.
        key = f"withdraw {channel.id.hex()} {member.participant} {auth.asset} {holdings}"
        outcome = await self._sender.submit(key, holder, data)
        log.info("withdrawal", channel=channel.id.hex(), amount=auth.amount, outcome=outcome.value)
        return outcome

    async def _ask(self, channel: Channel, member: Member, dispute: Dispute, now: float) -> None:
        """Tell the device, once here and at each new session, that its signature is missing."""
        if member.needed_since is not None:
            return
        async with self._store.write() as tx:
            await channels.set_member(tx, channel.id, member.participant, needed_since=now)
        log.warning("an authorization is missing", channel=channel.id.hex())
        tell(self._hub, [member], channel.id, sm.EVENT_NEED_AUTHORIZATION, dispute.version)

    async def _done(self, channel: Channel, member: Member, dispute: Dispute) -> None:
        async with self._store.write() as tx:
            await channels.set_member(
                tx, channel.id, member.participant, withdrawn=True, needed_since=None
            )
        log.info("withdrawn", channel=channel.id.hex(), participant=member.participant)
        tell(self._hub, [member], channel.id, sm.EVENT_WITHDRAWN, dispute.version)
