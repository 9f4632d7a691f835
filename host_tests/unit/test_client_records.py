from channels import ALICE, BOB, opened, machines, sent
from perun.chain.ethereum import Ethereum
from perun.channel import SIGNING
from perun.client.keeping import load_channel
from perun.client.records import dump_channel
from perun.model import transfer
from perun.wire import WireError
from support import raises


def same(one, other):
    for name in ("params", "index", "agreement", "phase", "current", "staged", "id"):
        assert getattr(one, name) == getattr(other, name), name


def test_round_trip_of_every_stage():
    alice, bob = machines()
    same(load_channel(dump_channel(alice), Ethereum(), ALICE), alice)
    alice, bob = opened()
    same(load_channel(dump_channel(bob), Ethereum(), BOB), bob)
    alice.propose(transfer(alice.current.state, 0, (1,)))
    restored = load_channel(dump_channel(alice), Ethereum(), ALICE)
    same(restored, alice)
    assert restored.phase == SIGNING and sent(restored.retry()) == sent(alice.retry())


def test_anything_else_is_refused():
    data = dump_channel(machines()[0])
    for length in range(len(data)):
        raises(WireError, load_channel, data[:length], Ethereum(), ALICE)
    raises(WireError, load_channel, data + b"\x00", Ethereum(), ALICE)
    raises(WireError, load_channel, data[:1] + b"\x03" + data[2:], Ethereum(), ALICE)
    raises(ValueError, load_channel, data, Ethereum(), BOB)
