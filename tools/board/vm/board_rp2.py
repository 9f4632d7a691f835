"""The module `rp2` of a virtual board: its flash."""

import vm
from flash import Region, SECTOR

_START, _SIZE = vm.settings("storage")


class Flash(Region):
    """Flash() is all that is not the firmware's; start and len choose a part of it."""

    def __init__(self, *, start=0, len=None):
        size = _SIZE - start if len is None else len
        if start % SECTOR or size % SECTOR or start < 0 or size <= 0 or start + size > _SIZE:
            raise ValueError
        super().__init__(_START + start, size)
