"""A charging station in a process of its own that speaks to nobody but its owner."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from contracts.ports import free_port
from demo.device import HEAP, Device


class Lonely(Device):
    """directory: its own; heap: of its VM; settings: further sections of its configuration."""

    def __init__(self, directory: Path, heap: str = HEAP, **settings: Any) -> None:
        asset = {"holder": "0x" + "5b" * 20, "max_deposit": "1000"}
        config = {
            "chain": {"id": 1337, "assets": [asset]},
            "receiver": "0x" + "11" * 20,
            "service": {"tcp": {"host": "127.0.0.1", "port": 9}},
            "peer": {"listen": {"host": "127.0.0.1", "port": free_port()}},
            "app": {
                "module": "ev_station",
                "price_per_kwh": "1000",
                "charger": {"module": "cable", "end": "station", "port": free_port()},
            },
            "console": "json",
        }
        super().__init__("station", directory, {**config, **settings}, heap)
