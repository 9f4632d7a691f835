"""Frames on TCP and on a serial line: pieces of any size, noise, damage, limits."""

from perun.wire import WireError
from perun.wire.frame import TcpDecoder, tcp_frame
from perun.wire.serial import SerialDecoder, serial_frame
from support import Random, raises

SIZES = (1, 2, 3, 249, 250, 251, 253, 254, 255, 256, 300, 507, 508, 509, 2000, 2048)
BANNER = b'\r\nMicroPython v1.29.0 on 2026-08-01; unix with CPU\r\nType "help()".\r\n>>> \x04'


def feed(decoder, stream, step):
    """Everything that comes out when the stream goes in by pieces of `step` bytes."""
    bodies = []
    for at in range(0, len(stream), step):
        bodies.extend(decoder.feed(memoryview(stream)[at : at + step]))
    return bodies


def test_known_frames():
    assert tcp_frame(b"abc") == b"\0\x03abc"
    # CRC-32 of "123456789" is cbf43926
    assert serial_frame(b"123456789") == b"\0\x0e123456789\xcb\xf4\x39\x26\0"
    frame = serial_frame(b"1\x0034")
    assert frame[:5] == b"\0\x021\x0734"[:5] and len(frame) == 4 + 4 + 3


def test_frames_in_pieces():
    random = Random(1)
    bodies = [random.bytes(size) for size in SIZES]
    bodies += [bytes(255), b"\xff" * 254, b"\1" * 253 + b"\0", bytes(2048)]
    for make, frame in ((TcpDecoder, tcp_frame), (SerialDecoder, serial_frame)):
        stream = b"".join([frame(body) for body in bodies])
        for step in (1, 2, 7, 300, 5000, len(stream)):
            decoder = make()
            assert feed(decoder, stream, step) == bodies
            assert getattr(decoder, "dropped", 0) == 0


def test_a_serial_frame_has_zeros_at_its_ends_only():
    random = Random(2)
    for size in SIZES:
        for body in (bytes(size), random.bytes(size), b"\xff" * size):
            frame = serial_frame(body)
            assert frame[0] == frame[-1] == 0
            assert 0 not in frame[1:-1]
            assert len(frame) <= size + 4 + 3 + (size + 4) // 254


def test_serial_finds_the_next_frame_after_noise():
    random = Random(3)
    body = b"\0message\0"
    frame = serial_frame(body)
    noises = [b"", b"\0", b"\0\0\0", b"\xff", b"\1", b"\2", BANNER, BANNER * 100, frame[:-2]]
    noises += [random.bytes(random.below(600)) for _ in range(30)]
    for noise in noises:
        for after in (b"", BANNER, noise):
            decoder = SerialDecoder()
            assert feed(decoder, noise + frame + after + frame, 64) == [body, body]


def test_serial_drops_every_damaged_frame():
    body = bytes(range(40))
    frame = serial_frame(body)
    for at in range(1, len(frame) - 1):
        for damage in (0x01, 0x80, frame[at]):
            bad = bytearray(frame)
            bad[at] ^= damage
            decoder = SerialDecoder()
            assert feed(decoder, bytes(bad) + frame, 16) == [body]
            assert decoder.dropped
    decoder = SerialDecoder()
    assert feed(decoder, frame[:10] + frame[11:] + frame, 16) == [body]  # a byte is lost
    assert feed(decoder, frame[:10] + b"a" + frame[10:] + frame, 16) == [body]  # one too many
    assert decoder.dropped == 2


def test_limits():
    for size, good in ((99, True), (100, True), (101, False), (2000, False)):
        body = bytes([65]) * size
        decoder = SerialDecoder(100)
        assert feed(decoder, serial_frame(body) + serial_frame(b"next"), 33) == (
            [body, b"next"] if good else [b"next"]
        )
        assert decoder.dropped == (0 if good else 1)
        decoder = TcpDecoder(100)
        if good:
            assert feed(decoder, tcp_frame(body), 33) == [body]
        else:
            assert str(size) in str(raises(WireError, feed, decoder, tcp_frame(body), 33))


def test_tcp_stays_broken():
    for head in (b"\0\0", b"\xff\xff"):
        decoder = TcpDecoder()
        for stream in (head, tcp_frame(b"message"), head):
            raises(WireError, list, decoder.feed(stream))
    decoder = TcpDecoder()
    bodies = decoder.feed(tcp_frame(b"message") + b"\0\0")
    assert next(bodies) == b"message"  # what came before is not lost
    raises(WireError, next, bodies)


def test_frames_that_cannot_be():
    for frame in (tcp_frame, serial_frame):
        raises(WireError, frame, b"")
        raises(WireError, frame, bytes(65536))
        assert len(frame(bytes(65535))) > 65535


def test_random_bytes_never_make_a_serial_frame():
    decoder = SerialDecoder(64)
    random = Random(4)
    for _ in range(40):
        assert list(decoder.feed(random.bytes(200))) == []
    assert decoder.dropped > 1
