"""The part of MessagePack that the compact codec speaks: unsigned integers, bytes, texts, arrays,
booleans and nil, each in its shortest form and in no other.

A reader asks for the type it expects, so nothing is built before it is checked: no recursion, no
allocation by a length that the bytes do not cover, and one accepted encoding for every value.
README.md says why this is not one of the libraries.
"""

from perun.compat import const
from perun.wire import WireError

_NIL = const(0xC0)
_FALSE = const(0xC2)
_BIN8 = const(0xC4)
_BIN16 = const(0xC5)
_UINT8 = const(0xCC)
_UINT64 = const(0xCF)
_STR8 = const(0xD9)
_ARRAY16 = const(0xDC)
_FIXARRAY = const(0x90)
_FIXSTR = const(0xA0)


class Writer:
    """Appends values to `out`, a bytearray. The caller has checked types and ranges."""

    def __init__(self):
        self.out = bytearray()

    def nil(self):
        self.out.append(_NIL)

    def boolean(self, value):
        self.out.append(_FALSE + bool(value))

    def integer(self, value):
        """0 <= value < 2**64."""
        if value < 0x80:
            self.out.append(value)
            return
        tag = _UINT8
        size = 1
        while value >> (8 * size):
            tag += 1
            size *= 2
        self.out.append(tag)
        self.out.extend(value.to_bytes(size, "big"))

    def big(self, value):
        """0 <= value < 2**256: an integer below 2**64, big-endian bytes from there on."""
        if value >> 64:
            self.binary(value.to_bytes(32, "big").lstrip(b"\0"))
        else:
            self.integer(value)

    def binary(self, value):
        """At most 65535 bytes."""
        size = len(value)
        if size < 0x100:
            self.out.append(_BIN8)
        else:
            self.out.append(_BIN16)
            self.out.append(size >> 8)
        self.out.append(size & 0xFF)
        self.out.extend(value)

    def string(self, value):
        """At most 255 bytes of UTF-8."""
        size = len(value)
        if size < 32:
            self.out.append(_FIXSTR | size)
        else:
            self.out.append(_STR8)
            self.out.append(size)
        self.out.extend(value)

    def array(self, count):
        """The head of an array of at most 65535 values."""
        if count < 16:
            self.out.append(_FIXARRAY | count)
        else:
            self.out.append(_ARRAY16)
            self.out.append(count >> 8)
            self.out.append(count & 0xFF)


class Reader:
    """Takes values from `body` (bytes-like), front to back. Every method may raise WireError."""

    def __init__(self, body):
        self._body = body
        self._at = 0
        self._end = len(body)

    def end(self):
        """Nothing may follow."""
        if self._at != self._end:
            raise WireError("%d bytes too many" % (self._end - self._at))

    def peek(self):
        """The first byte of the next value."""
        if self._at == self._end:
            raise WireError("the message ends early")
        return self._body[self._at]

    def _byte(self):
        value = self.peek()
        self._at += 1
        return value

    def _take(self, size):
        at = self._at
        if size > self._end - at:
            raise WireError("the message ends early")
        self._at = at + size
        return bytes(self._body[at : at + size])

    def _number(self, size, least):
        # The number after a tag; below `least` a shorter form exists.
        value = int.from_bytes(self._take(size), "big")
        if value < least:
            raise WireError("a number or length is not in its shortest form")
        return value

    def skip_nil(self):
        """True, and past it, if the next value is nil."""
        if self.peek() != _NIL:
            return False
        self._at += 1
        return True

    def boolean(self):
        value = self._byte() - _FALSE
        if value not in (0, 1):
            raise WireError("a boolean is expected")
        return value == 1

    def integer(self):
        """An int below 2**64."""
        tag = self._byte()
        if tag < 0x80:
            return tag
        if not _UINT8 <= tag <= _UINT64:
            raise WireError("an unsigned integer is expected")
        size = 1 << (tag - _UINT8)
        return self._number(size, 0x80 if size == 1 else 1 << (4 * size))

    def big(self):
        """An int below 2**256, see Writer.big()."""
        if self.peek() != _BIN8:
            return self.integer()
        value = self.binary(9, 32)
        if not value[0]:
            raise WireError("an amount is not in its shortest form")
        return int.from_bytes(value, "big")

    def binary(self, least, most):
        """Bytes whose length is within these bounds."""
        tag = self._byte()
        if tag == _BIN8:
            size = self._byte()
        elif tag == _BIN16:
            size = self._number(2, 0x100)
        else:
            raise WireError("bytes are expected")
        if not least <= size <= most:
            raise WireError("%d bytes where %d to %d are expected" % (size, least, most))
        return self._take(size)

    def string(self):
        """The bytes of a string, at most 255."""
        tag = self._byte()
        if tag & 0xE0 == _FIXSTR:
            return self._take(tag & 0x1F)
        if tag != _STR8:
            raise WireError("a text is expected")
        return self._take(self._number(1, 32))

    def array(self, least, most):
        """The head of an array: its count, within these bounds."""
        tag = self._byte()
        if tag & 0xF0 == _FIXARRAY:
            count = tag & 0x0F
        elif tag == _ARRAY16:
            count = self._number(2, 16)
        else:
            raise WireError("an array is expected")
        if not least <= count <= most:
            raise WireError("%d values where %d to %d are expected" % (count, least, most))
        return count
