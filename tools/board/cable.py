"""A charging cable for virtual boards: while the relay is closed, the meters count.

The next Wh begins when the board has seen the pulse before, so a relay that opens with the last
paid Wh lets no other one through: as on a line that is slow against a microcontroller.
"""

from __future__ import annotations

import threading
import time
from typing import Self

from board.definitions import BoardError
from board.virtual import Virtual


class ChargingCable:
    """station: the board whose relay lets energy flow; car: counts what arrives, if there is one.

    rate    Wh per second
    wh      how many have flowed
    """

    def __init__(self, station: Virtual, car: Virtual | None = None, rate: int = 200) -> None:
        self._station, self._car = station, car
        self._pause = 1 / rate
        self._end = threading.Event()
        self.wh = 0
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        relay = str(self._station.board.pins["relay"])
        while not self._end.wait(self._pause):
            if not self._station.pins.get(relay):
                continue
            self.wh += 1
            for one in (self._car, self._station):
                if one is not None and one.running:
                    try:
                        one.pulse(one.board.pins["meter"])
                    except BoardError:  # it was switched off meanwhile
                        time.sleep(self._pause)
