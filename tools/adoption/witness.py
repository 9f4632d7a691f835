"""A second opinion for devices that another service serves: is the channel funded? Nothing is kept
of what they ask."""

from __future__ import annotations

import asyncio

from perun.model import Allocation
from perun.model.rules import RuleError, check_allocation
from perun.wire import inquiry_messages as im
from perun.wire import service_messages as sm
from perun.wire.witness_messages import WitnessRequest

from adoption import deposits, verify
from adoption.chain import CONCLUDED, Chain, ChainError, Dispute
from adoption.config import Config
from adoption.hub import Buckets
from adoption.verify import Refused

_AT_ONCE = 4  # questions that the node is bothered with


class Witness:
    """`answer` looks at the chain as the funding of own channels does: as of one block, and
    deposits count when they are as deep as the configuration asks."""

    def __init__(self, config: Config, chain: Chain) -> None:
        self._config = config
        self._chain = chain
        self._buckets = Buckets(config.limits.witness_per_second, config.limits.witness_burst)
        self._turn = asyncio.Semaphore(_AT_ONCE)

    async def answer(self, device: bytes, request: WitnessRequest) -> im.Status:
        """What the chain says of a channel of this device. Raises Refused."""
        params = request.params
        ident = verify.identify(self._config, params)
        if device not in params.participants:
            raise Refused(sm.ERROR_NOT_ALLOWED, "not a channel of this device")
        verify.check_assets(self._config, request.assets)
        try:
            check_allocation(Allocation(request.assets, request.funding_agreement, ()))
        except RuleError as error:
            raise Refused(sm.ERROR_INVALID, f"funding agreement: {error}") from error
        if not self._buckets.allows(device):
            raise Refused(sm.ERROR_BUSY, "asked too often: try again later")
        try:
            async with self._turn:
                return await self._look(device, request, ident)
        except ChainError as error:
            raise Refused(
                sm.ERROR_CHAIN, "the chain cannot be reached: try again later"
            ) from error

    async def _look(self, device: bytes, request: WitnessRequest, ident: bytes) -> im.Status:
        parties = request.params.participants
        head = await self._chain.head()
        dispute = await self._chain.dispute(ident, head.number)
        at = deposits.confirmed(self._chain, head)
        there = await deposits.all_held(self._chain, ident, request.assets, parties, at)
        funded = deposits.complete(there, request.funding_agreement, range(len(parties)))
        return im.Status(
            request.request,
            ident,
            0,
            bytes(32),
            _stage(dispute, funded),
            -1 if dispute is None else dispute.version,
            dispute.timeout if dispute is not None and dispute.phase != CONCLUDED else 0,
            tuple(row[parties.index(device)] for row in there),
            -1,
        )


def _stage(dispute: Dispute | None, funded: bool) -> int:
    if dispute is not None:
        return int(im.STAGE_CONCLUDED if dispute.phase == CONCLUDED else im.STAGE_DISPUTE)
    return int(im.STAGE_FUNDED if funded else im.STAGE_FUNDING)
