"""The entry of a device: `import main` on a board, `micropython -m main` on a computer.

Loads config.json of the current directory, the key and the channels from the store, and runs the
links and the application. A task that dies is logged, the energy goes off, the task is started
again.
"""

import asyncio
import gc
import sys

from perun.chain.address import to_checksum
from perun.compat import MICROPYTHON, borrowed, const

# Collect after so many bytes: what stays must not lie between garbage.
_GARBAGE = const(4096)
_LONGEST_PAUSE = const(30)  # seconds before a task that died again and again is started anew


class Device:
    """A device of a checked configuration, an account, an open store and a console."""

    def __init__(self, config, account, store, console):
        from links import peering
        from perun.channel import Limits
        from perun.client import Client
        from perun.model import ether

        chain = config["chain"]
        limits = Limits(
            tuple(ether(chain["id"], asset["holder"]) for asset in chain["assets"]),
            tuple(asset["max_deposit"] for asset in chain["assets"]),
            chain["min_challenge_duration"],
            chain["max_challenge_duration"],
        )
        self.console = console
        self.client = Client(
            account, chain["id"], limits, config["receiver"], store, chain["generation"]
        )
        self.client.on_error = lambda text: console.event("warning", text=text)
        self.client.restore()
        self._service = config["service"]
        self._peering = peering(self.client, config["peer"], console)
        app = config["app"]
        self.name = app["module"]
        self.app = __import__(app["module"]).App(self.client, app, console, self._peering)
        self.stopped = asyncio.Event()
        self.feed = None  # a watchdog's, for work that keeps everything waiting
        self._more = borrowed("start").board_jobs(self, config)
        console.commands.update(self._commands())
        console.commands.update(self.app.commands())

    async def run(self):
        """Run everything until the command `stop`."""
        from links import service_dialer

        loop = asyncio.get_event_loop()
        loop.set_exception_handler(self._on_lost_error)
        dial = service_dialer(self._service)
        jobs = (
            ("service", lambda: self.client.guard(dial, self._service["address"])),
            ("peer", self._peering.run),
            ("console", self.console.run),
        )
        address = to_checksum(self.client.account.address)
        self.console.event("ready", app=self.name, address=address)
        tasks = [
            asyncio.create_task(self._supervise(*job))
            for job in jobs + self._more + self.app.jobs()
        ]
        await asyncio.sleep(0)  # all of them run once, which loads what they need
        if MICROPYTHON:
            gc.collect()
        try:
            await self.stopped.wait()
        finally:
            self.app.energy_off()
            for task in tasks:
                task.cancel()
        self.console.event("stopped")

    async def _supervise(self, name, work):
        pause = 1
        while True:
            try:
                return await work()
            except Exception as error:
                self._mishap(name, error)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _mishap(self, name, error):
        self.app.energy_off()
        self.console.event("task died", task=name, text=repr(error))
        if MICROPYTHON:
            sys.print_exception(error, sys.stderr)

    def _on_lost_error(self, _loop, context):
        """A task that nobody waits for died: a reader of a peer, say."""
        if context.get("exception"):
            self._mishap("background", context["exception"])

    def _commands(self):
        """Name -> coroutine function of the words that follow."""

        def late(name):
            return lambda *words: getattr(borrowed("commands"), name)(self, *words)

        names = ("close", "dispute", "export", "pin", "stop")
        commands = {name: late(name) for name in names}
        commands["status"] = lambda: borrowed("status").status(self)
        return commands


def main():
    """Run the device of the current directory. SystemExit with 2 for what its owner must fix."""
    if MICROPYTHON:
        gc.threshold(_GARBAGE)
    # What this needs is dropped before the rest is loaded.
    console, settings, account, store = borrowed("start").prepare()
    if not account:
        return
    gc.collect()
    try:
        device = Device(settings, account, store, console)
    except ValueError as error:  # channels of another format
        borrowed("start").salvage(console, settings, error, store, account)
    del settings
    gc.collect()
    try:
        asyncio.run(device.run())
    finally:
        store.close()


if __name__ == "__main__":
    main()
