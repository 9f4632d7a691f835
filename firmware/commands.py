"""What every device obeys on its console: coroutine functions of the Device and further words.

Loaded for each command, and forgotten after it.
"""

import asyncio
import sys

from perun.channel import ACTING, FINAL, FUNDING


def _channels(device, phase):
    """From this phase on, and not final."""
    return [c for c in device.client.channels.values() if phase <= c.phase < FINAL]


async def close(device):
    """Settle the open channels together with their peers."""
    for channel in _channels(device, ACTING):
        await channel.close()


async def dispute(device):
    """Settle the channels without their peers, also those that wait for their deposits."""
    for channel in _channels(device, FUNDING):
        await channel.dispute()


async def export(device, channel=None, amount=None):
    """Show the newest signed states: with them anybody can settle on chain.

    `export CHANNEL AMOUNT`: a signed withdrawal of so much to the owner, from a channel that is
    over and that somebody has paid into since. It is worth nothing to anybody else.
    """
    client = device.client
    if channel:
        ident, amount = bytes.fromhex(channel[2:]), int(amount)
        if len(ident) != 32 or amount <= 0:
            raise ValueError("export CHANNEL AMOUNT: as `adoption late` shows them")
        digest = client.chain.withdrawal_hash(
            ident, client.account.address, client.receiver, amount
        )
        sig = client.chain.sign(client.account, digest)
        device.console.event(
            "export", channel=ident, receiver=client.receiver, amount=amount, sig=sig
        )
        return
    machines = [channel.machine for channel in client.channels.values()]
    for machine in machines + client.settled():
        state, sigs = machine.current
        channel = client.channels.get(machine.id)
        device.console.event(
            "export",
            params=machine.params,
            state=state,
            sigs=sigs,
            receipt=channel and channel.receipt,
        )
        await asyncio.sleep(0.05)  # a line may be slow, and there may be many


async def pin(device, *pins):
    """`pin NEW`, `pin OLD NEW`, `pin OLD -`: set, change or drop the PIN of the key."""
    if not 0 < len(pins) < 3:
        raise ValueError("pin NEW, pin OLD NEW, or pin OLD - to do without")
    old, new = pins if len(pins) == 2 else (None, pins[0])
    import identity

    try:
        new = None if new == "-" else new
        identity.change_pin(device.client.store, old, new, 2, device.feed)
    finally:
        for name in ("identity", "vault"):
            sys.modules.pop(name, None)
    device.console.event("pin changed")


async def stop(device):
    """End the device."""
    device.stopped.set()


def restart(device):
    """Start the board anew. Nothing comes between the relay and the reset."""
    if hasattr(device, "app"):  # not in safe mode
        device.app.energy_off()
        device.client.store.close()
    import machine

    machine.reset()
