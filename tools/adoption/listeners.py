"""Where devices come in: TCP ports, with TLS and without, and serial lines."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import structlog
from perun.wire import service_messages as sm
from perun.wire.compact import Compact, Contexts

from adoption.certificate import Certificate
from adoption.config import Config, SerialLine
from adoption.doors import Accept, Address, Doors
from adoption.links import Link, LinkClosed, SerialLink, TcpLink
from adoption.session import Session

log = structlog.get_logger(__name__)

_FULL = "too many sessions: try again later"
_NO_TLS = "TLS is needed here: set service.tcp.certificate and the TLS port on the device"
_REOPEN = 2.0  # seconds until a serial line that is gone is tried again


class Listeners:
    """new_session: makes a Session for a link; certificate: for the TLS ports."""

    def __init__(
        self,
        config: Config,
        new_session: Callable[[Link], Session],
        certificate: Certificate | None,
    ) -> None:
        self._config = config
        self._certificate = certificate
        self._context = certificate.context() if certificate else None
        self._new_session = new_session
        self._doors = Doors()
        self._connections = 0
        self.addresses: list[Address] = []  # where TCP is listened to, in fact
        self.tls_addresses: list[Address] = []

    async def start(self) -> None:
        """Listen. Raises OSError when an address cannot be had."""
        service = self._config.service
        self.addresses = await self._listen(service.listen, self._accept_plain, False)
        self.tls_addresses = await self._listen(service.listen_tls, self._accept_tls, True)
        for line in self._config.service.serial:
            self._doors.spawn(self._serve_line(line))

    async def _listen(self, places: Sequence[str], accept: Accept, tls: bool) -> list[Address]:
        found = await self._doors.open(places, accept)
        for host, port in found:
            log.info("listening", address=f"{host}:{port}", tls=tls)
        return found

    async def stop(self) -> None:
        """Hang up on everybody."""
        await self._doors.close()

    def _accept_plain(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = TcpLink(reader, writer, self._config.limits.frame_bytes)
        anywhere = self._config.service.plain_from == "anywhere"
        if not anywhere and not _is_local(writer.get_extra_info("peername")):
            log.warning("refused: no TLS, and not from this computer", link=link.name)
            self._doors.spawn(_turn_away(link, sm.ERROR_NOT_ALLOWED, _NO_TLS))
        elif self._is_full():
            self._doors.spawn(_turn_away(link, sm.ERROR_BUSY, _FULL))
        else:
            self._doors.spawn(self._count(self._serve_connection(link)))

    def _accept_tls(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # What the device says at once is for the TLS layer, which is not there yet.
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        if self._is_full():
            writer.transport.abort()  # to say why would cost a handshake
        else:
            self._doors.spawn(self._count(self._shake_hands(reader, writer)))

    def _is_full(self) -> bool:
        return self._connections >= self._config.limits.sessions

    async def _count(self, work: Coroutine[Any, Any, None]) -> None:
        self._connections += 1
        try:
            await work
        finally:
            self._connections -= 1

    async def _shake_hands(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        assert self._certificate is not None and self._context is not None
        limits = self._config.limits
        peer = writer.get_extra_info("peername")
        try:
            await writer.start_tls(self._context, ssl_handshake_timeout=limits.handshake_timeout)
        except OSError as error:  # also SSLError; a stranger, or a device with another pin
            log.info("no TLS handshake", link=f"tls {peer[0]}:{peer[1]}", reason=str(error))
            writer.transport.abort()
            return
        binding = self._certificate.fingerprint
        await self._serve_connection(TcpLink(reader, writer, limits.frame_bytes, binding))

    async def _serve_connection(self, link: TcpLink) -> None:
        try:
            await self._serve(link)
        finally:
            await link.close()

    async def _serve(self, link: Link) -> None:
        """Sessions on one link: a device that starts anew says Hello in the middle of one."""
        hello = None
        while True:
            session = self._new_session(link)
            hello = await session.run(hello)
            if hello is None:
                return

    async def _serve_line(self, line: SerialLine) -> None:
        """Keep a serial line open; it may not be there yet, or vanish with its adapter."""
        problem = ""
        while True:
            try:
                link = SerialLink(line.path, line.baud, self._config.limits.frame_bytes)
            except OSError as error:
                if str(error) != problem:
                    problem = str(error)
                    log.warning("cannot open the serial line", error=problem)
                await asyncio.sleep(_REOPEN)
                continue
            problem = ""
            log.info("serial line open", path=line.path)
            try:
                while not link.gone:
                    await self._serve(link)
            finally:
                await link.close()
            await asyncio.sleep(_REOPEN)


def _is_local(peer: tuple[Any, ...] | None) -> bool:
    """Whether a connection comes from this computer."""
    if peer is None:
        return False
    address = ipaddress.ip_address(str(peer[0]).partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


async def _turn_away(link: TcpLink, code: int, text: str) -> None:
    codec = Compact(Contexts())
    with contextlib.suppress(LinkClosed, TimeoutError):
        async with asyncio.timeout(2):
            await link.send(codec.encode(sm.Error(0, code, text)))
    await link.close()
