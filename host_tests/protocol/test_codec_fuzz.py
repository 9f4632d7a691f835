"""Every decoder is total: any bytes give a message or a WireError, and every message survives.

The compact codec is compared with the msgpack library as well: what it writes is what that
library would write.
"""

import msgpack
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import wire_samples
from protocol import wire_strategies as ws
from perun.wire import WireError
from perun.wire.compact import Compact
from perun.wire.frame import TcpDecoder, tcp_frame
from perun.wire.serial import SerialDecoder, serial_frame
from perun.wire.protobuf import Protobuf

MANY = settings(max_examples=400)
SAMPLE_CONTEXTS = ws.contexts()
SAMPLE_CONTEXTS.add(wire_samples.CHANNEL, wire_samples.ASSETS)
COMPACT = Compact(SAMPLE_CONTEXTS)
ADDRESSES = (b"\0\5Alice", b"\0\3Bob")
PROTOBUF = {g: (Protobuf(g, *ADDRESSES), Protobuf(g, *ADDRESSES[::-1])) for g in (1, 2)}
CODECS = {"compact": (COMPACT, COMPACT), "gen1": PROTOBUF[1], "gen2": PROTOBUF[2]}


def sample_bodies(name):
    encoder = CODECS[name][0]
    bodies = []
    for message in wire_samples.PERUN + wire_samples.OURS:
        try:
            bodies.append(encoder.encode(message))
        except WireError:
            assert name != "compact"
    assert len(bodies) > 20
    return bodies


BODIES = {name: sample_bodies(name) for name in CODECS}


def decoded(name, body):
    """The message, or None for a WireError. What was accepted can be written and read again."""
    encoder, decoder = CODECS[name]
    try:
        message = decoder.decode(body)
    except WireError:
        return None
    again = encoder.encode(message)
    assert decoder.decode(again) == message
    assert len(again) <= len(body) + 600  # padded numbers shrink; a missing aux comes back
    return message


def as_written(value):
    """A message's MessagePack value in canonical form, by the library."""
    return msgpack.packb(value, use_bin_type=True)


@MANY
@given(st.one_of(ws.perun_messages(known=True), ws.own_messages()))
def test_compact_there_and_back(message):
    body = COMPACT.encode(message)
    assert COMPACT.decode(body) == message
    assert as_written(msgpack.unpackb(body, strict_map_key=True)) == body


@MANY
@given(ws.perun_messages())
def test_gen2_there_and_back(message):
    encoder, decoder = PROTOBUF[2]
    assert decoder.decode(encoder.encode(message)) == message


@MANY
@given(ws.perun_messages(asset=ws.ETHER, aux=st.just(b"")))
def test_gen1_there_and_back(message):
    encoder, decoder = PROTOBUF[1]
    assert decoder.decode(encoder.encode(message)) == message


@given(ws.own_messages(), st.sampled_from((1, 2)))
def test_messages_between_ours_do_not_go_to_go_perun(message, generation):
    with pytest.raises(WireError):
        PROTOBUF[generation][0].encode(message)


@pytest.mark.parametrize("name", CODECS)
@MANY
@given(st.binary(max_size=300))
@example(b"")
@example(b"\x91" * 3000)
@example(b"\x0a\xff\xff\xff\xff\x0f")
@example(b"\xdd\xff\xff\xff\xff")
def test_random_bytes(name, body):
    decoded(name, body)


@st.composite
def damaged(draw, bodies):
    """One of the bodies with bytes changed, taken out, put in or doubled."""
    body = bytearray(draw(st.sampled_from(bodies)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(body)))
        count = draw(st.integers(0, 8))
        how = draw(st.integers(0, 3))
        if how == 0:
            body[at : at + count] = draw(st.binary(min_size=count, max_size=count))
        elif how == 1:
            del body[at : at + count]
        elif how == 2:
            body[at:at] = draw(st.binary(max_size=8))
        else:
            body[at:at] = body[at : at + 40]
    return bytes(body)


@pytest.mark.parametrize("name", CODECS)
@settings(max_examples=1000)
@given(st.data())
def test_damaged_messages(name, data):
    decoded(name, data.draw(damaged(BODIES[name])))


@pytest.mark.parametrize("name", CODECS)
def test_every_single_byte_changed(name):
    for body in BODIES[name]:
        for at in range(min(len(body), 100)):
            for change in (0x01, 0x80, body[at], 0xFF ^ body[at]):
                bad = bytearray(body)
                bad[at] ^= change
                decoded(name, bytes(bad))


@pytest.mark.parametrize("name", CODECS)
def test_truncated(name):
    for body in BODIES[name]:
        for size in range(len(body)):
            assert decoded(name, body[:size]) is None


@settings(max_examples=1000)
@given(damaged(BODIES["compact"]))
def test_compact_has_one_encoding(body):
    """Whatever is accepted is what would be written, but for an id where a handle would do."""
    try:
        message = COMPACT.decode(body)
    except WireError:
        return
    again = COMPACT.encode(message)
    assert again == body or shortened(msgpack.unpackb(body)) == msgpack.unpackb(again)


def shortened(value):
    """The decoded array with handles for the ids of known channels."""
    if isinstance(value, list):
        return [shortened(item) for item in value]
    return SAMPLE_CONTEXTS.key(value) if isinstance(value, bytes) and len(value) == 32 else value


# -- frames ---------------------------------------------------------------------------------------


def pieces(draw, stream):
    at = 0
    while at < len(stream):
        size = draw(st.integers(1, 80))
        yield stream[at : at + size]
        at += size


BODY = st.binary(min_size=1, max_size=100) | st.binary(min_size=250, max_size=600)


@given(st.lists(BODY, max_size=4), st.data())
def test_tcp_frames(bodies, data):
    decoder = TcpDecoder(600)
    stream = b"".join(map(tcp_frame, bodies))
    got = [body for piece in pieces(data.draw, stream) for body in decoder.feed(piece)]
    assert got == bodies


@given(st.lists(st.tuples(st.binary(max_size=100), BODY), max_size=4), st.data())
def test_serial_frames_between_noise(parts, data):
    decoder = SerialDecoder(600)
    stream = b"".join(noise + serial_frame(body) for noise, body in parts)
    got = [body for piece in pieces(data.draw, stream) for body in decoder.feed(piece)]
    assert got == [body for _, body in parts]


@MANY
@given(st.binary(max_size=2000), st.integers(1, 100))
def test_frames_of_random_bytes(stream, limit):
    serial = SerialDecoder(limit)
    assert all(0 < len(body) <= limit for body in serial.feed(stream))
    tcp = TcpDecoder(limit)
    try:
        for body in tcp.feed(stream):
            assert 0 < len(body) <= limit
    except WireError:
        with pytest.raises(WireError):
            list(tcp.feed(b"\0\1a"))


@given(damaged([serial_frame(bytes(range(60)))]))
def test_a_damaged_serial_frame_is_dropped(stream):
    decoder = SerialDecoder()
    good = serial_frame(b"good")
    got = list(decoder.feed(b"\0" + stream + good))
    assert got[-1] == b"good"
    assert all(body in (b"good", bytes(range(60))) for body in got)
