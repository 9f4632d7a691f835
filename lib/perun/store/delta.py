"""What differs between two values, in few bytes: a payment changes little of its channel's record.

A delta is a list of: offset and length (12 bits each) of what is copied from the old value, the
number (u8) of new bytes that follow it, and these.
"""

from perun.compat import const

_LEAST = const(6)  # bytes that are worth a copy
_MOST = const(4095)
_LITERALS = const(255)


def changes(old, new):
    """The delta that makes `new` of `old`; both have at most 4096 bytes."""
    delta = bytearray()
    source = length = 0  # what is copied
    start = at = 0  # new[start:at] follows it
    while at < len(new):
        found = -1
        if len(new) - at >= _LEAST:
            window = new[at : at + _LEAST]
            found = old.find(window, source + length)
            if found < 0:
                found = old.find(window)
        if found < 0:
            at += 1
            if at - start < _LITERALS:
                continue
        _note(delta, source, length, new[start:at])
        source = max(found, 0)
        length = 0 if found < 0 else _alike(old, found, new, at)
        start = at = at + length
    _note(delta, source, length, new[start:])
    return bytes(delta)


def _note(delta, source, length, literals):
    if length or literals:
        delta.extend(
            bytes((source >> 4, (source & 15) << 4 | length >> 8, length & 255, len(literals)))
        )
        delta.extend(literals)


def _alike(old, source, new, at):
    """How many bytes are the same from old[source] and new[at] on."""
    most = min(len(old) - source, len(new) - at, _MOST)
    length = 0
    step = 64
    while step:
        ahead = min(step, most - length)
        mine = old[source + length : source + length + ahead]
        if ahead and mine == new[at + length : at + length + ahead]:
            length += ahead
        else:
            step >>= 1
    return length


def apply(old, delta):
    """The value that `delta` makes of `old`."""
    new = bytearray()
    at = 0
    while at < len(delta):
        source = delta[at] << 4 | delta[at + 1] >> 4
        length = (delta[at + 1] & 15) << 8 | delta[at + 2]
        literals = at + 4
        at = literals + delta[at + 3]
        new.extend(old[source : source + length])
        new.extend(delta[literals:at])
    return bytes(new)
