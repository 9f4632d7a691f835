"""The world of a scene: a chain, the service and two devices, each a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from contracts.anvil import Anvil
from contracts.deploy import deploy
from contracts.ports import free_port
from eth_account import Account

from demo.chain import Chain
from demo.device import HEAP, Device
from demo.service import Service
from demo.story import Snapshot, Story
from demo.wires import Cable, SerialLine

PRICE_PER_KWH = 123_456_789_012_345  # wei; odd, so that an error of one wei shows
CAR_DEPOSIT = 5_000_000_000_000_000
STATION_DEPOSIT = 1_000_000_000_000_000
CHALLENGE = 600  # seconds on the chain
SLICE_WH = 100
_LOOK = 0.3  # seconds between two looks at everything
WH_PER_SECOND = 3000  # about five hundred times the power of a fast home charger


class World:
    """`async with World(directory, story) as world:` sets it up and clears it away.

    car, station: settings of the application in addition; heap: of each device; power: how fast
    the station pushes energy, in Wh per second. The directory is removed at the end unless `keep`
    is set by then.
    """

    def __init__(
        self,
        directory: Path,
        story: Story,
        heap: str = HEAP,
        car: dict[str, Any] | None = None,
        station: dict[str, Any] | None = None,
        power: int = WH_PER_SECOND,
    ) -> None:
        self.directory = directory
        self.story = story
        self.keep = False
        self._heap = heap
        self._car_options, self._station_options = car or {}, station or {}
        self._power = power
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        try:
            await self._set_up()
        except BaseException:
            self.keep = True
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.story.mute()  # what ends now complains about what has ended
        await self._stack.aclose()

    async def _set_up(self) -> None:
        self.directory.mkdir(parents=True)
        self._stack.callback(self._clear_away)
        with self.story.step("A chain with the contracts on it"):
            # Not in a thread: the node lives as long as the thread that started it.
            node = self._stack.enter_context(Anvil())
            self.chain = Chain(node, await asyncio.to_thread(deploy, node.web3))
        with self.story.step("The adoption service"):
            self.line = SerialLine()
            self._stack.callback(self.line.close)
            self.service = Service(
                self.directory / "service", node.url, self.chain.place, self.line.service
            )
            self._stack.push_async_callback(self.service.stop)
            await self.service.start()
            self.cable = Cable(self.service.tls_port)
            await self.cable.plug()
            self._stack.push_async_callback(self.cable.cut)
        with self.story.step("Two devices, each makes its key") as step:
            await self._start_devices()
            step.detail = f"car {short(self.car.address)}, station {short(self.station.address)}"
        watching = asyncio.create_task(self._watch())
        self._stack.push_async_callback(_cancel, watching)

    async def _start_devices(self) -> None:
        self.peer_port, meter_port = free_port(), free_port(socket.SOCK_DGRAM)
        self.car_wallet, self.station_wallet = (Account.create().address for _ in range(2))
        station = self._config(
            self.station_wallet,
            {"serial": {"path": self.line.device}},
            {"listen": {"host": "127.0.0.1", "port": self.peer_port}},
            {**self._station_app(meter_port), **self._station_options},
        )
        car = self._config(
            self.car_wallet,
            {
                "tcp": {
                    "host": "127.0.0.1",
                    "port": self.cable.port,
                    "certificate": self.service.pin,
                }
            },
            {"dial": {"host": "127.0.0.1", "port": self.peer_port}},
            {**self._car_app(meter_port), **self._car_options},
        )
        self.station = Device("station", self.directory / "station", station, self._heap)
        self.car = Device("car", self.directory / "car", car, self._heap)
        budgets = ((self.station, STATION_DEPOSIT), (self.car, CAR_DEPOSIT))
        for device, budget in budgets:
            self._stack.push_async_callback(device.stop)
            await device.make_key()
            await self.service.allow(device.address, device.name, budget)
        self.line.flush()
        for device, _ in budgets:
            device.on_event = self._heard
            await device.start()

    def _station_app(self, meter_port: int) -> dict[str, Any]:
        return {
            "module": "ev_station",
            "price_per_kwh": str(PRICE_PER_KWH),
            "charger": self._charger("station", meter_port),
        }

    def _car_app(self, meter_port: int) -> dict[str, Any]:
        return {
            "module": "ev_car",
            "price_per_kwh": str(PRICE_PER_KWH),
            "slice_wh": SLICE_WH,
            "deposit": str(CAR_DEPOSIT),
            "station_deposit": str(STATION_DEPOSIT),
            "challenge_duration": CHALLENGE,
            "charger": self._charger("car", meter_port),
        }

    def _charger(self, end: str, port: int) -> dict[str, Any]:
        return {"module": "cable", "end": end, "port": port, "wh_per_second": self._power}

    def _config(
        self, receiver: str, service: dict[str, Any], peer: dict[str, Any], app: dict[str, Any]
    ) -> dict[str, Any]:
        asset = {"holder": self.chain.place.eth_holder, "max_deposit": str(CAR_DEPOSIT)}
        return {
            "chain": {
                "id": self.chain.place.chain_id,
                "assets": [asset],
                "min_challenge_duration": CHALLENGE // 10,
                "max_challenge_duration": CHALLENGE * 10,
            },
            "receiver": receiver,
            "service": {**service, "address": self.service.identity},
            "peer": peer,
            "app": app,
            "console": "json",
        }

    def _heard(self, device: Device, event: dict[str, Any]) -> None:
        name = event["event"]
        if name in ("task died", "error", "warning", "charging failed", "output"):
            text = " ".join(str(event[key]) for key in ("task", "text") if key in event)
            self.story.remark(f"{device.name}: {text}")

    def _clear_away(self) -> None:
        if not self.keep:
            shutil.rmtree(self.directory, ignore_errors=True)

    # -- watching ---------------------------------------------------------------------------------

    @property
    def channel(self) -> str:
        """The id of the channel, as soon as the service knows one, else an empty text."""
        return self.story.snapshot.channel

    async def _watch(self) -> None:
        """Keep the story's snapshot fresh: what each part says, asked directly."""
        while True:
            await asyncio.gather(
                *(self._ask(device) for device in (self.car, self.station) if device.running)
            )
            await self.look()
            await asyncio.sleep(_LOOK)

    async def look(self) -> None:
        """Ask the service and the chain how things stand."""
        self.story.snapshot = await asyncio.to_thread(self._look)

    async def _ask(self, device: Device) -> None:
        with contextlib.suppress(RuntimeError, OSError):  # it may have been killed meanwhile
            await device.ask()

    def _look(self) -> Snapshot:
        held = next(iter(self.service.holds()["channels"]), None)
        channel = held["id"] if held else ""
        number, timestamp = self.chain.block()
        return Snapshot(
            car=self.car.status,
            station=self.station.status,
            car_on=self.car.running,
            station_on=self.station.running,
            channel=channel,
            held=held,
            block=number,
            time=timestamp,
            deposits=self.chain.contract_balance(),
            dispute=self.chain.dispute(channel) if channel else None,
            car_wallet=self.chain.balance(self.car_wallet),
            station_wallet=self.chain.balance(self.station_wallet),
        )


def short(address: str) -> str:
    """0x1234...abcd"""
    return f"{address[:6]}…{address[-4:]}"


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
