"""A charging cable between two processes of one computer.

The station's end pushes energy while its relay is closed: one UDP datagram to the car's end per
Wh. The meters count the Wh that leave here and arrive there. Everything else of the devices is
what runs on a board.
"""

import asyncio
import socket
import time

from charger import Charger
from perun.compat import const

_TICK = const(5)  # milliseconds

FIELDS = {
    "end": (..., "one_of", "station", "car"),
    "port": (..., "number", 1, 65535, "a port"),  # where the car's meter listens
    "wh_per_second": (500, "number", 1, 100000, "Wh"),  # how fast the station can push
}


class Driver(Charger):
    """One end of the cable."""

    def __init__(self, settings):
        super().__init__()
        self._rate = settings["wh_per_second"]
        self._is_station = settings["end"] == "station"
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        place = socket.getaddrinfo("127.0.0.1", settings["port"])[0][-1]
        if self._is_station:
            self._socket.connect(place)
        else:
            self._socket.bind(place)
        self._socket.setblocking(False)

    async def run(self):
        """Carry energy, for ever."""
        await (self._push() if self._is_station else self._measure())

    async def _push(self):
        credit, last = 0, time.ticks_ms()  # credit: Wh/1000 that were not pushed yet
        while True:
            await asyncio.sleep_ms(_TICK)
            now = time.ticks_ms()
            elapsed, last = time.ticks_diff(now, last), now
            credit = credit + elapsed * self._rate if self.closed else 0
            while credit >= 1000 and self.closed:
                credit -= 1000
                self._pulse()

    def _pulse(self):
        try:
            self._socket.send(b"\x01")
        except OSError:
            pass  # nothing is plugged in: the energy is gone all the same
        self.count(1)

    async def _measure(self):
        stream = asyncio.StreamReader(self._socket)
        while True:
            # One byte per Wh; a read may take several datagrams at once.
            self.count(len(await stream.read(8)))
