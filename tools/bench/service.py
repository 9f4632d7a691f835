"""A service for one station that is measured: it speaks the protocol and believes everything.

What a device sees of it is what it sees of the IoT adoption service: the handshake, signed
receipts, acknowledgements and events. Behind it there is neither a chain nor a store.
"""

from __future__ import annotations

import os
from typing import Any, NoReturn

from perun.chain.account import Account
from perun.chain.ethereum import Ethereum
from perun.link import Link
from perun.link.handshake import handshake
from perun.wire import inquiry_messages as im
from perun.wire import messages
from perun.wire import service_messages as sm
from perun.wire.compact import Compact, Contexts
from perun.wire.witness_messages import WitnessRequest

from bench import conversation


class Service:
    """run() serves the link of one device; as a witness as well."""

    def __init__(self, account: Account = conversation.SERVICE) -> None:
        self._account = account
        self._chain = Ethereum()
        self._contexts = Contexts()
        self._codec = Compact(self._contexts)
        self._device = b""

    async def run(self, link: Link) -> NoReturn:
        """For ever. Raises LinkError when the link ends."""
        try:
            await self._shake_hands(link)
            while True:
                request = self._codec.decode(await link.recv())
                for answer in self._answers(request):
                    await link.send(self._codec.encode(answer))
        finally:
            link.close()

    async def _shake_hands(self, link: Link) -> None:
        # A device drops what a serial line brings before it has said Hello itself.
        heard = _Heard(link, await link.recv())
        chain_id = conversation.CHAIN_ID
        role = messages.ROLE_SERVICE
        hello = await handshake(
            heard, self._codec, self._chain, self._account, role, chain_id, os.urandom(32)
        )
        self._device = hello.address
        info = sm.ServiceInfo(chain_id, b"\xad" * 20, (conversation.ASSET,), 60)
        await link.send(self._codec.encode(info))

    def _answers(self, request: Any) -> list[Any]:
        if isinstance(request, sm.FundRequest):
            event = sm.ChainEvent(request.state.id, sm.EVENT_FUNDED, 0, 0)
            return [sm.Ack(request.request), event]
        if isinstance(request, sm.WatchRequest):
            return self._watch(request)
        if isinstance(request, WitnessRequest):
            ident = self._chain.channel_id(request.params)
            return [
                im.Status(request.request, ident, 0, bytes(32), im.STAGE_FUNDED, -1, 0, (0,), -1)
            ]
        # Nothing is known before it is watched, and no channel lives longer than the session.
        number = getattr(request, "request", 0)
        return [sm.Error(number, sm.ERROR_UNKNOWN_CHANNEL, "unknown: send the params")]

    def _watch(self, request: sm.WatchRequest) -> list[Any]:
        state = request.state
        if request.params is not None:
            self._contexts.add(state.id, state.allocation.assets, state.app)
        state_hash = self._chain.state_hash(state)
        answers: list[Any] = [
            conversation.receipt(request.request, self._device, state, state_hash)
        ]
        if state.is_final:
            kinds = (sm.EVENT_CONCLUDED, sm.EVENT_WITHDRAWN)
            answers += [sm.ChainEvent(state.id, kind, state.version, 0) for kind in kinds]
        return answers


class _Heard:
    """A link of which the first body has been taken already."""

    def __init__(self, link: Link, first: bytes) -> None:
        self.send = link.send
        self.binding = link.binding
        self._link = link
        self._first = first

    async def recv(self) -> bytes:
        """The first body, then those of the link."""
        body, self._first = self._first, b""
        return body or bytes(await self._link.recv())
