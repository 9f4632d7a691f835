"""The proposer's side of an opening: who only accepts needs none of it."""

import asyncio

from perun.channel import ProtocolError
from perun.channel.opening import check_proposal
from perun.channel.opening import propose as proposal_of
from perun.client.handle import Refused, TimedOut, until
from perun.model import Allocation
from perun.wire.messages import ChannelProposalRej


async def propose(client, peer, deposits, duration, timeout):
    """Client.propose()."""
    rows = tuple(tuple(row) for row in deposits)
    allocation = Allocation(client.limits.assets, rows, ())
    peers = (peer.own, peer.address)
    share, own = client.random(32), client.account.address
    proposal = proposal_of(client.random(32), share, duration, allocation, own, peers)
    check_proposal(proposal, 0, peers, client.limits)
    opening = client.openings[proposal.proposal_id] = _Opening(client, proposal, peer)
    try:
        await peer.send(proposal)
        await until(opening.arrived, opening.is_answered, timeout)
    except TimedOut:
        raise TimedOut("the peer does not answer the proposal" + peer.silence)
    finally:
        del client.openings[proposal.proposal_id]
    if opening.refusal:
        raise Refused(opening.refusal)
    await opening.handle.signed(timeout)
    return opening.handle


class _Opening:
    """An own proposal that waits for its answer."""

    def __init__(self, client, proposal, peer):
        self._client = client
        self._proposal = proposal
        self.peer = peer
        self.arrived = asyncio.Event()
        self.refusal = None
        self.handle = None

    def is_answered(self):
        return bool(self.refusal or self.handle)

    async def answer(self, message):
        """The peer accepts or refuses."""
        if type(message) is ChannelProposalRej:
            self.refusal = message.reason or "refused"
            self.arrived.set()
            return
        if not self.peer.is_account(message.participant):
            raise ProtocolError("acceptance: the participant is not the peer")
        self.handle = self._client.open(self.peer, self._proposal, message, 0)
        self.arrived.set()
        await self.handle.begin()
