"""A world in which the car or the station is a go-perun node, which needs Go to be built."""

from __future__ import annotations

import asyncio
import contextlib
import socket

from typing import Any, cast

from adoption.bridge.identity import Keyring
from adoption.config import parse_address
from contracts.anvil import Anvil
from contracts.deploy import deploy
from contracts.ports import free_port
from eth_account import Account
from goperun.build import program
from goperun.node import Event, Identity, Node

from demo.chain import Chain
from demo.device import HEAP, Device
from demo.service import Service
from demo.wires import Cable, SerialLine
from demo.world import (
    CAR_DEPOSIT,
    PRICE_PER_KWH,
    STATION_DEPOSIT,
    World,
    short,
)

NODE = "node"  # what the service and the device call it
_PAYER = 8  # the development chain's account whose key the node has
_TICK = 0.005
_HEAP = "256k"  # what speaks with a go-perun node does not fit beside the rest into HEAP

_BRIDGE = """
[bridge]
[[bridge.device]]
address = "{device}"
name = "{name}"

[[bridge.peer]]
name = "{node}"
address = "0x{wire}"
connect = "{at}"
"""


class ForeignWorld(World):
    """node: the go-perun node; device: the other one, of ours; wire: the device's address for
    the node. The contracts are Perun's own."""

    node_is = "station"

    async def _set_up(self) -> None:
        if self._heap == HEAP:
            self._heap = _HEAP
        self.directory.mkdir(parents=True)
        self._stack.callback(self._clear_away)
        with self.story.step("The go-perun node is built, which takes minutes once"):
            await asyncio.to_thread(program)
        with self.story.step("A chain with Perun's own contracts on it"):
            chain = self._stack.enter_context(Anvil())
            place = await asyncio.to_thread(deploy, chain.web3, source="perun")
            self.chain = Chain(chain, place)
        with self.story.step(f"A go-perun node for a {self.node_is}") as step:
            self.node = Node(
                self.directory / NODE, chain.ws_url, place, _PAYER, Identity(NODE), validate=True
            )
            self._stack.push_async_callback(self.node.stop)
            await self.node.start()
            step.detail = f"account {short(self.node.account)}, it finds its own contracts"
        with self.story.step("A device, and the adoption service that bridges") as step:
            await self._start_device(chain.url)
            step.detail = short(self.device.address)
        await self._start_sides()

    async def _start_device(self, rpc: str) -> None:
        self.line = SerialLine()
        self._stack.callback(self.line.close)
        self.service = Service(
            self.directory / "service", rpc, self.chain.place, self.line.service
        )
        self._stack.push_async_callback(self.service.stop)
        self.cable = Cable(self.service.tls_port)
        await self.cable.plug()
        self._stack.push_async_callback(self.cable.cut)
        self.car_wallet, self.station_wallet = (Account.create().address for _ in range(2))
        self.meter = free_port(socket.SOCK_DGRAM)
        name, settings, budget = self._device()
        self.device = Device(name, self.directory / name, settings, self._heap)
        self._stack.push_async_callback(self.device.stop)
        await self.device.make_key()
        keyring = Keyring(self.service.directory / "bridge")
        address = parse_address(self.device.address)
        self.wire = keyring.identity("simple", address, name).address
        self.service.more = _BRIDGE.format(
            device=self.device.address,
            name=name,
            node=NODE,
            wire=self.node.wire.hex(),
            at=self.node.at,
        )
        await self.service.start()
        await self.service.allow(self.device.address, name, budget)
        self.line.flush()
        self.device.on_event = self._heard
        await self.device.start()

    def _device(self) -> tuple[str, dict[str, Any], int]:
        """Name, configuration and budget of the device."""
        peer = {"bridge": NODE}
        if self.node_is == "car":
            service: dict[str, Any] = {"serial": {"path": self.line.device}}
            app = self._station_app(self.meter)
            settings = self._config(self.station_wallet, service, peer, app)
            return "station", settings, STATION_DEPOSIT
        app = self._car_app(self.meter)
        there: dict[str, Any] = {
            "host": "127.0.0.1",
            "port": self.cable.port,
            "certificate": self.service.pin,
        }
        return "car", self._config(self.car_wallet, {"tcp": there}, peer, app), CAR_DEPOSIT

    async def _start_sides(self) -> None:
        if self.node_is == "station":
            self.side: Side = Station(self.node, self.meter, self._power)
        else:
            self.side = Car(self.node, self.meter)
        # What the watching asks of a device, the node's side answers as well.
        both = (self.device, cast(Device, self.side))
        self.car, self.station = both if self.node_is == "station" else both[::-1]
        self._stack.push_async_callback(self.side.stop)
        await self.side.start()
        watching = asyncio.create_task(self._watch())
        self._stack.push_async_callback(_cancel, watching)

    def withdrawn(self, receiver: str) -> int:
        """What the asset holder has paid to an address, in wei: whose gas is apart."""
        events = self.chain.holder.events.Withdrawn().get_logs(from_block=0)
        return sum(one["args"]["amount"] for one in events if one["args"]["receiver"] == receiver)


