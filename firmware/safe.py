"""Safe mode: the store cannot be trusted, so nothing about a channel is ever signed.

A damaged store, one of another format, one without its key. The money is not lost: the peer and
the service hold the newest states, and what the flash still holds can be shown. Commands:

    status    what is wrong, which channels the store shows and which the service guards
    export    the newest signed states of the store and of the service: with them anybody can
              settle on chain
    dispute   have the service settle every channel by the newest state that it holds
    unlock    give the PIN of the key, if it has one

The only signature is the one in the handshake with the service.
"""

import asyncio
import os

from perun.chain.address import to_checksum
from perun.chain.ethereum import Ethereum
from perun.client.keeping import read_channel
from perun.compat import const
from perun.link import LinkError
from perun.link.handshake import handshake
from perun.wire.compact import Compact, Contexts
from perun.wire.messages import ROLE_DEVICE
from perun.wire.inquiry_messages import (
    STAGE_CONCLUDED,
    DisputeRequest,
    HeldState,
    StateRequest,
    Status,
    StatusRequest,
)
from perun.wire.service_messages import (
    Ack,
    Error,
    ServiceInfo,
)

_PATIENCE = const(10)  # seconds for an answer of the service
_MOST = const(64)  # channels


class SafeMode:
    """settings: the checked configuration; reason: what is wrong; values: key -> value of what can
    be read of the store; account: the device's, or None."""

    def __init__(self, settings, console, reason, values, account=None):
        self._settings = settings
        self._console = console
        self.reason = str(reason)
        self._values = values
        self._account = account
        self._chain = Ethereum(settings["chain"]["generation"])
        self._stop = asyncio.Event()
        self._turn = asyncio.Lock()  # one session with the service at a time
        self._wrong = 0
        if not account and len(values.get(b"k", b"")) == 32:
            self._take_key(values[b"k"])

    async def run(self):
        """Until the command `stop`."""
        self._console.commands = {
            "status": self._status,
            "export": self._export,
            "dispute": self._dispute,
            "unlock": self._unlock,
            "stop": self._halt,
        }
        self._console.event("error", text=self.reason)
        self._console.event("safe mode", text="nothing is signed", address=self._address())
        tasks = [asyncio.create_task(self._console.run())]
        if self._settings["control"] and self._account:
            from control import door

            work = door(self._settings["control"], self._console, self._account, self, 0)
            tasks.append(asyncio.create_task(work()))
        await self._stop.wait()
        for task in tasks:
            task.cancel()
        self._console.event("stopped")

    def _take_key(self, secret):
        from perun.chain.account import Account

        try:
            self._account = Account(secret)
        except ValueError:
            pass  # damaged, too

    def _address(self):
        return to_checksum(self._account.address) if self._account else None

    # -- what the store shows ---------------------------------------------------------------------

    def _stored(self):
        """(key, record or None) of the channels that the store shows, settled ones as well."""
        for key in sorted(self._values):
            if key[:1] in (b"c", b"s"):
                try:
                    yield key, read_channel(self._values[key])
                except ValueError:  # of another format
                    yield key, None

    # -- what the service holds -------------------------------------------------------------------

    async def _ask(self, work):
        """await work(a Talk) with the service. Raises LinkError, ValueError."""
        if not self._account:
            raise LinkError(
                "without its key the device cannot speak to the service: its operator can"
            )
        from links import service_dialer

        async with self._turn:
            link = await service_dialer(self._settings["service"])()
            try:
                talk = Talk(link, self._chain, self._account, self._settings)
                await talk.begin()
                await work(talk)
            finally:
                link.close()

    async def _status(self):
        channels = [
            {"id": key[1:], "version": record.state.version if record else None}
            for key, record in self._stored()
        ]
        guarded = []

        async def look(talk):
            for one in await talk.statuses():
                guarded.append({"id": one.channel_id, "version": one.version, "stage": one.stage})

        trouble = await self._try(look)
        self._console.event(
            "status",
            safe_mode=self.reason,
            address=self._address(),
            channels=channels,
            guarded=guarded,
            service=trouble or "connected",
        )

    async def _try(self, work):
        """The reason why the service could not be asked, or None."""
        try:
            await self._ask(work)
        except (OSError, ValueError) as error:
            return str(error)

    async def _export(self):
        for _, record in self._stored():
            if record:
                self._show("store", record.state, record.sigs, record.params)

        async def look(talk):
            for one in await talk.statuses():
                held = await talk.held(one)
                self._show("service", held.state, held.sigs, None)

        trouble = await self._try(look)
        if trouble:
            self._console.event("warning", text=trouble)

    def _show(self, source, state, sigs, params):
        self._console.event("export", source=source, params=params, state=state, sigs=sigs)

    async def _dispute(self):
        async def settle(talk):
            for one in await talk.statuses():
                if one.stage < STAGE_CONCLUDED:
                    await talk.ask(DisputeRequest, one.channel_id)
                    self._console.event("disputed", id=one.channel_id, version=one.version)

        await self._ask(settle)

    async def _unlock(self, pin=""):
        """The store cannot count wrong PINs any more: only the time does."""
        import vault

        record = self._values.get(b"k", b"")
        if not vault.is_sealed(record):
            raise ValueError("there is no key with a PIN")
        await asyncio.sleep(vault.pause(self._wrong))
        secret = vault.unseal(record, pin)
        if secret is None:
            self._wrong += 1
            raise vault.WrongPin("wrong PIN")
        self._take_key(secret)
        self._console.event("unlocked", address=self._address())

    async def _halt(self):
        self._stop.set()


class Talk:
    """A session with the service that only asks. link: fresh; settings: the configuration."""

    def __init__(self, link, chain, account, settings):
        self._link = link
        self._chain = chain
        self._account = account
        self._settings = settings
        self._contexts = Contexts()
        self._codec = Compact(self._contexts)
        self._number = 0
        self._assets = ()

    async def begin(self):
        """The handshake."""
        await handshake(
            self._link,
            self._codec,
            self._chain,
            self._account,
            ROLE_DEVICE,
            self._settings["chain"]["id"],
            os.urandom(32),
            self._settings["service"]["address"],
        )
        self._assets = (await self._receive(ServiceInfo)).assets

    async def ask(self, kind, channel_id):
        """Ask, and return the answer. Raises ValueError with the service's reason, LinkError."""
        self._number += 1
        await self._link.send(self._codec.encode(kind(self._number, channel_id)))
        return await self._receive(Ack, Status, HeldState)

    async def statuses(self):
        """The Status of each channel that the service guards for this device."""
        found = []
        answer = await self.ask(StatusRequest, b"")
        while type(answer) is Status and len(found) < _MOST:
            found.append(answer)
            answer = await self._receive(Ack, Status)
        return found

    async def held(self, status):
        """The HeldState of a channel. Raises ValueError when it cannot be read."""
        # A state names its channel, and not its assets: they are those of the service, or ours.
        ours = [asset["holder"] for asset in self._settings["chain"]["assets"]]
        for assets in (self._assets, tuple(a for a in self._assets if a.holder in ours)):
            self._contexts.add(status.channel_id, assets)
            held = await self.ask(StateRequest, status.channel_id)
            if self._chain.state_hash(held.state) == status.state_hash:
                return held
        raise ValueError("the service's state has other assets than the configuration")

    async def _receive(self, *kinds):
        while True:
            body = await asyncio.wait_for(self._link.recv(), _PATIENCE)
            message = self._codec.decode(body)
            if type(message) is Error:
                raise ValueError("service: " + message.text)
            if type(message) in kinds:
                return message
