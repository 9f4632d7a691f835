"""The compact codec: every message there and back, its sizes, and what it refuses."""

import wire_samples as samples
from perun.model import ether
from perun.wire import control_messages as control
from perun.wire import WireError, messages
from perun.wire.compact import Compact, Contexts, dumps, loads
from perun.wire.frame import tcp_frame
from perun.wire.inquiry_messages import Status
from perun.wire.service_messages import Ack, WatchRequest
from support import Random, raises

TWIN = samples.CHANNEL[:4] + b"\x01" * 28


def contexts():
    known = Contexts()
    known.add(samples.CHANNEL, samples.ASSETS)
    return known


CODEC = Compact(contexts())


def refused(body):
    """What the codec says about this body, given as hex digits or bytes."""
    if isinstance(body, str):
        body = bytes.fromhex(body)
    return str(raises(WireError, CODEC.decode, body))


def test_every_message_there_and_back():
    for message in samples.PERUN + samples.OURS:
        body = CODEC.encode(message)
        assert CODEC.decode(body) == message
        assert CODEC.decode(memoryview(body)) == message
        assert CODEC.encode(CODEC.decode(body)) == body


def test_a_payment_is_small():
    assert len(tcp_frame(CODEC.encode(samples.payment()))) <= 110
    assert len(tcp_frame(CODEC.encode(samples.answer()))) <= 110


def test_known_bytes():
    assert CODEC.encode(Ack(5)).hex() == "923605"
    assert CODEC.encode(control.Ping(0x100)).hex() == "9200cd0100"
    assert CODEC.encode(samples.answer()).hex() == "940ec40464656667cd1267c441" + "32" * 65
    payment = "940b94c40464656667cd1267c291"
    payment += "92cf0de0b6b3a7640000cf1bc16d674ec8000000c441" + "31" * 65
    assert CODEC.encode(samples.payment()).hex() == payment


def test_every_cut_and_every_extra_byte_is_refused():
    for message in samples.PERUN + samples.OURS:
        body = CODEC.encode(message)
        step = 1 if len(body) < 120 else 7
        for size in range(0, len(body), step):
            raises(WireError, CODEC.decode, body[:size])
        assert "too many" in refused(body + b"\0")


def test_random_bytes_and_damage_give_a_message_or_an_error():
    random = Random(7)
    bodies = [CODEC.encode(message) for message in samples.PERUN + samples.OURS]
    for _ in range(300):
        body = bytearray(random.choice(bodies))
        for _ in range(random.between(1, 3)):
            body[random.below(min(len(body), 60))] = random.below(256)
        try:
            message = CODEC.decode(bytes(body))
        except WireError:
            continue
        assert (
            CODEC.encode(message) == bytes(body) or CODEC.decode(CODEC.encode(message)) == message
        )


def test_handles():
    known = contexts()
    codec = Compact(known)
    answer = samples.answer()
    short = codec.encode(answer)
    full = b"\x94\x0e\xc4\x20" + samples.CHANNEL + short[8:]
    assert codec.decode(full) == answer  # the id is accepted where a handle would do

    known.add(TWIN, samples.ASSETS)  # the same first four bytes
    assert codec.encode(answer) == full
    assert codec.decode(full) == answer
    assert "ambiguous" in str(raises(WireError, codec.decode, short))
    twin = messages.ChannelUpdateAcc(TWIN, answer.version, answer.sig)
    assert codec.decode(codec.encode(twin)) == twin
    payment = samples.payment()
    assert codec.decode(codec.encode(payment)) == payment

    known.remove(TWIN)
    known.remove(TWIN)
    assert codec.encode(answer) == short
    known.remove(samples.CHANNEL)
    assert known.find(samples.CHANNEL) is None
    assert codec.encode(answer) == full
    assert codec.decode(full) == answer  # an answer needs no context, a state does
    assert "64656667" in str(raises(WireError, codec.decode, short))
    body = codec.encode(payment)
    assert samples.CHANNEL.hex() in str(raises(WireError, codec.decode, body))


def test_contexts_find():
    known = contexts()
    context = (samples.CHANNEL, samples.ASSETS, b"")
    assert known.find(samples.CHANNEL) == known.find(samples.CHANNEL[:4]) == context
    assert known.find(TWIN) is None
    assert known.find(b"none") is None
    known.add(samples.CHANNEL, samples.TWO_ASSETS, b"\x42" * 20)  # replaces
    assert known.find(samples.CHANNEL[:4]) == (samples.CHANNEL, samples.TWO_ASSETS, b"\x42" * 20)


def test_an_app_and_its_data():
    known = Contexts()
    known.add(samples.CHANNEL, samples.ASSETS, b"\x42" * 20)
    codec = Compact(known)
    update = messages.ChannelUpdate(samples.state(app=b"\x42" * 20, data=b"x"), 0, samples.SIG)
    assert codec.decode(codec.encode(update)) == update
    body = codec.encode(update)
    known.add(samples.CHANNEL, samples.ASSETS)
    assert "without an app" in str(raises(WireError, codec.decode, body))
    assert "another app" in str(raises(WireError, codec.encode, update))


def test_a_state_must_fit_its_channel():
    other = samples.state()
    other = other.__class__(
        other.id,
        other.version,
        other.app,
        other.allocation.__class__((ether(1, b"\x5b" * 20),), other.allocation.balances, ()),
        other.data,
        other.is_final,
    )
    update = messages.ChannelUpdate(other, 0, samples.SIG)
    assert "other assets" in str(raises(WireError, CODEC.encode, update))
    rows = ((1, 2), (3, 4))
    update = messages.ChannelUpdate(samples.state(balances=rows), 0, samples.SIG)
    assert "one row" in str(raises(WireError, CODEC.encode, update))


