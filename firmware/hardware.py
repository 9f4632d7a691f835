"""What a board has besides its charger: a watchdog, lamps, buttons.

The published demo's board had three lamps and buttons that paid and closed; here a button is a
command of the console.
"""

import asyncio
import time

from perun.compat import const

_DEBOUNCE = const(100)  # milliseconds

_BUTTON = {"pin": (..., "pin"), "command": (..., "text")}
FIELDS = {
    # Seconds; 0: none. An RP2040 counts to 8.3. Once begun it cannot be stopped.
    "watchdog": (0, "number", 0, 8, "seconds"),
    "alive_led": (None, "pin"),  # changes each second while the device runs
    "accepted_led": (None, "pin"),  # changes with each button that is obeyed
    "refused_led": (None, "pin"),  # changes with each one that is not
    "buttons": ((), "sections", _BUTTON, 8),  # close to ground
}


class Hardware:
    """settings: checked FIELDS; console: Console; machine: the module, or a test's."""

    def __init__(self, settings, console, machine=None):
        if machine is None:
            import machine
        self._console = console
        self._machine = machine
        self._timeout = settings["watchdog"]
        self._dog = None
        self._alive, self._accepted, self._refused = [
            self._lamp(settings[name]) for name in ("alive_led", "accepted_led", "refused_led")
        ]
        self._pressed = []
        self._flag = asyncio.ThreadSafeFlag()
        for button in settings["buttons"]:
            self._watch(button["pin"], button["command"])

    def jobs(self):
        """What runs all the time: pairs of a name and a coroutine function."""
        return (("pulse", self._beat), ("buttons", self._obey))

    def feed(self):
        """The watchdog's food, for work that keeps everything else waiting."""
        if self._dog:
            self._dog.feed()

    def _lamp(self, pin):
        return None if pin is None else self._machine.Pin(pin, self._machine.Pin.OUT, value=0)

    def _watch(self, number, command):
        kind = self._machine.Pin
        pin = kind(number, kind.IN, kind.PULL_UP)
        last = [time.ticks_ms() - _DEBOUNCE]

        def press(_):
            now = time.ticks_ms()
            if time.ticks_diff(now, last[0]) >= _DEBOUNCE:
                last[0] = now
                self._pressed.append(command)
                self._flag.set()

        pin.irq(press, kind.IRQ_FALLING)
        last.append(pin)  # a pin that nobody keeps is collected, and its interrupt with it

    async def _beat(self):
        """Feeds the watchdog as long as the tasks get their turns."""
        if self._timeout and not self._dog:
            self._dog = self._machine.WDT(timeout=self._timeout * 1000)
        while True:
            self.feed()
            _change(self._alive)
            await asyncio.sleep(1)

    async def _obey(self):
        while True:
            while self._pressed:
                words = self._pressed.pop(0).split()
                self._console.event("button", command=" ".join(words))
                try:
                    await self._console.commands[words[0]](*words[1:])
                    _change(self._accepted)
                except Exception as error:  # a button at the wrong moment is no fault
                    self._console.event("error", command=words[0], text=str(error) or repr(error))
                    _change(self._refused)
            await self._flag.wait()


def _change(lamp):
    if lamp:
        lamp.value(1 - lamp.value())
