"""Tables of the protobuf codec for sub-channels and virtual channels."""

from perun.model import Params
from perun.model.rules import PARTICIPANTS
from perun.wire import kinds, messages
from perun.wire import subchannel_messages as sub


def _load_params(duration, parts, app, nonce, ledger, virtual, _):
    return Params(duration, nonce, parts, app, ledger, virtual)


def _dump_params(params):
    duration, nonce, parts, app, ledger, virtual = params
    return (duration, parts, app, nonce, ledger, virtual, None)


def _no_check(_):
    pass


KINDS = {
    # Field 1 is an id that go-perun neither writes nor reads.
    "params": ("convert", "params_fields", _load_params, _dump_params, Params, _no_check),
    "params_fields": (
        "message",
        tuple,
        None,
        0,
        (
            (2, "u64"),
            (3, "participants"),
            (4, "app"),
            (5, "amount"),
            (6, "flag"),
            (7, "flag"),
            (8, "params_aux"),
        ),
    ),
    "participants": ("list", "address", PARTICIPANTS, PARTICIPANTS),
    "sigs": ("list", "sig", PARTICIPANTS, PARTICIPANTS),
    "signed_state": (
        "message",
        sub.SignedState,
        None,
        0,
        ((1, "params"), (2, "state"), (3, "sigs")),
    ),
    "update": ("message", messages.ChannelUpdate, None, 2, ((1, "change"), (2, "sig"))),
    "parents": ("list", "id", PARTICIPANTS, PARTICIPANTS),
    "index_maps": ("list", "index_map", PARTICIPANTS, PARTICIPANTS),
}

MESSAGES = {
    9: ("message", sub.SubChannelProposal, kinds.check_proposal, 8, ((1, "base"), (2, "id"))),
    10: ("message", sub.SubChannelProposalAcc, None, 2, ((1, "accepted"),)),
    11: (
        "message",
        sub.VirtualChannelProposal,
        kinds.check_proposal,
        8,
        ((1, "base"), (2, "address"), (3, "peers"), (4, "parents"), (5, "index_maps")),
    ),
    12: ("message", sub.VirtualChannelProposalAcc, None, 2, ((1, "accepted"), (2, "address"))),
    15: (
        "message",
        sub.VirtualChannelFundingProposal,
        None,
        0,
        ((1, "update"), (2, "signed_state"), (3, "index_map")),
    ),
    16: (
        "message",
        sub.VirtualChannelSettlementProposal,
        None,
        0,
        ((1, "update"), (2, "signed_state")),
    ),
}
