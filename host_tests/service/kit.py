"""A device and a peer as the tests of the service need them: keys, signatures, a session.

What is signed is made by `oracle` (eth-abi and coincurve), not by the device's own code; the
frames and the compact codec are those of a real device.
"""

from __future__ import annotations

import asyncio
import inspect
import itertools
import os
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import oracle
from adoption import config as configuration
from adoption.config import Config
from chainkit import Chain
from contracts.anvil import account
from perun.model import Allocation, Params, State, ether
from perun.wire import inquiry_messages as im
from perun.wire import messages
from perun.wire import service_messages as sm
from perun.wire.compact import Compact, Contexts
from perun.wire.frame import TcpDecoder, tcp_frame
from perun.wire.serial import SerialDecoder, serial_frame
from perun.wire.witness_messages import WitnessRequest

WALLET = 5  # the account of anvil that pays for the service
ETHER = 10**18
DURATION = 600
FOREVER = 10**9


class Hung(Exception):
    """The service hung up."""


class TcpWire:
    """Frames over a TCP connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.decoder = TcpDecoder(65535)
        self.bodies: list[bytes] = []

    @classmethod
    async def dial(cls, port: int) -> TcpWire:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def send(self, body: bytes) -> None:
        self.raw(tcp_frame(body))

    def raw(self, data: bytes) -> None:
        self.writer.write(data)

    async def recv(self) -> bytes:
        while not self.bodies:
            try:
                chunk = await self.reader.read(4096)
            except OSError as error:
                raise Hung from error
            if not chunk:
                raise Hung
            self.bodies += self.decoder.feed(chunk)
        return self.bodies.pop(0)

    def close(self) -> None:
        self.writer.close()


class SerialWire:
    """Frames over the device's end of a pty pair (its master side)."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.decoder = SerialDecoder(65535)
        self.bodies: list[bytes] = []

    async def send(self, body: bytes) -> None:
        await self.raw(serial_frame(body))

    async def raw(self, data: bytes) -> None:
        loop = asyncio.get_running_loop()
        while data:
            try:
                data = data[os.write(self.fd, data) :]
            except BlockingIOError:
                ready = loop.create_future()
                loop.add_writer(self.fd, lambda f=ready: f.done() or f.set_result(None))
                await ready
                loop.remove_writer(self.fd)

    async def recv(self) -> bytes:
        loop = asyncio.get_running_loop()
        while not self.bodies:
            ready = loop.create_future()
            loop.add_reader(self.fd, lambda f=ready: f.done() or f.set_result(None))
            try:
                await ready
            finally:
                loop.remove_reader(self.fd)
            self.bodies += self.decoder.feed(os.read(self.fd, 4096))
        return self.bodies.pop(0)

    def close(self) -> None:
        os.close(self.fd)


