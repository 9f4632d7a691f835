"""Reads from a node over JSON-RPC, and the call data of what the service sends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from typing import Any, NamedTuple, TypeVar

import aiohttp
from eth_typing import BlockNumber, ChecksumAddress
from eth_utils import to_checksum_address
from hexbytes import HexBytes
from perun.model import Params, State
from perun.wire.service_messages import WithdrawalAuth
from web3 import AsyncWeb3
from web3.contract import AsyncContract
from web3.exceptions import (
    BadFunctionCallOutput,
    ContractLogicError,
    TransactionNotFound,
    Web3Exception,
)
from web3.middleware import ExtraDataToPOAMiddleware

from adoption import encoding
from adoption.chain import nodes
from adoption.config import Config

T = TypeVar("T")

DISPUTE, FORCEEXEC, CONCLUDED = range(3)  # phases of a registered channel

UPDATE_TOPIC = encoding.keccak(b"ChannelUpdate(bytes32,uint64,uint8,uint64)")
DEPOSITED_TOPIC = encoding.keccak(b"Deposited(bytes32,uint256)")
WITHDRAWN_TOPIC = encoding.keccak(b"Withdrawn(bytes32,uint256,address)")

MAX_ALLOWANCE = 2**256 - 1

_TRIES = 4  # to get a block that is not older than the newest
_PAUSE = 0.05  # seconds before the next try
_SIGHTINGS = 256  # blocks that are remembered until they are followed


class ChainError(Exception):
    """The node cannot be reached, or answers with an error; worth trying again."""


class _NoContract(ChainError):
    """No contract of that kind is at the address."""


class Reverted(Exception):
    """The chain would refuse the transaction, as things stand now."""


class WrongChain(Exception):
    """The configuration does not fit the chain; trying again does not help."""


class Block(NamedTuple):
    """A block. timestamp: seconds."""

    number: int
    hash: bytes
    timestamp: int


class Dispute(NamedTuple):
    """What the Adjudicator has about a registered channel. timeout, duration: seconds."""

    phase: int
    version: int
    hash: bytes
    timeout: int
    duration: int
    has_app: bool


class Event(NamedTuple):
    """An event of the Adjudicator or of an asset holder. key: channel id or funding id."""

    topic: bytes
    key: bytes
    block: int
    transaction: bytes


@contextmanager
def rpc_errors() -> Iterator[None]:
    """Turns what web3 raises into Reverted and ChainError."""
    try:
        yield
    except ContractLogicError as error:
        raise Reverted(str(error.message or error)) from error
    except BadFunctionCallOutput as error:
        raise _NoContract(f"{type(error).__name__}: {error}") from error
    except (Web3Exception, aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        raise ChainError(f"{type(error).__name__}: {error}") from error
    except (ArithmeticError, AttributeError, LookupError, TypeError) as error:
        raise ChainError(f"the node's answer makes no sense: {error!r}") from error


async def _ask(answer: Awaitable[T]) -> T:
    with rpc_errors():
        return await answer


def _abi(name: str, generation: int) -> Any:
    folder = files("adoption").joinpath("abi")
    older = folder.joinpath("gen1", f"{name}.json")
    chosen = older if generation == 1 and older.is_file() else folder.joinpath(f"{name}.json")
    return json.loads(chosen.read_text())


class Chain:
    """One Ethereum chain with one Adjudicator."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._generation = config.chain.generation
        self.newest = -1  # number of the newest block that was seen, see head()
        self.sightings: dict[int, set[bytes]] = {}  # number -> hashes of latest blocks that were
        self.web3 = AsyncWeb3(nodes.provider(config.chain.rpc, config.chain.request_timeout))
        # Proof-of-authority chains put more into a block's extra data than web3 accepts.
        self.web3.middleware_onion.inject(ExtraDataToPOAMiddleware, layer=0)
        self.adjudicator = self._contract(config.chain.adjudicator, "Adjudicator")
        self.holders = {
            asset.holder: self._contract(asset.holder, _HOLDER_ABI[asset.kind])
            for asset in config.asset
        }

    def _contract(self, address: bytes, abi: str) -> AsyncContract:
        return self.web3.eth.contract(
            address=to_checksum_address(address), abi=_abi(abi, self._generation)
        )

    async def close(self) -> None:
        """Close the connections to the node."""
        await self.web3.provider.disconnect()

    async def check(self) -> None:
        """Does the configuration fit the chain? Raises WrongChain with what does not."""
        chain = self.config.chain
        with rpc_errors():
            found = int(await self.web3.eth.chain_id)
        if found != chain.chain_id:
            raise WrongChain(
                f"the node is on chain {found}, the configuration says {chain.chain_id}"
            )
        if not await _ask(self.web3.eth.get_code(to_checksum_address(chain.adjudicator))):
            raise WrongChain("there is no contract at the adjudicator's address")
        for asset in self.config.asset:
            holder = self.holders[asset.holder]
            try:
                owner = await _ask(holder.functions.adjudicator().call())
                token = (await _ask(holder.functions.token().call())) if asset.token else None
            except (ChainError, Reverted) as error:
                if not isinstance(error, Reverted | _NoContract):
                    raise
                raise WrongChain(f"asset {asset.name}: no asset holder answers there") from error
            if owner != to_checksum_address(chain.adjudicator):
                raise WrongChain(f"asset {asset.name}: its holder obeys another adjudicator")
            if asset.token and token != to_checksum_address(asset.token):
                raise WrongChain(f"asset {asset.name}: its holder keeps another token")
        await self._check_generation()

    async def _check_generation(self) -> None:
        params = Params(1, 1, (b"\1" * 20, b"\2" * 20), b"", True, False)
        call = self.adjudicator.functions.channelID(self._params(params))
        try:
            found = bytes(await _ask(call.call()))
        except Reverted:
            found = b""
        if found != encoding.channel_id(params, self._generation):
            raise WrongChain(
                f"the adjudicator is not of generation {self._generation} of Perun's contracts"
            )

    # -- reads ------------------------------------------------------------------------------------

    async def latest(self) -> Block:
        """The node's latest block, even if others were seen that are newer."""
        found = await self.block("latest")
        if found is None:
            raise ChainError("the node has no latest block")
        self.newest = max(self.newest, found.number)
        self.sightings.setdefault(found.number, set()).add(found.hash)
        if len(self.sightings) > _SIGHTINGS:
            del self.sightings[min(self.sightings)]
        return found

    async def head(self) -> Block:
        """The latest block, never one before the newest that was seen: what follows from it rests
        on nothing old. Raises ChainError when the node lags."""
        for _ in range(_TRIES):
            found = await self.latest()
            if found.number >= self.newest:
                return found
            await asyncio.sleep(_PAUSE)
        raise ChainError(
            f"the node lags: it is at block {found.number}, {self.newest} was there already"
        )

    async def block(self, number: int | str) -> Block | None:
        """A block, or None if the chain does not have it (any longer)."""
        with rpc_errors():
            try:
                raw = await self.web3.eth.get_block(_at(number))
            except Web3Exception as error:
                if type(error).__name__ == "BlockNotFound":
                    return None
                raise
            return Block(int(raw["number"]), bytes(raw["hash"]), int(raw["timestamp"]))

    async def dispute(self, channel: bytes, at: int) -> Dispute | None:
        """What is registered for a channel in block `at`, or None."""
        raw = await self._past(self.adjudicator.functions.disputes(channel), at)
        if raw is None:
            return None
        with rpc_errors():
            if self._generation == 1:
                timeout, duration, version, has_app, phase, state_hash = raw
            else:
                timeout, duration, version, phase, state_hash, has_app = raw
            if not any(state_hash):
                return None
            return Dispute(phase, version, bytes(state_hash), timeout, duration, has_app)

    async def holdings(self, holder: bytes, channel: bytes, participant: bytes, at: int) -> int:
        """What an asset holder holds for a participant of a channel in block `at`."""
        call = self.holders[holder].functions.holdings(encoding.funding_id(channel, participant))
        found = await self._past(call, at)
        with rpc_errors():
            return int(found or 0)

    async def _past(self, call: Any, at: int) -> Any:
        """Ask a contract at a block; None for a past block in which it did not exist yet."""
        with rpc_errors():
            try:
                return await call.call(block_identifier=_at(at))
            except BadFunctionCallOutput:
                if at < self.newest:
                    return None
                raise

    async def allowance(self, token: bytes, owner: bytes, spender: bytes) -> int:
        """How many tokens `spender` may take from `owner`."""
        erc20 = self._contract(token, "ERC20")
        call = erc20.functions.allowance(to_checksum_address(owner), to_checksum_address(spender))
        return int(await _ask(call.call()))

    async def balance(self, owner: bytes, token: bytes | None) -> int:
        """What an account owns of a token, or of the chain's own coin (None)."""
        address = to_checksum_address(owner)
        if token is None:
            return int(await _ask(self.web3.eth.get_balance(address)))
        return int(await _ask(self._contract(token, "ERC20").functions.balanceOf(address).call()))

    async def events(self, first: int, last: int, channel: bytes | None = None) -> list[Event]:
        """The events of these blocks, oldest first; with `channel`, its ChannelUpdates only.

        A node that lags leaves out the blocks that it lacks, without an error.
        """
        return await self._events({"fromBlock": hex(first), "toBlock": hex(last)}, channel)

    async def events_of(self, block: Block) -> list[Event]:
        """The events of one block. Raises ChainError when the node does not have that block."""
        return await self._events({"blockHash": "0x" + block.hash.hex()})

    async def _events(self, blocks: dict[str, str], channel: bytes | None = None) -> list[Event]:
        addresses: list[ChecksumAddress] = [self.adjudicator.address]
        topics: list[Any] = [[UPDATE_TOPIC, DEPOSITED_TOPIC, WITHDRAWN_TOPIC]]
        if channel is None:
            addresses += [contract.address for contract in self.holders.values()]
        else:
            topics = [UPDATE_TOPIC, channel]
        query = {
            **blocks,
            "address": addresses,
            "topics": [_hex_topics(topic) for topic in topics],
        }
        logs = await _ask(self.web3.eth.get_logs(query))  # type: ignore[arg-type]
        with rpc_errors():
            return [
                Event(
                    bytes(log["topics"][0]),
                    bytes(log["topics"][1]),
                    int(log["blockNumber"]),
                    bytes(log["transactionHash"]),
                )
                for log in logs
                if len(log["topics"]) >= 2
            ]

    async def call_data(self, transaction: bytes) -> bytes:
        """The call data of a transaction; empty if the node does not have it."""
        with rpc_errors():
            try:
                found = await self.web3.eth.get_transaction(HexBytes(transaction))
            except TransactionNotFound:
                return b""
            return bytes(found["input"])

    # -- call data --------------------------------------------------------------------------------

    def deposit(self, holder: bytes, channel: bytes, participant: bytes, amount: int) -> bytes:
        """Call data: deposit `amount` for a participant."""
        ident = encoding.funding_id(channel, participant)
        return _data(self.holders[holder], "deposit", ident, amount)

    def withdraw(
        self, holder: bytes, channel: bytes, participant: bytes, auth: WithdrawalAuth
    ) -> bytes:
        """Call data: withdraw what an authorization says."""
        value = encoding.withdrawal_tuple(
            channel, participant, auth.receiver, auth.amount, self._generation
        )
        return _data(self.holders[holder], "withdraw", value, auth.sig)

    def approve(self, token: bytes, spender: bytes) -> bytes:
        """Call data: let `spender` take tokens."""
        return _data(self._contract(token, "ERC20"), "approve", spender, MAX_ALLOWANCE)

    def _params(self, params: Params) -> tuple[Any, ...]:
        return encoding.params_tuple(params, self._generation)

    def _state(self, state: State) -> tuple[Any, ...]:
        return encoding.state_tuple(state, self._generation)

    def register(self, params: Params, state: State, sigs: Sequence[bytes]) -> bytes:
        """Call data: register a state, or refute an older one."""
        signed = (self._params(params), self._state(state), list(sigs))
        return _data(self.adjudicator, "register", signed, [])

    def conclude(self, params: Params, state: State) -> bytes:
        """Call data: conclude with the registered state."""
        return _data(
            self.adjudicator,
            "conclude",
            self._params(params),
            self._state(state),
            [],
        )

    def conclude_final(self, params: Params, state: State, sigs: Sequence[bytes]) -> bytes:
        """Call data: conclude with a final state."""
        return _data(
            self.adjudicator,
            "concludeFinal",
            self._params(params),
            self._state(state),
            list(sigs),
        )


_HOLDER_ABI = {"eth": "AssetHolderETH", "erc20": "AssetHolderERC20"}


def _at(number: int | str) -> Any:
    return BlockNumber(number) if isinstance(number, int) else number


def _hex_topics(topic: bytes | list[bytes]) -> Any:
    if isinstance(topic, bytes):
        return "0x" + topic.hex()
    return ["0x" + one.hex() for one in topic]


def _data(contract: AsyncContract, function: str, *args: Any) -> bytes:
    return bytes.fromhex(contract.encode_abi(function, args=list(args))[2:])
