"""Where the adversaries meet real devices: a station, and what is around it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from contracts.anvil import Anvil, account
from contracts.deploy import contract, deploy
from contracts.ports import free_port
from demo.chain import Chain
from demo.device import Device
from demo.service import Service
from demo.wires import SerialLine
from eth_account import Account as EthAccount
from eth_utils import to_canonical_address, to_checksum_address
from perun.chain.account import Account
from perun.chain.ethereum import Ethereum
from perun.channel import Limits
from perun.client import Client
from perun.link import tcp
from perun.model import ether
from perun.store.memory import MemoryStore

PRICE = 1_000_003  # wei for a kWh
SLICE = 100_001  # pays for 100 Wh
DEPOSIT = 10**9
CAR_DEPOSIT = 10**10
DURATION = 600
CHAIN_ID = 1337

Sections = Callable[[dict[str, Any]], dict[str, Any]]


class Station:
    """A charging station as a process of its own, with a service of the caller's choice. more:
    further sections of its configuration."""

    def __init__(
        self, directory: Path, holder: str, wallet: str, service: dict[str, Any], **more: Any
    ) -> None:
        self.port = free_port()
        self.holder = holder
        self.wallet = wallet
        meter = free_port(socket.SOCK_DGRAM)
        asset = {"holder": holder, "max_deposit": str(DEPOSIT)}
        config = {
            "chain": {"id": CHAIN_ID, "assets": [asset]},
            "receiver": wallet,
            "service": service,
            "peer": {"listen": {"host": "127.0.0.1", "port": self.port}},
            "app": {
                "module": "ev_station",
                "price_per_kwh": str(PRICE),
                "charger": {
                    "module": "cable",
                    "end": "station",
                    "port": meter,
                    "wh_per_second": 3000,
                },
            },
            "console": "json",
            **more,
        }
        # One station for all cheaters: it keeps more evidence than the demonstration's.
        self.device = Device("station", directory, config, "240k")

    @property
    def address(self) -> bytes:
        return to_canonical_address(self.device.address)

    async def event(self, event: str, since: int = 0, timeout: float = 60, **fields: Any) -> Any:
        """What it says on its console."""
        return await self.device.said(event, timeout, since, **fields)

    def mark(self) -> int:
        """For `since`: only what is said from now on."""
        return len(self.device.events)

    async def warned(self, text: str, since: int, timeout: float = 60) -> None:
        """Wait for a warning with these words."""
        async with asyncio.timeout(timeout):
            while True:
                texts = [e.get("text", "") for e in self.device.events[since:]]
                if any(text in one for one in texts):
                    return
                await asyncio.sleep(0.02)

    async def newest(self) -> dict[str, Any]:
        """The newest signed state, as its owner would export it."""
        since = self.mark()
        await self.device.command("export")
        return await self.event("export", since)

    async def unharmed(self, version: int) -> None:
        """It lives, has this version, and gives no energy that is not paid."""
        status = await self.device.ask()
        assert self.device.running
        died = [event for event in self.device.events if event["event"] == "task died"]
        assert died == []
        assert int((await self.newest())["state"][1]) == version
        async with asyncio.timeout(60):
            while status["charging"]:
                await asyncio.sleep(0.05)
                status = await self.device.ask()
        assert int(status["delivered_wh"]) <= int(status["paid_wh"])


class Town:
    """A chain, an honest service and a station. sections: makes what the station's configuration
    says of its service, and perhaps of its witness, of the honest service."""

    def __init__(self, directory: Path, sections: Sections | None = None) -> None:
        self._directory = directory
        self._sections = sections or (lambda honest: {"service": honest})
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Town:
        node = self._stack.enter_context(Anvil())
        self.chain = Chain(node, await asyncio.to_thread(deploy, node.web3))
        self.node = node
        line = SerialLine()
        self._stack.callback(line.close)
        place = self.chain.place
        self.service = Service(self._directory / "service", node.url, place, line.service)
        self._stack.push_async_callback(self.service.stop)
        await self.service.start()
        self.station = Station(
            self._directory / "station",
            place.eth_holder,
            EthAccount.create().address,
            **self._sections(
                {
                    "tcp": {
                        "host": "127.0.0.1",
                        "port": self.service.tls_port,
                        "certificate": self.service.pin,
                    },
                    "address": self.service.identity,
                }
            ),
        )
        device = self.station.device
        self._stack.push_async_callback(device.stop)
        await device.make_key()
        await self.service.allow(device.address, "station", 100 * DEPOSIT)
        await device.start()
        await self.station.event("listening")
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self._stack.aclose()

    @property
    def holder(self) -> bytes:
        return to_canonical_address(self.chain.place.eth_holder)

    def deposit(self, channel: bytes, owner: bytes, amount: int) -> None:
        """Deposit for a participant, without a service."""
        holder = contract(self.node.web3, "AssetHolderETH", self.chain.place.eth_holder)
        key = Ethereum().funding_id(channel, owner)
        payer = account(7).address
        call = holder.functions.deposit(key, amount)
        sent = call.transact({"from": payer, "value": amount})
        self.node.web3.eth.wait_for_transaction_receipt(sent, poll_latency=0.02)

    async def wallet(self, amount: int) -> int:
        """What the station's owner has, once it is at least this."""
        balance = 0
        for _ in range(200):
            balance = self.chain.balance(self.station.wallet)
            if balance >= amount:
                break
            await asyncio.sleep(0.05)
        return balance


def honest_client(holder: bytes) -> Client:
    """A car that plays by the rules, on CPython."""
    limits = Limits((ether(CHAIN_ID, holder),), (CAR_DEPOSIT,), 60, 3600)
    client = Client(Account(os.urandom(32)), CHAIN_ID, limits, os.urandom(20), MemoryStore())
    client.on_update = lambda channel, state: None
    return client


async def serves(station: Station, holder: bytes) -> None:
    """An honest car gets its answer: a proposal is accepted or refused with a reason."""
    client = honest_client(holder)
    peer = await client.connect(await tcp.connect("127.0.0.1", station.port))
    assert peer.address == station.address
    peer.close()


def checksum(raw: bytes) -> Any:
    return to_checksum_address(raw)
