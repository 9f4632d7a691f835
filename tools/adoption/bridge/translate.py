"""What differs between a message of a device and one of a node.

Towards a device the peer is named by what the configuration calls it and the device by its
address: wire addresses with RSA keys are long, and none of a device's business. `aux`, 256 zeros
in every proposal of a node, is left out there.
"""

from __future__ import annotations

from typing import Any

from perun.wire import control_messages as control
from perun.wire import WireError, messages

from adoption.bridge.connection import Ends

_AUX = 256
_CHANNEL = (
    messages.LedgerChannelProposalAcc,
    messages.ChannelProposalRej,
    messages.ChannelUpdate,
    messages.ChannelUpdateAcc,
    messages.ChannelUpdateRej,
    messages.ChannelSync,
)


def to_node(ends: Ends, message: Any) -> Any:
    """A device's message as the node gets it. Raises WireError for what is not relayed."""
    if isinstance(message, _CHANNEL):
        return message
    if not isinstance(message, messages.LedgerChannelProposal):
        raise WireError(f"no message for a node: {type(message).__name__}")
    if message.peers != (ends.device, ends.peer.name.encode()):
        raise WireError("the proposal's peers are not the device and this peer")
    aux = message.aux or bytes(_AUX)
    return message._replace(peers=(ends.own.address, ends.peer.address), aux=aux)


def to_device(ends: Ends, message: Any) -> Any:
    """A node's message as the device gets it; None for one that does not concern it. WireError
    for what is not relayed."""
    if isinstance(message, (control.Ping, control.Pong, control.Shutdown)):
        return None  # go-perun defines them and neither sends nor answers them
    if isinstance(message, _CHANNEL):
        return message
    if not isinstance(message, messages.LedgerChannelProposal):
        raise WireError(f"no message for a device: {type(message).__name__}")
    if message.peers != (ends.peer.address, ends.own.address):
        raise WireError("the proposal's peers are not this node and the device")
    aux = message.aux if any(message.aux) else b""
    return message._replace(peers=(ends.peer.name.encode(), ends.device), aux=aux)
