"""A peer of a go-perun node that does what a test says, with the engine of lib/perun.

It has the device's codec and channel machine, and none of the project's services: it dials or
listens itself, and deposits and concludes on the chain itself.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import identities
import oracle
from chainkit import Chain
from contracts.anvil import CHAIN_ID
from goperun.node import ETHER, Node
from perun.chain.account import Account
from perun.chain.ethereum import Ethereum
from perun.channel import Ask, Fund, Limits, Persist, ProtocolError, Send, Tell, opening
from perun.channel.foreign import ForeignChannel
from perun.channel.machine import Channel, begin
from perun.link import Link, LinkError
from perun.link.io_cpython import Stream
from perun.model import Allocation, State, ether, transfer
from perun.wire.frame import TcpDecoder, tcp_frame
from perun.wire.control_messages import AuthResponse
from perun.wire.messages import (
    ChannelProposalRej,
    LedgerChannelProposal,
    LedgerChannelProposalAcc,
)
from perun.wire.protobuf import Protobuf

LIMIT = 65535
PATIENCE = 60  # seconds


async def eventually(true: Callable[[], Any]) -> None:
    """Look again and again, until that is so on the chain. Raises TimeoutError."""
    for _ in range(int(PATIENCE / 0.05)):
        if await asyncio.to_thread(true):
            return
        await asyncio.sleep(0.05)
    raise TimeoutError(f"not within {PATIENCE} s")


class Scripted:
    """node: the peer; identity: of identities.py; generation: of go-perun's messages.

    channels    id -> machine
    told        what the machines tell: (kind, detail)
    refused     what it found wrong in what the peer sent
    decide      called with each pending State of the peer; None accepts, a text refuses
    welcome     called with each proposal; the same
    """

    def __init__(
        self, chain: Chain, node: Node, identity: Any, folder: Path, generation: int = 2
    ) -> None:
        self.generation = generation
        self.chain, self.node, self.identity = chain, node, identity
        self.account = Account(os.urandom(32))
        self.rules = Ethereum(generation)
        self.codec = Protobuf(generation, identity.address, node.wire)
        self.channels: dict[bytes, Channel] = {}
        self.told: list[tuple[str, Any]] = []
        self.refused: list[str] = []
        self.received: list[Any] = []
        self.decide: Callable[[State], str | None] = lambda state: None
        self.welcome: Callable[[Any], str | None] = lambda proposal: None
        self.link: Link | None = None
        self.port = 0
        self.proof = b""  # the node's
        self._tls = identities.tls(folder) if generation == 2 else (None, None)
        self._news = asyncio.Condition()
        self._tasks: list[asyncio.Task[None]] = []
        self._server: asyncio.Server | None = None
        self._proposal: Any = None
        self._failure: Exception | None = None

    # -- links --------------------------------------------------------------------------------

    async def dial(self) -> None:
        """Connect to the node, prove who this is, and demand the same."""
        await self.connect()
        await self.send(AuthResponse(self.identity.signature))
        await self._greeted(await self._recv())
        self._follow()

    async def connect(self) -> Link:
        """A link without a handshake."""
        streams = await asyncio.open_connection("127.0.0.1", self.node.port, ssl=self._tls[0])
        return self._link(*streams)

    def _link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Link:
        self.link = Link(Stream(reader, writer), tcp_frame, TcpDecoder(LIMIT), "node")
        return self.link

    async def listen(self) -> str:
        """Wait for the node: host:port."""

        async def accept(*streams: Any) -> None:
            self._link(*streams)
            await self._greeted(await self._recv())
            await self.send(AuthResponse(self.identity.signature))
            self._follow()

        self._server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=self._tls[1])
        self.port = self._server.sockets[0].getsockname()[1]
        return f"127.0.0.1:{self.port}"

    async def _greeted(self, message: Any) -> None:
        assert type(message) is AuthResponse
        self.proof = message.signature
        if self.generation == 2:
            assert identities.proves(self.node.wire, message.signature)

    def _follow(self) -> None:
        assert self.link is not None
        self._start(self._read(self.link))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        """A task whose failure the test sees, whatever it waits for."""

        async def run() -> None:
            try:
                await work
            except Exception as error:
                self._failure = error
                await self._note([], None)
                raise

        self._tasks.append(asyncio.create_task(run()))

    async def send(self, message: Any) -> None:
        assert self.link is not None
        await self.link.send(self.codec.encode(message))

    async def _recv(self) -> Any:
        assert self.link is not None
        async with asyncio.timeout(PATIENCE):
            return self.codec.decode(await self.link.recv())

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._server is not None:
            self._server.close()
        if self.link is not None:
            self.link.close()

    # -- what arrives ---------------------------------------------------------------------------

    async def _read(self, link: Link) -> None:
        while True:
            try:
                message = self.codec.decode(await link.recv())
            except LinkError as error:
                await self._note(self.told, ("gone", str(error)))
                return
            except ValueError as error:
                await self._note(self.refused, str(error))
                continue
            await self._note(self.received, message)
            try:
                await self._handle(message)
            except ProtocolError as error:
                await self._note(self.refused, str(error))

    async def _note(self, where: list[Any], what: Any) -> None:
        async with self._news:
            where.append(what)
            self._news.notify_all()

    async def _handle(self, message: Any) -> None:
        kind = type(message)
        if kind is LedgerChannelProposal:
            await self._on_proposal(message)
        elif kind is LedgerChannelProposalAcc:
            await self._open(self._proposal, message, 0)
        elif kind is ChannelProposalRej:
            await self._note(self.told, ("proposal refused", message.reason))
        elif kind is not AuthResponse:
            if hasattr(message, "channel_id"):
                ident = message.channel_id
            else:
                ident = getattr(message, "state", None) or message.current.state
                ident = ident.id
            machine = self.channels.get(ident)
            if machine is None:
                raise ProtocolError("a message about an unknown channel")
            await self.run(machine, machine.receive(message))

    def _limits(self) -> Limits:
        return Limits(self.assets(), (10**18, 10**18), 1, 10**6)

    def assets(self) -> tuple[Any, ...]:
        place = self.chain.place
        return tuple(
            ether(CHAIN_ID, bytes.fromhex(holder[2:]))
            for holder in (place.eth_holder, place.erc20_holder)
        )

    async def _on_proposal(self, proposal: Any) -> None:
        peers = (self.node.wire, self.identity.address)
        opening.check_proposal(proposal, 1, peers, self._limits())
        reason = self.welcome(proposal)
        if reason:
            await self.send(ChannelProposalRej(proposal.proposal_id, reason))
            return
        acc = opening.accept(proposal, os.urandom(32), self.account.address)
        await self.send(acc)
        await self._open(proposal, acc, 1)

    async def _open(self, proposal: Any, acc: Any, index: int) -> None:
        params, state = opening.agree(self.rules, proposal, acc)
        machine = begin(
            self.rules,
            self.account,
            params,
            index,
            state,
            proposal.funding_agreement,
            ForeignChannel,
        )
        self.channels[machine.id] = machine
        await self.run(machine, machine.open())

    # -- effects ----------------------------------------------------------------------------------

    async def run(self, machine: Channel, effects: list[Any]) -> None:
        """Do what the machine says."""
        for effect in effects:
            kind = type(effect)
            if kind is Send:
                await self.send(effect.message)
            elif kind is Ask:
                reason = self.decide(effect.state)
                await self.run(machine, machine.reject(reason) if reason else machine.accept())
            elif kind is Fund:
                self._start(self._fund(machine))
            elif kind is Tell:
                told = (effect.kind, effect.detail)
                await self._note(self.told, told)
            else:
                assert kind is Persist or kind.__name__ == "Watch"

    async def _fund(self, machine: Channel) -> None:
        await asyncio.to_thread(self._deposit, machine)
        await eventually(lambda: self._is_funded(machine))
        await self.run(machine, machine.funded())

    def _deposit(self, machine: Channel) -> None:
        place = oracle.funding_id(machine.id, self.account.address)
        assets = machine.current.state.allocation.assets
        for asset, row in zip(assets, machine.agreement, strict=True):
            amount = row[machine.index]
            if not amount:
                continue
            if asset == self.assets()[ETHER]:
                call = self.chain.eth_holder.functions.deposit(place, amount)
                self.chain.send(call, value=amount)
            else:
                allow = self.chain.token.functions.approve
                self.chain.send(allow(self.chain.place.erc20_holder, amount))
                self.chain.send(self.chain.erc20_holder.functions.deposit(place, amount))

    def _is_funded(self, machine: Channel) -> bool:
        return self.holdings(machine) == [list(row) for row in machine.agreement]

    def holdings(self, machine: Channel) -> list[list[int]]:
        """What the asset holders hold: a row for each asset."""
        holders = {
            self.assets()[0]: self.chain.eth_holder,
            self.assets()[1]: self.chain.erc20_holder,
        }
        return [
            [
                holders[asset].functions.holdings(oracle.funding_id(machine.id, part)).call()
                for part in machine.params.participants
            ]
            for asset in machine.current.state.allocation.assets
        ]

    # -- what tests do ----------------------------------------------------------------------------

    async def until(self, ready: Callable[[], Any], what: str = "that") -> Any:
        """Wait until ready() is true, and return it."""
        try:
            async with asyncio.timeout(PATIENCE), self._news:
                while not (result := ready()):
                    if self._failure:
                        raise self._failure
                    await self._news.wait()
        except TimeoutError:
            seen = SimpleNamespace(told=self.told, refused=self.refused)
            raise AssertionError(f"no {what} within {PATIENCE} s: {seen}") from None
        return result

    async def heard(self, kind: str, detail: Any = None) -> Any:
        """Wait until a machine has told this (with this detail, if it is not None)."""
        return await self.until(
            lambda: [t for t in self.told if t[0] == kind and detail in (None, t[1])], kind
        )

    def proposal(self, rows: Any, assets: Any = None, duration: int = 600, **more: Any) -> Any:
        """A proposal to the node; rows: (own, its) for each asset."""
        assets = assets or self.assets()[:1]
        allocation = Allocation(tuple(assets), tuple(map(tuple, rows)), ())
        peers = (self.identity.address, self.node.wire)
        return opening.propose(
            os.urandom(32), os.urandom(32), duration, allocation, self.account.address, peers,
            **more,
        )  # fmt: skip

    async def propose(self, rows: Any, **more: Any) -> Channel:
        """Open a channel and wait until both have funded it."""
        self._proposal = self.proposal(rows, **more)
        await self.send(self._proposal)
        return await self.opened()

    async def opened(self) -> Channel:
        """The newest channel, funded."""
        await self.until(lambda: self.channels, "channel")
        machine = list(self.channels.values())[-1]
        await self.until(lambda: machine.phase >= 3, "funding")
        return machine

    async def pay(self, machine: Channel, *amounts: int) -> None:
        """Pay the node, and wait for its signature."""
        state = transfer(machine.current.state, machine.index, amounts, machine.next_version)
        await self.run(machine, machine.propose(state))
        await self.until(lambda: machine.confirmed == state.version, "signature")

    async def finalize(self, machine: Channel) -> None:
        """Propose to end with what everybody owns now."""
        state = machine.current.state
        final = state._replace(version=machine.next_version, is_final=True)
        await self.run(machine, machine.propose(final))
        await self.until(lambda: machine.confirmed == final.version, "signature")

    def conclude(self, machine: Channel) -> None:
        """Send the final state to the chain."""
        signed = self._signed(machine, machine.current)
        self.chain.send(self.chain.adjudicator.functions.concludeFinal(*signed))

    def register(self, machine: Channel, transaction: Any = None) -> None:
        """Register a state on the chain; the newest if none is given."""
        signed = self._signed(machine, transaction or machine.current)
        self.chain.send(self.chain.adjudicator.functions.register(signed, []))

    def _signed(self, machine: Channel, transaction: Any) -> tuple[Any, ...]:
        """What the contracts take: params, state, signatures."""
        params, (state, sigs) = machine.params, transaction
        shown = oracle.params(
            params.participants,
            params.nonce,
            params.challenge_duration,
            generation=self.generation,
        )
        body = oracle.state(
            state.id,
            state.version,
            [(asset.chain_id, asset.holder) for asset in state.allocation.assets],
            state.allocation.balances,
            final=state.is_final,
            generation=self.generation,
        )
        return shown, body, list(sigs)

    def dispute(self, machine: Channel) -> tuple[int, int]:
        """(version, phase) that are registered."""
        found = self.chain.adjudicator.functions.disputes(machine.id).call()
        return found[2], found[3 if self.generation == 2 else 4]

    def withdraw(self, machine: Channel) -> list[int]:
        """Withdraw everything to a fresh address; what arrived, per asset."""
        receiver = os.urandom(20)
        state = machine.current.state
        got = []
        for asset, row in zip(state.allocation.assets, state.allocation.balances, strict=True):
            amount = row[machine.index]
            auth = oracle.authorization(
                machine.id, self.account.address, receiver, amount, self.generation
            )
            digest = oracle.digest(oracle.authorization_bytes(auth, self.generation))
            is_ether = asset == self.assets()[ETHER]
            holder = self.chain.eth_holder if is_ether else self.chain.erc20_holder
            if amount:
                call = holder.functions.withdraw(auth, self.account.sign(digest))
                self.chain.send(call)
            if is_ether:
                got.append(self.chain.web3.eth.get_balance(receiver))
            else:
                got.append(self.chain.token.functions.balanceOf(receiver).call())
        return got
