"""The adoption service for one device: the decisions are those of tools/adoption, the store is a
dictionary that survives, the process can be killed at each write and before each answer."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field, replace
from typing import Any

from adoption import requests
from adoption.chain import CONCLUDED, Dispute, Reverted
from adoption.decide import Step, choose_authorization, decide
from adoption.requests import News
from adoption.store.channels import Channel, Member, Registration, Signed
from adoption.store.tables import FUNDING_DONE, FUNDING_FAILED, FUNDING_NONE, FUNDING_RUNNING
from adoption.verify import Refused
from perun.link import LinkError
from perun.link.handshake import handshake
from perun.model import Params, State
from perun.model.rules import RuleError, check_state
from perun.wire import inquiry_messages as im
from perun.wire import service_messages as sm
from perun.wire.compact import Compact, Contexts
from perun.wire.control_messages import Ping, Pong
from perun.wire.messages import ROLE_SERVICE

from protocol.adversary.chain import Chain
from protocol.adversary.crypto import SWIFT

_PATIENCE = 600  # seconds before an authorization for less than everything is used


class Killed(Exception):
    """The process died."""


@dataclass
class Entry:
    """A channel as it is on the disk."""

    channel: Channel
    participant: int
    auths: list[sm.WithdrawalAuth] = field(default_factory=list)
    authorized: int | None = None
    withdrawn: bool = False
    needed_since: int | None = None
    owed: int = 0  # to be deposited
    evidence: list[Signed] = field(default_factory=list)


class Service:
    """account: its identity; device: the address of the only device; assets: that it serves.

    up      is the process alive?
    disk    channel id -> Entry
    fuse    writes and answers until it is killed; None: it lives
    """

    def __init__(self, chain: Chain, account: Any, device: bytes, assets: tuple[Any, ...]) -> None:
        self._chain = chain
        self.account = account
        self._device = device
        self._assets = assets
        self.up = True
        self.disk: dict[bytes, Entry] = {}
        self.fuse: int | None = None
        self._link: Any = None
        self._codec: Compact | None = None
        self._told: list[Any] = []  # events for the session
        self._refuted: dict[bytes, int] = {}

    # -- life -------------------------------------------------------------------------------------

    def kill(self) -> None:
        """What `kill -9` does."""
        self.up = False
        self.fuse = None
        self._refuted.clear()
        self.hang_up()

    def hang_up(self) -> None:
        """Close the session."""
        if self._link is not None:
            self._link.close()
            self._link = None

    def start(self) -> None:
        """Start the process, if it does not run."""
        if not self.up:
            self.up = True
            self.look()

    def _burn(self) -> None:
        """One more write or answer."""
        if self.fuse is not None:
            if not self.fuse:
                self.kill()
                raise Killed
            self.fuse -= 1

    def _write(self, ident: bytes, **values: Any) -> None:
        """One transaction: either all of it is on the disk, or nothing."""
        self._burn()
        entry = self.disk[ident]
        inner = {n: v for n, v in values.items() if n in Channel.__dataclass_fields__}
        outer = {n: v for n, v in values.items() if n not in inner}
        changed = replace(entry.channel, **inner)
        self.disk[ident] = replace(entry, channel=changed, **outer)

    # -- the session ------------------------------------------------------------------------------

    async def serve(self, link: Any, chain_id: int) -> None:
        """A session with the device over a fresh link."""
        self.hang_up()
        self._link = link
        contexts = Contexts()
        for entry in self.disk.values():
            _introduce(contexts, entry.channel.held.state)
        self._codec = codec = Compact(contexts)
        with contextlib.suppress(LinkError, Killed):
            hello = await handshake(
                link, codec, SWIFT, self.account, ROLE_SERVICE, chain_id, os.urandom(32)
            )
            assert hello.address == self._device
            await link.send(codec.encode(sm.ServiceInfo(chain_id, bytes(20), self._assets, 60)))
            for ident, entry in self.disk.items():
                if entry.needed_since is not None:
                    version = entry.channel.held.state.version
                    self._tell(ident, sm.EVENT_NEED_AUTHORIZATION, version)
            await self.deliver()
            while True:
                message = codec.decode(await link.recv())
                if isinstance(message, sm.WatchRequest | sm.FundRequest):
                    _introduce(contexts, message.state)
                for answer in self._answer(message):
                    self._burn()
                    await link.send(codec.encode(answer))
                await self.deliver()

    async def deliver(self) -> None:
        """Send the events that wait; without a session they are lost."""
        events, self._told = self._told, []
        if self._link is not None and self._codec is not None:
            with contextlib.suppress(LinkError):
                for event in events:
                    await self._link.send(self._codec.encode(event))

    def _tell(self, ident: bytes, kind: int, version: int, timeout: int = 0) -> None:
        self._told.append(sm.ChainEvent(ident, kind, version, timeout))

    def _answer(self, message: Any) -> list[Any]:
        try:
            if isinstance(message, Ping):
                return [Pong(message.created)]
            if isinstance(message, sm.WatchRequest):
                return [self._watch(message)]
            if isinstance(message, sm.FundRequest):
                return self._fund(message)
            entry = self.disk.get(message.channel_id)
            if entry is None:
                raise Refused(sm.ERROR_UNKNOWN_CHANNEL, "unknown channel")
            channel = entry.channel
            if isinstance(message, im.StateRequest):
                return [im.HeldState(message.request, channel.held.state, channel.held.sigs)]
            if isinstance(message, im.StatusRequest):
                member = self._member(entry)
                holdings = self._holdings(entry) if channel.chain else 0
                return [requests.status(message.request, channel, member, {0: holdings})]
            assert isinstance(message, im.DisputeRequest)
            self._write(channel.id, dispute_wanted=True)
            self.visit(channel.id)
            return [sm.Ack(message.request)]
        except Refused as error:
            return [sm.Error(message.request, error.code, error.text)]

    def _member(self, entry: Entry) -> Member:
        return Member(
            entry.channel.id,
            entry.participant,
            self._device,
            entry.authorized,
            entry.withdrawn,
            entry.needed_since,
        )

    def _check(self, params: Params, state: State, sigs: Any, participant: int) -> Signed:
        try:
            check_state(state)
        except RuleError as error:
            raise Refused(sm.ERROR_INVALID, str(error)) from error
        if state.id != SWIFT.channel_id(params) or params.participants[participant] != (
            self._device
        ):
            raise Refused(sm.ERROR_INVALID, "not a state of a channel of this device")
        hashed = SWIFT.state_hash(state)
        for address, sig in zip(params.participants, sigs, strict=True):
            if not sig or not SWIFT.verify(address, hashed, sig):
                raise Refused(sm.ERROR_SIGNATURE, "a signature is wrong")
        return Signed(state, hashed, tuple(sigs))

    def _create(self, params: Params, offered: Signed, participant: int) -> None:
        channel = Channel(
            offered.state.id,
            params,
            offered,
            None,
            False,
            None,
            FUNDING_NONE,
            None,
            False,
        )
        self.disk[channel.id] = Entry(channel, participant)

    def _watch(self, request: sm.WatchRequest) -> sm.Receipt:
        ident = request.state.id
        entry = self.disk.get(ident)
        if request.params is None and entry is None:
            raise Refused(sm.ERROR_UNKNOWN_CHANNEL, "send the params with the state")
        params = request.params or (entry and entry.channel.params)
        offered = self._check(params, request.state, request.sigs, request.participant)
        known = entry.channel if entry else None
        news = requests.judge_state(known, offered)
        holdings = {0: self._holdings(entry) if entry else 0}
        amounts = requests.useful_amounts(known, offered, request.participant, holdings)
        for auth in request.auths:
            if auth.amount not in amounts[auth.asset]:
                raise Refused(sm.ERROR_INVALID, "an authorization of no use")
        self._burn()
        if entry is None:
            self._create(params, offered, request.participant)
            entry = self.disk[ident]
        values: dict[str, Any] = {"held": offered} if news is News.NEWER else {}
        fresh = {auth.amount for auth in request.auths}
        auths = [auth for auth in entry.auths if auth.amount not in fresh] + list(request.auths)
        if requests.covered(offered, request.participant, auths):
            values["authorized"] = offered.state.version
        self._write(ident, auths=auths, **values)
        self.visit(ident)
        version = offered.state.version
        transcript = sm.receipt_transcript(self._device, ident, version, offered.hash)
        sig = SWIFT.sign_bytes(self.account, transcript)
        return sm.Receipt(request.request, ident, version, offered.hash, sig)

    def _fund(self, request: sm.FundRequest) -> list[Any]:
        offered = self._check(request.params, request.state, request.sigs, request.participant)
        agreement = request.funding_agreement
        ident = offered.state.id
        entry = self.disk.get(ident)
        known = entry.channel if entry else None
        planned = entry is not None and entry.channel.agreement is not None
        if requests.judge_funding(known, offered, agreement, planned):
            self._burn()
            if entry is None:
                self._create(request.params, offered, request.participant)
            self._write(
                ident,
                agreement=tuple(map(tuple, agreement)),
                funding=FUNDING_RUNNING,
                owed=agreement[0][request.participant],
                deadline=self._chain.now + request.params.challenge_duration,
            )
        self.visit(ident)
        answers: list[Any] = [sm.Ack(request.request)]
        channel = self.disk[ident].channel
        if channel.funding == FUNDING_DONE:
            answers.append(sm.ChainEvent(ident, sm.EVENT_FUNDED, channel.held.state.version, 0))
        return answers

    # -- the chain --------------------------------------------------------------------------------

    def look(self) -> None:
        """A new block: look at all channels."""
        for ident in list(self.disk):
            with contextlib.suppress(Killed):
                self.visit(ident)

    def visit(self, ident: bytes) -> None:
        """Do what is to be done now."""
        for _ in range(8):
            if not self.up or not self._step(ident):
                return
        raise AssertionError("the service does not come to rest")

    def _holdings(self, entry: Entry) -> int:
        return self._chain.held(entry.channel.id, self._device)

    def _step(self, ident: bytes) -> bool:
        """One step; False when there is nothing to do now."""
        dispute = self._chain.disputes.get(ident)
        content = self._note(ident, dispute)
        entry = self.disk[ident]
        if entry.channel.funding == FUNDING_RUNNING and self._step_funding(ident, dispute):
            return True
        channel = self.disk[ident].channel
        now = self._chain.now
        step = decide(channel, dispute, content is not None, now).step
        if step is Step.PAY_OUT:
            return self._pay_out(ident)
        if step in (Step.REST, Step.WAIT):
            return False
        self._burn()
        params, held = channel.params, channel.held
        if step is Step.LEARN and dispute is not None:
            self._learn(ident, dispute)
            return True
        try:
            if step is Step.CONCLUDE and content is not None:
                self._chain.conclude(params, content)
            elif step is Step.CONCLUDE_FINAL:
                self._chain.conclude_final(params, held.state, held.sigs)
            else:
                self._refuted[ident] = held.state.version
                self._chain.register(params, held.state, held.sigs)
        except Reverted:
            return False
        return True

    def _note(self, ident: bytes, dispute: Dispute | None) -> State | None:
        channel = self.disk[ident].channel
        if dispute is None:
            return None
        content = None
        if dispute.hash == channel.held.hash:
            content = channel.held.state
        elif channel.chain is not None and channel.chain.hash == dispute.hash:
            content = channel.chain.state
        phase, version, hashed, timeout = dispute[:4]
        new = Registration(phase, version, hashed, timeout, content)
        if channel.chain != new:
            self._write(ident, chain=new)
            kind = sm.EVENT_REGISTERED
            if dispute.phase == CONCLUDED:
                kind = sm.EVENT_CONCLUDED
            elif self._refuted.get(ident) == dispute.version:
                kind = sm.EVENT_REFUTED
            self._tell(ident, kind, dispute.version, dispute.timeout)
        return content

    def _learn(self, ident: bytes, dispute: Dispute) -> None:
        channel = self.disk[ident].channel
        state, sigs = self._chain.call_data[dispute.hash]
        phase, version, hashed, timeout = dispute[:4]
        values: dict[str, Any] = {"chain": Registration(phase, version, hashed, timeout, state)}
        if version > channel.held.state.version:
            values["held"] = Signed(state, hashed, sigs)
        elif version == channel.held.state.version:
            values["evidence"] = [*self.disk[ident].evidence, Signed(state, hashed, sigs)]
        self._write(ident, **values)

    def _step_funding(self, ident: bytes, dispute: Dispute | None) -> bool:
        entry, chain = self.disk[ident], self._chain
        channel = entry.channel
        participants = channel.params.participants
        assert channel.agreement is not None and channel.deadline is not None
        (row,) = channel.agreement
        there = [
            chain.held(ident, part) >= due for part, due in zip(participants, row, strict=True)
        ]
        if all(there):
            self._write(ident, funding=FUNDING_DONE)
            self._tell(ident, sm.EVENT_FUNDED, channel.held.state.version)
            return True
        if dispute is not None or chain.now >= channel.deadline:
            self._write(ident, funding=FUNDING_FAILED, dispute_wanted=not entry.owed)
            self._tell(ident, sm.EVENT_FUNDING_FAILED, 0)
            return True
        waits = entry.participant > 0 and not there[0]  # the responder deposits last
        if not entry.owed or waits:
            return False
        self._burn()
        chain.deposit(ident, self._device, entry.owed)  # once: the outbox repeats no nonce
        self.disk[ident] = replace(self.disk[ident], owed=0)
        return True

    def _pay_out(self, ident: bytes) -> bool:
        entry = self.disk[ident]
        amount = self._holdings(entry)
        version = self._chain.disputes[ident].version
        if not amount:
            if not entry.withdrawn:
                self._write(ident, withdrawn=True, needed_since=None)
                self._tell(ident, sm.EVENT_WITHDRAWN, version)
            return False
        since = entry.needed_since
        patient = since is None or self._chain.now - since < _PATIENCE
        auth = choose_authorization(entry.auths, 0, amount, patient)
        if auth is not None:
            self._burn()
            self._chain.withdraw(ident, self._device, auth)
            return True
        if since is None:
            self._write(ident, needed_since=self._chain.now)
            self._tell(ident, sm.EVENT_NEED_AUTHORIZATION, version)
        return False


def _introduce(contexts: Contexts, state: State) -> None:
    contexts.add(state.id, state.allocation.assets, state.app)
