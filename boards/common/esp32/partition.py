"""The parts of an ESP32's flash under our firmware: files, and the channels' own flash.

They are named in partitions-*.csv. MicroPython's own _boot.py mounts the files, and formats only
what is erased.
"""

from esp32 import Partition


def _find(name):
    found = Partition.find(Partition.TYPE_DATA, label=name)
    return found[0] if found else None


def files():
    """The block device of the file system."""
    return _find("vfs")


def channels():
    """The block device of the channels, or None: a firmware from micropython.org has none."""
    return _find("channels")
