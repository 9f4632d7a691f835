"""The protobuf codecs against frames of go-perun's own serializers, and what they refuse."""

import wire_samples as samples
from perun.model import Allocation, Asset, Params, State, SubAlloc, Transaction, ether
from perun.wire import control_messages as c
from perun.wire import WireError
from perun.wire import messages as m
from perun.wire import subchannel_messages as v
from perun.wire.protobuf import Protobuf
from support import Random, raises, vector_json, vector_text

WIRE = ((b"Alice", b"Bob"), (b"\0\5Alice", b"\0\3Bob"))
HOLDER = bytes.fromhex("5b38da6a701c568545dcfcb03fcb875f56beddc4")
SIG_A = b"\x31" * 65
SIG_B = b"\x32" * 65
ID = b"\xaa" * 32
SHARE = b"\x11" * 32
SHARE_2 = b"\x22" * 32
NONCE = 0x127EEBF5734E0A01B9B7D16B2B122BD36F617A1AAE4ACCF9BC251E0A8903645E
ADDRESS = (
    bytes.fromhex("1a642f0e3c3af545e7acbd38b07251b3990914f1"),
    bytes.fromhex("5050a4f4b3f9338c3472dcc01a87c76a144b3c9c"),
)


def codec(generation):
    return Protobuf(generation, *WIRE[generation - 1])


def receiver(generation):
    own, peer = WIRE[generation - 1]
    return Protobuf(generation, peer, own)


def vectors(generation):
    """name -> body, from the frames that go-perun made."""
    bodies = {}
    for line in vector_text("gen%d_wire_frames.txt" % generation).split("\n"):
        if line:
            _, name, frame = line.split()
            frame = bytes.fromhex(frame)
            assert frame[:2] == (len(frame) - 2).to_bytes(2, "big")
            bodies[name] = frame[2:]
    return bodies


def expected(generation):
    """name -> the message that went into go-perun's serializer."""
    channel = bytes.fromhex(
        vector_json("computed_vectors.json")["gen%d" % generation]["channel_id"]
    )
    assets = (ether(1337, HOLDER),)

    def state(version, balances, final=False):
        return State(channel, version, b"", Allocation(assets, (balances,), ()), b"", final)

    def base(balances):
        rows = (balances,)
        aux = bytes(256) if generation == 2 else b""
        return (ID, 60, SHARE, b"", b"", Allocation(assets, rows, ()), rows, aux)

    peers = WIRE[generation - 1]
    start = base((100000, 100000))
    update = m.ChannelUpdate(state(1, (99900, 100100)), 0, SIG_A)
    params = Params(60, NONCE, ADDRESS, b"", False, True)
    sigs = (b"\1" * 65, b"\2" * 65)
    return {
        "ping": c.Ping(1),
        "pong": c.Pong(1700000000000000000),
        "shutdown": c.Shutdown("bye"),
        "auth_12": c.AuthResponse(b"Authenticate" if generation == 2 else b""),
        "auth_empty": c.AuthResponse(b""),
        "proposal": m.LedgerChannelProposal(*(start + (ADDRESS[0], peers))),
        "proposal_acc": m.LedgerChannelProposalAcc(ID, SHARE_2, ADDRESS[1]),
        "proposal_rej": m.ChannelProposalRej(ID, "no"),
        "sub_proposal": v.SubChannelProposal(*(start + (b"\x44" * 32,))),
        "virtual_proposal": v.VirtualChannelProposal(
            *(start + (ADDRESS[0], peers, (b"\x44" * 32, b"\x45" * 32), ((0, 1), (1, 0))))
        ),
        "update_acc_v0": m.ChannelUpdateAcc(channel, 0, SIG_B),
        "update_v1": update,
        "update_acc_v1": m.ChannelUpdateAcc(channel, 1, SIG_B),
        "update_rej_v1": m.ChannelUpdateRej(channel, 1, "no"),
        "update_final_zero_balance": m.ChannelUpdate(state(2, (0, 200000), True), 1, SIG_A),
        "update_locked": m.ChannelUpdate(state(2, (95, 95)), 0, SIG_A),  # go-perun dropped it
        "virtual_funding": v.VirtualChannelFundingProposal(
            update, v.SignedState(params, state(0, (5, 5)), sigs), (0, 1)
        ),
        "virtual_settlement": v.VirtualChannelSettlementProposal(
            update, v.SignedState(params, state(3, (4, 6), True), sigs)
        ),
        "sync": m.ChannelSync(3, Transaction(state(1, (99900, 100100)), sigs)),
    }


def test_all_frames_of_go_perun():
    for generation in (1, 2):
        bodies = vectors(generation)
        messages = expected(generation)
        assert len(bodies) == 19 and sorted(bodies) == sorted(messages)
        for name, body in bodies.items():
            assert receiver(generation).decode(body) == messages[name], name
            assert codec(generation).encode(messages[name]) == body, name