class Device:
    """A device: a key, a receiver, and perhaps a session with a service."""

    def __init__(self, chain_id: int = 1337) -> None:
        self.secret = secrets.token_bytes(32)
        self.address = oracle.address(self.secret)
        self.receiver = secrets.token_bytes(20)
        self.chain_id = chain_id
        self.contexts = Contexts()
        self.codec = Compact(self.contexts)
        self.events: list[sm.ChainEvent] = []
        self.number = 0
        self.wire: Any = None
        self.service = b""

    def hello(self, **changes: Any) -> messages.Hello:
        fields: dict[str, Any] = {
            "version": messages.PROTOCOL_VERSION,
            "role": messages.ROLE_DEVICE,
            "address": self.address,
            "chain_id": self.chain_id,
            "challenge": secrets.token_bytes(32),
        }
        return messages.Hello(**{**fields, **changes})

    async def connect(self, wire: Any) -> sm.ServiceInfo:
        """The whole handshake."""
        self.wire = wire
        own = self.hello()
        await self.send(own)
        other = await self.recv()
        assert isinstance(other, messages.Hello), other
        proof = oracle.sign(self.secret, messages.hello_transcript(own, other))
        await self.send(messages.HelloProof(proof))
        answer = await self.recv()
        assert isinstance(answer, messages.HelloProof), answer
        transcript = messages.hello_transcript(other, own)
        assert oracle.verify(other.address, transcript, answer.sig)
        self.service = other.address
        info = await self.recv()
        assert isinstance(info, sm.ServiceInfo), info
        return info

    async def dial(self, port: int) -> sm.ServiceInfo:
        return await self.connect(await TcpWire.dial(port))

    def hang_up(self) -> None:
        self.wire.close()
        self.wire = None

    async def send(self, message: object) -> None:
        await self.wire.send(self.codec.encode(message))

    async def recv(self, timeout: float = 60) -> Any:
        async with asyncio.timeout(timeout):
            return self.codec.decode(await self.wire.recv())

    async def answer(self, timeout: float = 60) -> Any:
        """The next message that is no event."""
        while isinstance(message := await self.recv(timeout), sm.ChainEvent):
            self.events.append(message)
        return message

    async def ask(self, kind: Any, *fields: Any) -> Any:
        """The answer to a request."""
        self.number += 1
        await self.send(kind(self.number, *fields))
        answer = await self.answer()
        assert answer.request == self.number
        return answer

    async def event(self, kind: int, timeout: float = 60) -> sm.ChainEvent:
        """The next event of this kind; others before it are dropped."""
        while True:
            while self.events:
                event = self.events.pop(0)
                if event.kind == kind:
                    return event
            message = await self.recv(timeout)
            assert isinstance(message, sm.ChainEvent), message
            self.events.append(message)

    # -- requests ---------------------------------------------------------------------------------

    async def fund(self, deal: Deal, **changes: Any) -> Any:
        fields = {
            "participant": deal.index(self),
            "params": deal.params,
            "state": deal.state(0),
            "sigs": deal.sigs(deal.state(0)),
            "agreement": deal.agreement,
        }
        return await self.ask(sm.FundRequest, *{**fields, **changes}.values())

    async def watch(self, deal: Deal, state: State, auths: Any = None, **changes: Any) -> Any:
        index = deal.index(self)
        fields = {
            "participant": index,
            "params": deal.params,
            "state": state,
            "sigs": deal.sigs(state),
            "auths": deal.auths(self, state) if auths is None else tuple(auths),
        }
        return await self.ask(sm.WatchRequest, *{**fields, **changes}.values())

    async def witness(self, deal: Deal, **changes: Any) -> Any:
        fields = {"params": deal.params, "assets": deal.assets, "agreement": deal.agreement}
        return await self.ask(WitnessRequest, *{**fields, **changes}.values())

    async def status(self, deal: Deal) -> Any:
        return await self.ask(im.StatusRequest, deal.id)

    async def until_stage(self, deal: Deal, stage: int, timeout: float = 60) -> Any:
        """The Status once the channel is in this stage."""

        async def reached() -> Any:
            status = await self.status(deal)
            return status if status.stage == stage else None

        return await until(reached, timeout)


@dataclass
class Deal:
    """A channel between two devices. balances: of version 0, per asset."""

    chain: Chain
    parties: tuple[Device, Device]
    holders: Sequence[bytes]
    balances: tuple[tuple[int, int], ...]
    agreement: tuple[tuple[int, int], ...] = ()
    duration: int = DURATION
    app: bytes = b""
    nonce: int = field(default_factory=lambda: secrets.randbits(256))

    def __post_init__(self) -> None:
        self.agreement = self.agreement or self.balances
        addresses = tuple(party.address for party in self.parties)
        self.params = Params(self.duration, self.nonce, addresses, self.app, True, False)
        self.id = oracle.channel_id(self.params_tuple())
        self.assets = tuple(ether(self.chain.web3.eth.chain_id, h) for h in self.holders)
        for party in self.parties:
            party.contexts.add(self.id, self.assets, self.app)

    def index(self, device: Device) -> int:
        return self.parties.index(device)

    def params_tuple(self) -> tuple[Any, ...]:
        p = self.params
        return oracle.params(p.participants, p.nonce, p.challenge_duration, p.app or bytes(20))

    def state(
        self, version: int, balances: Any = None, final: bool = False, data: bytes = b""
    ) -> State:
        allocation = Allocation(self.assets, balances or self.balances, ())
        return State(self.id, version, self.app, allocation, data, final)

    def state_tuple(self, state: State) -> tuple[Any, ...]:
        assets = [(asset.chain_id, asset.holder) for asset in state.allocation.assets]
        return oracle.state(
            state.id,
            state.version,
            assets,
            state.allocation.balances,
            data=state.data,
            final=state.is_final,
        )

    def hash(self, state: State) -> bytes:
        return oracle.state_hash(self.state_tuple(state))

    def sigs(self, state: State) -> tuple[bytes, ...]:
        data = oracle.state_bytes(self.state_tuple(state))
        return tuple(oracle.sign(party.secret, data) for party in self.parties)

    def auth(self, device: Device, asset: int, amount: int) -> sm.WithdrawalAuth:
        value = oracle.authorization(self.id, device.address, device.receiver, amount)
        sig = oracle.sign(device.secret, oracle.authorization_bytes(value))
        return sm.WithdrawalAuth(asset, device.receiver, amount, sig)

    def auths(self, device: Device, state: State) -> tuple[sm.WithdrawalAuth, ...]:
        rows = state.allocation.balances
        index = self.index(device)
        return tuple(
            self.auth(device, asset, row[index]) for asset, row in enumerate(rows) if row[index]
        )

    # -- what others do on the chain --------------------------------------------------------------

    def deposit(self, device: Device, amount: int | None = None, asset: int = 0) -> None:
        """Somebody else than the service deposits for a participant."""
        holder = self.chain.contract("AssetHolderETH", self.web3_address(self.holders[asset]))
        if amount is None:
            amount = self.agreement[asset][self.index(device)]
        ident = oracle.funding_id(self.id, device.address)
        is_token = self.holders[asset] == bytes.fromhex(self.chain.place.erc20_holder[2:])
        if is_token:
            self.chain.send(self.chain.token.functions.approve(holder.address, amount))
        value = 0 if is_token else amount
        self.chain.send(holder.functions.deposit(ident, amount), value=value)

    def web3_address(self, raw: bytes) -> Any:
        return self.chain.web3.to_checksum_address(raw)

    def signed(self, state: State) -> tuple[Any, ...]:
        return (self.params_tuple(), self.state_tuple(state), list(self.sigs(state)))

    def register(self, state: State) -> None:
        """A participant registers a state himself."""
        self.chain.send(self.chain.adjudicator.functions.register(self.signed(state), []))

    def registered(self) -> int:
        """The version on the chain."""
        return int(self.chain.adjudicator.functions.disputes(self.id).call()[2])

    def phase(self) -> int:
        return int(self.chain.adjudicator.functions.disputes(self.id).call()[3])

    def holdings(self, device: Device, asset: int = 0) -> int:
        holder = self.chain.contract("AssetHolderETH", self.web3_address(self.holders[asset]))
        ident = oracle.funding_id(self.id, device.address)
        return int(holder.functions.holdings(ident).call())


