"""Charging hardware: a relay that lets energy flow, a meter that counts what flowed.

A driver is a module with FIELDS (what it takes in the configuration, see config.py) and a class
Driver(settings) that extends Charger. `pins` drives a relay and a pulse meter on a board.
"""


class Charger:
    """The interface of a driver. A car has no relay of its own: switch() does nothing there."""

    def __init__(self):
        self.wh = 0  # what the meter counted since the device started
        self.closed = False  # whether the relay lets energy flow
        # Called after each pulse of the meter, so that a relay opens with the pulse that
        # completes what was paid. A plain function that must be quick.
        self.on_pulse = lambda: None

    def switch(self, closed):
        """Close or open the relay; safe to call again and again."""
        if closed != self.closed:
            self.closed = closed
            self._drive(closed)

    def _drive(self, closed):
        """Move the relay. For the driver."""

    def count(self, wh):
        """The meter counted `wh` more. For the driver."""
        self.wh += wh
        self.on_pulse()

    async def run(self):
        """What the driver has to do all the time."""


def load(settings):
    """The Charger of a checked configuration part."""
    return __import__(settings["module"]).Driver(settings)