def carried(message, generation):
    """The message as this generation can carry it: generation 1 has no aux."""
    fields = list(message)
    if hasattr(message, "aux") and generation == 1:
        fields[7] = b""
    return message.__class__(*fields)


def test_every_message_there_and_back():
    for generation in (1, 2):
        for message in samples.PERUN:
            message = carried(message, generation)
            body = codec(generation).encode(message)
            assert receiver(generation).decode(body) == message
            assert receiver(generation).decode(memoryview(body)) == message


def test_locked_funds_are_sent():
    locked = (SubAlloc(samples.CHILD, (10,), ()), SubAlloc(b"\x78" * 32, (0,), (1, 0)))
    update = m.ChannelUpdate(samples.state(locked=locked), 0, SIG_A)
    for generation in (1, 2):
        body = codec(generation).encode(update)
        assert receiver(generation).decode(body).state.allocation.locked == locked


def test_messages_between_ours_are_not_for_go_perun():
    for generation in (1, 2):
        for message in samples.OURS + (samples.PARAMS, None, b"bytes", 1):
            raises(WireError, codec(generation).encode, message)


def test_envelopes_of_others():
    for generation in (1, 2):
        body = vectors(generation)["ping"]
        own, peer = WIRE[generation - 1]
        assert codec(generation).addresses(body) == (own, peer)
        for ours, theirs in ((own, peer), (peer, peer), (own, own), (peer, own + b"x")):
            assert "somebody else" in str(
                raises(WireError, Protobuf(generation, ours, theirs).decode, body)
            )
        raises(WireError, receiver(3 - generation).decode, body)


def test_every_cut_is_refused():
    for generation in (1, 2):
        for name, body in vectors(generation).items():
            for size in range(0, len(body), 1 if len(body) < 200 else 13):
                try:
                    receiver(generation).decode(body[:size])
                except WireError:
                    continue
                raise AssertionError("%s cut at %d" % (name, size))


def test_random_damage_gives_a_message_or_an_error():
    random = Random(11)
    for generation in (1, 2):
        bodies = list(vectors(generation).values())
        peer = receiver(generation)
        for _ in range(150):
            body = bytearray(random.choice(bodies))
            for _ in range(random.between(1, 3)):
                body[random.below(len(body))] = random.below(256)
            try:
                message = peer.decode(bytes(body))
            except WireError:
                continue
            assert peer.decode(codec(generation).encode(message)) == message


# -- strictness, on generation 1, whose envelopes are short enough to write down ------------------

HEAD = bytes.fromhex("0a05416c6963651203426f62")
ID_FIELD = b"\x0a\x20" + bytes(range(32))
SIG_FIELD = b"\x1a\x41" + SIG_B


def decode(body):
    return receiver(1).decode(body)


def refused(body):
    return str(raises(WireError, decode, body))


def acc(fields):
    return HEAD + b"\x8a\x01" + bytes((len(fields),)) + fields


def test_plain_acc():
    message = m.ChannelUpdateAcc(bytes(range(32)), 1, SIG_B)
    assert decode(acc(ID_FIELD + b"\x10\x01" + SIG_FIELD)) == message
    # any order, unknown fields of every type in between, a longer varint
    unknown = b"\x20\x05" + b"\x2a\x01x" + b"\x31" + bytes(8) + b"\x3d" + bytes(4)
    assert decode(acc(SIG_FIELD + unknown + b"\x10\x81\x00" + ID_FIELD)) == message
    assert decode(b"\xa2\x06\x00" + acc(ID_FIELD + b"\x10\x01" + SIG_FIELD)) == message


def test_strict_fields():
    good = ID_FIELD + b"\x10\x01" + SIG_FIELD
    for fields in (
        b"",
        ID_FIELD,
        ID_FIELD + b"\x10\x01",
        b"\x0a\x1f" + bytes(31) + SIG_FIELD,
        b"\x0a\x21" + bytes(33) + SIG_FIELD,
        ID_FIELD + b"\x1a\x40" + bytes(64),
        ID_FIELD + b"\x1a\x42" + bytes(66),
        good + ID_FIELD,
        good + b"\x10\x01",
        good + SIG_FIELD,
        ID_FIELD + b"\x12\x00" + SIG_FIELD,  # a version as bytes
        b"\x08\x01" + SIG_FIELD,  # an id as a number
        ID_FIELD + b"\x10" + b"\xff" * 9 + b"\x02" + SIG_FIELD,  # over 64 bits
        ID_FIELD + b"\x10" + b"\x80" * 10 + b"\x01" + SIG_FIELD,
        good + b"\x23",  # groups
        good + b"\x24",
        good + b"\x26",
        good + b"\x02\x00",  # field 0
        good + b"\x82\x80\x80\x80\x10\x00",  # field 2**29
        good + b"\x29\x00",  # eight bytes that are not there
        good + b"\x2a\x05x",
        good + b"\x2a\xff\xff\xff\xff\x0f",
    ):
        refused(acc(fields))
    assert decode(acc(good)).version == 1


