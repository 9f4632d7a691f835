"""The decision what to do next, case by case."""

from __future__ import annotations

import itertools

import pytest
from adoption.chain import CONCLUDED, DISPUTE, FORCEEXEC, Dispute
from adoption.decide import Decision, Step, choose_authorization, decide
from adoption.store.channels import Channel, Signed
from adoption.store.tables import FUNDING_DONE
from perun.model import Allocation, Params, State, ether
from perun.wire.service_messages import WithdrawalAuth

ASSET = ether(1, bytes(20))
PARAMS = Params(60, 1, (bytes([1] * 20), bytes([2] * 20)), b"", True, False)


def channel(version, final=False, wanted=False):
    state = State(bytes(32), version, b"", Allocation((ASSET,), ((1, 2),), ()), b"", final)
    held = Signed(state, bytes([version] * 32), ())
    return Channel(bytes(32), PARAMS, held, None, wanted, None, FUNDING_DONE, None, False)


def dispute(version, phase=DISPUTE, timeout=100, app=False):
    return Dispute(phase, version, bytes([version] * 32), timeout, 60, app)


@pytest.mark.parametrize(
    ("ours", "theirs", "known", "now", "expected"),
    [
        (channel(5), None, True, 50, Decision(Step.REST)),
        (channel(5, wanted=True), None, True, 50, Decision(Step.REGISTER)),
        (channel(5, final=True), None, True, 50, Decision(Step.CONCLUDE_FINAL)),
        # somebody registered
        (channel(5), dispute(4), True, 50, Decision(Step.REGISTER)),
        (channel(5), dispute(4), False, 99, Decision(Step.REGISTER)),
        (channel(5), dispute(5), True, 50, Decision(Step.WAIT, 100)),
        (channel(5), dispute(5), True, 99, Decision(Step.WAIT, 100)),
        (channel(5), dispute(5), True, 100, Decision(Step.CONCLUDE)),
        (channel(5), dispute(6), False, 50, Decision(Step.LEARN)),
        (channel(5), dispute(6), True, 50, Decision(Step.WAIT, 100)),
        # too late to refute: what is registered counts
        (channel(5), dispute(4), True, 100, Decision(Step.CONCLUDE)),
        (channel(5), dispute(4), False, 100, Decision(Step.LEARN)),
        # a final state wins at any time, but not against a newer one
        (channel(5, final=True), dispute(4), True, 500, Decision(Step.CONCLUDE_FINAL)),
        (channel(5, final=True), dispute(5), True, 500, Decision(Step.CONCLUDE_FINAL)),
        (channel(5, final=True), dispute(6), True, 50, Decision(Step.WAIT, 100)),
        # apps: the time for a progress comes on top
        (channel(5), dispute(5, app=True), True, 100, Decision(Step.WAIT, 160)),
        (channel(5), dispute(5, app=True), True, 160, Decision(Step.CONCLUDE)),
        (channel(5), dispute(6, FORCEEXEC, app=True), True, 50, Decision(Step.WAIT, 100)),
        (channel(5), dispute(6, FORCEEXEC, app=True), True, 100, Decision(Step.CONCLUDE)),
        (channel(5), dispute(4, FORCEEXEC, app=True), True, 50, Decision(Step.WAIT, 100)),
        # concluded
        (channel(5), dispute(5, CONCLUDED), True, 50, Decision(Step.PAY_OUT)),
        (channel(5, final=True), dispute(3, CONCLUDED), False, 50, Decision(Step.PAY_OUT)),
    ],
)
def test_step(ours, theirs, known, now, expected):
    assert decide(ours, theirs, known, now) == expected


def auths(*amounts, asset=0):
    return [WithdrawalAuth(asset, bytes(20), amount, b"") for amount in amounts]


@pytest.mark.parametrize(
    ("amounts", "holdings", "patient", "expected"),
    [
        ([], 10, False, None),
        ([10], 10, True, 10),
        ([9, 10, 11], 10, True, 10),
        ([9, 11], 10, True, None),
        ([9, 5, 11], 10, False, 9),
        ([5], 10, False, 5),
        ([4], 10, False, None),
        ([0], 0, False, None),
        ([11], 10, False, None),
        ([10], 0, False, None),
    ],
)
def test_authorization(amounts, holdings, patient, expected):
    chosen = choose_authorization(auths(*amounts), 0, holdings, patient)
    assert (chosen.amount if chosen else None) == expected


def test_authorization_of_another_asset():
    assert choose_authorization(auths(10, asset=1), 0, 10, True) is None


def test_payout_ends_soon():
    """However a device picks its amounts, a payout takes few transactions."""
    for first, second, holdings in itertools.product(range(8), range(8), range(200)):
        left, steps = holdings, 0
        while chosen := choose_authorization(auths(first, second, 100), 0, left, False):
            left -= chosen.amount
            steps += 1
        assert steps <= holdings.bit_length()
