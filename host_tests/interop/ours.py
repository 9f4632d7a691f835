"""Our side: a device with the engine of lib/perun on CPython, and its adoption service.

What a device of ours says to a go-perun node goes one of these ways:

    tcp         device - TCP - service's bridge - TLS, protocol buffers - node
    serial      device - serial line - bridge - node
    perunio     as tcp, and perunio instead of protocol buffers
    ethereum    as tcp, with the Ethereum backend's wire addresses
    direct      device - TLS, protocol buffers - node; the service only guards
    gen1        the same in generation 1: device - TCP, protocol buffers - node
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import secrets
import ssl

from pathlib import Path
from typing import Any

from adoption import encoding
from adoption.bridge.identity import Keyring, rsa_key, simple_identity
from adoption.service import Service
from chainkit import Chain
from demo.wires import SerialLine
from goperun.node import Identity, Node
from perun.chain.account import Account
from perun.channel import Limits
from perun.client import Client
from perun.client.bridge import Bridge
from perun.client.direct import Direct
from perun.link import serial, tcp
from perun.model import ether
from perun.store.memory import MemoryStore
from service import kit

WAYS = ("tcp", "serial", "perunio", "ethereum", "direct", "gen1")
NAME = "node"  # what the device calls its peer
_LIMIT = 4096


class Ours:
    """way: one of WAYS; node: not started yet; name: in the wire address of the device.

    client      the engine
    wire        the device's marshalled wire address
    told        what the engine tells: (channel id, kind, detail)
    errors      what it reports
    """

    def __init__(
        self, chain: Chain, folder: Path, way: str, node: Node, name: str = "station"
    ) -> None:
        self.chain, self.way, self.node, self.name = chain, way, node, name
        self.receiver = secrets.token_bytes(20)
        self.wire = b""
        self.told: list[tuple[bytes, str, Any]] = []
        self.errors: list[str] = []
        self._folder = folder
        self._account = _account(way, node, name)
        self._store = MemoryStore()
        self._assets = tuple(
            ether(chain.web3.eth.chain_id, holder) for holder in (kit.eth(chain), kit.erc20(chain))
        )
        self._service: Service | None = None
        self._tasks: list[asyncio.Task[Any]] = []
        self._serving: list[asyncio.Task[Any]] = []
        self._line: SerialLine | None = None
        self._direct: Any = None
        self._generation = generation_of(way)
        self._bridged = way not in ("direct", "gen1")
        self._server: asyncio.Server | None = None

    # -- life -------------------------------------------------------------------------------------

    async def start(self, dials: bool = True) -> None:
        """The service and the device; dials: whether they dial the node, or wait for it."""
        kit.write_wallet(self._folder)
        if self.way == "serial":
            self._line = SerialLine()
        if self.way == "gen1":
            self.wire, self._proof = self.name.encode(), b""
        elif self.way == "direct":
            key = rsa_key(self._folder / "device.pem")
            _, self.wire, self._proof = simple_identity(self.name, key)
        else:
            kind = "ethereum" if self.way == "ethereum" else "simple"
            keyring = Keyring(self._folder / "bridge")
            identity = keyring.identity(kind, self._account.address, self.name)
            self.wire = identity.address
        self._dials = dials
        await self.start_service()
        await self.switch_on()

    async def start_service(self) -> None:
        device = kit.Device()
        device.address = self._account.address
        document = kit.document(self.chain, [device])
        document["chain"]["generation"] = self._generation
        if self._line is not None:
            document["service"]["serial"] = [{"path": self._line.service, "baud": 115200}]
        if self._bridged:
            document["bridge"] = self._bridge()
        service = Service(kit.parse(document, self._folder))
        task = asyncio.create_task(service.run())
        self._serving = [task]
        ready = asyncio.create_task(service.ready.wait())
        await asyncio.wait({task, ready}, timeout=60, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if task.done():
            task.result()
        self._service = service  # until now the device dials the old one
        if self._bridged and not self._dials:
            await self.node.peer(self.wire, f"127.0.0.1:{self.bridge_port}")

    def _bridge(self) -> dict[str, Any]:
        peer = {
            "name": NAME,
            "wire": "ethereum" if self.way == "ethereum" else "simple",
            "address": "0x" + self.node.wire.hex(),
            "serializer": "perunio" if self.way == "perunio" else "protobuf",
        }
        if self._dials:
            peer["connect"] = self.node.at
        listens = "listen_perunio" if self.way == "perunio" else "listen"
        return {
            listens: ["127.0.0.1:0"],
            "device": [{"address": "0x" + self._account.address.hex(), "name": self.name}],
            "peer": [peer],
        }

    async def switch_on(self) -> None:
        """The device, with what is in its store."""
        limits = Limits(self._assets, (10**18, 10**18), 60, 86400)
        chain_id = self.chain.web3.eth.chain_id
        self.client = Client(
            self._account, chain_id, limits, self.receiver, self._store, self._generation
        )
        self.client.on_error = self.errors.append
        self.client.on_event = lambda channel, kind, detail: self.told.append(
            (channel.id, kind, detail)
        )
        self.client.on_proposal = lambda proposal: None
        self.client.restore()
        self.client.foreign(NAME).patience = 1  # seconds: tests do not wait as long as devices
        if self._bridged:
            self.client.bridge = Bridge(self.client, NAME)
        self._tasks = [asyncio.create_task(self.client.guard(self._dial_service))]
        if not self._bridged:
            self._direct = Direct(
                self.client, NAME, self._generation, self.wire, self.node.wire, self._proof
            )
            if self._dials:
                self._tasks.append(asyncio.create_task(self._keep_dialling()))
            else:
                await self._listen()

    @property
    def bridge_port(self) -> int:
        """Where the bridge listens for nodes."""
        assert self._service is not None
        port: int = self._service.bridge.addresses[0][1]
        return port

    async def _dial_service(self) -> Any:
        if self._line is not None:
            return await serial.dial(self._line.device, 115200, _LIMIT)
        assert self._service is not None
        return await tcp.connect("127.0.0.1", self._service.listeners.addresses[0][1], _LIMIT)

    async def _listen(self) -> None:
        self._server = await tcp.serve("127.0.0.1", 0, self._direct.accept, _LIMIT)
        port = self._server.sockets[0].getsockname()[1]
        await self.node.peer(self.wire, f"127.0.0.1:{port}")

    async def dial(self) -> Any:
        """Connect to the node itself, whether there is a link or not; the peer."""
        pins: Any = ()
        if self._generation == 2:
            pins = (await asyncio.to_thread(_fingerprint, self.node.port),)
        link = await tcp.connect("127.0.0.1", self.node.port, _LIMIT, pins)
        return await self._direct.connect(link)

    async def _keep_dialling(self) -> None:
        while True:
            with contextlib.suppress(OSError):
                peer = await self.dial()
                await kit.until(lambda peer=peer: not peer.connected, 10**6)
            await asyncio.sleep(0.2)

    async def switch_off(self) -> None:
        """As if the device had lost its power: what is in its store is left."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._server is not None:
            self._server.close()
        for peer in self.client._peers.values():
            peer.close()

    async def stop_service(self) -> None:
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def stop(self) -> None:
        await self.switch_off()
        await self.stop_service()
        if self._line is not None:
            self._line.close()

    # -- what tests do ----------------------------------------------------------------------------

    async def peer(self) -> Any:
        """The node, once it is connected."""
        await kit.until(lambda: self.client.foreign(NAME).connected)
        return self.client.foreign(NAME)

    async def found(self) -> None:
        """Once the service knows the device, and the node would be let in."""

        def known() -> bool:
            assert self._service is not None
            bridge = self._service.bridge
            return self._service.hub.connected(self._account.address) and (
                bridge is None or bool(bridge._lines)
            )

        await kit.until(known)

    async def propose(self, *rows: Any, **more: Any) -> Any:
        """Open a channel with (own, node's) for each asset, and wait for the money; the handle."""
        peer = await self.peer()
        rows = rows + ((0, 0),) * (len(self._assets) - len(rows))
        handle = await self.client.propose(peer, rows, 600, **more)
        await handle.opened(60)
        await self.node.told("channel", channel=handle.id.hex())
        return handle

    async def be_proposed(self, *rows: Any, **more: Any) -> Any:
        """Have the node open a channel with (its, own) for each asset; the handle."""
        if self._dials or self.client.foreign(NAME).connected:
            await self.peer()
        else:
            await self.found()
        opened = await self.node.propose(self.wire, rows, assets=range(len(rows)), **more)
        handle = self.client.channels[bytes.fromhex(opened["channel"])]
        await handle.opened(60)
        return handle

    async def hears(self, handle: Any, kind: str, detail: Any = None) -> Any:
        """Wait until the engine has told this of a channel; its detail."""

        def found() -> Any:
            return [
                told
                for told in self.told
                if told[:2] == (handle.id, kind) and detail in (None, told[2])
            ]

        try:
            return (await kit.until(found))[0][2]
        except TimeoutError:
            raise AssertionError(
                f"no {kind} {detail}: {[told[1:] for told in self.told]}, {self.errors}"
            ) from None

    def wallet(self) -> tuple[int, int]:
        """What the receiver of this device owns: ether, tokens."""
        address = self.chain.web3.to_checksum_address(self.receiver)
        tokens: int = self.chain.token.functions.balanceOf(address).call()
        return self.chain.web3.eth.get_balance(address), tokens

    async def paid_out(self, *amounts: int) -> None:
        """Wait until the receiver owns exactly this."""
        wanted = amounts + (0,) * (2 - len(amounts))
        try:
            await kit.until(lambda: asyncio.to_thread(lambda: self.wallet() == wanted))
        except TimeoutError:
            raise AssertionError(f"{self.wallet()} and not {wanted}: {self.errors}") from None

    def register(self, params: Any, transaction: Any) -> None:
        """Put a state that both have signed on the chain, however old."""
        state, sigs = transaction
        signed = (
            encoding.params_tuple(params, self._generation),
            encoding.state_tuple(state, self._generation),
            list(sigs),
        )
        self.chain.send(self.chain.adjudicator.functions.register(signed, []))

    def registered(self, handle: Any) -> tuple[int, int]:
        """(version, phase) on the chain."""
        found = self.chain.adjudicator.functions.disputes(handle.id).call()
        return found[2], found[3 if self._generation == 2 else 4]


def _account(way: str, node: Node, name: str) -> Account:
    """A new one. Where its address is what the node knows, that is smaller or larger than the
    node's as the names are."""
    while True:
        account = Account(secrets.token_bytes(32))
        if way != "ethereum" or (account.address < node.wire) == (name < NAME):
            return account


def generation_of(way: str) -> int:
    """Of go-perun and the contracts."""
    return 1 if way == "gen1" else 2


def node_options(way: str) -> dict[str, Any]:
    """How the node of this way is started."""
    return {
        "identity": Identity(NAME, "eth" if way == "ethereum" else "simple"),
        "serializer": "perunio" if way == "perunio" else "protobuf",
    }


def _fingerprint(port: int) -> bytes:
    pem = ssl.get_server_certificate(("127.0.0.1", port))
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).digest()