def test_exactly_one_message():
    ping = b"\x1a\x02\x08\x01"
    assert decode(HEAD + ping) == c.Ping(1)
    assert decode(HEAD + b"\x1a\x00") == c.Ping(0)
    for body in (
        b"",
        HEAD,
        ping,
        HEAD[:7] + ping,
        HEAD + ping + ping,
        HEAD + ping + b"\x22\x00",
        HEAD + b"\x18\x01",
        HEAD + b"\xa2\x01\x00",  # field 20
        HEAD + HEAD[:7] + ping,
        HEAD + b"\x1a\x0b\x08" + b"\xff" * 9 + b"\x01",  # a negative time
    ):
        refused(body)


def field(number, data):
    """A field of bytes shorter than 16 KiB."""
    size = len(data)
    if size < 128:
        return bytes((number << 3 | 2, size)) + data
    return bytes((number << 3 | 2, size & 127 | 128, size >> 7)) + data


ASSET = bytes.fromhex("0200053914005b38da6a701c568545dcfcb03fcb875f56beddc4")
ROW = b"\x0a\x01\x07\x0a\x00"


def update(assets=(ASSET,), rows=(ROW,), more=b"", after=b""):
    """An update of these assets and rows. more: ends the allocation; after: ends the state."""
    balances = b"".join([field(1, row) for row in rows])
    allocation = b"".join([field(1, asset) for asset in assets]) + field(2, balances) + more
    state = field(1, bytes(range(32))) + field(4, allocation) + after
    return HEAD + field(14, field(1, field(1, state)) + field(2, SIG_A))


def test_strict_amounts():
    assert decode(update()).state.allocation.balances == ((7, 0),)
    padded = field(1, bytes(31) + b"\7") + field(1, bytes(32))
    assert decode(update(rows=(padded,))).state.allocation.balances == ((7, 0),)
    refused(update(rows=()))
    refused(update(rows=(ROW, ROW)))
    refused(update(rows=(b"",)))
    refused(update(rows=(field(1, b"\7"),)))
    refused(update(rows=(ROW + b"\x0a\x00",)))
    assert "32 bytes" in refused(update(rows=(field(1, bytes(33)) + b"\x0a\x00",)))


def test_strict_assets():
    assert decode(update()).state.allocation.assets == (ether(1337, HOLDER),)
    padded = b"\x20\0" + bytes(30) + ASSET[2:]
    assert decode(update((padded,))).state.allocation.assets == (ether(1337, HOLDER),)
    none = b"\0\0\x14\0" + HOLDER
    assert decode(update((none,))).state.allocation.assets == (ether(0, HOLDER),)
    for asset in (
        b"",
        b"\2",
        b"\2\0",
        ASSET[:-1],
        ASSET + b"\0",
        b"\3" + ASSET[1:],
        b"\1" + ASSET[1:],
        b"\2\1" + ASSET[2:],
        b"\xff" + ASSET[1:],
        b"\x21\0" + bytes(31) + ASSET[2:],
        ASSET[:4] + b"\x13\0" + HOLDER,
        ASSET[:4] + b"\x14\1" + HOLDER,
        ASSET[:4] + b"\1\0\0\0\x14\0" + HOLDER,  # generation 2's
    ):
        refused(update((asset,)))
    refused(update(()))


def test_strict_locked():
    child = field(1, b"\x77" * 32)
    amounts = field(2, field(1, b"\5"))
    both = decode(update(more=field(3, child + amounts))).state.allocation.locked
    assert both == (SubAlloc(b"\x77" * 32, (5,), ()),)
    mapped = child + amounts + field(3, field(1, b"\1\0"))
    assert decode(update(more=field(3, mapped))).state.allocation.locked[0].index_map == (1, 0)
    for sub in (
        b"",
        child,
        field(1, b"\x77" * 31) + amounts,
        child + field(2, field(1, b"\5") + field(1, b"\5")),
        child + amounts + field(3, field(1, b"\0\1\0")),
        child + amounts + field(3, field(1, b"\x80\x80\4\0")),  # 2**16
        child + amounts + field(3, b"\x08\1"),
        child + amounts + field(3, field(1, b"\x80")),
    ):
        refused(update(more=field(3, sub)))


