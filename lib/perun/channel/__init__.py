"""One channel's life as a pure machine: (what I know, what arrived) -> (what I know now, effects).

No I/O, no clock, no randomness: whoever drives the machine (perun.client on a device, a test)
executes the effects, in order, and stops at the first one that fails.
"""

from collections import namedtuple

from perun.compat import const

# Phases of go-perun's channel machine (wire protocol of ChannelSync uses these numbers).
INIT_ACTING = const(0)
INIT_SIGNING = const(1)  # the version-0 signatures are being exchanged
FUNDING = const(2)
ACTING = const(3)
SIGNING = const(4)  # an own update waits for the peer's signature
FINAL = const(5)
REGISTERING = const(6)
REGISTERED = const(7)  # a dispute runs on chain
PROGRESSING = const(8)
PROGRESSED = const(9)
WITHDRAWING = const(10)  # concluded on chain
WITHDRAWN = const(11)


# The owner's limits. assets: tuple of Asset, all that a channel may hold; max_deposit: the most
# that this side deposits per asset, in its smallest unit; min_challenge_duration and
# max_challenge_duration: seconds.
Limits = namedtuple(
    "Limits", ("assets", "max_deposit", "min_challenge_duration", "max_challenge_duration")
)


class ProtocolError(ValueError):
    """What the peer sent breaks the protocol. Nothing changed."""


# After a restart: who must still show what it has before anything is signed.
DOUBT_PEER = const(1)
DOUBT_SERVICE = const(2)

# The reason of a refusal that is nobody's fault: both proposed at the same time.
CROSSING = "crossing updates"

# -- effects ------------------------------------------------------------------------------------

# Store the channel durably, before anything that follows.
Persist = namedtuple("Persist", ())
# Send a message to the peer.
Send = namedtuple("Send", ("message",))
# Ask the application about the peer's update `state`; it answers with accept() or reject().
Ask = namedtuple("Ask", ("state",))
# Have the service deposit the own share.
Fund = namedtuple("Fund", ())
# Have the service guard the current transaction.
Watch = namedtuple("Watch", ())
# Tell the application. kind: one of the texts below; detail: a version, a reason or None.
Tell = namedtuple("Tell", ("kind", "detail"))

SIGNED = "signed"  # both signed version 0; detail None
OPEN = "open"  # funded: payments may flow; detail None
UPDATED = "updated"  # a newer state is fully signed; detail its version
REJECTED = "rejected"  # the peer refused the own update; detail its reason
VIOLATION = "violation"  # the peer's update broke a rule and was refused; detail what is wrong
EQUIVOCATION = "equivocation"  # the peer signed two states with one version; detail the version
CLOSED = "closed"  # the final state is fully signed; detail its version
DISPUTED = "disputed"  # a state is registered on chain; detail its version
CONCLUDED = "concluded"  # the chain's outcome is final; detail the version
WITHDRAWN_EVENT = "withdrawn"  # the money is at the receiver; detail None
