"""A device whose key needs a PIN: nothing but the console runs until somebody types it.

The service goes on watching meanwhile: it needs no device for that. Forgotten when it has done its
work.
"""

import asyncio
import time

import vault


async def unlocked(console, store, locked, load, feed=None):
    """The Account, or None if the device is to stop.

    locked: identity.Locked; load: identity.load; feed: for a watchdog.
    """
    found = []
    done = asyncio.Event()
    wait = [time.time() + vault.pause(vault.wrong_tries(store))]  # a restart does not shorten it

    async def unlock(pin=""):
        """Try a PIN."""
        left = wait[0] - time.time()
        if left > 0:
            text = "too many wrong PINs: wait %d s, then try again"
            raise vault.WrongPin(text % -int(-left // 1))
        try:
            found.append(load(store, pin, None, feed))
        except vault.WrongPin:
            wait[0] = time.time() + vault.pause(vault.wrong_tries(store))
            raise
        done.set()

    async def status():
        console.event("status", locked=True, wrong_pins=vault.wrong_tries(store), address=address)

    async def stop():
        done.set()

    from perun.chain.address import to_checksum

    address = to_checksum(locked.address)
    console.commands = {"unlock": unlock, "status": status, "stop": stop}
    console.event("locked", address=address, text='type "unlock" and the PIN')
    listening = asyncio.create_task(console.run())
    try:
        await done.wait()
    finally:
        listening.cancel()
        console.commands = {}
    await asyncio.sleep(0)
    return found[0] if found else None
