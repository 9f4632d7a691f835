"""A charging station: energy flows while it is paid for.

The relay is closed only while less energy was delivered than the newest state, signed by both and
stored, pays for. So the station is never owed anything, and a car risks the slice in flight.
"""

import asyncio

from charger import load as load_charger
from perun.channel import ACTING, FINAL, FUNDING, INIT_SIGNING, SIGNED, SIGNING, UPDATED
from perun.channel import WITHDRAWN_EVENT
from perun.client.handle import ClientError
from tariff import earned, energy

# What the configuration says of this application (config.py explains the table).
FIELDS = {
    "price_per_kwh": (..., "amount", 1),
    "min_payment": (1, "amount"),
    # Seconds without energy after which the service is given what it needs to withdraw.
    "checkpoint_after": (2, "number", 1, 86400, "seconds"),
    # Seconds without energy after which the channel is settled, so that the next car can charge:
    # together with the car if it is there, by a dispute if it has vanished. 0: never.
    "settle_after": (900, "number", 0, 31536000, "seconds"),
    "charger": (..., "part"),
}


class App:
    """client: perun.client.Client; settings: checked FIELDS; console: Console; peering: unused."""

    def __init__(self, client, settings, console, peering):
        self._client = client
        self._console = console
        self._price = settings["price_per_kwh"]
        self._min_payment = settings["min_payment"]
        self._pause = settings["checkpoint_after"]
        self._settle_after = settings["settle_after"]
        self.charger = load_charger(settings["charger"])
        self.charger.on_pulse = self._control
        self._channel = None  # the one that is or was charging last
        self._void = None  # one that was not funded, without a deposit of the station
        self._meter_start = 0  # what the meter showed at its beginning
        self._checkpoint = 0  # version that the service can settle without this device
        # A restored store is behind what the car shows, and that energy was delivered, too.
        self._catching_up = True
        self._settled = 0  # earned with channels of which the money has arrived
        client.on_proposal = self._judge_proposal
        client.on_update = self._judge_update
        client.on_event = self._on_event
        for channel in client.channels.values():
            if FUNDING <= channel.phase < FINAL:
                self._begin(channel)

    def jobs(self):
        """What runs all the time: pairs of a name and a coroutine function."""
        return (
            ("charger", self.charger.run),
            ("charging", self._watch_charging),
            ("silence", self._watch_silence),
        )

    def commands(self):
        """What the console obeys beyond every device's commands: there is nothing."""
        return {}

    def energy_off(self):
        """Open the relay, whatever else is going on."""
        self.charger.switch(False)

    def status(self):
        """What the console shows of this application."""
        channel = self._channel
        opened = [c for c in self._client.channels.values() if c.phase >= FUNDING]
        return {
            "delivered_wh": self._delivered() if channel else 0,
            "paid_wh": self._paid() if channel else 0,
            "charging": self.charger.closed,
            "earned": self._settled + sum(earned(c) for c in opened),
        }

    # -- the rules --------------------------------------------------------------------------------

    def _judge_proposal(self, proposal):
        """Assets, deposit and challenge duration are within the limits: the client has looked."""
        for channel in list(self._client.channels.values()):
            if channel.phase == INIT_SIGNING and not channel.peer.connected:
                self._client.forget(channel)  # nothing was deposited
            elif channel is self._void and channel.phase == FUNDING:
                self._client.forget(channel)  # a car that did not deposit keeps no other away
            elif channel.phase < FINAL:
                return "the station is charging another car"
        for row, deposits in zip(proposal.init_bals.balances, proposal.funding_agreement):
            if row[1] != deposits[1]:
                return "the station must start with what it deposits"
        if energy(proposal.init_bals.balances[0][0], self._price) < 1:
            return "this buys no energy: a kWh costs %d" % self._price
        return None

    def _judge_update(self, channel, state):
        self._catching_up = False  # a payment of now
        old, new = channel.state.allocation.balances, state.allocation.balances
        gains = [n[channel.index] - o[channel.index] for o, n in zip(old, new)]
        if min(gains) < 0:
            return "an update must not lower the station's balance"
        if not state.is_final and gains[0] < self._min_payment:
            return "a payment is at least %d" % self._min_payment
        return None

    # -- charging ---------------------------------------------------------------------------------

    def _begin(self, channel):
        self._channel = channel
        self._checkpoint = 0
        # After a restart nobody knows how much of the last slice was delivered: all of it counts
        # as delivered, so that no energy is given twice.
        self._meter_start = self.charger.wh - self._paid()

    def _delivered(self):
        return self.charger.wh - self._meter_start

    def _paid(self):
        return energy(earned(self._channel), self._price)

    def _control(self):
        channel = self._channel
        paid_for = channel and channel.phase == ACTING and self._delivered() < self._paid()
        self.charger.switch(bool(paid_for))

    async def _watch_charging(self):
        """See to it that nothing but payment keeps the relay closed, and checkpoint in pauses."""
        idle = 0
        while True:
            await asyncio.sleep(0.2)
            self._control()
            idle = 0 if self.charger.closed else idle + 0.2
            channel = self._channel
            if channel and idle >= self._pause and self._needs_checkpoint(channel):
                idle = 0
                await self._make_checkpoint(channel)

    def _needs_checkpoint(self, channel):
        return channel.phase == ACTING and channel.version > self._checkpoint

    async def _make_checkpoint(self, channel):
        version = channel.version
        try:
            await channel.checkpoint()
        except ClientError as error:
            self._console.event("no checkpoint", text=str(error))
            return
        self._checkpoint = version
        self._console.event("checkpoint", version=version)

    async def _watch_silence(self):
        """Settle a channel that only keeps the station. What fails is tried again."""
        idle = version = 0
        while self._settle_after:
            await asyncio.sleep(1)
            channel = self._channel
            idle += 1
            if not channel or channel.phase not in (ACTING, SIGNING):
                idle = 0
            elif self.charger.closed or channel.version != version:
                idle, version = 0, channel.version
            elif idle >= self._settle_after:
                idle = 0
                await self._settle(channel)

    async def _settle(self, channel):
        self._console.event("settling", version=channel.version, peer=channel.peer.connected)
        try:
            if channel.peer.connected:
                try:
                    return await channel.close()
                except (ClientError, ValueError, MemoryError) as error:
                    self._console.event("no agreement", text=str(error))
            await channel.dispute()
        except (ClientError, MemoryError) as error:
            self._console.event("no dispute", text=str(error))

    def _on_event(self, channel, kind, detail):
        self._console.event("channel", id=channel.id[:4], kind=kind, detail=detail)
        if kind == SIGNED or kind == UPDATED and self._catching_up:
            self._begin(channel)
        elif kind in ("funding failed", "funding refused"):
            if not any(row[channel.index] for row in channel.machine.agreement):
                self._void = channel
        elif kind == WITHDRAWN_EVENT:
            self._settled += earned(channel)
            self._client.forget(channel)
        self._control()
