"""One TLS connection to a go-perun node: the exchange of addresses, then whole messages.

What is lax there is handled here. A node reads a body with a single read, so a frame goes out in
one write and fits one TLS record. A node does not look at the sender of an envelope after the
handshake; here every other one is an error.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from typing import NamedTuple

from perun.wire import control_messages as control
from perun.wire import WireError
from perun.wire.frame import tcp_frame
from perun.wire.protobuf import Protobuf

from adoption.bridge import addresses, perunio
from adoption.bridge.identity import Identity
from adoption.config import PeerSection
from adoption.links import LinkClosed

HANDSHAKE = 10.0  # seconds, as go-perun's listener has it
_RECORD = 16384  # bytes of a TLS record
_CHUNK = 16384


class Ends(NamedTuple):
    """Who is at the two ends. device: its 20-byte address."""

    device: bytes
    own: Identity
    peer: PeerSection


# What a listener makes of the (sender, recipient) of a newcomer's first envelope, or None.
Find = Callable[[bytes, bytes], Ends | None]


class Connection:
    """dialled: whether this side did. The ends are known once the handshake is done."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        serializer: str,
        dialled: bool,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._serializer = serializer
        self.dialled = dialled
        self.since = 0.0  # when the handshake was done, by the loop's clock
        self.closed = False
        self._buffer = b""
        self._protobuf: Protobuf | None = None
        self._perunio: perunio.Perunio | None = None
        where = writer.get_extra_info("peername")
        self.name = f"{where[0]}:{where[1]}" if where else "a node"

    # -- handshake --------------------------------------------------------------------------------

    async def introduce(self, ends: Ends) -> None:
        """The dialler's part. Raises LinkClosed and WireError."""
        self._speak(ends)
        async with _in_time():
            await self.send(control.AuthResponse(ends.own.proof))
            self._check_proof(await self.recv(), ends.peer)
        self.since = asyncio.get_running_loop().time()

    async def welcome(self, find: Find) -> Ends:
        """The listener's part: who came. Raises LinkClosed and WireError."""
        async with _in_time():
            body = await self._body(_addresses_at)
            sender, recipient = self._addresses(body)
            ends = find(sender, recipient)
            if ends is None:
                raise WireError(f"{_short(sender)} is not expected for {_short(recipient)}")
            self._speak(ends)
            # What has no frames may have come in part only: enough to tell who speaks.
            message = self._decode(body) if self.resumable else await self.recv()
            self._check_proof(message, ends.peer)
            await self.send(control.AuthResponse(ends.own.proof))
        self.since = asyncio.get_running_loop().time()
        return ends

    def _speak(self, ends: Ends) -> None:
        own, peer = ends.own.address, ends.peer.address
        if self._serializer == "perunio":
            self._perunio = perunio.Perunio(own, peer)
        else:
            self._protobuf = Protobuf(2, own, peer)

    def _check_proof(self, message: object, peer: PeerSection) -> None:
        if not isinstance(message, control.AuthResponse):
            raise WireError("handshake: an AuthResponse is expected")
        if not addresses.proven(peer.wire, peer.address, message.signature):
            raise WireError("handshake: the signature is not that of the node's address")

    def _addresses(self, body: bytes) -> tuple[bytes, bytes]:
        if self._serializer == "perunio":
            return perunio.addresses(body)
        found: tuple[bytes, bytes] = Protobuf(2, b"", b"").addresses(body)
        return found

    # -- messages ---------------------------------------------------------------------------------

    def encode(self, message: object) -> bytes:
        """The bytes that carry this message. Raises WireError."""
        if self._perunio is not None:
            return self._perunio.encode(message)
        assert self._protobuf is not None
        frame: bytes = tcp_frame(self._protobuf.encode(message))
        if len(frame) > _RECORD:
            raise WireError(f"{len(frame)} bytes are more than a node reads at once")
        return frame

    async def send(self, message: object) -> None:
        """Send one message. Raises LinkClosed and WireError."""
        await self.write(self.encode(message))

    async def write(self, data: bytes) -> None:
        """Send what encode() made, in one write. Raises LinkClosed."""
        try:
            self._writer.write(data)
            await self._writer.drain()
        except OSError as error:
            raise LinkClosed(str(error)) from error

    async def recv(self) -> object:
        """The next message. Raises LinkClosed, and WireError for one that is none.

        After a WireError the next one can be had if `resumable`.
        """
        return self._decode(await self._body(_whole))

    @property
    def resumable(self) -> bool:
        """Whether a bad message leaves the stream readable: protocol buffers have frames."""
        return self._serializer != "perunio"

    def _decode(self, body: bytes) -> object:
        if self._protobuf is not None:
            return self._protobuf.decode(body)
        assert self._perunio is not None
        message, length = self._perunio.decode(body)
        self._buffer = self._buffer[length:]
        return message

    async def _body(self, probe: Callable[[perunio.Perunio | None, bytes], None]) -> bytes:
        """The body of the next frame; of a stream without frames what is there, once the probe
        is content with it (it stays in the buffer until it is decoded)."""
        if self._serializer != "perunio":
            head = await self._exactly(2)
            length = int.from_bytes(head, "big")
            if not length:
                raise LinkClosed("an empty frame")
            return await self._exactly(length)
        while True:
            try:
                if self._buffer:
                    probe(self._perunio, self._buffer)
                    return self._buffer
            except perunio.Incomplete:
                if len(self._buffer) > 0xFFFF:
                    raise LinkClosed("a message is too long") from None
            self._buffer += await self._some()

    async def _exactly(self, size: int) -> bytes:
        try:
            return await self._reader.readexactly(size)
        except asyncio.IncompleteReadError as error:
            raise LinkClosed("the node hung up") from error
        except OSError as error:
            raise LinkClosed(str(error)) from error

    async def _some(self) -> bytes:
        try:
            data = await self._reader.read(_CHUNK)
        except OSError as error:
            raise LinkClosed(str(error)) from error
        if not data:
            raise LinkClosed("the node hung up")
        return data

    def certificate(self) -> bytes | None:
        """The DER form of the node's TLS certificate, if it showed one."""
        tls = self._writer.get_extra_info("ssl_object")
        found: bytes | None = tls.getpeercert(binary_form=True) if tls else None
        return found

    def close(self) -> None:
        """Hang up at once."""
        if not self.closed:
            self.closed = True
            self._writer.transport.abort()


