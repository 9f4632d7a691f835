"""What a device asks its service now and then: after a restart, in a dispute. They are loaded for
that; the rest is in `service_messages`."""

from collections import namedtuple

from perun.compat import const

# -- device to service ---------------------------------------------------------------------------

# Register the newest state that the service holds: forced settlement.
DisputeRequest = namedtuple("DisputeRequest", ("request", "channel_id"))
# What do you hold for this channel? b"" asks for all channels: one Status each, then an Ack.
StatusRequest = namedtuple("StatusRequest", ("request", "channel_id"))
# Give back the state that you guard: a device that was restored from an old backup asks.
StateRequest = namedtuple("StateRequest", ("request", "channel_id"))

# -- service to device, answers ------------------------------------------------------------------

# version: newest state held; state_hash: its hash; stage: STAGE_*; registered: version on chain or
# -1; timeout: block time in seconds or 0; holdings: what the asset holders hold for the device
# now, one amount per asset; authorized: version whose authorizations the service holds, or -1.
Status = namedtuple(
    "Status",
    (
        "request",
        "channel_id",
        "version",
        "state_hash",
        "stage",
        "registered",
        "timeout",
        "holdings",
        "authorized",
    ),
)
# Answer to StateRequest: the newest state held, with both signatures.
HeldState = namedtuple("HeldState", ("request", "state", "sigs"))

STAGE_OPEN = const(0)
STAGE_FUNDING = const(1)
STAGE_FUNDED = const(2)
STAGE_DISPUTE = const(3)
STAGE_CONCLUDED = const(4)
STAGE_WITHDRAWN = const(5)
