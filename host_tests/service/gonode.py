"""A go-perun node that does what a test tells it, in Python: TLS, net/simple, protocol buffers.

The codec is the library's, proven with frames of go-perun itself; keys and proofs are made here.
The real node is in host_tests/interop.
"""

from __future__ import annotations

import asyncio
import functools
import secrets
import ssl
from pathlib import Path
from typing import Any

from adoption.bridge.identity import Keyring
from adoption.bridge.perunio import Incomplete, Perunio
from contracts.ports import free_port
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from perun.chain.account import Account
from perun.chain.ethereum import Ethereum
from perun.model import transfer
from perun.wire import control_messages as c
from perun.wire import messages as m
from perun.wire.frame import TcpDecoder, tcp_frame
from perun.wire.protobuf import Protobuf
from service.kit import Hung

CHAIN = Ethereum(2)


@functools.cache
def rsa_key(number: int) -> rsa.RSAPrivateKey:
    """Keys are slow to make: the tests of one run share a few."""
    return rsa.generate_private_key(65537, 2048)


def simple_address(name: str, key: rsa.RSAPrivateKey | None) -> bytes:
    raw = len(name).to_bytes(2, "big") + name.encode()
    if key is None:
        return raw
    numbers = key.public_key().public_numbers()
    return raw + b"\1\0" + numbers.n.to_bytes(256, "big") + numbers.e.to_bytes(4, "big")


class Node:
    """One node: its wire identity, its account, its links."""

    def __init__(self, folder: Path, name: str = "node", key: int = 0) -> None:
        self.name = name
        self.key = rsa_key(key)
        self.address = simple_address(name, self.key)
        self.proof = self.key.sign(b"\1" + self.address, padding.PKCS1v15(), hashes.SHA256())
        self.secret = secrets.token_bytes(32)
        self.account = Account(self.secret)
        self.links: asyncio.Queue[NodeLink] = asyncio.Queue()
        self.serializer = "protobuf"
        self.drips = False  # whether it sends in small pieces
        self._keyring = Keyring(folder / f"node-{name}-{secrets.token_hex(4)}")
        self._server: asyncio.Server | None = None
        self.port = 0

    async def serve(self) -> None:
        """Listen; whoever comes in and shakes hands is in `links`."""
        self.port = self.port or free_port()
        self._server = await asyncio.start_server(
            self._accept, "127.0.0.1", self.port, ssl=self._keyring.certificate().context()
        )

    async def close(self) -> None:
        if self._server:
            self._server.close()
        while not self.links.empty():
            self.links.get_nowait().close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = NodeLink(self, reader, writer, b"")
        try:
            first = await link.first()
        except (Hung, ValueError, OSError):
            writer.close()
            return
        assert isinstance(first, c.AuthResponse)
        link.their_proof = first.signature
        await link.send(c.AuthResponse(self.proof))
        await self.links.put(link)

    async def dial(self, port: int, device: bytes, proof: bytes | None = None) -> NodeLink:
        """Connect to the bridge as the node does. device: the wire address to reach."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        link = NodeLink(self, reader, writer, device)
        await link.send(c.AuthResponse(self.proof if proof is None else proof))
        answer = await link.recv()
        assert isinstance(answer, c.AuthResponse)
        link.their_proof = answer.signature
        return link


class NodeLink:
    """A connection whose other end is the bridge."""

    def __init__(self, node: Node, reader: Any, writer: Any, device: bytes) -> None:
        self.node = node
        self.reader = reader
        self.writer = writer
        self.device = device
        self.their_proof = b""
        self._decoder = TcpDecoder(65535)
        self._bodies: list[bytes] = []
        self._buffer = b""
        self._speak(device)

    def _speak(self, device: bytes) -> None:
        self.device = device
        self.protobuf = Protobuf(2, self.node.address, device)
        self.perunio = Perunio(self.node.address, device)

    async def first(self) -> Any:
        """The dialler's first envelope: who it is."""
        if self.node.serializer == "perunio":
            from adoption.bridge import perunio

            while True:
                self._buffer += await self._read()
                try:
                    self._speak(perunio.addresses(self._buffer)[0])
                    break
                except Incomplete:
                    continue
            return await self.recv()
        body = await self._body()
        self._speak(Protobuf(2, b"", b"").addresses(body)[0])
        return self.protobuf.decode(body)

    async def _read(self) -> bytes:
        try:
            data = await self.reader.read(65536)
        except OSError as error:
            raise Hung from error
        if not data:
            raise Hung
        return bytes(data)

    async def _body(self) -> bytes:
        while not self._bodies:
            self._bodies += self._decoder.feed(await self._read())
        return self._bodies.pop(0)

    async def recv(self, timeout: float = 60) -> Any:
        async with asyncio.timeout(timeout):
            if self.node.serializer != "perunio":
                return self.protobuf.decode(await self._body())
            while True:
                try:
                    if self._buffer:
                        message, length = self.perunio.decode(self._buffer)
                        self._buffer = self._buffer[length:]
                        return message
                except Incomplete:
                    pass
                self._buffer += await self._read()

    async def get(self, kind: Any, timeout: float = 60) -> Any:
        """The next message of this kind; others before it are dropped."""
        while True:
            message = await self.recv(timeout)
            if isinstance(message, kind):
                return message

    async def send(self, message: Any) -> None:
        if self.node.serializer == "perunio":
            data = self.perunio.encode(message)
            for at in range(0, len(data), 50) if self.node.drips else ():
                self.raw(data[at : at + 50])
                await self.writer.drain()
                await asyncio.sleep(0.001)
            if not self.node.drips:
                self.raw(data)
        else:
            self.raw(tcp_frame(self.protobuf.encode(message)))
        await self.writer.drain()

    def raw(self, data: bytes) -> None:
        self.writer.write(data)

    async def hung(self, timeout: float = 60) -> None:
        """Returns when the bridge hangs up."""
        try:
            while True:
                await self.recv(timeout)
        except Hung:
            pass

    def close(self) -> None:
        self.writer.transport.abort()

    # -- what a node signs ------------------------------------------------------------------------

    def sign(self, state: Any) -> bytes:
        return bytes(CHAIN.sign(self.node.account, CHAIN.state_hash(state)))

    async def accept(self, proposal: Any) -> None:
        """Agree to a proposal (the device's side signs version 0 next)."""
        share = secrets.token_bytes(32)
        await self.send(
            m.LedgerChannelProposalAcc(proposal.proposal_id, share, self.node.account.address)
        )

    async def sign_first(self, state: Any) -> None:
        """The signature on version 0."""
        await self.send(m.ChannelUpdateAcc(state.id, 0, self.sign(state)))

    async def agree(self) -> Any:
        """Countersign the device's next update; returns its state."""
        update = await self.get(m.ChannelUpdate)
        state = update.state
        data = CHAIN.state_hash(state)
        assert CHAIN.verify(self.device_account, data, update.sig)
        await self.send(m.ChannelUpdateAcc(state.id, state.version, self.sign(state)))
        return state

    device_account = b""

    async def pay(self, state: Any, index: int, amount: int) -> Any:
        """Propose to pay; returns the state that both signed, or the refusal."""
        new = transfer(state, index, (amount,))
        await self.send(m.ChannelUpdate(new, index, self.sign(new)))
        answer = await self.get((m.ChannelUpdateAcc, m.ChannelUpdateRej))
        if isinstance(answer, m.ChannelUpdateRej):
            return answer
        assert answer.version == new.version
        assert CHAIN.verify(self.device_account, CHAIN.state_hash(new), answer.sig)
        return new
