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


def _check_amount(value, what):
    if not isinstance(value, int) or isinstance(value, bool):
        raise RuleError(what + " is not a number")
    if not 0 <= value < _WORD:
        raise RuleError(what + " is negative or over 2**256-1")


def check_asset(asset):
    """An asset with a chain id that fits a uint256 and, on Ethereum, a 20-byte holder."""
    _check_amount(asset.chain_id, "chain id")
    if not isinstance(asset.holder, bytes):
        raise RuleError("asset holder is not bytes")
    if asset.backend == 1 and len(asset.holder) != 20:
        raise RuleError("asset holder is not 20 bytes")
    if not 0 <= asset.backend <= 0xFFFFFFFF:
        raise RuleError("unknown asset backend")


def check_balances(balances, assets, what="balances"):
    """One row per asset, one amount per participant, and a total that fits a uint256."""
    if len(balances) != assets:
        raise RuleError(what + ": one row per asset is needed")
    for row in balances:
        if len(row) != PARTICIPANTS:
            raise RuleError(what + ": one amount per participant is needed")
        for value in row:
            _check_amount(value, what)
        if sum(row) >= _WORD:
            raise RuleError(what + ": total over 2**256-1")


def check_allocation(allocation):
    """go-perun Allocation.Valid, plus: no asset twice, totals fit, index maps in range."""
    assets, balances, locked = allocation
    if not 0 < len(assets) <= MAX_ASSETS:
        raise RuleError("an allocation needs 1 to 1024 assets")
    for i, asset in enumerate(assets):
        check_asset(asset)
        if asset in assets[:i]:
            raise RuleError("an asset is listed twice")
    check_balances(balances, len(assets))
    if len(locked) > MAX_LOCKED:
        raise RuleError("more than 1024 locked sub-allocations")
    for i, sub in enumerate(locked):
        _check_locked(sub, len(assets))
        for other in locked[:i]:
            if other.id == sub.id:
                raise RuleError("locked: a sub-channel is listed twice")
    for total in totals(allocation):
        if total >= _WORD:
            raise RuleError("a total is over 2**256-1")


def _check_locked(sub, assets):
    if len(sub.id) != 32:
        raise RuleError("locked: an id is not 32 bytes")
    if len(sub.balances) != assets:
        raise RuleError("locked: one amount per asset is needed")
    for value in sub.balances:
        _check_amount(value, "locked amount")
    for index in sub.index_map:
        if not 0 <= index < PARTICIPANTS:
            raise RuleError("locked: index map out of range")


def totals(allocation):
    """Tuple: per asset, what all participants and sub-channels own together."""
    sums = []
    for a, row in enumerate(allocation.balances):
        sums.append(sum(row) + sum(sub.balances[a] for sub in allocation.locked))
    return tuple(sums)


def check_state(state):
    """The shape of a single state."""
    if not isinstance(state.id, bytes) or len(state.id) != 32:
        raise RuleError("channel id is not 32 bytes")
    if not 0 <= state.version < 1 << 64:
        raise RuleError("version out of range")
    if len(state.app) not in (0, 20):
        raise RuleError("app is not an address")
    if state.data and not state.app:
        raise RuleError("data without an app")
    check_allocation(state.allocation)


def check_transition(current, following, actor, version=None):
    """go-perun's machine.ValidTransition for an app-less channel, and what it forgets.

    actor: index of the participant who proposes; version: the one that `following` must have, by
    default one later. `locked` stays as it is.
    """
    if not 0 <= actor < PARTICIPANTS:
        raise RuleError("actor out of range")
    check_state(following)
    if following.id != current.id:
        raise RuleError("another channel's state")
    if following.app != current.app:
        raise RuleError("the app changed")
    if current.is_final:
        raise RuleError("the channel is final")
    expected = current.version + 1 if version is None else version
    if following.version != expected:
        raise RuleError("version %d is next" % expected)
    old, new = current.allocation, following.allocation
    if new.assets != old.assets:
        raise RuleError("the assets changed")
    if totals(new) != totals(old):
        raise RuleError("a total changed")
    if new.locked != old.locked:
        raise RuleError("locked funds changed")
    if following.is_final and new.locked:
        raise RuleError("a final state has locked funds")
