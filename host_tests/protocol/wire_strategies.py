"""Messages of every type, as hypothesis strategies."""

from hypothesis import strategies as st

from perun.model import Allocation, Asset, Params, State, SubAlloc, Transaction
from perun.wire import control_messages as c
from perun.wire import inquiry_messages as q
from perun.wire import messages as m
from perun.wire import service_messages as s
from perun.wire import subchannel_messages as v
from perun.wire.compact import Contexts

AMOUNT = st.one_of(st.integers(0, 300), st.integers(2**63, 2**65), st.integers(0, 2**256 - 1))
ID = st.binary(min_size=32, max_size=32)
ADDRESS = st.binary(min_size=20, max_size=20)
SIG = st.binary(min_size=65, max_size=65)
SIGS = st.tuples(SIG, SIG)
SOME_SIGS = st.tuples(st.none() | SIG, st.none() | SIG)
U64 = st.one_of(st.integers(0, 300), st.integers(0, 2**64 - 1))
U32 = st.integers(0, 2**32 - 1)
U16 = st.integers(0, 2**16 - 1)
U8 = st.integers(0, 255)
TIME = st.integers(0, 2**63 - 1)
SECONDS = U64
APP = st.sampled_from((b"", b"\x42" * 20))
AUX = st.sampled_from((b"", bytes(256), b"\x01" * 256))
TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=63)
INDEX_MAP = st.one_of(st.just(()), st.tuples(U16), st.tuples(U16, U16))
WIRE_ADDRESS = st.binary(min_size=1, max_size=300)
ETHER = st.builds(Asset, AMOUNT, ADDRESS, st.just(1))
FOREIGN = st.builds(
    Asset, st.just(0), st.binary(min_size=1, max_size=255), st.sampled_from((0, 2, 2**32 - 1))
)
ROW = st.tuples(AMOUNT, AMOUNT)


def rows(count):
    return st.tuples(*[ROW] * count)


def allocations_of(assets):
    """Allocations of these assets."""
    count = len(assets)
    sub = st.builds(SubAlloc, ID, st.tuples(*[AMOUNT] * count), INDEX_MAP)
    locked = st.lists(sub, max_size=3).map(tuple)
    return st.builds(Allocation, st.just(assets), rows(count), locked)


def asset_lists(asset):
    return st.lists(asset, min_size=1, max_size=4).map(tuple)


@st.composite
def states(draw, asset, context=None):
    """States; of a channel that is known if context is (id, assets, app)."""
    if context:
        channel, assets, app = context
    else:
        channel, assets, app = draw(ID), draw(asset_lists(asset)), draw(APP)
    data = draw(st.binary(max_size=300)) if app else b""
    allocation = draw(allocations_of(assets))
    return State(channel, draw(U64), app, allocation, data, draw(st.booleans()))


@st.composite
def bases(draw, asset, aux):
    """The fields that all proposals have."""
    app = draw(APP)
    assets = draw(asset_lists(asset))
    return (
        draw(ID),
        draw(SECONDS),
        draw(ID),
        app,
        draw(st.binary(max_size=300)) if app else b"",
        draw(allocations_of(assets)),
        draw(rows(len(assets))),
        draw(aux),
    )


PARAMS = st.builds(
    Params, SECONDS, AMOUNT, st.tuples(ADDRESS, ADDRESS), APP, st.booleans(), st.booleans()
)

TWIN = b"\x01\x02\x03\x04" + bytes(28)
KNOWN = (
    (bytes(range(32)), (Asset(1337, b"\x5b" * 20, 1),), b""),
    (b"\x02" * 32, (Asset(1, b"\x5b" * 20, 1), Asset(0, b"foreign", 3)), b"\x42" * 20),
    (TWIN, (Asset(1, b"\x5c" * 20, 1),), b""),
    (TWIN[:31] + b"\x01", (Asset(2, b"\x5c" * 20, 1),), b""),  # the same handle
)


