"""A device of the bridge, as tests need it: the library's own client with a session."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Iterable
from typing import Any

from perun.chain.account import Account
from perun.channel import Limits
from perun.client import Client
from perun.client.bridge import Bridge
from perun.link import tcp
from perun.model import ether
from perun.store.memory import MemoryStore
from service import kit
from service.conftest import port
from service.kit import until

RECEIVER = secrets.token_bytes(20)


class Car:
    """A device: the library's own client, and its session with the service."""

    def __init__(
        self, chain: Any, store: Any = None, secret: bytes = b"", tokens: bool = False
    ) -> None:
        self.secret = secret or secrets.token_bytes(32)
        account = Account(self.secret)
        self.address = account.address
        self.asset = ether(chain.web3.eth.chain_id, kit.eth(chain))
        token = ether(chain.web3.eth.chain_id, kit.erc20(chain))
        self.assets = (self.asset, token)[: 2 if tokens else 1]
        limits = Limits(self.assets, (10**18,) * len(self.assets), 60, 86400)
        self.client = Client(
            account, chain.web3.eth.chain_id, limits, RECEIVER, store or MemoryStore()
        )
        self.errors: list[str] = []
        self.events: list[Any] = []
        self.states: list[Any] = []
        self.client.on_error = self.errors.append
        self.client.on_event = lambda channel, kind, detail: self.events.append((kind, detail))
        self.client.on_proposal = lambda proposal: None
        self.client.restore()
        self.client.foreign("node").patience = 1
        self.task: Any = None

    def start(self, service: Any, name: str = "node") -> None:
        self.client.bridge = Bridge(self.client, name, lambda *state: self.states.append(state))
        where = port(service)
        self.task = asyncio.create_task(self.client.guard(lambda: tcp.connect("127.0.0.1", where)))

    async def stop(self) -> None:
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task

    async def peer(self, name: str = "node") -> Any:
        await until(lambda: self.client.foreign(name).connected)
        return self.client.foreign(name)


def section(cars: Iterable[Any], *nodes: Any, **more: Any) -> dict[str, Any]:
    return {
        "listen": ["127.0.0.1:0"],
        "device": [
            {"address": "0x" + car.address.hex(), "name": f"car{i}"} for i, car in enumerate(cars)
        ],
        "peer": [
            {
                "name": node.name,
                "address": "0x" + node.address.hex(),
                "serializer": node.serializer,
                **({"connect": f"127.0.0.1:{node.port}"} if node.port else {}),
            }
            for node in nodes
        ],
        **more,
    }
