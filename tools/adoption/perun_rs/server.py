"""Serves perun-rs devices: their requests in the terms of our own, our events in theirs."""

from __future__ import annotations

import asyncio
from typing import Any

import structlog
from eth_utils import to_checksum_address
from perun.wire import inquiry_messages as im
from perun.wire import WireError
from perun.wire import service_messages as sm

from adoption.config import AssetSection, Config, PerunRsSection
from adoption.doors import Address, Doors
from adoption.handlers import Handlers
from adoption.hub import Hub
from adoption.links import LinkClosed, TcpLink
from adoption.perun_rs import messages
from adoption.store import Store, channels
from adoption.verify import Refused

log = structlog.get_logger(__name__)

_CONNECTIONS = 64
_QUEUE = 32  # answers and notifications that wait for a device that does not read
_SEND = 30.0  # seconds


class Server:
    """section: [perun_rs] of the configuration."""

    def __init__(
        self, section: PerunRsSection, config: Config, store: Store, hub: Hub, handlers: Handlers
    ) -> None:
        self._section = section
        self._config = config
        self._store = store
        self._hub = hub
        self._handlers = handlers
        self._doors = Doors()
        self.addresses: list[Address] = []
        self.setup_addresses: list[Address] = []

    async def start(self) -> None:
        """Listen. Raises OSError when an address cannot be had."""
        self.addresses = await self._doors.open(self._section.listen, self._accept)
        if self._section.setup:
            self.setup_addresses = await self._doors.open([self._section.setup], self._tell)
        for host, port in self.addresses + self.setup_addresses:
            log.info("listening for perun-rs devices", address=f"{host}:{port}")

    async def stop(self) -> None:
        """Hang up on everybody."""
        await self._doors.close()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = TcpLink(reader, writer, 65535)
        if len(self._doors.tasks) >= _CONNECTIONS:
            writer.transport.abort()
            return
        device = _Device(link, self._section, self._config, self._store, self._hub, self._handlers)
        self._doors.spawn(device.run())

    async def _tell(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The demonstration's helper: where deposits go, and where payouts shall go."""
        assert self._section.receiver is not None
        writer.write(_ether(self._config).holder)
        writer.write(self._section.receiver)
        writer.close()


def _ether(config: Config) -> AssetSection:
    return next(asset for asset in config.asset if asset.kind == "eth")


class _Device:
    """One connection. It belongs to the participant of its first valid request."""

    def __init__(
        self,
        link: TcpLink,
        section: PerunRsSection,
        config: Config,
        store: Store,
        hub: Hub,
        handlers: Handlers,
    ) -> None:
        self._link = link
        self._section = section
        self._config = config
        self._store = store
        self._hub = hub
        self._handlers = handlers
        self._codec = messages.PerunRemote()
        self._out: asyncio.Queue[bytes] = asyncio.Queue(_QUEUE)
        self._over = asyncio.Event()
        self._address = b""
        self._shown: set[bytes] = set()  # channels of which it has shown a state that all signed
        self._awaited: set[bytes] = set()  # channels of which it waits for the deposits
        self.log = log.bind(link=link.name)

    async def run(self) -> None:
        """Until the device hangs up, or has a newer connection."""
        tasks = {
            asyncio.create_task(self._read()),
            asyncio.create_task(self._write()),
            asyncio.create_task(self._over.wait()),
        }
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        except (LinkClosed, WireError) as error:
            self.log.info("connection ended", reason=str(error))
        finally:
            if self._address:
                self._hub.leave(self._address, self)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._link.close()

    # -- what the hub calls -----------------------------------------------------------------------

    def push(self, event: sm.ChainEvent) -> None:
        """What the protocol has words for."""
        ident = event.channel_id
        if event.kind in (sm.EVENT_REGISTERED, sm.EVENT_REFUTED):
            self._say(messages.DisputeNotification(ident))
        elif event.kind in (sm.EVENT_FUNDED, sm.EVENT_FUNDING_FAILED) and ident in self._awaited:
            self._awaited.discard(ident)
            self._say(messages.FundingResponse(ident, event.kind == sm.EVENT_FUNDED))

    def replace(self) -> None:
        """The device has a newer connection."""
        self._over.set()

    def _say(self, message: object) -> None:
        try:
            self._out.put_nowait(self._codec.encode(message))
        except asyncio.QueueFull:
            self._over.set()

    # -- reading and writing ----------------------------------------------------------------------

    async def _write(self) -> None:
        while True:
            body = await self._out.get()
            try:
                async with asyncio.timeout(_SEND):
                    await self._link.send(body)
            except TimeoutError as error:
                raise LinkClosed("the device does not read") from error

    async def _read(self) -> None:
        while True:
            message = self._codec.decode(await self._link.recv())
            if isinstance(message, messages.WatchRequest):
                await self._watch(message)
            elif isinstance(message, messages.FundingRequest):
                await self._fund(message)
            elif isinstance(message, messages.ForceCloseRequest):
                await self._force_close(message)
            else:
                raise WireError("not a request")

    async def _try(self, what: str, work: Any) -> bool:
        """True if it went well. The protocol has no reasons: they are in the log."""
        try:
            await work
        except Refused as error:
            self.log.warning("refused", request=what, reason=str(error))
            return False
        except Exception:
            self.log.exception("request failed", request=what)
            return False
        return True

    # -- requests ---------------------------------------------------------------------------------

    async def _watch(self, request: messages.WatchRequest) -> None:
        state = request.signed.state
        done = await self._try("watch", self._guard(request))
        self._say(messages.WatchResponse(state.id, state.version, done))

    async def _guard(self, request: messages.WatchRequest) -> None:
        params, state, sigs = request.signed
        device = self._who(params, request.participant)
        rows = state.allocation.balances
        auths = tuple(
            sm.WithdrawalAuth(i, auth.receiver, rows[i][request.participant], auth.sig)
            for i, auth in enumerate(request.auths[: len(rows)])
            if rows[i][request.participant]
        )
        if len(request.auths) > len(rows):
            raise Refused(sm.ERROR_INVALID, "more authorizations than assets")
        await self._serve(
            device, sm.WatchRequest(0, request.participant, params, state, sigs, auths)
        )
        self._enter(device)
        self._shown.add(state.id)

    async def _fund(self, request: messages.FundingRequest) -> None:
        ident = request.state.id
        self._awaited.add(ident)
        if not await self._try("fund", self._deposit(request)):
            self._awaited.discard(ident)
            self._say(messages.FundingResponse(ident, False))

    async def _deposit(self, request: messages.FundingRequest) -> None:
        """Only for a version 0 that everybody has signed: the request itself has no signatures, so
        that the state has to be guarded first, which perun-rs does."""
        params, state = request.params, request.state
        device = self._who(params, request.participant)
        async with self._store.read() as tx:
            known = await channels.get(tx, state.id)
        if known is None or state.id not in self._shown:
            raise Refused(sm.ERROR_UNKNOWN_CHANNEL, "have version 0 watched first")
        if known.held.state.version == 0 and known.held.state != state:
            raise Refused(sm.ERROR_EQUIVOCATION, "another version 0 is guarded")
        if known.held.state.version:
            raise Refused(sm.ERROR_OUTDATED, "the channel is beyond version 0")
        await self._serve(
            device,
            sm.FundRequest(
                0, request.participant, params, state, known.held.sigs, request.agreement
            ),
        )

    async def _force_close(self, request: messages.ForceCloseRequest) -> None:
        done = await self._try("force close", self._dispute(request))
        self._say(messages.ForceCloseResponse(request.channel_id, done))

    async def _dispute(self, request: messages.ForceCloseRequest) -> None:
        """An id is public: only who shows a state that everybody signed may ask for this."""
        if request.latest is not None:
            if request.latest.signed.state.id != request.channel_id:
                raise Refused(sm.ERROR_INVALID, "the state is another channel's")
            await self._guard(request.latest)
        if request.channel_id not in self._shown:
            raise Refused(sm.ERROR_NOT_ALLOWED, "show a signed state of the channel first")
        await self._serve(self._address, im.DisputeRequest(0, request.channel_id))

    # -- who and how ------------------------------------------------------------------------------

    def _who(self, params: Any, participant: int) -> bytes:
        """The device that the request is about. It must be listed, and the connection's own."""
        if not 0 <= participant < len(params.participants):
            raise Refused(sm.ERROR_INVALID, "no such participant")
        device = bytes(params.participants[participant])
        if device not in self._section.devices:
            name = to_checksum_address(device)
            raise Refused(sm.ERROR_NOT_ALLOWED, f"{name} is not in [perun_rs] devices")
        if self._address not in (b"", device):
            raise Refused(sm.ERROR_NOT_ALLOWED, "the connection belongs to another device")
        if not self._hub.allows(device):
            raise Refused(sm.ERROR_BUSY, "too many requests")
        return device

    def _enter(self, device: bytes) -> None:
        if not self._address:
            self._address = device
            self.log = self.log.bind(device=to_checksum_address(device))
            self._hub.enter(device, self)

    async def _serve(self, device: bytes, request: object) -> None:
        async for answer in self._handlers.serve(device, request):
            if isinstance(answer, sm.ChainEvent):
                self.push(answer)
