"""What unit tests share. Runs on CPython and on MicroPython, like the tests themselves."""

import json

_VECTORS = __file__.rsplit("/", 2)[0] + "/vectors/"


def raises(exception, function, *args, **kwargs):
    """Call function(*args, **kwargs), which must raise exception; return what it raised."""
    try:
        result = function(*args, **kwargs)
    except exception as error:
        return error
    raise AssertionError("no {}; returned {!r}".format(exception.__name__, result))


def vector_text(name):
    """The text of host_tests/vectors/<name>."""
    with open(_VECTORS + name) as file:
        return file.read()


def vector_json(name):
    """The parsed JSON of host_tests/vectors/<name>."""
    with open(_VECTORS + name) as file:
        return json.load(file)


class Random:
    """A small deterministic generator: the same seed gives the same values on both VMs."""

    def __init__(self, seed=1):
        self._state = (seed * 2654435761 ^ 0x9E3779B9) & 0xFFFFFFFF or 1

    def bits32(self):
        """The next integer of 32 bits (xorshift32)."""
        x = self._state
        x ^= x << 13 & 0xFFFFFFFF
        x ^= x >> 17
        x ^= x << 5 & 0xFFFFFFFF
        self._state = x
        return x

    def bytes(self, count):
        """count random bytes."""
        return bytes([self.bits32() >> 24 for _ in range(count)])

    def below(self, limit):
        """An integer from 0 up to limit - 1, of any size."""
        if limit < 1:
            raise ValueError("limit must be at least 1")
        value = words = 0
        while limit >> 32 * words:
            value = value << 32 | self.bits32()
            words += 1
        # One spare word keeps the remainder close enough to uniform.
        return (value << 32 | self.bits32()) % limit

    def between(self, first, last):
        """An integer from first up to last, both included."""
        return first + self.below(last - first + 1)

    def choice(self, sequence):
        """One element of a sequence."""
        return sequence[self.below(len(sequence))]

    def shuffle(self, items):
        """Reorder a list in place."""
        for i in range(len(items) - 1, 0, -1):
            j = self.below(i + 1)
            items[i], items[j] = items[j], items[i]
