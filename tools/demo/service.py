"""The IoT adoption service as a process, with the configuration that its operator would write."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

from adoption import certificate, keys, status
from adoption.config import parse_address
from adoption.store import Store, devices
from contracts.anvil import account
from contracts.deploy import Deployment
from contracts.ports import free_port
from contracts.toolchain import ROOT
from eth_utils import to_checksum_address

from demo import processes
from demo.processes import Died

ASSET = "ether"
_START = 120  # seconds: its libraries take a while on a busy machine
_FUNDER = 9  # the development chain's account that pays deposits and gas

_CONFIG = """\
[service]
listen = ["127.0.0.1:{port}"]
listen_tls = ["127.0.0.1:{tls_port}"]
database = "adoption.sqlite"

[[service.serial]]
path = "{serial}"

[chain]
rpc = "{rpc}"
chain_id = {place.chain_id}
adjudicator = "{place.adjudicator}"
start_block = {place.block}
poll_interval = 0.2

[[asset]]
name = "{asset}"
kind = "eth"
holder = "{place.eth_holder}"
"""


class Service:
    """directory: its own; rpc: the node; place: the contracts; serial: the path of its tty.

    identity    its address, which devices pin
    pin         the SHA-256 of its certificate, which devices pin
    port        where it listens
    tls_port    the same with TLS
    """

    def __init__(self, directory: Path, rpc: str, place: Deployment, serial: str) -> None:
        self.directory = directory
        self.port, self.tls_port = free_port(), free_port()
        self.more = ""  # further sections of its configuration
        self._rpc, self._place, self._serial = rpc, place, serial
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._log = directory / "service.log"
        self._config = directory / "config.toml"
        directory.mkdir(parents=True)
        _write_secret(directory / "funder.key", account(_FUNDER).key.hex())
        identity = keys.load(directory / "identity.key", keys.IDENTITY_VARIABLE, create=True)
        self.identity = to_checksum_address(identity.address)
        own = certificate.load(directory / "certificate.pem", create=True)
        self.pin = own.fingerprint.hex()

    async def start(self) -> None:
        """Returns when devices can come in. Raises Died."""
        text = _CONFIG.format(
            port=self.port,
            tls_port=self.tls_port,
            serial=self._serial,
            rpc=self._rpc,
            place=self._place,
            asset=ASSET,
        )
        self._config.write_text(text + self.more)
        self._log.touch()
        start = self._log.stat().st_size
        self._process = await processes.spawn(
            [sys.executable, "-m", "adoption", "serve", "--log-json", "-c", str(self._config)],
            self._log,
            self.directory,
            PYTHONPATH=f"{ROOT / 'tools'}:{ROOT / 'lib'}",
        )
        await self._until_ready(start)

    async def _until_ready(self, start: int) -> None:
        """Follow its log, which says when it is ready."""
        assert self._process is not None
        end = time.monotonic() + _START
        while time.monotonic() < end:
            with self._log.open() as log:
                log.seek(start)
                if any(_parse(line).get("event") == "ready" for line in log):
                    return
            if self._process.returncode is not None:
                break
            await asyncio.sleep(0.05)
        raise Died(f"the service does not start:\n{processes.tail(self._log)}")

    async def allow(self, address: str, name: str, budget: int) -> None:
        """Put a device on the list, as `adoption devices add` and `budget` do."""
        device, holder = parse_address(address), parse_address(self._place.eth_holder)
        store = Store(self.directory / "adoption.sqlite")
        try:
            await store.open({"chain_id": str(self._place.chain_id)})
            async with store.write() as tx:
                await devices.put(tx, device, name, None)
                await devices.grant(tx, device, holder, budget)
        finally:
            await store.close()

    def said(self) -> str:
        """Its log."""
        return self._log.read_text()

    def holds(self) -> dict[str, Any]:
        """What it has stored."""
        return status.read(self.directory / "adoption.sqlite")

    async def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            processes.kill(self._process)
            await self._process.wait()

    async def stop(self) -> None:
        """End it."""
        if self._process is not None:
            await processes.end(self._process)


def _parse(line: str) -> dict[str, Any]:
    try:
        event = json.loads(line)
    except ValueError:  # half a line, or no JSON
        return {}
    return event if isinstance(event, dict) else {}


def _write_secret(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text + "\n")
