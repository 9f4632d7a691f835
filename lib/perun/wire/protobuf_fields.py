"""Fields of protocol buffers: varints and length-delimited bytes, strictly bounded."""

from perun.wire import WireError


def put_varint(out, value):
    """Append 0 <= value < 2**64 to the bytearray `out`."""
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)


def put_bytes(out, number, data):
    """Append field `number` with these bytes (also a text or a message)."""
    put_varint(out, number << 3 | 2)
    put_varint(out, len(data))
    out.extend(data)


def varint(raw, at):
    """(value, where the next byte is) of the varint at raw[at], which has at most 10 bytes."""
    value = shift = 0
    while at < len(raw):
        byte = raw[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift == 70:
            break
    raise WireError("a varint is cut off or too long")


def fields(raw):
    """Generator over the fields of a message: (number, value).

    raw: memoryview; value: an int, or a memoryview of the field's bytes. Fixed-width fields, which
    no message here has, are passed over.
    """
    at = 0
    while at < len(raw):
        tag, at = varint(raw, at)
        number = tag >> 3
        wire = tag & 7
        if not 0 < number < 1 << 29:
            raise WireError("a field has no valid number")
        if wire == 0:
            value, at = varint(raw, at)
            yield number, value
            continue
        if wire == 2:
            size, at = varint(raw, at)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise WireError("unknown wire type %d" % wire)
        if size > len(raw) - at:
            raise WireError("a field is cut off")
        if wire == 2:
            yield number, raw[at : at + size]
        at += size