def contexts():
    """Contexts with the channels KNOWN, two of which share their handle."""
    known = Contexts()
    for context in KNOWN:
        known.add(*context)
    return known


CHANNEL = st.one_of(st.sampled_from([context[0] for context in KNOWN]), ID)


def perun_messages(asset=ETHER | FOREIGN, aux=AUX, known=False):
    """Messages of go-perun's vocabulary. known: their states are of channels that are KNOWN."""
    plain = states(asset)
    state = st.sampled_from(KNOWN).flatmap(lambda c: states(asset, c)) if known else plain
    base = bases(asset, aux)
    peers = st.tuples(WIRE_ADDRESS, WIRE_ADDRESS)
    update = st.builds(m.ChannelUpdate, state, U16, SIG)
    signed = st.builds(v.SignedState, PARAMS, plain, SIGS)
    transaction = st.builds(Transaction, state, SOME_SIGS)
    return st.one_of(
        st.builds(c.Ping, TIME),
        st.builds(c.Pong, TIME),
        st.builds(c.Shutdown, TEXT),
        st.builds(c.AuthResponse, st.binary(max_size=300)),
        st.builds(lambda b, *more: m.LedgerChannelProposal(*b, *more), base, ADDRESS, peers),
        st.builds(m.LedgerChannelProposalAcc, ID, ID, ADDRESS),
        st.builds(m.ChannelProposalRej, ID, TEXT),
        update,
        update,
        st.builds(m.ChannelUpdateAcc, CHANNEL, U64, SIG),
        st.builds(m.ChannelUpdateRej, CHANNEL, U64, TEXT),
        st.builds(m.ChannelSync, U8, st.none() | transaction),
        st.builds(lambda b, parent: v.SubChannelProposal(*b, parent), base, ID),
        st.builds(v.SubChannelProposalAcc, ID, ID),
        st.builds(
            lambda b, *more: v.VirtualChannelProposal(*b, *more),
            base,
            ADDRESS,
            peers,
            st.tuples(ID, ID),
            st.tuples(INDEX_MAP, INDEX_MAP),
        ),
        st.builds(v.VirtualChannelProposalAcc, ID, ID, ADDRESS),
        st.builds(v.VirtualChannelFundingProposal, update, signed, INDEX_MAP),
        st.builds(v.VirtualChannelSettlementProposal, update, signed),
    )


def own_messages():
    """Messages that only ours exchange."""
    asset = ETHER | FOREIGN
    auth = st.builds(s.WithdrawalAuth, U16, ADDRESS, AMOUNT, SIG)
    auths = st.lists(auth, max_size=3).map(tuple)
    known = st.sampled_from(KNOWN).flatmap(lambda c: states(asset, c))
    version = U64 | st.just(-1)
    amounts = st.lists(AMOUNT, max_size=4).map(tuple)
    return st.one_of(
        st.builds(m.Hello, U8, U8, ADDRESS, AMOUNT, ID),
        st.builds(m.HelloProof, SIG),
        st.builds(s.ServiceInfo, AMOUNT, ADDRESS, asset_lists(asset), SECONDS),
        st.builds(s.ChainEvent, CHANNEL, U8, U64, U64),
        st.builds(s.FundRequest, U32, U8, PARAMS, states(asset), SIGS, rows(2)),
        st.builds(s.WatchRequest, U32, U8, PARAMS, states(asset), SIGS, auths),
        st.builds(s.WatchRequest, U32, U8, st.none(), known, SIGS, auths),
        st.builds(q.DisputeRequest, U32, CHANNEL),
        st.builds(q.StatusRequest, U32, CHANNEL | st.just(b"")),
        st.builds(s.Ack, U32),
        st.builds(s.Receipt, U32, CHANNEL, U64, ID, SIG),
        st.builds(q.Status, U32, CHANNEL, U64, ID, U8, version, U64, amounts, version),
        st.builds(s.Error, U32, U8, TEXT),
        st.builds(q.StateRequest, U32, ID),
        st.builds(q.HeldState, U32, states(asset), SIGS),
    )
