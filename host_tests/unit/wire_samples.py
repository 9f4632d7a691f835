"""One or more messages of every type, for the tests of the codecs. Runs on both VMs."""

from perun.model import Allocation, Asset, Params, State, SubAlloc, Transaction, ether
from perun.wire import control_messages as c
from perun.wire import inquiry_messages as q
from perun.wire import bridge_messages as b
from perun.wire import messages as m
from perun.wire import service_messages as s
from perun.wire import subchannel_messages as v
from perun.wire import witness_messages as w

ETHER = 10**18
CHANNEL = bytes(range(100, 132))
CHILD = b"\x77" * 32
DEVICE = b"\xd1" * 20
PEER = b"\xd2" * 20
RECEIVER = b"\xee" * 20
SIG = b"\x31" * 65
SIG_2 = b"\x32" * 65
ASSETS = (ether(1337, b"\x5b" * 20),)
TWO_ASSETS = (ether(1337, b"\x5b" * 20), ether(1 << 200, b"\x99" * 20))
FOREIGN = Asset(0, b"foreign asset", 3)
LOCKED = (SubAlloc(CHILD, (10,), ()), SubAlloc(b"\x78" * 32, (0,), (1, 0)))


def state(version=1, balances=((ETHER, 2 * ETHER),), locked=(), app=b"", data=b"", final=False):
    """A state of the channel CHANNEL, which has the one asset ASSETS."""
    return State(CHANNEL, version, app, Allocation(ASSETS, balances, locked), data, final)


def payment():
    """A payment of one asset, balances around 1e18."""
    return m.ChannelUpdate(state(4711), 0, SIG)


def answer():
    """The answer to payment()."""
    return m.ChannelUpdateAcc(CHANNEL, 4711, SIG_2)


PARAMS = Params(60, (1 << 256) - 1, (DEVICE, PEER), b"", True, False)
VIRTUAL = Params(1, 0, (PEER, DEVICE), b"\x42" * 20, False, True)
INIT = Allocation(ASSETS, ((3 * ETHER, 0),), ())
RICH = Allocation(TWO_ASSETS, ((1 << 255, 0), (0, (1 << 64) - 1)), ())
BASE = (b"\xaa" * 32, 60, b"\x11" * 32, b"", b"", INIT, INIT.balances, b"")
APP_BASE = (b"\xaa" * 32, 60, b"\x11" * 32, b"\x42" * 20, b"data", RICH, RICH.balances, bytes(256))
SIGNED = v.SignedState(VIRTUAL, state(0), (SIG, SIG_2))
AUTHS = (s.WithdrawalAuth(0, RECEIVER, ETHER, SIG),)
FULL = State(CHILD, 7, b"\x42" * 20, RICH, b"app data", False)

# Messages of go-perun's vocabulary: every codec has them.
PERUN = (
    c.Ping(1),
    c.Pong(0),
    c.Ping((1 << 63) - 1),
    c.Shutdown("bye"),
    c.Shutdown("auf Wiedersehen, Gr\u00fc\u00dfe \U0001f44b"),
    c.AuthResponse(b""),
    c.AuthResponse(b"\xab" * 256),
    m.LedgerChannelProposal(*(BASE + (DEVICE, (DEVICE, PEER)))),
    m.LedgerChannelProposal(*(APP_BASE + (DEVICE, (b"\0\5Alice" + bytes(260), b"\0\3Bob")))),
    m.LedgerChannelProposalAcc(b"\xaa" * 32, b"\x22" * 32, PEER),
    m.ChannelProposalRej(b"\xaa" * 32, "no"),
    m.ChannelUpdateAcc(CHANNEL, 0, SIG),
    payment(),
    m.ChannelUpdate(state(final=True, balances=((0, (1 << 256) - 1),)), 1, SIG),
    m.ChannelUpdate(state((1 << 64) - 1, locked=LOCKED), 1, SIG),
    answer(),
    m.ChannelUpdateRej(CHANNEL, 1 << 32, ""),
    m.ChannelSync(3, Transaction(state(), (SIG, None))),
    m.ChannelSync(3, Transaction(state(locked=LOCKED), (SIG, SIG_2))),
    m.ChannelSync(0, None),
    v.SubChannelProposal(*(BASE + (CHANNEL,))),
    v.SubChannelProposalAcc(b"\xaa" * 32, b"\x22" * 32),
    v.VirtualChannelProposal(
        *(BASE + (DEVICE, (DEVICE, PEER), (CHANNEL, CHILD), ((0, 1), (1, 0))))
    ),
    v.VirtualChannelProposalAcc(b"\xaa" * 32, b"\x22" * 32, PEER),
    v.VirtualChannelFundingProposal(payment(), SIGNED, (0, 1)),
    v.VirtualChannelSettlementProposal(payment(), SIGNED),
)

# Messages between ours, which only the compact codec has.
OURS = (
    m.Hello(1, m.ROLE_DEVICE, DEVICE, 1337, b"\x99" * 32),
    m.HelloProof(SIG),
    s.ServiceInfo(1337, b"\xad" * 20, TWO_ASSETS, 3600),
    s.ServiceInfo(1, b"\xad" * 20, (FOREIGN,), 0),
    s.ChainEvent(CHANNEL, s.EVENT_REGISTERED, 3, 1700000000),
    s.FundRequest(1, 0, PARAMS, state(0), (SIG, SIG_2), ((ETHER, 0),)),
    s.WatchRequest(2, 0, PARAMS, FULL, (SIG, SIG_2), ()),
    s.WatchRequest((1 << 32) - 1, 1, None, state(9), (SIG, SIG_2), AUTHS),
    q.DisputeRequest(3, CHANNEL),
    q.StatusRequest(4, CHANNEL),
    q.StatusRequest(5, b""),
    s.Ack(6),
    s.Receipt(7, CHANNEL, 4711, b"\x44" * 32, SIG),
    q.Status(8, CHANNEL, 9, b"\x44" * 32, q.STAGE_OPEN, -1, 0, (), -1),
    q.Status(9, CHANNEL, 9, b"\x44" * 32, q.STAGE_DISPUTE, 0, 1700000000, (ETHER,), 9),
    s.Error(0, s.ERROR_BUDGET, "over the budget"),
    q.StateRequest(10, CHANNEL),
    q.HeldState(10, FULL, (SIG, SIG_2)),
    q.StateRequest(8, CHANNEL),
    q.HeldState(8, state(4711), (SIG, SIG_2)),
    b.Attach(11, "node"),
    b.PeerState("node", True, ""),
    b.Relay("node", b"\x92\x00\x01"),
    w.WitnessRequest(12, PARAMS, TWO_ASSETS, RICH.balances),
)
