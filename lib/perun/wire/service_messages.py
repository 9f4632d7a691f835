"""What a device and its IoT adoption service say to each other.

Every request carries a number of the device's choice that the answer repeats. A request may be
sent again (after a lost link, say): the service answers the same and does nothing twice. A session
starts with the handshake of `messages` (device ROLE_DEVICE, service ROLE_SERVICE), after which the
service sends ServiceInfo. What a device asks now and then is in `inquiry_messages`.
"""

from collections import namedtuple

from perun.compat import const

# -- service to device, unasked ------------------------------------------------------------------

# chain_id: int; adjudicator: 20 bytes; assets: tuple of Asset that the service funds and watches;
# min_challenge_duration: seconds, the shortest it can watch over.
ServiceInfo = namedtuple(
    "ServiceInfo", ("chain_id", "adjudicator", "assets", "min_challenge_duration")
)

# Something happened to a channel on the chain (or to the service's work for it). kind: EVENT_*;
# version: of the state concerned; timeout: block time in seconds at which the phase ends, else 0.
ChainEvent = namedtuple("ChainEvent", ("channel_id", "kind", "version", "timeout"))

EVENT_FUNDED = const(1)  # all deposits of the channel are there
EVENT_FUNDING_FAILED = const(2)  # they were not there in time; recovery starts by itself
EVENT_REGISTERED = const(3)  # somebody registered a state: a dispute runs until `timeout`
EVENT_REFUTED = const(4)  # the service registered the newer state `version`
EVENT_PROGRESSED = const(5)
EVENT_CONCLUDED = const(6)  # the outcome of state `version` is final
EVENT_WITHDRAWN = const(7)  # the device's money is at its receiver
EVENT_NEED_AUTHORIZATION = const(8)  # money waits for an authorization on state `version`

# -- device to service ---------------------------------------------------------------------------

# One pre-signed withdrawal. asset: index in the channel; receiver: 20 bytes; amount: exactly what
# is withdrawn; sig: the participant's signature over the withdrawal authorization.
WithdrawalAuth = namedtuple("WithdrawalAuth", ("asset", "receiver", "amount", "sig"))

# Deposit for participant `participant` of a channel whose version-0 `state` both signed.
# request: number below 2**32; funding_agreement: balances, who deposits what.
FundRequest = namedtuple(
    "FundRequest", ("request", "participant", "params", "state", "sigs", "funding_agreement")
)
# Guard `state`, signed by both, from now on. params: None once the service knows the channel;
# auths: tuple of WithdrawalAuth, may be empty and may come later with the same state.
WatchRequest = namedtuple(
    "WatchRequest", ("request", "participant", "params", "state", "sigs", "auths")
)

# -- service to device, answers ------------------------------------------------------------------

# The request is accepted and stored durably; what follows comes as ChainEvent.
Ack = namedtuple("Ack", ("request",))
# Answer to WatchRequest: the service holds this state durably. sig: the service's signature over
# receipt_transcript(), evidence for the device.
Receipt = namedtuple("Receipt", ("request", "channel_id", "version", "state_hash", "sig"))
# request: 0 when no request is to blame; code: ERROR_*; text: what is wrong and what to do.
Error = namedtuple("Error", ("request", "code", "text"))

ERROR_MALFORMED = const(1)  # no valid message
ERROR_NOT_ALLOWED = const(2)  # not this device's channel, or not in this session
ERROR_UNKNOWN_CHANNEL = const(3)
ERROR_INVALID = const(4)  # a rule of the protocol is broken
ERROR_SIGNATURE = const(5)  # a signature is missing or wrong
ERROR_OUTDATED = const(6)  # the service holds a newer version
ERROR_EQUIVOCATION = const(7)  # the service holds another state with this version
ERROR_BUDGET = const(8)  # over the device's budget
ERROR_ASSET = const(9)  # another chain or an asset that the service does not serve
ERROR_CHAIN = const(10)  # the chain cannot be reached or refused; the service goes on trying
ERROR_BUSY = const(11)  # too many requests; try again later
ERROR_INTERNAL = const(12)


def receipt_transcript(device, channel_id, version, state_hash):
    """The bytes that the service signs for a Receipt. device: the device's 20-byte address."""
    return b"".join(
        (b"uPerun receipt", device, channel_id, version.to_bytes(8, "big"), state_hash)
    )
