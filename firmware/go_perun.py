"""Peers that are go-perun nodes: behind the service, or at the other end of a TCP connection.

Loaded only by a device whose configuration says so.
"""

import asyncio
import json
from binascii import unhexlify

from dialling import Dialling

_LIMIT = 2048  # bytes: addresses with RSA keys are long


class Bridged(Dialling):
    """The service speaks to the node; the link is a part of the session with it."""

    def __init__(self, client, settings, console):
        from perun.client.bridge import Bridge

        super().__init__(client, settings, console)
        name = settings["bridge"]
        client.bridge = Bridge(client, "" if name == "*" else name, self._on_state)

    async def run(self):
        """The job: the guardian does it."""
        await asyncio.Event().wait()

    def _on_state(self, name, connected, text):
        if connected:
            self._console.event("peer connected", name=name)
            self._peer = self._client.foreign(name)
            self.links += 1
            self._found.set()
        else:
            self._console.event("peer gone", name=name, text=text)


class Direct(Dialling):
    """Listens for a node, or keeps a link to it."""

    def __init__(self, client, settings, console):
        from perun.client.direct import Direct as Peers

        super().__init__(client, settings, console)
        name = settings["peer_name"]
        if settings["protocol"] == "go-perun-1":
            own, address = settings["name"].encode(), name.encode()
            self._peers = Peers(client, name, 1, own, address)
        else:
            own, address, proof = _identity(settings["identity"])
            self._peers = Peers(client, name, 2, own, address, proof)

    async def listen(self, tcp, here):
        """The server that lets the node in."""
        return await tcp.serve(here["host"], here["port"], self._peers.accept, _LIMIT, 3)

    async def connect(self, tcp, there):
        """The Peer at the other end of a fresh connection. Raises OSError."""
        link = await tcp.connect(there["host"], there["port"], _LIMIT, there["certificate"])
        return await self._peers.connect(link)


def _identity(path):
    """(own address, peer's address, own proof) from the file that `adoption identity` wrote."""
    try:
        with open(path) as file:
            found = json.load(file)
        return [unhexlify(found[name]) for name in ("address", "peer", "proof")]
    except (OSError, ValueError, KeyError, TypeError):
        raise ValueError(path + ": not an identity: make it with `adoption identity`")
