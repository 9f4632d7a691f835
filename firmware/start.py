"""Before a device runs: its configuration, its store, its key. Forgotten afterwards."""

import asyncio
import os
import sys

from console import Console
from perun.compat import borrowed
from perun.store import StoreError

CONFIG = "config.json"
STORE = "perun.journal"


def prepare():
    """(Console, settings, Account, store); no Account for a device that stopped while it was
    locked. Raises SystemExit with 2 for what its owner must fix, perhaps after safe mode."""
    console = Console()
    try:
        settings = borrowed("config").load(CONFIG)
    except ValueError as error:
        console.event("error", text=str(error))
        raise SystemExit(2)
    console = Console(settings["console"])
    store = None
    try:
        store = _open_store(settings["store"])
        account = _account(console, store)
    except (ValueError, StoreError) as error:  # also IdentityError
        salvage(console, settings, error, store)
    if not account:
        store.close()
    elif _on_repl(settings):
        from repl_port import share

        console = share(settings, console)
    return console, settings, account, store


def _on_repl(settings):
    """Whether the line to the service is the REPL's."""
    line = settings["service"]["serial"]
    return line and line["repl"]


def _open_store(kind):
    device = _partition(kind)
    if device:
        from perun.store.flash import FlashJournal

        return FlashJournal(device)
    from perun.store.journal import Journal

    return Journal(STORE)


def _salvaged(kind):
    """What can be read of a store that does not open."""
    device = None
    try:
        device = _partition(kind)
    except StoreError:
        pass
    form = "perun.store.salvage_flash" if device else "perun.store.salvage"
    return borrowed(form).salvage(device or STORE)


def _partition(kind):
    """The partition of its own on which the store lies, if the board has one and no file was
    begun; or None."""
    device = None
    if kind != "file":
        try:
            device = __import__("partition").channels()
        except ImportError:
            pass
        if not device and kind == "flash":
            raise StoreError("store: this firmware has no partition for channels: use our own")
    return device if kind == "flash" or not _exists(STORE) else None


def _exists(path):
    try:
        os.stat(path)
        return True
    except OSError:
        return False


def _account(console, store):
    """The Account, or None for a device that stopped before it got its PIN."""
    identity = borrowed("identity")
    try:
        return identity.load(store, None, lambda names: console.event("key made", sources=names))
    except identity.Locked as locked:
        return asyncio.run(borrowed("lock").unlocked(console, store, locked, identity.load))
    finally:
        sys.modules.pop("vault", None)


def board_jobs(device, config):
    """What the configuration says of the board itself: names with coroutine functions."""
    jobs = ()
    if borrowed("trial").on_trial():
        prove = borrowed("trial").prove
        jobs += (("trial", lambda: prove(device)),)
    if config["wifi"]:
        from wifi import Wifi

        jobs += (("wifi", Wifi(config["wifi"], device.console).run),)
    if config["witness"]:
        from links import service_dialer
        from perun.client.witness import Witness

        there, client = config["witness"], device.client
        patience = there["patience"] or None
        client.witness = Witness(client, service_dialer(there), there["address"], patience)
    if config["control"]:
        from control import door

        # A visit needs so many bytes of heap, and a payment beside it: charging comes first.
        room = 36864 if sys.maxsize >> 32 else 20480
        account = device.client.account
        jobs += (("control", door(config["control"], device.console, account, device, room)),)
    if config["hardware"]:
        from hardware import Hardware

        hardware = Hardware(config["hardware"], device.console)
        device.feed = hardware.feed
        jobs += hardware.jobs()
    return jobs


def salvage(console, settings, reason, store, account=None):
    """Run what is left for a device whose store cannot be trusted. Ends with SystemExit.

    A new version of the software that does not understand the store is an error instead: nothing
    has changed, and the version before it comes back.
    """
    if borrowed("trial").on_trial():
        raise RuntimeError("%s: the version before this one comes back" % reason)
    from safe import SafeMode

    if _on_repl(settings):
        from repl_port import leave

        leave(settings)
        console = Console(settings["console"])
    try:
        values = {key: store.get(key) for key in store.keys()}
    except (AttributeError, StoreError):
        values = _salvaged(settings["store"])
    asyncio.run(SafeMode(settings, console, reason, values, account).run())
    raise SystemExit(2)