def _addresses_at(_codec: perunio.Perunio | None, data: bytes) -> None:
    perunio.addresses(data)


def _whole(codec: perunio.Perunio | None, data: bytes) -> None:
    assert codec is not None
    try:
        codec.decode(data)
    except perunio.Incomplete:
        raise
    except WireError:
        pass  # whoever decodes it finds out


def _short(address: bytes) -> str:
    """A wire address for people: its name, if it has one."""
    with contextlib.suppress(ValueError):
        return repr(addresses.parse_simple(address).name.decode(errors="replace"))
    return "0x" + address[:20].hex()


@contextlib.asynccontextmanager
async def _in_time():  # type: ignore[no-untyped-def]
    try:
        async with asyncio.timeout(HANDSHAKE):
            yield
    except TimeoutError as error:
        raise LinkClosed("handshake: too slow") from error


async def dial(ends: Ends, context: ssl.SSLContext, pinned: bytes | None) -> Connection:
    """A connection to the node, introduced. Raises LinkClosed, WireError and OSError."""
    host, _, port = str(ends.peer.connect).rpartition(":")
    async with _in_time():
        reader, writer = await asyncio.open_connection(host.strip("[]"), int(port), ssl=context)
    connection = Connection(reader, writer, ends.peer.serializer, True)
    try:
        if pinned is not None and connection.certificate() != pinned:
            raise LinkClosed("the node's TLS certificate is not the pinned one")
        await connection.introduce(ends)
    except BaseException:
        connection.close()
        raise
    return connection
