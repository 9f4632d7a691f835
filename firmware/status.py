"""The command `status`: by itself, because tools ask for it all the time."""

import gc

from perun.chain.address import to_checksum
from perun.compat import MICROPYTHON


async def status(device):
    """Show how things stand."""
    client = device.client
    guardian = client.guardian
    gc.collect()
    shown = {
        "app": device.name,
        "address": to_checksum(client.account.address),
        "service": bool(guardian and guardian.connected),
        "channels": [_describe(channel) for channel in client.channels.values()],
        # What wears the flash, without names that would stay in memory (README.md)
        "store": (type(client.store).__name__,) + client.store.stats(),
    }
    if MICROPYTHON:
        shown["heap"] = {"used": gc.mem_alloc(), "free": gc.mem_free()}
    shown.update(device.app.status())
    device.console.event("status", **shown)


def _describe(channel):
    witness = channel.client.witness
    shown = {
        "id": channel.id,
        "phase": channel.phase,
        "version": channel.version,
        "watched": channel.watched,
        "registered": channel.registered,
        "balances": channel.state.allocation.balances,
        "peer": channel.peer.connected,
    }
    if witness:
        shown["witness"] = witness.reasons.get(channel.id)  # why the channel waits for it
    return shown
