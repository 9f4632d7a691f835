"""What peers say about sub-channels and virtual channels (go-perun's vocabulary)."""

from collections import namedtuple

# The first eight fields are those of LedgerChannelProposal; parent: 32 bytes, the ledger channel.
SubChannelProposal = namedtuple(
    "SubChannelProposal",
    (
        "proposal_id",
        "challenge_duration",
        "nonce_share",
        "app",
        "init_data",
        "init_bals",
        "funding_agreement",
        "aux",
        "parent",
    ),
)
SubChannelProposalAcc = namedtuple("SubChannelProposalAcc", ("proposal_id", "nonce_share"))

# proposer: 20-byte channel address; peers: wire addresses; parents: one channel id per peer;
# index_maps: per parent a tuple, virtual participant i is parent participant map[i].
VirtualChannelProposal = namedtuple(
    "VirtualChannelProposal",
    (
        "proposal_id",
        "challenge_duration",
        "nonce_share",
        "app",
        "init_data",
        "init_bals",
        "funding_agreement",
        "aux",
        "proposer",
        "peers",
        "parents",
        "index_maps",
    ),
)
VirtualChannelProposalAcc = namedtuple(
    "VirtualChannelProposalAcc", ("proposal_id", "nonce_share", "responder")
)

# params: Params; state: State; sigs: one signature per participant.
SignedState = namedtuple("SignedState", ("params", "state", "sigs"))

# update: ChannelUpdate on the parent; initial, final: SignedState of the virtual channel.
VirtualChannelFundingProposal = namedtuple(
    "VirtualChannelFundingProposal", ("update", "initial", "index_map")
)
VirtualChannelSettlementProposal = namedtuple(
    "VirtualChannelSettlementProposal", ("update", "final")
)
