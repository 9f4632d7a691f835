"""One session with the IoT adoption service: requests out, answers and chain events in."""

import asyncio

from perun.compat import const
from perun.link import LinkError
from perun.model import Transaction
from perun.wire import WireError
from perun.wire.service_messages import (
    Ack,
    ChainEvent,
    Error,
    FundRequest,
    Receipt,
    ServiceInfo,
    WatchRequest,
    receipt_transcript,
)

_PATIENCE = const(5)  # seconds for an answer, before the same is sent again
_TRIES = const(3)
_MAX_BAD = const(16)  # undecodable frames before the session ends
# Ping(0) and its Pong as the codec writes them, whose tables for these stay away.
_PING = b"\x92\0\0"
_PONG = b"\x92\1\0"


class ServiceError(Exception):
    """The service refused. code: ERROR_* of service_messages; text: its reason."""

    def __init__(self, code, text):
        super().__init__("service: %s (code %d)" % (text, code))
        self.code = code
        self.text = text


class Session:
    """A session whose handshake is done.

    link, codec: towards the service; chain: checks receipts; device, service: 20-byte addresses;
    on_event: called with every ChainEvent and awaited.
    """

    def __init__(self, link, codec, chain, device, service, on_event):
        self._link = link
        self._codec = codec
        self._chain = chain
        self._device = device
        self._service = service
        self._on_event = on_event
        self._waiting = {}  # request number -> [asyncio.Event, answer]
        self._number = 0
        self.info = None  # ServiceInfo, the first message of the service
        self.on_other = None  # coroutine function: gets what is not about the service itself
        self.patience = _PATIENCE

    async def run(self):
        """Read until the link closes (LinkError) or the service ends the session (ServiceError).

        Every open request fails with it.
        """
        bad = 0
        try:
            while True:
                body = await self._link.recv()
                if body == _PONG:
                    continue
                try:
                    await self._dispatch(self._codec.decode(body))
                except WireError:
                    bad += 1
                    if bad == _MAX_BAD:
                        raise LinkError("the service sends no valid messages")
        finally:
            for entry in self._waiting.values():
                entry[0].set()

    def close(self):
        """Hang up; run() ends."""
        self._link.close()

    async def _dispatch(self, message):
        kind = type(message)
        if kind is ChainEvent:
            await self._on_event(message)
        elif kind is ServiceInfo:
            self.info = message
        elif kind is Error and message.request == 0:
            # The service ended the session. On a serial line nothing else tells.
            raise ServiceError(message.code, message.text)
        elif hasattr(message, "request"):  # an answer
            entry = self._waiting.get(message.request)
            if entry:
                entry[1] = message
                entry[0].set()
        elif self.on_other:
            await self.on_other(message)

    async def knock(self):
        """Have a service that does not know this session say so, which ends it. LinkError."""
        await self._link.send(_PING)

    async def tell(self, message):
        """Send what has no answer. LinkError."""
        await self._link.send(self._codec.encode(message))

    async def request(self, kind, *fields):
        """Send a request and return its answer. ServiceError, LinkError (also: no answer).

        A serial line may lose a frame, and does not tell that a service has started anew: it is
        asked again. Every request may come twice.
        """
        self._number = number = self._number + 1
        entry = self._waiting[number] = [asyncio.Event(), None]
        try:
            await self._ask(entry[0], self._codec.encode(kind(number, *fields)))
        finally:
            del self._waiting[number]
        answer = entry[1]
        if answer is None:
            raise LinkError("the session ended")
        if type(answer) is Error:
            raise ServiceError(answer.code, answer.text)
        return answer

    async def _ask(self, answered, body):
        for _ in range(_TRIES):
            await self._link.send(body)
            try:
                return await asyncio.wait_for(answered.wait(), self.patience)
            except asyncio.TimeoutError:
                pass
        raise LinkError("the service does not answer")

    def _expect(self, answer, kind):
        if type(answer) is not kind:
            raise LinkError("the service answers with something else")
        return answer

    async def fund(self, participant, params, transaction, agreement):
        """Have the service deposit the own share; what follows comes as ChainEvent."""
        state, sigs = transaction
        answer = await self.request(FundRequest, participant, params, state, sigs, agreement)
        self._expect(answer, Ack)

    async def watch(self, participant, params, transaction, state_hash, auths=()):
        """Have the service guard a fully signed state; returns its Receipt, verified.

        params: None when the service knows the channel; auths: tuple of WithdrawalAuth.
        """
        state, sigs = transaction
        answer = await self.request(WatchRequest, participant, params, state, sigs, auths)
        receipt = self._expect(answer, Receipt)
        if (receipt.channel_id, receipt.version) != (state.id, state.version):
            raise LinkError("a receipt for something else")
        signed = receipt_transcript(self._device, state.id, state.version, state_hash)
        if receipt.state_hash != state_hash or not self._chain.verify_bytes(
            self._service, signed, receipt.sig
        ):
            raise LinkError("a receipt with a wrong hash or signature")
        return receipt

    async def dispute(self, channel_id):
        """Have the service register the newest state it holds."""
        from perun.wire.inquiry_messages import DisputeRequest

        self._expect(await self.request(DisputeRequest, channel_id), Ack)

    async def status(self, channel_id):
        """The Status of one channel."""
        from perun.wire.inquiry_messages import Status, StatusRequest

        return self._expect(await self.request(StatusRequest, channel_id), Status)

    async def held(self, channel_id):
        """The Transaction that the service guards for this channel."""
        from perun.wire.inquiry_messages import HeldState, StateRequest

        answer = self._expect(await self.request(StateRequest, channel_id), HeldState)
        return Transaction(answer.state, answer.sigs)
