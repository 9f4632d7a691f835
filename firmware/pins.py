"""Charging hardware at the pins of a board: a relay and a meter that gives pulses."""

from charger import Charger

FIELDS = {
    "meter_pin": (..., "number", 0, 127, "a pin"),
    "wh_per_pulse": (1, "number", 1, 1000, "Wh"),
    "relay_pin": (None, "number", 0, 127, "a pin"),  # a car has none
    "relay_active_low": (False, "flag"),
}


class Driver(Charger):
    """settings: checked FIELDS; Pin: machine.Pin, or what a test puts in its place."""

    def __init__(self, settings, Pin=None):
        super().__init__()
        if Pin is None:
            from machine import Pin
        self._active_low = settings["relay_active_low"]
        self._relay = None
        if settings["relay_pin"] is not None:
            # The level comes with the direction: the relay must not click at boot.
            self._relay = Pin(settings["relay_pin"], Pin.OUT, value=int(self._active_low))
        self._wh = settings["wh_per_pulse"]
        self._meter = Pin(settings["meter_pin"], Pin.IN, Pin.PULL_UP)
        self._meter.irq(lambda pin: self.count(self._wh), Pin.IRQ_FALLING)

    def _drive(self, closed):
        if self._relay:
            self._relay.value(int(closed != self._active_low))
