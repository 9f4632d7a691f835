"""Opening a ledger channel: the proposal, its answer, and what both make of it.

Source: go-perun's client, proposal validation and channel opening. Our checks are stricter: the
funding agreement must add up, assets come from a pinned list, deposits and challenge durations
stay within the owner's limits.
"""

from perun.chain.nonce import combine
from perun.channel import ProtocolError
from perun.model import Params, State
from perun.model.opening import check_funding_agreement, check_params
from perun.model.rules import RuleError, check_allocation
from perun.wire.messages import LedgerChannelProposal, LedgerChannelProposalAcc


def propose(
    proposal_id, share, duration, allocation, participant, peers, agreement=None, app=b"", data=b""
):
    """The proposal message. proposal_id, share: 32 random bytes; participant: own address."""
    return LedgerChannelProposal(
        proposal_id,
        duration,
        share,
        app,
        data,
        allocation,
        agreement or allocation.balances,
        b"",
        participant,
        peers,
    )


def _refuse(text):
    raise ProtocolError("proposal: " + text)


def check_proposal(proposal, index, peers, limits):
    """The rules of a proposal, for both sides. Raises ProtocolError.

    index: own participant index (0 proposer, 1 proposee); peers: the (proposer, proposee) wire
    addresses that this link has; limits: Limits.
    """
    for name, value in (("id", proposal.proposal_id), ("nonce share", proposal.nonce_share)):
        if len(value) != 32:
            _refuse(name + " is not 32 bytes")
    try:
        check_allocation(proposal.init_bals)
        check_funding_agreement(proposal.funding_agreement, proposal.init_bals)
    except RuleError as error:
        _refuse(str(error))
    if proposal.app or proposal.init_data:
        _refuse("apps are not supported")
    if proposal.init_bals.locked:
        _refuse("funds are locked from the start")
    if len(proposal.participant) != 20:
        _refuse("participant is not an address")
    if tuple(proposal.peers) != tuple(peers):
        _refuse("meant for somebody else")
    if any(proposal.aux):
        _refuse("aux is not empty")
    _check_limits(proposal, index, limits)


def _check_limits(proposal, index, limits):
    duration = proposal.challenge_duration
    low, high = limits.min_challenge_duration, limits.max_challenge_duration
    if not low <= duration <= high:
        _refuse("challenge duration %d s is not within %d to %d s" % (duration, low, high))
    for asset, row in zip(proposal.init_bals.assets, proposal.funding_agreement):
        if asset not in limits.assets:
            _refuse("asset is not on the list")
        if row[index] > limits.max_deposit[limits.assets.index(asset)]:
            _refuse("deposit is over the limit")


def accept(proposal, share, participant):
    """The answer that accepts. share: 32 random bytes; participant: own address."""
    return LedgerChannelProposalAcc(proposal.proposal_id, share, participant)


def agree(chain, proposal, acc):
    """(Params, State of version 0) that follow from a proposal and its acceptance."""
    if acc.proposal_id != proposal.proposal_id:
        raise ProtocolError("acceptance of another proposal")
    if len(acc.nonce_share) != 32:
        raise ProtocolError("acceptance: nonce share is not 32 bytes")
    params = Params(
        proposal.challenge_duration,
        combine(proposal.nonce_share, acc.nonce_share),
        (proposal.participant, acc.participant),
        proposal.app,
        True,
        False,
    )
    try:
        check_params(params)
    except RuleError as error:
        raise ProtocolError("acceptance: " + str(error))
    channel_id = chain.channel_id(params)
    state = State(channel_id, 0, proposal.app, proposal.init_bals, proposal.init_data, False)
    return params, state
