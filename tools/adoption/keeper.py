"""Keeps one channel safe: looks at the chain, remembers what it says, and takes the next step."""

from __future__ import annotations

import structlog
from perun.model import State
from perun.wire import service_messages as sm

from adoption import calldata, encoding, verify
from adoption.chain import CONCLUDED, FORCEEXEC, Block, Chain, Dispute, Reverted
from adoption.chain.sender import Outcome, Sender
from adoption.config import Config
from adoption.decide import Step, decide
from adoption.funder import Funder
from adoption.hub import Hub
from adoption.store import Store, channels
from adoption.store.channels import Channel, Member, Registration, Signed
from adoption.store.tables import FUNDING_FAILED, FUNDING_RUNNING
from adoption.visit import Due, tell
from adoption.withdrawer import Withdrawer

log = structlog.get_logger(__name__)


_LOOKS = 4  # at each open channel within its challenge duration


class Keeper:
    """`visit` does what is to be done now for a channel and says when to look again."""

    def __init__(
        self, config: Config, chain: Chain, sender: Sender, store: Store, hub: Hub
    ) -> None:
        self._config = config
        self._chain = chain
        self._sender = sender
        self._store = store
        self._hub = hub
        self._funder = Funder(config, chain, sender, store, hub)
        self._withdrawer = Withdrawer(config, chain, sender, store, hub)
        self._refuted: dict[bytes, int] = {}  # channel -> version that refuted an older one

    async def visit(self, ident: bytes) -> Due:
        """One look at a channel. Raises ChainError when the node fails: look again later."""
        async with self._store.read() as tx:
            channel = await channels.get(tx, ident)
            members = await channels.members(tx, ident)
        if channel is None:
            return Due()
        # Everything is asked as of one block, so that no two answers are of different times, and
        # a node that does not have that block says so.
        head = await self._chain.head()
        due = Due(seen=head.number)
        if not channel.closed:
            # Even if an event is missed there are several looks within a challenge period.
            due.by(head.timestamp + channel.params.challenge_duration // _LOOKS)
        dispute = await self._chain.dispute(ident, head.number)
        await self._remember_holdings(channel, members, head)
        content = await self._note(channel, members, dispute, head, due)
        if channel.funding == FUNDING_RUNNING:
            if dispute is not None and dispute.phase == CONCLUDED:
                await self._funder.give_up(channel, members)
            else:
                await self._funder.step(channel, members, dispute, head, due)
            if due.now:
                return due
        decision = decide(channel, dispute, content is not None, head.timestamp)
        log.debug("decision", channel=ident.hex(), step=decision.step.name)
        if decision.step is Step.WAIT:
            due.by(decision.until)
        elif decision.step is Step.PAY_OUT and dispute is not None:
            if await self._withdrawer.step(channel, members, dispute, head, due):
                await self._close(channel, due)
        elif decision.step is Step.LEARN and dispute is not None:
            await self._learn(channel, members, dispute, head, due)
        elif decision.step is Step.REST:
            await self._close_if_void(channel, head)
        else:
            await self._act(channel, members, dispute, decision.step, content, due)
        return due

    # -- what the chain says ----------------------------------------------------------------------

    async def _remember_holdings(
        self, channel: Channel, members: list[Member], head: Block
    ) -> None:
        for member in members:
            amounts = await self._withdrawer.holdings(channel, member, head.number)
            async with self._store.write() as tx:
                await channels.set_holdings(tx, channel.id, member.participant, amounts)
                if any(amounts) and member.withdrawn:  # a late deposit, or a reorganisation
                    await channels.set_member(tx, channel.id, member.participant, withdrawn=False)

    async def _note(
        self,
        channel: Channel,
        members: list[Member],
        dispute: Dispute | None,
        head: Block,
        due: Due,
    ) -> State | None:
        """Store what is registered and tell the devices. Returns the registered state if known."""
        old = channel.chain
        if dispute is None:
            if old is not None:
                log.warning("a reorganisation dropped a registration", channel=channel.id.hex())
                async with self._store.write() as tx:
                    await channels.set_chain(tx, channel.id, None)
            return None
        content = None
        if dispute.hash == channel.held.hash:
            content = channel.held.state
        elif old is not None and old.hash == dispute.hash:
            content = old.state
        if dispute.phase == CONCLUDED and not await self._is_final(channel, head):
            due.next_block = True
            return content
        new = Registration(dispute.phase, dispute.version, dispute.hash, dispute.timeout, content)
        if old == new:
            return content
        async with self._store.write() as tx:
            await channels.set_chain(tx, channel.id, new)
        kind = self._kind(channel.id, old, dispute)
        if kind is not None:
            timeout = 0 if dispute.phase == CONCLUDED else dispute.timeout
            tell(self._hub, members, channel.id, kind, dispute.version, timeout)
            log.info(
                "chain", channel=channel.id.hex(), phase=dispute.phase, version=dispute.version
            )
        return content

    async def _is_final(self, channel: Channel, head: Block) -> bool:
        """Has the conclusion enough confirmations?"""
        confirmations = self._config.chain.confirmations
        if confirmations == 1 or (channel.chain and channel.chain.phase == CONCLUDED):
            return True
        at = head.number + 1 - confirmations
        earlier = await self._chain.dispute(channel.id, at) if at >= 0 else None
        return earlier is not None and earlier.phase == CONCLUDED

    def _kind(self, ident: bytes, old: Registration | None, new: Dispute) -> int | None:
        """Which event it is that the chain went from `old` to `new`; None: none."""
        if old is not None:
            before = (old.phase, old.version, old.hash, old.timeout)
            if before == (new.phase, new.version, new.hash, new.timeout):
                return None
        if new.phase == CONCLUDED:
            return int(sm.EVENT_CONCLUDED)
        if new.phase == FORCEEXEC:
            return int(sm.EVENT_PROGRESSED)
        if self._refuted.get(ident) == new.version:
            return int(sm.EVENT_REFUTED)
        return int(sm.EVENT_REGISTERED)

    async def _learn(
        self,
        channel: Channel,
        members: list[Member],
        dispute: Dispute,
        head: Block,
        due: Due,
    ) -> None:
        """Find the registered state in the call data of whoever registered it."""
        found = await self._find(channel, dispute, head)
        if found is None:
            log.warning("the registered state is nowhere in call data", channel=channel.id.hex())
            due.by(max(dispute.timeout, head.timestamp + 60))
            return
        registered = Registration(
            dispute.phase, dispute.version, dispute.hash, dispute.timeout, found.state
        )
        taken = Signed(found.state, dispute.hash, found.sigs)
        async with self._store.write() as tx:
            await channels.set_chain(tx, channel.id, registered)
            current = await channels.get(tx, channel.id)
            if current is not None and _fully_signed(
                channel, taken, self._config.chain.generation
            ):
                if dispute.version > current.held.state.version:
                    await channels.hold(tx, channel.id, taken)
                    log.info("took over", channel=channel.id.hex(), version=dispute.version)
                elif dispute.version == current.held.state.version:
                    limit = self._config.limits.evidence_per_channel
                    await channels.accuse(tx, channel.id, taken, limit)
                    log.error("equivocation on chain", channel=channel.id.hex())
        due.now = True

    async def _find(
        self, channel: Channel, dispute: Dispute, head: Block
    ) -> calldata.Found | None:
        """Backwards through the channel's events, newest first."""
        chain = self._config.chain
        oldest = max(chain.start_block, head.number - chain.history_blocks, 0)
        last = head.number
        while last >= oldest:
            first = max(oldest, last - chain.log_range + 1)
            for event in reversed(await self._chain.events(first, last, channel.id)):
                data = await self._chain.call_data(event.transaction)
                found = calldata.find(
                    data, channel.params.app, dispute.version, dispute.hash, chain.generation
                )
                if found is not None:
                    return found
            last = first - 1
        return None

    # -- what the service does --------------------------------------------------------------------

    async def _act(
        self,
        channel: Channel,
        members: list[Member],
        dispute: Dispute | None,
        step: Step,
        content: State | None,
        due: Due,
    ) -> None:
        params, held = channel.params, channel.held
        purpose = step.name.lower()
        if step is Step.CONCLUDE and content is not None:
            data = self._chain.conclude(params, content)
            version = content.version
        elif step is Step.CONCLUDE_FINAL:
            data = self._chain.conclude_final(params, held.state, held.sigs)
            version = held.state.version
        else:
            data = self._chain.register(params, held.state, held.sigs)
            version = held.state.version
            if dispute is not None:
                self._refuted[channel.id] = version
        key = f"{purpose} {channel.id.hex()} {version}"
        try:
            outcome = await self._sender.submit(key, self._config.chain.adjudicator, data)
        except Reverted as error:
            # Most often somebody else was faster; the next look at the chain tells.
            log.info("not needed or not possible", job=key, reason=str(error))
            due.next_block = True
            return
        due.now = outcome is Outcome.MINED
        due.next_block = not due.now

    async def _close(self, channel: Channel, due: Due) -> None:
        if not due.now and not due.next_block and not channel.closed:
            async with self._store.write() as tx:
                await channels.close(tx, channel.id)
            self._refuted.pop(channel.id, None)

    async def _close_if_void(self, channel: Channel, head: Block) -> None:
        """A channel whose funding failed before anything was deposited needs no watching."""
        if channel.funding != FUNDING_FAILED or channel.closed:
            return
        for asset in channel.held.state.allocation.assets:
            for address in channel.params.participants:
                if await self._chain.holdings(asset.holder, channel.id, address, head.number):
                    return
        async with self._store.write() as tx:
            await channels.close(tx, channel.id)


def _fully_signed(channel: Channel, signed: Signed, generation: int) -> bool:
    try:
        verify.check_signatures(channel.params, signed.hash, signed.sigs)
    except verify.Refused:
        return False
    return encoding.state_hash(signed.state, generation) == signed.hash
