"""The module `esp32` of a virtual board: its partitions."""

import vm
from flash import Region


class Partition(Region):
    """A partition of the table in the board's definition."""

    BOOT = 0
    RUNNING = 1
    TYPE_APP = 0
    TYPE_DATA = 1

    def __init__(self, name):
        if name in (self.BOOT, self.RUNNING):
            name = [row[0] for row in vm.settings("partitions") if row[1] == 0][0]
        for row in vm.settings("partitions"):
            if row[0] == name:
                self._row = row
                super().__init__(row[3], row[4])
                return
        raise OSError(2)

    @staticmethod
    def find(type=0, subtype=255, label=None, block_size=4096):
        """The partitions that fit."""
        return [
            Partition(row[0])
            for row in vm.settings("partitions")
            if row[1] == type and subtype in (255, row[2]) and label in (None, row[0])
        ]

    def info(self):
        """(type, subtype, address, size, label, encrypted)"""
        name, kind, subtype, start, size = self._row
        return kind, subtype, start, size, name, False
