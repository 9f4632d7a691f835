"""Tables of the compact codec for sub-channels and virtual channels."""

from perun.model.rules import PARTICIPANTS
from perun.wire import kinds, messages
from perun.wire import subchannel_messages as sub

KINDS = {
    "parents": ("list", "id", PARTICIPANTS, PARTICIPANTS),
    "index_maps": ("list", "index_map", PARTICIPANTS, PARTICIPANTS),
    "update": ("record", messages.ChannelUpdate, None, ("known_state", "u16", "sig")),
    "signed_state": ("record", sub.SignedState, None, ("params", "state", "sigs")),
}

_BASE = ("id", "u64", "id", "app", "data", "allocation", "rows", "aux")

MESSAGES = {
    6: (sub.SubChannelProposal, kinds.check_proposal, _BASE + ("id",)),
    7: (sub.SubChannelProposalAcc, None, ("id", "id")),
    8: (
        sub.VirtualChannelProposal,
        kinds.check_proposal,
        _BASE + ("address", "peers", "parents", "index_maps"),
    ),
    9: (sub.VirtualChannelProposalAcc, None, ("id", "id", "address")),
    12: (sub.VirtualChannelFundingProposal, None, ("update", "signed_state", "index_map")),
    13: (sub.VirtualChannelSettlementProposal, None, ("update", "signed_state")),
}