class NodeIsCar(ForeignWorld):
    """The same with the node for a car."""

    node_is = "car"


class Side:
    """The program around the node: it believes in the node's newest state, and has a meter."""

    name = ""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.wh = 0
        self._task: asyncio.Task[None] | None = None

    @property
    def running(self) -> bool:
        """Is the node alive?"""
        return self.node.running

    @property
    def newest(self) -> Event:
        """The newest state: version, balances, final."""
        states = [one for one in self.node.events if one["event"] in ("channel", "update")]
        return states[-1] if states else {}

    @property
    def paid_wh(self) -> int:
        """What is paid for."""
        if not self.newest:
            return 0
        spent = CAR_DEPOSIT - int(self.newest["balances"][0][0])
        return spent * 1000 // PRICE_PER_KWH

    @property
    def status(self) -> Event:
        """As a device's."""
        return {
            "software": "go-perun",
            "delivered_wh": self.wh,
            "paid_wh": self.paid_wh,
            "spent": self.paid_wh * PRICE_PER_KWH // 1000,
            "earned": self.paid_wh * PRICE_PER_KWH // 1000,
            "charging": self.wh < self.paid_wh,
            "channels": [{"version": self.newest.get("version", "-")}],
        }

    async def ask(self) -> Event:
        """The status."""
        return self.status

    async def start(self) -> None:
        """Connect the cable."""

    async def stop(self) -> None:
        """Take it away."""
        if self._task is not None:
            await _cancel(self._task)


class Station(Side):
    """Pushes energy as long as it is paid for: a datagram for each Wh, as boards/UNIX/cable."""

    name = "station"

    def __init__(self, node: Node, port: int, wh_per_second: int) -> None:
        super().__init__(node)
        self._place = ("127.0.0.1", port)
        self._rate = wh_per_second

    async def start(self) -> None:
        self._task = asyncio.create_task(self._push())

    async def _push(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as cable:
            while True:
                await asyncio.sleep(_TICK)
                for _ in range(min(int(self._rate * _TICK), self.paid_wh - self.wh)):
                    cable.sendto(b"\x01", self._place)
                    self.wh += 1


class Car(Side):
    """Counts what arrives."""

    name = "car"

    def __init__(self, node: Node, port: int) -> None:
        super().__init__(node)
        self._place = ("127.0.0.1", port)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    async def start(self) -> None:
        self._socket.bind(self._place)
        self._socket.setblocking(False)
        self._task = asyncio.create_task(self._measure())

    async def _measure(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self.wh += len(await loop.sock_recv(self._socket, 16))

    async def received(self, wh: int) -> None:
        """Wait until the meter shows that. TimeoutError."""
        async with asyncio.timeout(60):
            while self.wh < wh:  # noqa: ASYNC110 - a meter is looked at
                await asyncio.sleep(_TICK)

    async def stop(self) -> None:
        await super().stop()
        self._socket.close()


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
