"""A chain, the service, and somebody who pays virtual boards: all of it real."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Self

from board import provision
from board.port import Repl
from board.virtual import Virtual
from boardkit import NewBoard
from contracts.anvil import Anvil
from contracts.deploy import deploy
from contracts.ports import free_port
from demo.chain import Chain
from demo.service import Service
from demo.wires import SerialLine
from eth_account import Account as Wallet
from eth_utils import to_canonical_address
from perun.chain.account import Account
from perun.channel import Limits
from perun.client import Client
from perun.client.handle import ChannelHandle
from perun.link import LinkError, tcp
from perun.model import ether
from perun.store.memory import MemoryStore

DEPOSIT = 10**15


class Market:
    """directory: a new one; serial: the path of the tty that the service serves."""

    def __init__(self, directory: Path, serial: str) -> None:
        self._stack = contextlib.AsyncExitStack()
        self._directory, self._serial = directory, serial
        self.port = free_port()  # where the station listens
        self.wallets = [Wallet.create().address for _ in range(2)]  # the payer's, the station's
        self._guard: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        try:
            node = self._stack.enter_context(Anvil())
            self.chain = Chain(node, await asyncio.to_thread(deploy, node.web3))
            self.service = Service(self._directory, node.url, self.chain.place, self._serial)
            self._stack.push_async_callback(self.service.stop)
            await self.service.start()
            asset = ether(1337, to_canonical_address(self.chain.place.eth_holder))
            account, wallet = Account(os.urandom(32)), to_canonical_address(self.wallets[0])
            limits = Limits((asset,), (DEPOSIT,), 60, 3600)
            self.payer = Client(account, 1337, limits, wallet, MemoryStore())
            await self.service.allow("0x" + account.address.hex(), "payer", DEPOSIT)
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self.leave()
        await self._stack.aclose()

    async def witness(self, directory: Path) -> Service:
        """A second service on the chain, which serves whom the test lets in."""
        line = SerialLine()
        self._stack.callback(line.close)
        other = Service(directory, self.chain.node.url, self.chain.place, line.service)
        self._stack.push_async_callback(other.stop)
        await other.start()
        return other

    async def provide(self, one: Virtual, line: dict[str, Any], **more: Any) -> None:
        """Make a board with frozen software a station whose line to the service is this one."""
        settings = provision.configuration(
            one.board,
            chain_id=1337,
            assets=[(self.chain.place.eth_holder, DEPOSIT)],
            receiver=self.wallets[1],
            service={"serial": line, "address": self.service.identity},
            peer={"listen": {"host": "127.0.0.1", "port": self.port}},
            app="ev_station",
            price_per_kwh=1000,
        )
        settings.update(more)

        def install() -> str:
            with Repl(one.port) as repl:
                provision.install(repl, settings)
                return provision.make_key(repl).address

        await self.service.allow(await asyncio.to_thread(install), "station", 0)

    def guard(self) -> None:
        """The payer begins to talk to the service."""
        place = ("127.0.0.1", self.service.port)
        self._guard = asyncio.create_task(self.payer.guard(lambda: tcp.connect(*place)))

    def leave(self) -> None:
        """And ends it: what the service hears from now on, the station says."""
        if self._guard:
            self._guard.cancel()

    async def connect(self, timeout: float = 60) -> Any:
        """The payer's link to the station, which may still boot."""
        end = time.monotonic() + timeout
        while True:
            try:
                return await self.payer.connect(await tcp.connect("127.0.0.1", self.port))
            except LinkError:
                if time.monotonic() > end:
                    raise
                await asyncio.sleep(0.1)

    async def open(self) -> ChannelHandle:
        """A channel to the station, funded."""
        peer = await self.connect()
        channel = await self.payer.propose(peer, [(DEPOSIT, 0)], 600)
        await channel.opened(60)
        return channel

    async def until(self, what: str, ready: Callable[[], Any], timeout: float = 60) -> None:
        """Wait for something to become true."""
        end = time.monotonic() + timeout
        while not await asyncio.to_thread(ready):
            assert time.monotonic() < end, f"not within {timeout} s: {what}"
            await asyncio.sleep(0.1)

    def held(self) -> int:
        """The newest version that the service holds of the only channel."""
        (channel,) = self.service.holds()["channels"]
        return int(channel["version"])

    async def settle(self, channel: ChannelHandle, paid: int) -> None:
        """Close it: all of the money is where it belongs."""
        await channel.close()
        await channel.settled(60)
        await self.until("the money has arrived", lambda: self.chain.contract_balance() == 0)
        assert self.chain.balance(self.wallets[1]) == paid
        assert self.chain.balance(self.wallets[0]) == DEPOSIT - paid


@contextlib.asynccontextmanager
async def board_and_market(
    new_board: NewBoard, directory: Path, at: int | str | None = None
) -> AsyncIterator[tuple[Virtual, SerialLine, Market]]:
    """A board with our firmware at its REPL, a serial line, and a market.

    at: where the board is reached by the market's service: the number of the UART to which the
    line goes, "repl", or nowhere.
    """
    line = SerialLine()
    try:
        uarts = {at: line.device} if isinstance(at, int) else {}
        one = new_board("RPI_PICO_W", firmware="custom", uarts=uarts)
        one.wait_repl()
        serial = str(one.directory / "tty") if at == "repl" else line.service
        async with Market(directory / "service", serial) as market:
            yield one, line, market
    finally:
        line.close()
