"""Tables of the compact codec for sub-channels and virtual channels."""

from perun.model.rules import PARTICIPANTS
from perun.wire import kinds, messages
from perun.wire import subchannel_messages as sub

KINDS = {
    "parents": ("list", "id", PARTICIPANTS, PARTICIPANTS),
    "index_maps": ("list", "index_map", PARTICIPANTS, PARTICIPANTS),
    "update": ("record", messages.ChannelUpdate, "known_state", "u16", "sig"),
    "signed_state": ("record", sub.SignedState, "params", "state", "sigs"),
}

_BASE = ("id", "u64", "id", "app", "data", "allocation", "rows", "aux")

MESSAGES = {
    6: (sub.SubChannelProposal,) + _BASE + ("id",),
    7: (sub.SubChannelProposalAcc, "id", "id"),
    8: (sub.VirtualChannelProposal,) + _BASE + ("address", "peers", "parents", "index_maps"),
    9: (sub.VirtualChannelProposalAcc, "id", "id", "address"),
    12: (sub.VirtualChannelFundingProposal, "update", "signed_state", "index_map"),
    13: (sub.VirtualChannelSettlementProposal, "update", "signed_state"),
}

CHECKS = {
    sub.SubChannelProposal: kinds.check_proposal,
    sub.VirtualChannelProposal: kinds.check_proposal,
}
