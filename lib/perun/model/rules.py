"""What is valid: allocations, proposals' sums and the step from one state to the next.

Source: go-perun's channel rules (Allocation.Valid, machine.ValidTransition), made stricter where
go-perun forgets: totals fit a uint256, backends and index maps are compared, nothing is negative.
Every function raises RuleError with a sentence that names the broken rule, and returns None.
"""

from perun.compat import const

MAX_ASSETS = const(1024)
MAX_LOCKED = const(1024)
MAX_INDEX = const(0xFFFF)
PARTICIPANTS = const(2)  # the protocol allows more, clients (go-perun's and ours) support two
_WORD = 1 << 256


class RuleError(ValueError):
    """A state, an allocation or a transition breaks a rule."""


def _require(ok, text):
    if not ok:
        raise RuleError(text)


def _amount(value, what):
    _require(isinstance(value, int) and not isinstance(value, bool), what + " is not a number")
    _require(0 <= value < _WORD, what + " is negative or over 2**256-1")


def check_asset(asset):
    """An asset with a chain id that fits a uint256 and, on Ethereum, a 20-byte holder."""
    _amount(asset.chain_id, "chain id")
    _require(isinstance(asset.holder, bytes), "asset holder is not bytes")
    _require(asset.backend != 1 or len(asset.holder) == 20, "asset holder is not 20 bytes")
    _require(0 <= asset.backend <= 0xFFFFFFFF, "unknown asset backend")


def check_balances(balances, assets, what="balances"):
    """One row per asset, one amount per participant, and a total that fits a uint256."""
    _require(len(balances) == assets, what + ": one row per asset is needed")
    for row in balances:
        _require(len(row) == PARTICIPANTS, what + ": one amount per participant is needed")
        for value in row:
            _amount(value, what)
        _require(sum(row) < _WORD, what + ": total over 2**256-1")


def check_allocation(allocation):
    """go-perun Allocation.Valid, plus: no asset twice, totals fit, index maps in range."""
    assets, balances, locked = allocation
    _require(0 < len(assets) <= MAX_ASSETS, "an allocation needs 1 to 1024 assets")
    for i, asset in enumerate(assets):
        check_asset(asset)
        _require(asset not in assets[:i], "an asset is listed twice")
    check_balances(balances, len(assets))
    _require(len(locked) <= MAX_LOCKED, "more than 1024 locked sub-allocations")
    for i, sub in enumerate(locked):
        _require(len(sub.id) == 32, "locked: an id is not 32 bytes")
        _require(len(sub.balances) == len(assets), "locked: one amount per asset is needed")
        for value in sub.balances:
            _amount(value, "locked amount")
        for index in sub.index_map:
            _require(0 <= index < PARTICIPANTS, "locked: index map out of range")
        for other in locked[:i]:
            _require(other.id != sub.id, "locked: a sub-channel is listed twice")
    for total in totals(allocation):
        _require(total < _WORD, "a total is over 2**256-1")


def totals(allocation):
    """Tuple: per asset, what all participants and sub-channels own together."""
    sums = []
    for a, row in enumerate(allocation.balances):
        sums.append(sum(row) + sum(sub.balances[a] for sub in allocation.locked))
    return tuple(sums)


def check_state(state):
    """The shape of a single state."""
    _require(isinstance(state.id, bytes) and len(state.id) == 32, "channel id is not 32 bytes")
    _require(0 <= state.version < 1 << 64, "version out of range")
    _require(len(state.app) in (0, 20), "app is not an address")
    _require(state.app or not state.data, "data without an app")
    check_allocation(state.allocation)


def check_params(params):
    """Two different 20-byte participants, 1 <= challenge duration < 2**64, a 256-bit nonce."""
    _require(0 < params.challenge_duration < 1 << 64, "challenge duration out of range")
    _require(0 <= params.nonce < _WORD, "nonce out of range")
    _require(len(params.participants) == PARTICIPANTS, "exactly two participants are supported")
    for address in params.participants:
        _require(
            isinstance(address, bytes) and len(address) == 20, "participant is not an address"
        )
    _require(params.participants[0] != params.participants[1], "both participants are the same")
    _require(len(params.app) in (0, 20), "app is not an address")
    _require(not (params.ledger and params.virtual), "a virtual channel is no ledger channel")


def check_funding_agreement(agreement, allocation):
    """Who deposits how much: the same shape and the same sum per asset as the allocation."""
    check_balances(agreement, len(allocation.assets), "funding agreement")
    for paid, row in zip(agreement, allocation.balances):
        _require(sum(paid) == sum(row), "funding agreement: sums differ from the balances")


def check_transition(current, following, actor, version=None):
    """go-perun's machine.ValidTransition for an app-less channel, and what it forgets.

    actor: index of the participant who proposes; version: the one that `following` must have, by
    default one later. `locked` stays as it is.
    """
    _require(0 <= actor < PARTICIPANTS, "actor out of range")
    check_state(following)
    _require(following.id == current.id, "another channel's state")
    _require(following.app == current.app, "the app changed")
    _require(not current.is_final, "the channel is final")
    expected = current.version + 1 if version is None else version
    _require(following.version == expected, "version %d is next" % expected)
    old, new = current.allocation, following.allocation
    _require(new.assets == old.assets, "the assets changed")
    _require(totals(new) == totals(old), "a total changed")
    _require(new.locked == old.locked, "locked funds changed")
    _require(not (following.is_final and new.locked), "a final state has locked funds")
