"""What a charging station keeps in the heap of an RP2040, by the model of board_ram.py.

loaded  its live heap on the x64 VM, less what the .mpy files of its modules have in it; half
        of what is left, for words are half as long; the memory of the curve; and the content
        of the board's .mpy files
romfs   its live heap on the x64 VM with the modules in a ROMFS (romfs.py), halved but for the
        memory of the curve. A ROMFS leaves their structures in RAM, and some of the names
frozen  `loaded` without the content of the modules: the firmware has that. At most, for it
        has the names' tables and the functions' descriptions as well
needed  `frozen`, and half of what a moment needs besides on the x64 VM, with a ROMFS
"""

from __future__ import annotations

import subprocess

from bench import board_ram
from bench.size import ROOT

_ARCH = "armv6m"
# What a station with a file for a journal has in memory all the time, in both VMs.
_MODULES = [
    *("main", "links", "ev_station", "cable", "perun.__init__", "perun.compat"),
    *("perun.client.__init__", "perun.channel.__init__", "perun.link.__init__"),
    *("perun.store.__init__", "perun.store.journal"),
    *("perun.crypto.keccak", "perun.crypto.secp256k1"),
]
_X64 = ["perun.crypto._keccak_viper", "perun.crypto._secp256k1_viper64"]
_BOARD = ["perun.crypto._keccak_thumb", "perun.crypto._secp256k1_thumb"]


def measure(live: int, romfs_live: int, romfs_heap: int) -> dict[str, int]:
    """live, romfs_live, romfs_heap: station's live_heap_bytes, romfs_live_bytes and
    romfs_heap_bytes."""
    subprocess.run(["make", "-s", "mpy", f"ARCH={_ARCH}"], cwd=ROOT, check=True)
    kept = board_ram.model(live, _MODULES + _X64, _MODULES + _BOARD, _ARCH)
    return {
        f"live_heap_bytes_{_ARCH}_modelled": kept.loaded,
        f"live_heap_bytes_{_ARCH}_modelled_romfs": (romfs_live + kept.buffers) // 2,
        f"live_heap_bytes_{_ARCH}_modelled_frozen": kept.frozen,
        f"needed_heap_bytes_{_ARCH}_modelled_frozen": kept.frozen + (romfs_heap - romfs_live) // 2,
    }