def test_strict_states():
    assert decode(update(after=b"\x30\1")).state.is_final
    refused(update(after=b"\x30\2"))
    refused(update(after=field(3, bytes(19))))
    refused(update(after=field(5, b"data")))
    refused(update(after=field(3, bytes(20)) + field(5, b"data")))
    assert decode(update(after=field(3, b"\1" * 20) + field(5, b"data"))).state.data == b"data"


def test_an_app_of_zeros_is_no_app():
    sample = samples.state(app=b"\x42" * 20)
    body = codec(1).encode(m.ChannelUpdate(sample, 0, SIG_A))
    assert decode(body).state.app == b"\x42" * 20
    assert decode(body.replace(b"\x42" * 20, bytes(20))).state == samples.state()


def test_generation_2_address_maps():
    peer = receiver(2)
    body = codec(2).encode(m.LedgerChannelProposalAcc(ID, SHARE, ADDRESS[1]))
    assert peer.decode(body).participant == ADDRESS[1]
    entry = b"\x0a\x04\0\0\0\1\x12\x14" + ADDRESS[1]
    address = b"\x12\x1e\x0a\x1c" + entry
    assert body.endswith(address)
    swapped_entry = b"\x12\x14" + ADDRESS[1] + b"\x0a\x04\0\0\0\1"
    assert peer.decode(body.replace(entry, swapped_entry)).participant == ADDRESS[1]
    raises(WireError, peer.decode, body.replace(entry, entry.replace(b"\0\1\x12", b"\0\2\x12")))
    start = body.find(b"\x42")
    for bad in (b"", b"\x12\x00", b"\x12\x3c" + (b"\x0a\x1c" + entry) * 2):
        inner = body[start + 2 : -len(address)] + bad
        raises(WireError, peer.decode, body[:start] + b"\x42" + bytes((len(inner),)) + inner)


def test_generation_2_backends():
    peer = receiver(2)
    foreign = Allocation((samples.FOREIGN,) + samples.ASSETS, ((1, 2), (3, 4)), ())
    state = State(samples.CHANNEL, 1, b"", foreign, b"", False)
    update = m.ChannelUpdate(state, 0, SIG_A)
    body = codec(2).encode(update)
    assert peer.decode(body) == update
    raises(WireError, codec(1).encode, update)

    def one_asset(*backends):
        asset = b"\x02\x00\x05\x39\1\0\0\0\x14\0" + HOLDER
        listed = b"".join([field(1, backend) for backend in backends])
        allocation = listed + field(2, asset) + field(3, field(1, ROW))
        state = field(1, bytes(range(32))) + field(4, allocation)
        return vectors(2)["ping"][:-4] + field(14, field(1, field(1, state)) + field(2, SIG_A))

    ethereum = b"\0\0\0\1"
    assert peer.decode(one_asset(ethereum)).state.allocation.assets == (ether(1337, HOLDER),)
    for backends in ((), (ethereum, ethereum), (b"\1",), (b"\0" + ethereum,)):
        raises(WireError, peer.decode, one_asset(*backends))
    for asset in (
        Asset(5, b"x", 3),
        Asset(0, b"", 3),
        Asset(1, b"x" * 19, 1),
        Asset(-1, HOLDER, 1),
    ):
        bad = Allocation((asset,), ((1, 2),), ())
        state = State(samples.CHANNEL, 1, b"", bad, b"", False)
        for generation in (1, 2):
            raises(WireError, codec(generation).encode, m.ChannelUpdate(state, 0, SIG_A))


def test_encode_refuses_what_it_would_not_decode():
    sig, channel = samples.SIG, samples.CHANNEL
    for message in (
        c.Ping(-1),
        c.Ping(1 << 63),
        c.Ping(True),
        c.Shutdown("x" * 1025),
        c.Shutdown(b"bytes"),
        m.ChannelUpdateAcc(channel, 1 << 64, sig),
        m.ChannelUpdateAcc(channel[:31], 1, sig),
        m.ChannelUpdateAcc(channel, 1, sig[:64]),
        m.ChannelUpdate(samples.state(balances=((1,),)), 0, sig),
        m.ChannelUpdate(samples.state(balances=((1, 2), (3, 4))), 0, sig),
        m.ChannelUpdate(samples.state(balances=((1, 1 << 256),)), 0, sig),
        m.ChannelUpdate(samples.state(balances=[[1, 2]]), 0, sig),
        m.ChannelUpdate(samples.state(data=b"no app"), 0, sig),
        m.ChannelUpdate(samples.state(final=1), 0, sig),
        m.ChannelUpdate(samples.state(locked=(1,)), 0, sig),
        m.ChannelUpdate(None, 0, sig),
        m.ChannelSync(3, (1, 2)),
    ):
        for generation in (1, 2):
            raises(WireError, codec(generation).encode, message)