def eth(chain: Chain) -> bytes:
    """The asset holder for Ether."""
    return bytes.fromhex(chain.place.eth_holder[2:])


def erc20(chain: Chain) -> bytes:
    """The asset holder for the token."""
    return bytes.fromhex(chain.place.erc20_holder[2:])


def wealth(chain: Chain, device: Device) -> int:
    """What the device's receiver owns, in wei."""
    return int(chain.web3.eth.get_balance(chain.web3.to_checksum_address(device.receiver)))


def tokens(chain: Chain, device: Device) -> int:
    """What the device's receiver owns of the token."""
    address = chain.web3.to_checksum_address(device.receiver)
    return int(chain.token.functions.balanceOf(address).call())


def document(
    chain: Chain, devices: Iterable[Device], /, **sections: dict[str, Any]
) -> dict[str, Any]:
    """A configuration for these devices; sections overrule what stands here."""
    found: dict[str, Any] = {
        "service": {"listen": ["127.0.0.1:0"]},
        "chain": {
            "rpc": chain.node.url,
            "chain_id": chain.web3.eth.chain_id,
            "adjudicator": chain.place.adjudicator,
            "poll_interval": 0.05,
            "bump_after": 1.0,
        },
        "asset": [
            {"name": "ETH", "kind": "eth", "holder": chain.place.eth_holder},
            {
                "name": "PRN",
                "kind": "erc20",
                "holder": chain.place.erc20_holder,
                "token": chain.place.token,
            },
        ],
        "policy": {"min_challenge_duration": 60, "max_challenge_duration": 86400},
        "limits": {"requests_per_second": 1000, "request_burst": 1000},
        "device": [
            {
                "address": chain.web3.to_checksum_address(device.address),
                "budget": {"ETH": str(100 * ETHER), "PRN": str(100 * ETHER)},
            }
            for device in devices
        ],
    }
    for name, values in sections.items():
        found[name] = {**found.get(name, {}), **values}
    return found


def write_wallet(folder: Path) -> None:
    """The key file of the service's wallet."""
    path = folder / "funder.key"
    path.touch(0o600)
    path.write_text(account(WALLET).key.hex())


def parse(found: dict[str, Any], folder: Path) -> Config:
    return configuration.parse(found, folder)


async def until(condition: Any, timeout: float = 60) -> Any:
    """Ask again and again, until the answer is true; returns it."""
    async with asyncio.timeout(timeout):
        for _ in itertools.count():
            answer = condition()
            if inspect.isawaitable(answer):
                answer = await answer
            if answer:
                return answer
            await asyncio.sleep(0.02)
