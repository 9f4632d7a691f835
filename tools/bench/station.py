"""The heap of a charging station: the firmware in the VM, with a smaller heap each time.

A run is the station's whole honest day: its service by TLS or over a serial line (a pty), a car
that connects over TCP, one channel, payments for energy, the final state, the money at the
receiver. Everything is loaded from .mpy files. The smallest heap in which a run comes to its end
is the peak.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from perun.chain.account import Account
from perun.chain.address import to_checksum
from perun.channel import Limits
from perun.client import Client
from perun.client.handle import ClientError
from perun.link import Link, LinkError, io_cpython, memory, serial, tcp
from perun.store.memory import MemoryStore
from perun.wire.frame import DEFAULT_LIMIT, TcpDecoder, tcp_frame

from adoption import certificate
from bench import conversation
from bench.counter import Failed
from bench.romfs import RomfsDevice, image
from bench.service import Service
from contracts.ports import free_port
from demo.device import Device
from demo.processes import Died
from demo.wires import SerialLine

PAYMENTS = 30
STEP = 4 * 1024  # bytes: how finely the heap is searched
SMALLEST = 64 * 1024
LARGEST = 512 * 1024

_PRICE = 10**15  # wei for a kWh
PAYMENT = 10 * _PRICE // 1000  # 10 Wh
_DEPOSIT = 10**18
_TIMEOUT = 30  # seconds for one run
_SERVICE_BAUD = 115200
_TIMES = 5  # that the heap is looked at, and the seconds between them
_BETWEEN = 0.2
WITNESS = Account(b"\x17" * 32)

Progress = Callable[[str], None]
Work = Coroutine[Any, Any, int]


def measure(progress: Progress, payments: int = PAYMENTS) -> dict[str, int]:
    """{"peak_heap_bytes", "live_heap_bytes", "serial_heap_bytes", "romfs_heap_bytes",
    "romfs_live_bytes"}. Raises Failed."""
    stations = Stations(payments, progress)
    live = stations.run(LARGEST)
    if live is None:
        raise Failed(f"the station fails with {LARGEST} bytes: {stations.failure}")
    serially = Stations(payments, progress, tls=False)
    romfs = RomfsStations(payments, progress)
    romfs_live = romfs.run(LARGEST)
    if romfs_live is None:
        raise Failed(f"the station fails with its modules in a ROMFS: {romfs.failure}")
    return {
        "peak_heap_bytes": stations.smallest(),
        "live_heap_bytes": live,
        "serial_heap_bytes": serially.smallest(),
        "romfs_heap_bytes": romfs.smallest(),
        "romfs_live_bytes": romfs_live - len(image()),
    }


class Stations:
    """Runs of the station, each with a folder and a key of its own. tls: its link to the service
    is TLS, else a serial line. again: with TLS, the power is cut half-way, and the station comes
    back with its channel. witness: it has one, by TLS."""

    device: type[Device] = Device  # how it is run

    def __init__(
        self,
        payments: int,
        progress: Progress,
        tls: bool = True,
        again: bool = False,
        witness: bool = False,
    ) -> None:
        self._payments = payments
        self._progress = progress
        self._tls = tls
        self._again = again
        self._witness = witness
        self.failure = ""  # why the last run failed

    def smallest(self) -> int:
        """The smallest heap in which one run after the other comes to its end."""
        low, high = SMALLEST // STEP - 1, LARGEST // STEP  # fails, works
        while high - low > 1:
            middle = (low + high) // 2
            if self.run(middle * STEP) is None:
                low = middle
            else:
                high = middle
        # Not every run collects its garbage at the same moments.
        while any(self.run(high * STEP) is None for _ in range(2)):
            high += 1
        return high * STEP

    def run(self, heap: int) -> int | None:
        """The bytes that live on the heap when all is paid, or None when it does not suffice."""
        for _ in range(2):
            self._progress(f"a station with {heap // 1024} KB of heap")
            with tempfile.TemporaryDirectory() as folder:
                day = self._day(Path(folder), heap)
                self.failure, live = asyncio.run(day)
            # What fails for another reason than memory, a busy machine say, has a second try.
            if not self.failure or _is_memory(self.failure):
                break
        return None if self.failure else live

    async def _day(self, folder: Path, heap: int) -> tuple[str, int]:
        """(failure or "", living bytes) of one run."""
        async with AsyncExitStack() as stack:
            serving = by_tls(folder) if self._tls else by_line()
            service, place = await stack.enter_async_context(serving)
            port = free_port()
            settings = configuration(place, port)
            if self._witness:
                serve, place = await stack.enter_async_context(by_tls(folder, WITNESS))
                settings["witness"] = {**place, "address": to_checksum(WITNESS.address)}
                second = asyncio.create_task(serve())
                stack.callback(second.cancel)
            station = self.device("station", folder, settings, str(heap))
            works = partial(charge, station, port, self._payments, self._again)
            return await spend(station, service, works, _TIMEOUT + self._payments / 2)


class RomfsStations(Stations):
    """Their modules lie in a ROMFS; see romfs.py for what does not count."""

    device = RomfsDevice


@asynccontextmanager
async def by_line() -> AsyncIterator[tuple[Any, dict[str, Any]]]:
    """A function that serves at the end of a serial line, and the place for the configuration."""
    line = SerialLine()

    async def serve() -> None:
        await Service().run(await serial.open(line.service, _SERVICE_BAUD))

    try:
        yield serve, {"serial": {"path": line.device, "baud": _SERVICE_BAUD}}
    finally:
        line.close()


@asynccontextmanager
async def by_tls(
    folder: Path, account: Account = conversation.SERVICE
) -> AsyncIterator[tuple[Any, dict[str, Any]]]:
    """The same for a TLS port. account: of the service."""
    own = certificate.load(folder / f"{account.address.hex()}.pem", create=True)
    links: asyncio.Queue[Link] = asyncio.Queue()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        stream = io_cpython.tcp_stream(reader, writer)
        link = Link(stream, tcp_frame, TcpDecoder(DEFAULT_LIMIT), "tls")
        link.binding = own.fingerprint
        links.put_nowait(link)

    async def serve() -> None:
        while True:  # a station that comes back has a new link
            with suppress(LinkError):
                await Service(account).run(await links.get())

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=own.context())
    port = server.sockets[0].getsockname()[1]
    try:
        yield (
            serve,
            {"tcp": {"host": "127.0.0.1", "port": port, "certificate": own.fingerprint.hex()}},
        )
    finally:
        server.close()


async def spend(
    station: Device, serve: Any, cars: Callable[[], Work], seconds: float
) -> tuple[str, int]:
    """(failure or "", what `cars` gives) of a station's day, with its service and its cars."""
    no_memory: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def hear(_: Device, event: dict[str, Any]) -> None:
        text = str(event.get("text"))
        if _is_memory(text) and not no_memory.done():
            no_memory.set_exception(Failed(text))

    station.on_event = hear
    tasks = {no_memory}
    try:
        async with asyncio.timeout(seconds):
            await station.start()
            tasks |= {asyncio.ensure_future(work) for work in (serve(), cars())}
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            return "", done.pop().result()
    except (TimeoutError, Failed, Died, LinkError, ClientError) as error:
        return f"{type(error).__name__} {error}", 0
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await station.kill()
        await station.stop()


