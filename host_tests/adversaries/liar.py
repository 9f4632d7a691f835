"""A service that lies: speaks the adoption protocol, has no chain, and keeps no promise.

It answers as an honest one would, until a test sets one of its lies. As a program it serves
whoever comes:

    python -m adversaries.liar forgets --port 1338
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
from typing import Any

from eth_utils import to_checksum_address
from perun.chain.account import Account
from perun.chain.ethereum import Ethereum
from perun.link import Link, LinkError, tcp
from perun.link.handshake import handshake
from perun.model import State, ether, with_balances
from perun.wire import inquiry_messages as im
from perun.wire import WireError
from perun.wire import messages as m
from perun.wire import service_messages as sm
from perun.wire.compact import Compact, Contexts
from perun.wire.control_messages import Ping, Pong
from perun.wire.witness_messages import WitnessRequest

CHAIN = Ethereum()

LIES = (
    "never answers",  # to any request
    "forgets",  # acknowledges, and knows nothing at the next session
    "wrong hash",  # in receipts
    "wrong signature",  # under receipts
    "old receipt",  # a receipt for version 0, whatever was sent
    "withdrawn",  # the status of every channel
    "newer state",  # says that it holds a newer state, and forges one
    "something else",  # answers with messages of another kind
)


class Liar:
    """lie: one of LIES, or "" for none; funds: whether it says that channels are funded, as a
    service or as a witness (it never deposits); held: what devices have handed over; requests:
    what they have asked."""

    def __init__(self, holder: bytes, chain_id: int = 1337) -> None:
        self.account = Account(os.urandom(32))
        self.lie = ""
        self.funds = True
        self.held: dict[bytes, sm.WatchRequest] = {}
        self.requests: list[Any] = []
        self.port = 0
        self.sessions = 0
        self._assets = (ether(chain_id, holder),)
        self._chain_id = chain_id
        self._server: Any = None
        self._link: Any = None
        self._codec: Any = None
        self._contexts = Contexts()
        self._device = b""

    async def start(self, port: int = 0) -> None:
        """Listen."""
        self._server = await tcp.serve("127.0.0.1", port, self._serve)
        self.port = self._server.sockets[0].getsockname()[1]

    @property
    def place(self) -> dict[str, Any]:
        """What a device's configuration says of it."""
        there = {"host": "127.0.0.1", "port": self.port}
        return {"tcp": there, "address": to_checksum_address(self.account.address)}

    async def stop(self) -> None:
        """Nobody is there any more."""
        if self._server is not None:
            self._server.close()
        self.hang_up()

    def hang_up(self) -> None:
        """End the session."""
        if self._link is not None:
            self._link.close()

    async def say(self, message: Any) -> None:
        """Something that nobody asked for."""
        await self._link.send(self._codec.encode(message))

    async def noise(self, size: int) -> None:
        """A frame that is no message."""
        await self._link.send(os.urandom(size))

    async def _serve(self, link: Link) -> None:
        self._link = link
        self._codec = codec = Compact(self._contexts)
        try:
            hello = await handshake(
                link, codec, CHAIN, self.account, m.ROLE_SERVICE, self._chain_id, os.urandom(32)
            )
            self._device = hello.address
            self.sessions += 1
            info = sm.ServiceInfo(self._chain_id, bytes(range(20)), self._assets, 60)
            await link.send(codec.encode(info))
            while True:
                with contextlib.suppress(WireError):
                    await self._hear(codec.decode(await link.recv()))
        except LinkError:
            pass
        finally:
            link.close()

    async def _hear(self, message: Any) -> None:
        self.requests.append(message)
        if isinstance(message, sm.WatchRequest | sm.FundRequest):
            self._contexts.add(message.state.id, message.state.allocation.assets)
        if self.lie != "never answers":
            for answer in self._answers(message):
                await self.say(answer)

    def _answers(self, message: Any) -> list[Any]:
        if isinstance(message, Ping):
            return [Pong(message.created)]
        if self.lie == "something else":
            return [sm.Ack(message.request), sm.Receipt(message.request, bytes(32), 0, *_NOTHING)]
        if isinstance(message, sm.WatchRequest):
            self.held[message.state.id] = message
            return [self._receipt(message)]
        if isinstance(message, sm.FundRequest):
            told = [sm.ChainEvent(message.state.id, sm.EVENT_FUNDED, 0, 0)] if self.funds else []
            return [sm.Ack(message.request), *told]
        if isinstance(message, WitnessRequest):
            stage = im.STAGE_FUNDED if self.funds else im.STAGE_FUNDING
            ident = CHAIN.channel_id(message.params)
            return [im.Status(message.request, ident, 0, bytes(32), stage, -1, 0, (0,), -1)]
        if isinstance(message, im.DisputeRequest):
            return [sm.Ack(message.request)]
        held = self.held.get(message.channel_id)
        if held is None or self.lie == "forgets":
            return [sm.Error(message.request, sm.ERROR_UNKNOWN_CHANNEL, "never heard of it")]
        if isinstance(message, im.StateRequest):
            return [im.HeldState(message.request, self._state(held.state), held.sigs)]
        return [self._status(message.request, held.state)]

    def _state(self, state: State) -> State:
        if self.lie != "newer state":
            return state
        ((mine, its),) = state.allocation.balances
        return with_balances(state, ((mine + its, 0),), False, state.version + 7)

    def _status(self, request: int, state: State) -> im.Status:
        state = self._state(state)
        stage = im.STAGE_WITHDRAWN if self.lie == "withdrawn" else im.STAGE_FUNDED
        hashed = CHAIN.state_hash(state)
        return im.Status(request, state.id, state.version, hashed, stage, -1, 0, (0,), -1)

    def _receipt(self, message: sm.WatchRequest) -> sm.Receipt:
        state = message.state
        version = 0 if self.lie == "old receipt" else state.version
        hashed = CHAIN.state_hash(state)
        if self.lie == "wrong hash":
            hashed = hashed[::-1]
        transcript = sm.receipt_transcript(self._device, state.id, version, hashed)
        signer = Account(os.urandom(32)) if self.lie == "wrong signature" else self.account
        sig = CHAIN.sign_bytes(signer, transcript)
        return sm.Receipt(message.request, state.id, version, hashed, sig)


_NOTHING = (bytes(32), bytes(65))


async def _run(lie: str, port: int) -> None:
    liar = Liar(bytes(range(20)))
    liar.lie = lie
    await liar.start(port)
    print("listening on port", liar.port)
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lie", choices=LIES)
    parser.add_argument("--port", type=int, default=0)
    arguments = parser.parse_args()
    asyncio.run(_run(arguments.lie, arguments.port))
