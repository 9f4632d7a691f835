"""What a device asks a witness: a service that neither funds nor guards the channel, and says what
the chain holds for it. Who asks and who answers imports this; nobody else knows the message."""

from collections import namedtuple

from perun.wire import compact

# Are all deposits of this channel there? funding_agreement: balances, who deposits what, a row for
# each of `assets`. The answer is a Status: STAGE_FUNDED, STAGE_FUNDING while something is missing,
# STAGE_DISPUTE or STAGE_CONCLUDED when a state is registered; of the rest only `registered`,
# `timeout` and `holdings` say something. Nothing is kept of it.
WitnessRequest = namedtuple("WitnessRequest", ("request", "params", "assets", "funding_agreement"))

KINDS = {}

MESSAGES = {63: (WitnessRequest, "u32", "params", "assets", "rows")}

compact.MESSAGES.update(MESSAGES)
