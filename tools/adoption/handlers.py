"""Carries out requests: verify, decide, make it durable, answer. The chain's part follows in the
background, so an answer never waits for a block."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from perun.wire import inquiry_messages as im
from perun.wire import service_messages as sm
from perun.wire.witness_messages import WitnessRequest
from sqlalchemy.ext.asyncio import AsyncConnection

from adoption import requests, verify
from adoption.config import Config
from adoption.keys import Key
from adoption.requests import News
from adoption.store import Store, channels, devices, funding, settled
from adoption.store.channels import Channel, Signed
from adoption.store.tables import FUNDING_DONE, FUNDING_RUNNING
from adoption.verify import Refused
from adoption.witness import Witness


class Handlers:
    """witness: for channels of others; wake: called with the id of a channel for which there may
    be something to do."""

    def __init__(
        self,
        config: Config,
        store: Store,
        identity: Key,
        witness: Witness,
        wake: Callable[[bytes], None],
    ) -> None:
        self._config = config
        self._store = store
        self._identity = identity
        self._witness = witness
        self._wake = wake

    async def channels_of(self, device: bytes) -> list[tuple[bytes, tuple[Any, ...], bytes]]:
        """(id, assets, app) of the device's channels."""
        found = []
        async with self._store.read() as tx:
            for member in await channels.memberships(tx, device):
                state = (await _existing(tx, member.channel)).held.state
                found.append((member.channel, state.allocation.assets, state.app))
        return found

    async def pending_events(self, device: bytes) -> list[sm.ChainEvent]:
        """What a device that connects must be told: where its authorizations are missing."""
        found = []
        async with self._store.read() as tx:
            for member in await channels.memberships(tx, device):
                if member.needed_since is not None:
                    version = (await _existing(tx, member.channel)).held.state.version
                    found.append(
                        sm.ChainEvent(member.channel, sm.EVENT_NEED_AUTHORIZATION, version, 0)
                    )
        return found

    async def serve(self, device: bytes, message: object) -> AsyncIterator[object]:
        """The answers to one request. Raises Refused."""
        if isinstance(message, sm.WatchRequest):
            yield await self._watch(device, message)
        elif isinstance(message, sm.FundRequest):
            yield await self._fund(device, message)
            async for event in self._funded_before(message.state.id):
                yield event
        elif isinstance(message, im.DisputeRequest):
            yield await self._dispute(device, message)
        elif isinstance(message, im.StateRequest):
            yield await self._give_back(device, message)
        elif isinstance(message, im.StatusRequest):
            async for answer in self._status(device, message):
                yield answer
        elif isinstance(message, WitnessRequest):
            yield await self._witness.answer(device, message)
        else:
            raise Refused(sm.ERROR_NOT_ALLOWED, "no request that a device makes of a service")

    # -- watch ------------------------------------------------------------------------------------

    async def _watch(self, device: bytes, request: sm.WatchRequest) -> sm.Receipt:
        ident, params = await self._identify(request)
        verify.check_participant(params, request.participant, device)
        hashed = verify.check_signed_state(
            self._config, params, ident, request.state, request.sigs
        )
        offered = Signed(request.state, hashed, tuple(request.sigs))
        async with self._accusing(offered), self._store.write() as tx:
            await self._check_not_settled(tx, ident)
            known = await channels.get(tx, ident)
            news = requests.judge_state(known, offered)
            await self._check_auths(tx, known, offered, request, device)
            if news is News.NEW:
                await self._check_room(tx, device)
                await channels.create(tx, ident, params, offered)
            elif news is News.NEWER:
                await channels.hold(tx, ident, offered)
            joined = await self._join(tx, known, ident, request.participant, device)
            await self._keep_auths(tx, known, offered, request)
        # A further state of a quiet channel gives the chain nothing to do.
        if joined or offered.state.is_final or (known and known.chain is not None):
            self._wake(ident)
        version = offered.state.version
        transcript = sm.receipt_transcript(device, ident, version, hashed)
        signature = self._identity.sign_bytes(transcript)
        return sm.Receipt(request.request, ident, version, hashed, signature)

    @asynccontextmanager
    async def _accusing(self, offered: Signed) -> AsyncIterator[None]:
        """Keeps the second state of a version as evidence when it is refused as such."""
        try:
            yield
        except Refused as error:
            if error.code == sm.ERROR_EQUIVOCATION:
                limit = self._config.limits.evidence_per_channel
                async with self._store.write() as tx:
                    await channels.accuse(tx, offered.state.id, offered, limit)
            raise

    async def _identify(self, request: sm.WatchRequest) -> tuple[bytes, Any]:
        """The channel's id and params, from the request or from the store."""
        if request.params is not None:
            return verify.check_channel(self._config, request.params), request.params
        ident = bytes(request.state.id)
        async with self._store.read() as tx:
            await self._check_not_settled(tx, ident)
            known = await channels.get(tx, ident)
        if known is None:
            raise Refused(
                sm.ERROR_UNKNOWN_CHANNEL, "unknown channel: send the params with the state"
            )
        return ident, known.params

    async def _check_auths(
        self,
        tx: AsyncConnection,
        known: Channel | None,
        offered: Signed,
        request: sm.WatchRequest,
        device: bytes,
    ) -> None:
        if not request.auths:
            return
        held = await channels.holdings(tx, request.state.id, request.participant)
        amounts = requests.useful_amounts(known, offered, request.participant, held)
        for auth in request.auths:
            verify.check_authorization(self._config, auth, request.state.id, device, amounts)

    async def _keep_auths(
        self,
        tx: AsyncConnection,
        known: Channel | None,
        offered: Signed,
        request: sm.WatchRequest,
    ) -> None:
        ident, participant, version = request.state.id, request.participant, request.state.version
        for auth in request.auths:
            await channels.authorize(tx, ident, participant, version, auth)
            keep = {auth.amount}
            if known is not None and known.agreement is not None:
                keep.add(known.agreement[auth.asset][participant])
            await channels.prune_authorizations(tx, ident, participant, auth.asset, keep)
        stored = await channels.authorizations(tx, ident, participant)
        if requests.covered(offered, participant, stored):
            await channels.set_member(tx, ident, participant, authorized=version)

    # -- fund -------------------------------------------------------------------------------------

    async def _fund(self, device: bytes, request: sm.FundRequest) -> sm.Ack:
        params, state, agreement = request.params, request.state, request.funding_agreement
        ident = verify.check_channel(self._config, params)
        verify.check_participant(params, request.participant, device)
        verify.check_version_zero(state)
        hashed = verify.check_signed_state(self._config, params, ident, state, request.sigs)
        verify.check_agreement(state, agreement)
        offered = Signed(state, hashed, tuple(request.sigs))
        async with self._accusing(offered), self._store.write() as tx:
            await self._check_not_settled(tx, ident)
            known = await channels.get(tx, ident)
            planned = any(
                deposit.participant == request.participant
                for deposit in await funding.deposits(tx, ident)
            )
            if requests.judge_funding(known, offered, agreement, planned):
                await self._plan(tx, known, offered, device, request)
        self._wake(ident)
        return sm.Ack(request.request)

    async def _funded_before(self, ident: bytes) -> AsyncIterator[sm.ChainEvent]:
        """For a device that asks after the channel was funded: it has not heard of it."""
        async with self._store.read() as tx:
            channel = await _existing(tx, ident)
        if channel.funding == FUNDING_DONE:
            version = channel.held.state.version
            yield sm.ChainEvent(ident, sm.EVENT_FUNDED, version, 0)

    async def _plan(
        self,
        tx: AsyncConnection,
        known: Channel | None,
        offered: Signed,
        device: bytes,
        request: sm.FundRequest,
    ) -> None:
        ident, participant, assets = (
            request.state.id,
            request.participant,
            request.state.allocation.assets,
        )
        amounts = [row[participant] for row in request.funding_agreement]
        requests.check_budget(assets, amounts, await devices.budgets(tx, device))
        if known is None:
            await self._check_room(tx, device)
            await channels.create(tx, ident, request.params, offered)
        await self._join(tx, known, ident, participant, device)
        rows = channels.write_rows(request.funding_agreement)
        await channels.set_fields(tx, ident, agreement=rows, funding=FUNDING_RUNNING, closed=False)
        for index, amount in enumerate(amounts):
            if amount:
                await devices.spend(tx, device, assets[index].holder, amount)
                await funding.plan(tx, ident, participant, index, amount)

    # -- dispute and status -----------------------------------------------------------------------

    async def _dispute(self, device: bytes, request: im.DisputeRequest) -> sm.Ack:
        async with self._store.write() as tx:
            await _membership(tx, request.channel_id, device)
            await channels.set_fields(tx, request.channel_id, dispute_wanted=True)
        self._wake(request.channel_id)
        return sm.Ack(request.request)

    async def _give_back(self, device: bytes, request: im.StateRequest) -> im.HeldState:
        async with self._store.read() as tx:
            await _membership(tx, request.channel_id, device)
            held = (await _existing(tx, request.channel_id)).held
        return im.HeldState(request.request, held.state, held.sigs)

    async def _status(
        self, device: bytes, request: im.StatusRequest
    ) -> AsyncIterator[im.Status | sm.Ack]:
        async with self._store.read() as tx:
            over = await _settled(tx, request.channel_id, device)
        if over is not None:
            yield requests.settled_status(request.request, over)
            return
        async with self._store.read() as tx:
            if request.channel_id:
                mine = [await _membership(tx, request.channel_id, device)]
            else:
                mine = await channels.memberships(tx, device)
            found = []
            for member in mine:
                channel = await _existing(tx, member.channel)
                holdings = await channels.holdings(tx, channel.id, member.participant)
                found.append(requests.status(request.request, channel, member, holdings))
        for answer in found:
            yield answer
        if not request.channel_id:
            yield sm.Ack(request.request)

    # -- helpers ----------------------------------------------------------------------------------

    async def _check_not_settled(self, tx: AsyncConnection, ident: bytes) -> None:
        over = await settled.get(tx, ident)
        if over is not None:
            raise Refused(
                sm.ERROR_OUTDATED,
                f"the channel was settled and paid out, version {over.version} was the newest",
            )

    async def _check_room(self, tx: AsyncConnection, device: bytes) -> None:
        limit = self._config.limits.channels_per_device
        if await channels.count_open(tx, device) >= limit:
            raise Refused(sm.ERROR_BUSY, f"{limit} channels are open: settle one first")

    async def _join(
        self,
        tx: AsyncConnection,
        known: Channel | None,
        ident: bytes,
        participant: int,
        device: bytes,
    ) -> bool:
        """Let the device take part. True if it did not before."""
        members = await channels.members(tx, ident) if known is not None else []
        if any(member.participant == participant for member in members):
            return False
        if known is not None:
            await self._check_room(tx, device)
        await channels.join(tx, ident, participant, device)
        return True


async def _existing(tx: AsyncConnection, ident: bytes) -> Channel:
    found = await channels.get(tx, ident)
    if found is None:
        raise LookupError("a member without a channel")
    return found


async def _settled(tx: AsyncConnection, ident: bytes, device: bytes) -> settled.Settled | None:
    """What is left of a channel of the device that was paid out and pruned, or None."""
    if ident and await settled.participant(tx, ident, device) is not None:
        return await settled.get(tx, ident)
    return None


async def _membership(tx: AsyncConnection, ident: bytes, device: bytes) -> channels.Member:
    """The device's part in the channel. Raises Refused."""
    for member in await channels.members(tx, ident):
        if member.device == device:
            return member
    if await _settled(tx, ident, device) is not None:
        raise Refused(sm.ERROR_OUTDATED, "the channel was settled and paid out")
    if await channels.get(tx, ident) is None and await settled.get(tx, ident) is None:
        raise Refused(sm.ERROR_UNKNOWN_CHANNEL, "unknown channel: have its state watched first")
    raise Refused(sm.ERROR_NOT_ALLOWED, "not a channel of this device")
