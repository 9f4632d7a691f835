"""Where nodes come in, and where devices' sessions find their lines to them."""

from __future__ import annotations

import asyncio
import ssl

import structlog
from perun.wire import WireError
from perun.wire import service_messages as sm

from adoption.bridge.connection import Connection, Ends
from adoption.bridge.identity import Keyring, read_certificate
from adoption.bridge.line import Line, Outlet
from adoption.config import BridgeSection, ConfigError, PeerSection
from adoption.doors import Address, Doors
from adoption.links import LinkClosed
from adoption.verify import Refused

log = structlog.get_logger(__name__)

_NEWCOMERS = 64  # connections whose handshake is not done


class Exchange:
    """section: [bridge] of the configuration. Raises BadKey and ConfigError."""

    def __init__(self, section: BridgeSection) -> None:
        self._section = section
        self._keyring = Keyring(section.keys)
        self._names = {device.address: device.name for device in section.device}
        self._pinned = {peer.name: _pinned(peer) for peer in section.peer}
        self._client = self._keyring.client()
        for device in section.device:  # a key that cannot be used is told at the start
            for peer in section.peer:
                self._keyring.identity(peer.wire, device.address, device.name)
        self._lines: dict[tuple[bytes, str], Line] = {}
        self._doors = Doors()
        self._newcomers = 0
        self.addresses: list[Address] = []  # where is listened, in fact

    async def start(self) -> None:
        """Listen for nodes. Raises OSError when an address cannot be had."""
        context = self._keyring.certificate().context()
        for serializer, places in (
            ("protobuf", self._section.listen),
            ("perunio", self._section.listen_perunio),
        ):
            for place in places:
                await self._listen(place, serializer, context)

    async def _listen(self, place: str, serializer: str, context: ssl.SSLContext) -> None:
        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connection = Connection(reader, writer, serializer, False)
            if self._newcomers >= _NEWCOMERS:
                connection.close()
                return
            self._doors.spawn(self._welcome(connection))

        for host, port in await self._doors.open([place], accept, context):
            self.addresses.append((host, port))
            log.info("listening for nodes", address=f"{host}:{port}", serializer=serializer)

    async def stop(self) -> None:
        """Hang up on everybody."""
        lines = list(self._lines.values())
        self._lines.clear()
        for line in lines:
            line.stop()
        await self._doors.close()
        for line in lines:
            await line.stopped()

    async def _welcome(self, connection: Connection) -> None:
        self._newcomers += 1
        try:
            ends = await connection.welcome(self._find)
        except (LinkClosed, WireError) as error:
            log.info("a node is turned away", address=connection.name, reason=str(error))
            connection.close()
            return
        except asyncio.CancelledError:
            connection.close()
            raise
        finally:
            self._newcomers -= 1
        line = self._lines.get((ends.device, ends.peer.name))
        if line is None:
            connection.close()
        else:
            line.offer(connection)

    def _find(self, sender: bytes, recipient: bytes) -> Ends | None:
        for line in self._lines.values():
            if (line.ends.peer.address, line.ends.own.address) == (sender, recipient):
                return line.ends
        return None

    # -- what sessions call -----------------------------------------------------------------------

    def attach(self, device: bytes, name: str, outlet: Outlet) -> None:
        """Have a line to this node, or to each ("") that the device may reach. Raises Refused."""
        if device not in self._names:
            raise Refused(sm.ERROR_NOT_ALLOWED, "the bridge does not know this device")
        peers = [
            peer
            for peer in self._section.peer
            if name in ("", peer.name) and (not peer.devices or device in peer.devices)
        ]
        if not peers:
            known = ", ".join(peer.name for peer in self._section.peer)
            raise Refused(sm.ERROR_INVALID, f"no such peer for this device: there are {known}")
        for peer in peers:
            old = self._lines.pop((device, peer.name), None)
            if old is not None:
                old.stop()
            own = self._keyring.identity(peer.wire, device, self._names[device])
            ends = Ends(device, own, peer)
            self._lines[device, peer.name] = Line(
                ends, outlet, self._client, self._pinned[peer.name]
            )

    def detach(self, device: bytes, outlet: Outlet) -> None:
        """The session is over: hang up, so that nodes know."""
        for key, line in list(self._lines.items()):
            if key[0] == device and line.serves(outlet):
                del self._lines[key]
                line.stop()

    def send(self, device: bytes, name: str, message: object) -> tuple[bool, str]:
        """Pass a device's message on: (connected, why it was not, or "")."""
        line = self._lines.get((device, name))
        if line is None:
            return False, "not attached"
        problem = line.send(message)
        return line.connected, problem


def _pinned(peer: PeerSection) -> bytes | None:
    if peer.certificate is None:
        return None
    try:
        return read_certificate(peer.certificate)
    except ValueError as error:
        raise ConfigError(f"bridge.peer {peer.name}: {error}") from error
