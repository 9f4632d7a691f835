"""An electric car: pays for energy slice by slice, in advance, and believes its own meter.

The next slice is paid when the meter shows that the last one has arrived. So what the car can
lose is one slice, and it stops by itself when energy stays away.
"""

import asyncio

from charger import load as load_charger
from perun.channel import ACTING, FINAL, FUNDING, WITHDRAWN_EVENT
from perun.client.handle import ClientError
from perun.link import LinkError
from tariff import cost, earned, energy

# What the configuration says of this application (config.py explains the table).
FIELDS = {
    "price_per_kwh": (..., "amount", 1),
    "slice_wh": (100, "number", 1, 1000000, "Wh"),
    "deposit": (..., "amount", 1),
    "station_deposit": (0, "amount"),
    "challenge_duration": (3600, "number", 1, (1 << 64) - 1, "seconds"),
    # Seconds without energy after which the car gives up.
    "patience": (15, "number", 1, 86400, "seconds"),
    # Slices of a channel that may get lost by power cuts at the station before the car gives up.
    "lost_slices": (3, "number", 0, 1000, "slices"),
    # Whether the channel is closed when the wanted energy is there, or kept for the next time.
    "close_when_charged": (True, "flag"),
    "charger": (..., "part"),
}


class App:
    """client: perun.client.Client; settings: checked FIELDS; console: Console; peering: knows
    the station."""

    def __init__(self, client, settings, console, peering):
        self._client = client
        self._console = console
        self._peering = peering
        self._settings = settings
        self._price = settings["price_per_kwh"]
        self.charger = load_charger(settings["charger"])
        self.charger.on_pulse = self._on_pulse
        self._awaited = 0  # what the meter must show for the next payment
        self._arrived = asyncio.Event()
        self._wanted = 0  # Wh that are still to be charged
        self._order = asyncio.Event()
        self._channel = None
        self._meter_start = 0  # what the meter showed when the channel began
        self._lost = [0, 0]  # slices of which energy was written off in this channel; that, in Wh
        self._settled = 0  # spent with channels that are settled
        self._trouble = None  # why the channel does not open
        client.on_event = self._on_event
        for channel in client.channels.values():
            if FUNDING <= channel.phase < FINAL:
                self._begin(channel)

    def jobs(self):
        """What runs all the time: pairs of a name and a coroutine function."""
        return (("charger", self.charger.run), ("charging", self._serve_orders))

    def commands(self):
        """What the console obeys: name -> coroutine function of the words that follow."""
        return {"charge": self.charge}

    def energy_off(self):
        """A car has no relay: not paying is what stops the energy."""

    def status(self):
        """What the console shows of this application."""
        channel = self._channel
        opened = [c for c in self._client.channels.values() if c.phase >= FUNDING]
        return {
            "wanted_wh": self._wanted,
            "charging": self._wanted > 0,
            "delivered_wh": self._delivered() if channel else 0,
            "paid_wh": self._paid() if channel else 0,
            "lost_wh": self._lost[1],
            "spent": self._settled - sum(earned(c) for c in opened),
        }

    async def charge(self, wh):
        """The command: charge so many Wh."""
        if not wh.isdigit() or not 0 < int(wh) <= 1000000:
            raise ValueError("charge WH, a number from 1 to 1000000")
        if self._wanted:
            raise ValueError("the car is charging")
        self._wanted = int(wh)
        self._order.set()

    # -- charging ---------------------------------------------------------------------------------

    async def _serve_orders(self):
        while True:
            await self._order.wait()
            self._order.clear()
            try:
                await self._charge()
            except (ClientError, LinkError, ValueError) as error:
                self._console.event("charging failed", text=str(error))
            finally:
                self._wanted = 0

    async def _charge(self):
        channel = self._channel
        if not channel or channel.phase >= FINAL:
            channel = await self._propose()
        await self._opened(channel)
        goal = self._paid() + self._wanted
        while self._paid() < goal:
            links = self._peering.links
            await self._buy(channel, min(self._paid() + self._settings["slice_wh"], goal))
            if not await self._received(self._paid(), links):
                self._console.event("no energy", paid_wh=self._paid())
                break
        self._console.event(
            "charged",
            version=channel.version,
            delivered_wh=self._delivered(),
            paid_wh=self._paid(),
        )
        if self._settings["close_when_charged"]:
            await channel.close()

    async def _propose(self):
        settings = self._settings
        peer = await self._peering.peer()
        deposits = [(settings["deposit"], settings["station_deposit"])]
        deposits += [(0, 0)] * (len(self._client.limits.assets) - 1)
        channel = await self._client.propose(peer, deposits, settings["challenge_duration"])
        self._begin(channel)
        return channel

    async def _opened(self, channel):
        """Wait for the money; the service may refuse or fail to deposit."""
        while channel.phase < ACTING:  # noqa: ASYNC110 - two things may happen
            if self._trouble:
                raise ClientError("%s: %s" % self._trouble)
            await asyncio.sleep(0.1)

    async def _buy(self, channel, total_wh):
        """Pay so much that `total_wh` are paid since the channel's start."""
        due = cost(total_wh, self._price) + earned(channel)
        await channel.pay(due, *[0] * (len(self._client.limits.assets) - 1))

    async def _received(self, wh, links):
        """Wait for the meter to show `wh`; False when energy stays away.

        links: how many links to the station there had been when this was bought.
        """
        self._awaited = wh
        while self._missing():
            before, link = self._missing(), self._peering.links
            self._arrived.clear()
            try:
                await asyncio.wait_for(self._arrived.wait(), self._settings["patience"])
            except asyncio.TimeoutError:
                await self._peering.peer()
                # A station that is just back needs its time.
                if self._missing() == before and self._peering.links == link:
                    return link != links and self._write_off()
        return True

    def _write_off(self):
        """A station that had no power does not know how much of the last slice it delivered, and
        counts all of it. False when that happens too often."""
        slices, wh = self._lost
        if slices >= self._settings["lost_slices"]:
            return False
        self._console.event("energy lost", wh=self._missing())
        self._lost = [slices + 1, wh + self._missing()]
        return True

    def _missing(self):
        """Wh that are awaited and have not arrived."""
        return max(0, self._awaited - self._delivered() - self._lost[1])

    def _on_pulse(self):
        if self._channel and not self._missing():
            self._arrived.set()

    def _begin(self, channel):
        self._channel = channel
        self._trouble = None
        self._lost = [0, 0]
        # After a restart what was paid counts as delivered, as it does at the station.
        self._meter_start = self.charger.wh - self._paid()

    def _delivered(self):
        return self.charger.wh - self._meter_start

    def _paid(self):
        return energy(-earned(self._channel), self._price)

    def _on_event(self, channel, kind, detail):
        self._console.event("channel", id=channel.id[:4], kind=kind, detail=detail)
        if kind in ("funding refused", "funding failed"):
            self._trouble = (kind, detail)
        elif kind == WITHDRAWN_EVENT:
            self._settled -= earned(channel)
            self._client.forget(channel)
