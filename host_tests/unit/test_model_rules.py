from channels import ASSET, TOKEN, replace
from perun.model import Allocation, Asset, Params, State, SubAlloc, ether, transfer
from perun.model.opening import check_funding_agreement, check_params
from perun.model.rules import (
    RuleError,
    check_allocation,
    check_asset,
    check_state,
    check_transition,
    totals,
)
from support import raises

TOP = (1 << 256) - 1
SUB = SubAlloc(b"\x77" * 32, (10,), (0, 1))


def allocation(balances=((5, 7),), assets=(ASSET,), locked=()):
    return Allocation(assets, balances, locked)


def state(version=3, made=None, **changes):
    return replace(State(b"\x01" * 32, version, b"", made or allocation(), b"", False), **changes)


def refused(text, function, *args):
    error = raises(RuleError, function, *args)
    assert text in str(error), error


def test_valid_allocations():
    check_allocation(allocation())
    check_allocation(allocation(((0, 0),)))
    check_allocation(allocation(((TOP, 0),)))
    check_allocation(allocation(((1, 2), (3, 4)), (ASSET, TOKEN)))
    check_allocation(allocation(locked=(SUB,)))


def test_invalid_allocations():
    for text, made in (
        ("1 to 1024 assets", allocation((), ())),
        ("1 to 1024 assets", allocation(((1, 1),) * 1025, (ASSET,) * 1025)),
        ("listed twice", allocation(((1, 2), (3, 4)), (ASSET, ASSET))),
        ("one row per asset", allocation(((1, 2), (3, 4)))),
        ("one row per asset", allocation(())),
        ("per participant", allocation(((1,),))),
        ("per participant", allocation(((1, 2, 3),))),
        ("negative", allocation(((-1, 8),))),
        ("over 2**256-1", allocation(((TOP + 1, 0),))),
        ("over 2**256-1", allocation(((TOP, 1),))),
        ("not a number", allocation(((1.0, 1),))),
        ("not a number", allocation(((None, 1),))),
        ("not 20 bytes", allocation(assets=(Asset(1, b"\x00" * 19, 1),))),
        ("chain id", allocation(assets=(ether(-1, b"\x00" * 20),))),
    ):
        refused(text, check_allocation, made)


def test_invalid_locked_funds():
    for text, locked in (
        ("32 bytes", (SubAlloc(b"\x77" * 31, (10,), ()),)),
        ("one amount per asset", (SubAlloc(b"\x77" * 32, (10, 1), ()),)),
        ("negative", (SubAlloc(b"\x77" * 32, (-1,), ()),)),
        ("index map", (SubAlloc(b"\x77" * 32, (1,), (0, 2)),)),
        ("listed twice", (SUB, SUB)),
        ("total is over", (SubAlloc(b"\x77" * 32, (TOP,), ()),)),
    ):
        refused(text, check_allocation, allocation(locked=locked))


def test_foreign_asset_has_any_holder():
    check_asset(Asset(0, b"\x01" * 33, 3))
    refused("backend", check_asset, Asset(0, b"", 1 << 32))


def test_totals_count_locked_funds():
    assert totals(allocation(locked=(SUB,))) == (22,)


def test_params():
    good = Params(60, 1, (b"\x01" * 20, b"\x02" * 20), b"", True, False)
    check_params(good)
    for text, changes in (
        ("duration", {"challenge_duration": 0}),
        ("duration", {"challenge_duration": 1 << 64}),
        ("nonce", {"nonce": 1 << 256}),
        ("nonce", {"nonce": -1}),
        ("two participants", {"participants": (b"\x01" * 20,)}),
        ("not an address", {"participants": (b"\x01" * 20, b"\x02" * 19)}),
        ("the same", {"participants": (b"\x01" * 20, b"\x01" * 20)}),
        ("app", {"app": b"\x01"}),
        ("virtual", {"virtual": True}),
    ):
        refused(text, check_params, replace(good, **changes))


def test_state_shape():
    check_state(state())
    refused("32 bytes", check_state, state(id=b"\x01"))
    refused("version", check_state, state(-1))
    refused("version", check_state, state(1 << 64))
    refused("data without an app", check_state, state(data=b"x"))


def test_funding_agreement_adds_up():
    made = allocation(((5, 7), (1, 0)), (ASSET, TOKEN))
    check_funding_agreement(((12, 0), (0, 1)), made)
    refused("sums differ", check_funding_agreement, ((5, 8), (1, 0)), made)
    refused("one row per asset", check_funding_agreement, ((5, 7),), made)
    refused("negative", check_funding_agreement, ((13, -1), (1, 0)), made)


def test_valid_transition():
    check_transition(state(3), state(4), 0)
    check_transition(state(3), state(4, allocation(((0, 12),))), 1)
    check_transition(state(3), state(4, is_final=True), 1)


def test_invalid_transitions():
    other = allocation(assets=(TOKEN,))
    mapped = allocation(locked=(SubAlloc(SUB.id, SUB.balances, (1, 0)),))
    for text, old, new in (
        ("4 is next", state(3), state(3)),
        ("4 is next", state(3), state(5)),
        ("4 is next", state(3), state(2)),
        ("another channel", state(3), state(4, id=b"\x02" * 32)),
        ("final", state(3, is_final=True), state(4)),
        ("app changed", state(3), state(4, app=b"\x01" * 20)),
        ("assets changed", state(3), state(4, other)),
        ("total changed", state(3), state(4, allocation(((5, 8),)))),
        ("negative", state(3), state(4, allocation(((-1, 13),)))),
        ("locked funds changed", state(3, allocation(locked=(SUB,))), state(4, mapped)),
        (
            "final state has locked",
            state(3, allocation(locked=(SUB,))),
            state(4, allocation(locked=(SUB,)), is_final=True),
        ),
    ):
        refused(text, check_transition, old, new, 0)
    check_transition(state(3), state(6), 0, 6)
    refused("6 is next", check_transition, state(3), state(4), 0, 6)
    refused("actor", check_transition, state(3), state(4), 2)
    refused("actor", check_transition, state(3), state(4), -1)


def test_transfer():
    paid = transfer(state(3), 0, (5,))
    assert paid.version == 4 and paid.allocation.balances == ((0, 12),)
    assert transfer(paid, 1, (12,), 9).version == 9
    raises(ValueError, transfer, state(3), 0, (6,))
    raises(ValueError, transfer, state(3), 0, (-1,))
    raises(ValueError, transfer, state(3), 0, ())
