"""What to do next on the chain for a channel: a decision from what is seen, without doing it.

Everything is derived from the chain and the store each time, so a restart, a lost answer or
somebody else's transaction changes nothing: the next look finds what is left to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

from perun.wire.service_messages import WithdrawalAuth

from adoption.chain import CONCLUDED, DISPUTE, Dispute
from adoption.store.channels import Channel


class Step(Enum):
    """The next step."""

    REST = "nothing to do"
    WAIT = "wait for a time"
    REGISTER = "register the state that is held"
    LEARN = "find out which state is registered"
    CONCLUDE = "conclude with the registered state"
    CONCLUDE_FINAL = "conclude with the final state that is held"
    PAY_OUT = "withdraw"


class Decision(NamedTuple):
    """A step. until: the block time in seconds that WAIT waits for."""

    step: Step
    until: int = 0


def decide(channel: Channel, dispute: Dispute | None, content_known: bool, now: int) -> Decision:
    """The next step.

    dispute: what is registered; content_known: the service has the registered state itself, not
    only its hash; now: the time of the latest block.
    """
    held = channel.held
    version = held.state.version
    if dispute is not None and dispute.phase == CONCLUDED:
        return Decision(Step.PAY_OUT)
    if held.state.is_final and (dispute is None or dispute.version <= version):
        return Decision(Step.CONCLUDE_FINAL)
    if dispute is None:
        return Decision(Step.REGISTER if channel.dispute_wanted else Step.REST)
    if dispute.phase == DISPUTE and dispute.version < version and now < dispute.timeout:
        return Decision(Step.REGISTER)
    if not content_known:
        return Decision(Step.LEARN)
    end = dispute.timeout
    if dispute.phase == DISPUTE and dispute.has_app:
        end += dispute.duration  # the time for the first progress
    return Decision(Step.CONCLUDE) if now >= end else Decision(Step.WAIT, end)


def choose_authorization(
    auths: Sequence[WithdrawalAuth], asset: int, holdings: int, patient: bool
) -> WithdrawalAuth | None:
    """The authorization to withdraw with, or None.

    One for exactly what is there, if there is one. While `patient`, nothing else: the device may
    send the right one. Then the largest that fits, as long as it takes at least half: each
    withdrawal halves what is left, so a device cannot make the service pay for many small ones.
    """
    fitting = [auth for auth in auths if auth.asset == asset and 0 < auth.amount <= holdings]
    best = max(fitting, key=lambda auth: auth.amount, default=None)
    if best is None or best.amount == holdings:
        return best
    if patient or 2 * best.amount < holdings:
        return None
    return best
