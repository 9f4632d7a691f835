"""Keeps a board in a wireless network: notices a loss, tries again with growing pauses."""

import asyncio

from perun.compat import const

_PATIENCE = const(15)  # seconds for one network
_LONGEST_PAUSE = const(60)


class Wifi:
    """networks: name -> password, tried in their order; console: Console; network: the module, or
    what a test puts in its place."""

    def __init__(self, networks, console, network=None):
        if network is None:
            import network
        self._networks = networks
        self._console = console
        self._station = network.WLAN(network.STA_IF)

    async def run(self, second=1):
        """The job: for ever. second: how long one lasts, for tests."""
        self._station.active(True)
        try:
            self._station.config(pm=self._station.PM_NONE)  # saving power costs seconds a payment
        except (AttributeError, ValueError, OSError, TypeError):
            pass  # not on this port
        pause = 1
        while True:
            if await self._connect(second):
                pause = 1
                while self._station.isconnected():  # noqa: ASYNC110 - no port tells by itself
                    await asyncio.sleep(second)
                self._console.event("wifi lost")
            else:
                self._console.event("no wifi", known=sorted(self._networks), pause=pause)
                await asyncio.sleep(pause * second)
                pause = min(2 * pause, _LONGEST_PAUSE)

    async def _connect(self, second):
        """Whether one of the networks let us in."""
        station = self._station
        for name in self._networks:
            try:
                station.connect(name, self._networks[name])
                for _ in range(_PATIENCE):
                    if station.isconnected():
                        address = station.ifconfig()[0]
                        self._console.event("wifi", network=name, address=address)
                        return True
                    await asyncio.sleep(second)
                station.disconnect()
            except OSError:
                pass  # the driver's word for "not now"
        return False
