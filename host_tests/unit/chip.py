"""The flash of a board in RAM, whose power fails at an operation of the test's choice."""

from support import Random

BLOCK = 4096  # what an erase operation clears
PAGE = 256  # what a program operation writes
_EIO = -5

# What the operation at which the power fails has done.
NOTHING = "nothing"
HALF = "half"  # a part of its bytes
NOISE = "noise"  # a part, and the rest is unstable: some of its bits


class Flash:
    """NOR flash behind a board's interface of block devices.

    Programming can only clear bits; what is not erased before shows as damage. image: bytes of an
    earlier Flash, or None for a new chip.
    """

    def __init__(self, blocks=24, image=None, writable=True):
        self.image = bytearray(image) if image else bytearray(b"\xff" * blocks * BLOCK)
        self.blocks = len(self.image) // BLOCK
        self.programs = self.erases = 0
        self.wear = [0] * self.blocks  # erases of each block
        self.writable = writable
        self._left = None  # operations until the power fails
        self._how = NOTHING
        self._random = None
        self._calls = 0  # since the power failed

    def fail_after(self, operations, how=NOTHING, seed=1):
        """Let this many more programs and erases succeed, then cut the power in the next one."""
        self._left = operations
        self._how = how
        self._random = Random(seed)

    @property
    def dead(self):
        """True when the power has failed."""
        return self._left is not None and self._left < 0

    def readblocks(self, block, buffer, offset=0):
        if self.dead:
            self._call()
            return _EIO
        start = block * BLOCK + offset
        buffer[:] = memoryview(self.image)[start : start + len(buffer)]

    def writeblocks(self, block, buffer, offset=0):
        if not self.writable:
            return -30  # EROFS
        assert offset % PAGE == 0 and len(buffer) % PAGE == 0
        start = block * BLOCK + offset
        for at in range(0, len(buffer), PAGE):
            page = memoryview(buffer)[at : at + PAGE]
            if not self._power():
                self._tear(start + at, page)
                return _EIO
            self._program(start + at, page)
            self.programs += 1

    def ioctl(self, operation, argument):
        if operation == 4:
            return self.blocks
        if operation == 5:
            return BLOCK
        if operation == 6:
            if not self.writable:
                return -30
            erased = b"\xff" * BLOCK
            start = argument * BLOCK
            if not self._power():
                self._tear(start, erased, True)
                return _EIO
            self.image[start : start + BLOCK] = erased
            self.erases += 1
            self.wear[argument] += 1
        return 0

    def _power(self):
        """One operation begins: False when it is the last one, or one after that."""
        if self._left is None:
            return True
        if self.dead:
            self._how = NOTHING
            self._call()
            return False
        self._left -= 1
        return self._left >= 0

    def _call(self):
        self._calls += 1
        assert self._calls < 1000, "the file system does not notice that the flash is dead"

    def _program(self, start, page):
        if self.image[start : start + len(page)] != b"\xff" * len(page):
            raise AssertionError("a page is programmed that is not erased")
        self.image[start : start + len(page)] = page

    def _tear(self, start, data, erase=False):
        """The operation is cut short."""
        if self._how == NOTHING:
            return
        done = self._random.below(len(data))
        self.image[start : start + done] = data[:done]
        if self._how == NOISE:
            for i in range(done, len(data)):
                noise = self._random.bits32() & 0xFF
                self.image[start + i] = self.image[start + i] | noise if erase else data[i] | noise
