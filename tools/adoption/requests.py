"""What to answer: decisions about requests, from what is known, without doing anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum

from perun.model import Asset
from perun.model.rules import totals
from perun.wire import inquiry_messages as im
from perun.wire import service_messages as sm

from adoption.chain import CONCLUDED
from adoption.store.channels import Channel, Member, Signed
from adoption.store.devices import Budget
from adoption.store.settled import Settled
from adoption.store.tables import FUNDING_DONE, FUNDING_FAILED, FUNDING_RUNNING
from adoption.verify import Refused

Rows = Sequence[Sequence[int]]


class News(Enum):
    """How a verified state relates to what is held."""

    NEW = "the channel is new"
    SAME = "it is held"
    NEWER = "it replaces what is held"


def judge_state(channel: Channel | None, offered: Signed) -> News:
    """Take only what is strictly newer, or the very same. Raises Refused.

    A second state with the version held is ERROR_EQUIVOCATION: the caller keeps it as evidence.
    """
    if channel is None:
        return News.NEW
    held = channel.held
    if offered.state.version < held.state.version:
        raise Refused(sm.ERROR_OUTDATED, f"version {held.state.version} is held: send a newer one")
    if offered.state.version == held.state.version:
        if offered.hash == held.hash:
            return News.SAME
        raise Refused(
            sm.ERROR_EQUIVOCATION,
            f"another state of version {held.state.version} is held; both are kept as evidence:"
            " open a dispute",
        )
    if held.state.is_final:
        raise Refused(sm.ERROR_INVALID, "the channel is final: no state follows")
    if channel.chain is not None and channel.chain.phase == CONCLUDED:
        raise Refused(sm.ERROR_INVALID, "the channel is concluded on chain: no state follows")
    old, new = held.state.allocation, offered.state.allocation
    if old.assets != new.assets or totals(old) != totals(new):
        raise Refused(sm.ERROR_INVALID, "assets or totals differ from those of the channel")
    return News.NEWER


def useful_amounts(
    channel: Channel | None,
    offered: Signed,
    participant: int,
    holdings: Mapping[int, int],
) -> list[set[int]]:
    """Per asset the amounts that an authorization of this participant can sensibly have: the
    balance in the state, the own deposit, and what waits on the chain once it is concluded."""
    rows = offered.state.allocation.balances
    amounts = [{row[participant]} for row in rows]
    if channel is not None and channel.agreement is not None:
        for asset, row in enumerate(channel.agreement):
            amounts[asset].add(row[participant])
    if channel is not None and channel.chain is not None:
        if channel.chain.phase == CONCLUDED:
            for asset, amount in holdings.items():
                amounts[asset].add(amount)
        if channel.chain.state is not None:
            for asset, row in enumerate(channel.chain.state.allocation.balances):
                amounts[asset].add(row[participant])
    return amounts


def covered(offered: Signed, participant: int, auths: Sequence[sm.WithdrawalAuth]) -> bool:
    """Do the authorizations pay out everything that the state gives to the participant?"""
    there = {(auth.asset, auth.amount) for auth in auths}
    return all(
        row[participant] == 0 or (asset, row[participant]) in there
        for asset, row in enumerate(offered.state.allocation.balances)
    )


def judge_funding(
    channel: Channel | None, offered: Signed, agreement: Rows, known_deposits: bool
) -> bool:
    """Is there anything to decide? False: it was asked before. Raises Refused."""
    if channel is None:
        return True
    if channel.held.state.version == 0 and channel.held.hash != offered.hash:
        raise Refused(sm.ERROR_EQUIVOCATION, "another state of version 0 is held")
    if channel.agreement is not None and channel.agreement != tuple(map(tuple, agreement)):
        raise Refused(sm.ERROR_INVALID, "another funding agreement is known for this channel")
    if known_deposits or channel.funding == FUNDING_DONE:
        return False
    if channel.funding == FUNDING_FAILED:
        raise Refused(sm.ERROR_INVALID, "funding has failed: open another channel")
    if channel.chain is not None:
        raise Refused(sm.ERROR_INVALID, "the channel is in dispute: nothing is deposited")
    return True


def check_budget(
    assets: Sequence[Asset], amounts: Sequence[int], budgets: Mapping[bytes, Budget]
) -> None:
    """The deposits fit into what is left. Raises Refused."""
    for asset, amount in zip(assets, amounts, strict=True):
        budget = budgets.get(asset.holder)
        left = budget.left if budget else 0
        if amount > left:
            raise Refused(
                sm.ERROR_BUDGET,
                f"a deposit of {amount} is over the budget, {left} is left: ask the operator",
            )


def stage(channel: Channel, member: Member) -> int:
    """STAGE_* as a device sees it."""
    if channel.chain is not None:
        if channel.chain.phase != CONCLUDED:
            return int(im.STAGE_DISPUTE)
        return int(im.STAGE_WITHDRAWN if member.withdrawn else im.STAGE_CONCLUDED)
    if channel.funding == FUNDING_RUNNING:
        return int(im.STAGE_FUNDING)
    return int(im.STAGE_FUNDED if channel.funding == FUNDING_DONE else im.STAGE_OPEN)


def status(
    request: int, channel: Channel, member: Member, holdings: Mapping[int, int]
) -> im.Status:
    """The answer to a StatusRequest."""
    chain = channel.chain
    assets = range(len(channel.held.state.allocation.assets))
    return im.Status(
        request,
        channel.id,
        channel.held.state.version,
        channel.held.hash,
        stage(channel, member),
        -1 if chain is None else chain.version,
        0 if chain is None or chain.phase == CONCLUDED else chain.timeout,
        tuple(holdings.get(asset, 0) for asset in assets),
        -1 if member.authorized is None else member.authorized,
    )


def settled_status(request: int, over: Settled) -> im.Status:
    """The same about a channel that was paid out and pruned."""
    none = (0,) * len(over.payouts or ((),))
    return im.Status(
        request,
        over.id,
        over.version,
        over.hash,
        im.STAGE_WITHDRAWN,
        over.version,
        0,
        none,
        over.version,
    )
