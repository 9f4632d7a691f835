"""Frames on a serial line, found again after any noise: COBS and a checksum between zeros.

In a module of their own because a device has either kind of link to its service.
"""

from binascii import crc32

from perun.compat import const
from perun.wire.frame import DEFAULT_LIMIT, check_length

_CRC = const(4)
_RUN = const(254)  # a COBS block holds at most so many bytes


def serial_frame(body):
    """The frame for this body on a serial line: zero, COBS of body and CRC-32, zero.

    COBS leaves no zero inside, so the first zero after any noise is where a frame may begin.
    """
    check_length(body)
    data = body + crc32(body).to_bytes(_CRC, "big")
    frame = bytearray(1)
    at = 0
    while at <= len(data):
        # A block: its length plus one, its bytes, and a zero in the data that it stands for
        # (none after a full block; the end of the data counts as one).
        zero = data.find(b"\0", at, at + _RUN)
        end = zero if zero >= 0 else min(at + _RUN, len(data))
        frame.append(end - at + 1)
        frame.extend(data[at:end])
        at = end if end - at == _RUN else end + 1
    frame.append(0)
    return bytes(frame)


class SerialDecoder:
    """Takes a serial stream apart. What is no whole frame is dropped; the next one is found.

    dropped: how many pieces between zeros were no frame (noise, damage, texts of a console).
    """

    def __init__(self, limit=DEFAULT_LIMIT):
        self._limit = limit + _CRC
        self.dropped = 0
        self._begin()

    def _begin(self):
        self._data = bytearray()  # of the frame under way
        self._left = 0  # bytes until the next length of a block
        self._zero = False  # the block stands for a zero unless the data ends with it
        self._bad = False  # too long: wait for the next zero

    def feed(self, chunk):
        """Generator: the body of every frame that ends in this chunk. Run it to its end."""
        for byte in chunk:
            if not byte:
                body = self._end()
                if body is not None:
                    yield body
            elif not self._bad:
                if self._left:
                    self._left -= 1
                    self._put(byte)
                else:
                    if self._zero:
                        self._put(0)
                    self._left = byte - 1
                    self._zero = byte <= _RUN

    def _put(self, byte):
        if len(self._data) == self._limit:
            self._bad = True
        else:
            self._data.append(byte)

    def _end(self):
        # What a zero ends: a body, or None. Two zeros in a row are the gap between two frames.
        size = len(self._data) - _CRC
        whole = size > 0 and not self._left and not self._bad
        nothing = not self._data and not self._left and not self._zero
        body = None
        if whole and crc32(memoryview(self._data)[:size]) == int.from_bytes(
            self._data[size:], "big"
        ):
            body = bytes(self._data[:size])
        elif not nothing:
            self.dropped += 1
        self._begin()
        return body
