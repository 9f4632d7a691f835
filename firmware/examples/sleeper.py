"""A device that sleeps between payments: it wakes, pays one slice, and sleeps again.

Deep sleep ends with a reset, so each wake is a restart: the channel comes from the store, and
nothing is signed before the peer and the service have shown what they hold. Whatever fails, the
next wake tries again, and a payment that was signed goes on as the very same one.
"""

import asyncio

import identity
from perun.chain.address import from_text
from perun.channel import FINAL, FUNDING, SIGNING, Limits
from perun.client import Client
from perun.link import tcp
from perun.model import ether
from perun.store.journal import Journal

ETHER = ether(1337, from_text("0x5FbDB2315678afecb367f032d93F642f64180aa3"))  # asset holder
OWNER = from_text("0x70997970C51812dc3A010C7d01b50e0d17dc79C8")  # gets back what is left
DEPOSIT, DURATION = 10**15, 600  # wei, seconds for a dispute
SLICE = 10**12  # wei for each wake
AWAKE, ASLEEP = 60, 600  # seconds: the most, and the pause


async def wake(client, service, station, pins):
    """Pay a slice, or finish what the last wake began."""
    for channel in client.restore():
        if channel.phase < FUNDING:  # nothing was deposited
            client.forget(channel)
    guard = asyncio.create_task(client.guard(lambda: tcp.connect(*service, 1024, pins)))
    peer = await client.connect(await tcp.connect(*station))
    for channel in client.channels.values():
        break
    else:
        channel = await client.propose(peer, [(DEPOSIT, 0)], DURATION)
    await channel.until(lambda: not channel.machine.doubts, AWAKE)
    if channel.phase >= FINAL:  # the station has closed it
        await channel.settled(AWAKE)
        client.forget(channel)
        return
    await channel.opened(AWAKE)
    if channel.phase == SIGNING:  # the last wake's payment is on its way
        await channel.until(lambda: channel.phase != SIGNING, AWAKE)
    else:
        await channel.pay(SLICE)
    # The service need not hear of it at once: what it has is better for the one who pays.
    guard.cancel()


def run(service, station, pins=()):
    """One wake and the sleep after it; does not return.

    service, station: (host, port); pins: SHA-256 of the service's certificates, for TLS.
    """
    import machine

    store = Journal("sleeper.journal")
    client = Client(
        identity.load(store), 1337, Limits((ETHER,), (DEPOSIT,), 60, 86400), OWNER, store
    )
    client.on_error = print
    print(client.account)  # the service's operator lets this address in
    try:
        asyncio.run(asyncio.wait_for(wake(client, service, station, pins), AWAKE))
    except Exception as error:  # a wake that fails must not be the last one
        print("tried in vain:", repr(error))
    store.close()
    machine.deepsleep(ASLEEP * 1000)
