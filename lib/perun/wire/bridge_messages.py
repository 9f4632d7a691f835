"""What a device and its service say about go-perun peers that the service bridges to.

The service speaks go-perun's protocol to the peer, under a wire identity that it holds for the
device; here both name the peer by what the service's configuration calls it. A Relay carries a
compact message about channels, whose `peers` are (proposer, proposee): the peer's name, and the
device's address.
"""

from collections import namedtuple

# Device to service: relay from and to this peer from now on; "" stands for all that the service
# has for this device. request: number below 2**32. The answer is an Ack, or an Error.
Attach = namedtuple("Attach", ("request", "peer"))
# Service to device. connected: whether there is a link to the peer; text: why not, or what was
# wrong with a message that was not relayed, or "".
PeerState = namedtuple("PeerState", ("peer", "connected", "text"))
# Both ways, without an answer. body: the compact message.
Relay = namedtuple("Relay", ("peer", "body"))
