"""What is valid when a channel opens: its Params, and who deposits what.

As perun.model.rules, which goes on from there; a device needs this once per channel.
"""

from perun.model.rules import PARTICIPANTS, RuleError, check_balances

_WORD = 1 << 256


def check_params(params):
    """Two different 20-byte participants, 1 <= challenge duration < 2**64, a 256-bit nonce."""
    if not 0 < params.challenge_duration < 1 << 64:
        raise RuleError("challenge duration out of range")
    if not 0 <= params.nonce < _WORD:
        raise RuleError("nonce out of range")
    if len(params.participants) != PARTICIPANTS:
        raise RuleError("exactly two participants are supported")
    for address in params.participants:
        if not isinstance(address, bytes) or len(address) != 20:
            raise RuleError("participant is not an address")
    if params.participants[0] == params.participants[1]:
        raise RuleError("both participants are the same")
    if len(params.app) not in (0, 20):
        raise RuleError("app is not an address")
    if params.ledger and params.virtual:
        raise RuleError("a virtual channel is no ledger channel")


def check_funding_agreement(agreement, allocation):
    """Who deposits how much: the same shape and the same sum per asset as the allocation."""
    check_balances(agreement, len(allocation.assets), "funding agreement")
    for paid, row in zip(agreement, allocation.balances):
        if sum(paid) != sum(row):
            raise RuleError("funding agreement: sums differ from the balances")
