"""The service as a whole: puts the parts together, starts and stops them."""

from __future__ import annotations

import asyncio

import structlog
from eth_utils import to_checksum_address

from adoption import certificate, keys
from adoption.bridge.exchange import Exchange
from adoption.chain import Chain, ChainError
from adoption.chain.sender import Sender
from adoption.config import Config
from adoption.handlers import Handlers
from adoption.hub import Hub
from adoption.keeper import Keeper
from adoption.listeners import Listeners
from adoption.links import Link
from adoption.pruner import Pruner
from adoption.session import Session
from adoption.perun_rs.server import Server
from adoption.store import Store, devices
from adoption.watcher import Watcher
from adoption.witness import Witness

log = structlog.get_logger(__name__)

_LONGEST_PAUSE = 30.0


class Service:
    """One IoT adoption service. `run()` until it is cancelled."""

    def __init__(self, config: Config) -> None:
        self.config = config
        service = config.service
        self.identity = keys.load(service.identity_key, keys.IDENTITY_VARIABLE, create=True)
        funder = keys.load(config.chain.funder_key, keys.FUNDER_VARIABLE)
        self.store = Store(service.database)
        self.chain = Chain(config)
        self.hub = Hub(config.limits.requests_per_second, config.limits.request_burst)
        self.sender = Sender(self.chain, self.store, funder)
        keeper = Keeper(config, self.chain, self.sender, self.store, self.hub)
        self.pruner = Pruner(config, self.store)
        self.watcher = Watcher(config, self.chain, self.sender, self.store, keeper)
        self.handlers = Handlers(
            config, self.store, self.identity, Witness(config, self.chain), self.watcher.wake
        )
        self.bridge = Exchange(config.bridge) if config.bridge else None
        self.certificate = (
            certificate.load(service.certificate, create=True) if service.listen_tls else None
        )
        self.listeners = Listeners(config, self._session, self.certificate)
        self.perun_rs = (
            Server(config.perun_rs, config, self.store, self.hub, self.handlers)
            if config.perun_rs
            else None
        )
        self.ready = asyncio.Event()  # set when devices can come in

    async def run(self) -> None:
        """Serve. Raises WrongChain and StoreError for a configuration that does not fit."""
        try:
            await self.store.open(self._identity_of_store())
            await self._register_devices()
            await self._wait_for_chain()
            await self.listeners.start()
            if self.certificate:
                log.info("certificate", sha256=self.certificate.fingerprint.hex())
            for other in (self.bridge, self.perun_rs):
                if other:
                    await other.start()
            log.info(
                "ready",
                identity=to_checksum_address(self.identity.address),
                wallet=to_checksum_address(self.sender.address),
            )
            self.ready.set()
            pruning = asyncio.create_task(self.pruner.run())
            try:
                await self.watcher.run()
            finally:
                pruning.cancel()
                await asyncio.wait([pruning])
        finally:
            await self.listeners.stop()
            for other in (self.bridge, self.perun_rs):
                if other:
                    await other.stop()
            await self.chain.close()
            await self.store.close()
            log.info("stopped")

    def _session(self, link: Link) -> Session:
        return Session(
            link,
            self.config,
            self.store,
            self.identity,
            self.hub,
            self.handlers,
            self.bridge,
        )

    def _identity_of_store(self) -> dict[str, str]:
        chain = self.config.chain
        return {
            "chain_id": str(chain.chain_id),
            "adjudicator": to_checksum_address(chain.adjudicator),
            "funder": to_checksum_address(self.sender.address),
        }

    async def _register_devices(self) -> None:
        """Devices and budgets of the configuration; those added by command stay."""
        async with self.store.write() as tx:
            for device in self.config.device:
                await devices.put(tx, device.address, device.name, device.egoistic)
                for name, amount in device.budget.items():
                    holder = next(a.holder for a in self.config.asset if a.name == name)
                    await devices.grant(tx, device.address, holder, amount)

    async def _wait_for_chain(self) -> None:
        """A node that is down may come back; a wrong one will not become right."""
        pause = 0.5
        while True:
            try:
                await self.chain.check()
                return
            except ChainError as error:
                log.warning("the chain cannot be reached", error=str(error))
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
