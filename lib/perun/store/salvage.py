"""What can still be read in a damaged journal file. It only reads; for a device in safe mode."""

import binascii
import struct

from perun.compat import const

_HEADER_SIZE = const(20)  # the format is journal.py's
_FIRST = b"uPJ1" + bytes(16)  # the header of a journal that was never rewritten
_HEAD = ">HBI"
_HEAD_SIZE = const(7)


def salvage(path):
    """key -> newest readable value. Nothing of a file that cannot be read at all.

    Values may be older than what was stored last: never sign by them.
    """
    found = {}
    try:
        with open(path, "rb") as file:
            # The header itself may be what is damaged.
            chains = (binascii.crc32(file.read(_HEADER_SIZE)), binascii.crc32(_FIRST))
            head = file.read(_HEAD_SIZE)
            while len(head) == _HEAD_SIZE:
                length, key_length, stored = struct.unpack(_HEAD, head)
                payload = file.read(length)
                kind = length << 8 | key_length
                if any(binascii.crc32(payload, chain ^ kind) == stored for chain in chains):
                    found[payload[:key_length]] = payload[key_length:]
                chains = (stored,)  # a damaged record still tells how the next one begins
                head = file.read(_HEAD_SIZE)
    except (OSError, MemoryError):
        pass
    return {key: value for key, value in found.items() if value}