def _is_memory(text: str) -> bool:
    return "MemoryError" in text or "memory allocation failed" in text


async def charge(station: Device, port: int, payments: int, again: bool = False) -> int:
    """Open a channel with the station, pay, close. Returns the station's living bytes."""
    await station.said("listening")
    async with car(conversation.PAYER, port) as channel:
        for _ in range(payments // 2):
            await channel.pay(PAYMENT)
        if again:
            await _power_cut(station, channel, port)
        for _ in range(payments - payments // 2):
            await channel.pay(PAYMENT)
        status = await station.ask()
        used = await _lives(station)
        shown = status["channels"][0]
        paid = payments * PAYMENT
        if (shown["version"], int(shown["balances"][0][1])) != (payments, paid):
            raise Failed("the station counts something else than the car")
        await channel.close()
        if not again:  # the service has forgotten the channel
            await station.said("channel", kind="withdrawn")
        return used


async def _lives(station: Device) -> int:
    """What lives on its heap. A payment may still be on its way to the service, in modules that
    are forgotten afterwards: so the least of some times counts."""
    seen = []
    for _ in range(_TIMES):
        seen.append(int((await station.ask())["heap"]["used"]))
        await asyncio.sleep(_BETWEEN)
    return min(seen)


async def _power_cut(station: Device, channel: Any, port: int) -> None:
    """The station starts anew, and the car connects with it."""
    before = len(station.events)
    await station.kill()
    await station.start()
    await station.said("listening", since=before)
    await channel.client.connect(await tcp.connect("127.0.0.1", port))


@asynccontextmanager
async def car(account: Account, port: int) -> AsyncIterator[Any]:
    """The open channel of a car with the station."""
    limits = Limits((conversation.ASSET,), (_DEPOSIT,), 60, 86400)
    receiver = conversation.RECEIVER
    client = Client(account, conversation.CHAIN_ID, limits, receiver, MemoryStore())
    near, far = memory.pair()
    service = asyncio.create_task(Service().run(far))

    async def dial() -> Any:
        return near

    guard = asyncio.create_task(client.guard(dial))
    peer = await client.connect(await tcp.connect("127.0.0.1", port))
    try:
        channel = await client.propose(peer, ((_DEPOSIT, 0),), conversation.DURATION)
        await channel.opened()
        yield channel
    finally:
        peer.close()
        guard.cancel()
        service.cancel()
        await asyncio.gather(guard, service, return_exceptions=True)


def configuration(place: dict[str, Any], port: int) -> dict[str, Any]:
    """A station's config.json. place: of its service."""
    asset = to_checksum(conversation.ASSET.holder)
    return {
        "chain": {
            "id": conversation.CHAIN_ID,
            "assets": [{"holder": asset, "max_deposit": str(_DEPOSIT)}],
        },
        "receiver": to_checksum(conversation.RECEIVER),
        "service": {
            **place,
            "address": to_checksum(conversation.SERVICE.address),
        },
        "peer": {"listen": {"host": "127.0.0.1", "port": port}},
        "app": {
            "module": "ev_station",
            "price_per_kwh": str(_PRICE),
            # Nobody holds the other end of the cable: the energy is gone all the same.
            "charger": {"module": "cable", "end": "station", "port": port},
        },
        "console": "json",
    }
