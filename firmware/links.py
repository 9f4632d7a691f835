"""The device's links, as its configuration describes them."""

import asyncio

from perun.compat import const
from perun.link import LinkError

# The longest body to accept, bytes: whatever is said about channels of a few assets fits.
_LIMIT = const(1024)
_LINKS = const(3)  # a peer, its next link before the last one is noticed to be dead, a stranger


def service_dialer(settings):
    """A coroutine function that opens a fresh link to the service."""
    if settings["tcp"]:
        from perun.link import tcp

        there = settings["tcp"]
        pins = there["certificate"]
        return lambda: tcp.connect(there["host"], there["port"], _LIMIT, pins)
    from perun.link import serial

    line = settings["serial"]
    return lambda: serial.dial(line["path"] or _uart(line), line["baud"], _LIMIT)


def _uart(line):
    """A board's UART. Its pins are the port's own unless the configuration names them."""
    from machine import UART

    pins = {name: line[name] for name in ("tx", "rx") if line[name] is not None}
    return UART(line["uart"], line["baud"], rxbuf=_LIMIT, **pins)


def peering(client, settings, console):
    """The Peering of a checked configuration."""
    if settings["bridge"]:
        from go_perun import Bridged as kind
    elif settings["protocol"]:
        from go_perun import Direct as kind
    elif settings["dial"]:
        from dialling import Dialling as kind
    else:
        kind = Peering
    return kind(client, settings, console)


class Peering:
    """Listens for peers. `dialling` keeps a link to one."""

    def __init__(self, client, settings, console):
        self._client = client
        self._settings = settings
        self._console = console
        self.links = 0  # how many links to a dialled peer there have been

    async def run(self):
        """The job: for ever."""
        from perun.link import tcp

        here = self._settings["listen"]
        server = await self.listen(tcp, here)
        self._console.event("listening", port=here["port"])
        await server.wait_closed()
        raise LinkError("the listener ended")

    async def listen(self, tcp, here):
        """The server that lets peers in."""
        return await tcp.serve(here["host"], here["port"], self._client.accept, _LIMIT, _LINKS)

    async def peer(self, timeout=30):
        """The Peer that was dialled: there is none. Raises LinkError."""
        await asyncio.sleep(timeout)
        raise LinkError("the peer is not connected")