def test_encode_refuses_what_it_would_not_decode():
    sig, key = samples.SIG, samples.CHANNEL
    for message in (
        control.Ping(-1),
        control.Ping(1 << 63),
        control.Ping(1.5),
        control.Ping(True),
        control.Ping(None),
        control.Shutdown("x" * 256),
        control.Shutdown(b"bytes"),
        messages.HelloProof(sig[:64]),
        messages.HelloProof(bytearray(sig)),
        messages.ChannelUpdateAcc(key, 1 << 64, sig),
        messages.ChannelUpdateAcc(key[:31], 1, sig),
        messages.ChannelUpdateAcc(key[:4], 1, sig),
        messages.ChannelUpdate(samples.state(balances=((1,),)), 0, sig),
        messages.ChannelUpdate(samples.state(balances=((1, 2, 3),)), 0, sig),
        messages.ChannelUpdate(samples.state(balances=((1, 1 << 256),)), 0, sig),
        messages.ChannelUpdate(samples.state(balances=((1, -1),)), 0, sig),
        messages.ChannelUpdate(samples.state(balances=()), 0, sig),
        messages.ChannelUpdate(samples.state(balances=[[1, 2]]), 0, sig),
        messages.ChannelUpdate(samples.state(data=b"no app"), 0, sig),
        messages.ChannelUpdate(samples.state(final=1), 0, sig),
        messages.ChannelUpdate(samples.state(), 1 << 16, sig),
        messages.ChannelUpdate(None, 0, sig),
        messages.ChannelSync(256, None),
        Status(1, key, 1, bytes(32), 0, -2, 0, (), -1),
        WatchRequest(1, 0, None, samples.state(), (sig, None), ()),
        samples.PARAMS,
        b"bytes",
        None,
    ):
        raises(WireError, CODEC.encode, message)


def test_one_encoding_for_every_number():
    assert CODEC.decode(bytes.fromhex("920000")) == control.Ping(0)
    for longer in ("9200cc7f", "9200cd00ff", "9200ce0000ffff", "9200cf00000000ffffffff"):
        assert "shortest" in refused(longer)
    for other in ("9200ff", "9200d001", "9200c0", "9200c3", "9200c40101", "9200a131", "920091"):
        refused(other)
    assert "bits" in refused("9200cf8000000000000000")  # 2**63
    refused("dc0002" + "0001")  # a long array head for a short array
    refused("cc92")


def test_one_encoding_for_every_amount():
    update = CODEC.encode(messages.ChannelUpdate(samples.state(balances=((1, 2),)), 0, b"s" * 65))
    head, tail = update.split(b"\x92\x01\x02")
    assert CODEC.decode(head + b"\x92\x01\x02" + tail).state.allocation.balances == ((1, 2),)

    def amount(hexadecimal):
        return CODEC.decode(head + b"\x92\x01" + bytes.fromhex(hexadecimal) + tail)

    assert amount("c40901" + "00" * 8).state.allocation.balances == ((1, 1 << 64),)
    assert amount("c420" + "ff" * 32).state.allocation.balances == ((1, (1 << 256) - 1),)
    for bad in ("c408" + "ff" * 8, "c40900" + "ff" * 8, "c421" + "01" * 33, "c0", "c40102", "a0"):
        raises(WireError, amount, bad)


def test_lengths_that_lie():
    for body in (
        "",
        "90",
        "91",
        "c0",
        "80",
        "dcffff",
        "ddffffffff",
        "92c0",
        "92cc",
        "9202d9ff",
        "9202da0001",
        "9203c6ffffffff",
        "9203c5ffff",
        "9203c4ff",
        "9221c44000",
        "91" * 2000,
        "9210" + "93" * 500,
    ):
        refused(body)
    assert "unknown message type 99" in refused("9163")
    assert "unknown message type 47" in refused("912f")
    assert "fields" in refused("9100")


def test_texts_are_strict_utf8():
    assert CODEC.decode(b"\x92\x02\xa3\xe2\x82\xac") == control.Shutdown("\u20ac")
    for raw in ("80", "c080", "eda080", "f7bfbfbf", "f4908080", "e282", "ff", "e08080", "c3"):
        raw = bytes.fromhex(raw)
        raises(WireError, CODEC.decode, bytes((0x92, 2, 0xA0 | len(raw))) + raw)
    assert "shortest" in refused(b"\x92\x02\xd9\x01a")


def test_a_state_has_its_extra_fields_only_when_they_say_something():
    body = CODEC.encode(samples.payment())
    plain = body.index(b"\x94\xc4\x04")
    extra = (
        body[:plain]
        + b"\x96"
        + body[plain + 1 :].replace(
            b"\x00\xc4\x41" + samples.SIG, b"\x90\xc4\x00\x00\xc4\x41" + samples.SIG
        )
    )
    assert "4 fields" in refused(extra)
    refused(body[:plain] + b"\x95" + body[plain + 1 :])


def test_single_values_for_a_store():
    data = dumps("state", samples.FULL)
    assert loads("state", data) == samples.FULL
    raises(WireError, loads, "state", data + b"\0")
    raises(WireError, loads, "params", data)
    raises(WireError, dumps, "params", samples.FULL)
