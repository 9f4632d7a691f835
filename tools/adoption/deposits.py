"""What is deposited for a channel, and whether that is all of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from perun.model import Asset

from adoption.chain import Block, Chain

Rows = Sequence[Sequence[int]]


def confirmed(chain: Chain, head: Block) -> int:
    """The newest block in which a deposit counts; below 0 while there is none."""
    return head.number + 1 - chain.config.chain.confirmations


async def held(chain: Chain, ident: bytes, asset: Asset, participant: bytes, at: int) -> int:
    """What an asset holder has for a participant in block `at`."""
    return await chain.holdings(asset.holder, ident, participant, at) if at >= 0 else 0


async def all_held(
    chain: Chain, ident: bytes, assets: Sequence[Asset], participants: Sequence[bytes], at: int
) -> list[list[int]]:
    """The same for every asset and participant: a row for each asset."""
    return [[await held(chain, ident, asset, one, at) for one in participants] for asset in assets]


def complete(there: Rows, agreement: Rows, participants: Iterable[int]) -> bool:
    """Is everything there that these participants must deposit? Each for itself: one's surplus
    does not stand in for what another owes."""
    who = tuple(participants)
    return all(
        have[participant] >= row[participant]
        for have, row in zip(there, agreement, strict=True)
        for participant in who
    )
