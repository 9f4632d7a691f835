"""Channels: the newest state of each, what the chain says, and the devices that take part."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from perun.model import Params, State
from perun.wire.service_messages import WithdrawalAuth
from sqlalchemy import Row, delete, func, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from adoption import encoding
from adoption.store.tables import (
    FUNDING_NONE,
    authorization,
    channel,
    evidence,
    funding_id,
    holding,
    member,
)

_SIGNATURE = 65
_AUTHORIZATIONS = 8  # per member and asset


@dataclass(frozen=True)
class Signed:
    """A state, its hash and everybody's signatures."""

    state: State
    hash: bytes
    sigs: tuple[bytes, ...]


@dataclass(frozen=True)
class Registration:
    """What the Adjudicator has about a channel. state: None if its content is not known."""

    phase: int
    version: int
    hash: bytes
    timeout: int
    state: State | None


@dataclass(frozen=True)
class Channel:
    """A channel as the store has it."""

    id: bytes
    params: Params
    held: Signed
    chain: Registration | None
    dispute_wanted: bool
    agreement: tuple[tuple[int, ...], ...] | None
    funding: int
    deadline: int | None
    closed: bool


@dataclass(frozen=True)
class Member:
    """A device's part in a channel."""

    channel: bytes
    participant: int
    device: bytes
    authorized: int | None
    withdrawn: bool
    needed_since: float | None


async def get(tx: AsyncConnection, ident: bytes) -> Channel | None:
    """The channel, or None."""
    row = (await tx.execute(select(channel).where(channel.c.id == ident))).first()
    return None if row is None else from_row(row)


async def open_ids(tx: AsyncConnection) -> list[bytes]:
    """The channels for which something may have to be done."""
    return list(await tx.scalars(select(channel.c.id).where(channel.c.closed.is_(False))))


async def create(tx: AsyncConnection, ident: bytes, params: Params, held: Signed) -> None:
    """Take in a new channel."""
    values = {
        "id": ident,
        "params": encoding.params_bytes(params),
        "dispute_wanted": False,
        "funding": FUNDING_NONE,
        "closed": False,
        "created_at": time.time(),
    }
    await tx.execute(insert(channel).values(**values, **_signed_values(held)))
    for address in params.participants:
        row = {"id": encoding.funding_id(ident, address), "channel": ident}
        await tx.execute(insert(funding_id).values(**row))


async def hold(tx: AsyncConnection, ident: bytes, held: Signed) -> None:
    """Replace the newest state. The caller has checked that it is newer."""
    await tx.execute(update(channel).where(channel.c.id == ident).values(**_signed_values(held)))


async def set_fields(tx: AsyncConnection, ident: bytes, **values: object) -> None:
    """Change columns of the channel."""
    await tx.execute(update(channel).where(channel.c.id == ident).values(**values))


async def close(tx: AsyncConnection, ident: bytes) -> None:
    """Nothing is left to do for the channel."""
    await set_fields(tx, ident, closed=True, closed_at=time.time())


async def set_chain(tx: AsyncConnection, ident: bytes, seen: Registration | None) -> None:
    """Remember what the chain says (None: nothing is registered)."""
    values: dict[str, object] = dict.fromkeys(
        ("phase", "registered", "registered_hash", "registered_state", "timeout")
    )
    if seen is not None:
        values.update(
            phase=seen.phase,
            registered=seen.version,
            registered_hash=seen.hash,
            registered_state=seen.state and encoding.state_bytes(seen.state),
            timeout=seen.timeout,
        )
    await set_fields(tx, ident, **values)


async def by_funding_id(tx: AsyncConnection, ident: bytes) -> bytes | None:
    """The channel that a funding id belongs to, or None."""
    found = select(funding_id.c.channel).where(funding_id.c.id == ident)
    return (await tx.execute(found)).scalar_one_or_none()


# -- members --------------------------------------------------------------------------------------


async def join(tx: AsyncConnection, ident: bytes, participant: int, device: bytes) -> None:
    """Let a device take part; nothing happens if it does already."""
    row = {"channel": ident, "participant": participant, "device": device, "withdrawn": False}
    await tx.execute(upsert(member).values(**row).on_conflict_do_nothing())


async def members(tx: AsyncConnection, ident: bytes) -> list[Member]:
    """The devices of this service that take part in a channel."""
    rows = select(member).where(member.c.channel == ident).order_by(member.c.participant)
    return [Member(*row) for row in await tx.execute(rows)]


async def memberships(tx: AsyncConnection, device: bytes) -> list[Member]:
    """The channels of a device, oldest first."""
    joined = select(member).join(channel).where(member.c.device == device)
    return [Member(*row) for row in await tx.execute(joined.order_by(channel.c.created_at))]


async def count_open(tx: AsyncConnection, device: bytes) -> int:
    """How many channels of the device are not closed."""
    rows = select(func.count()).select_from(member).join(channel)
    rows = rows.where(member.c.device == device, channel.c.closed.is_(False))
    return (await tx.execute(rows)).scalar_one()


async def set_member(
    tx: AsyncConnection, ident: bytes, participant: int, **values: object
) -> None:
    """Change columns of a member."""
    where = (member.c.channel == ident) & (member.c.participant == participant)
    await tx.execute(update(member).where(where).values(**values))


async def set_holdings(
    tx: AsyncConnection, ident: bytes, participant: int, amounts: Sequence[int]
) -> None:
    """Remember what the asset holders hold for a member."""
    for asset, amount in enumerate(amounts):
        key = {"channel": ident, "participant": participant, "asset": asset}
        statement = upsert(holding).values(amount=amount, **key)
        await tx.execute(
            statement.on_conflict_do_update(index_elements=list(key), set_={"amount": amount})
        )


async def holdings(tx: AsyncConnection, ident: bytes, participant: int) -> dict[int, int]:
    """What the asset holders held for a member, by asset index."""
    where = (holding.c.channel == ident) & (holding.c.participant == participant)
    rows = await tx.execute(select(holding.c.asset, holding.c.amount).where(where))
    return {row.asset: row.amount for row in rows}


# -- authorizations and evidence ------------------------------------------------------------------


async def authorize(
    tx: AsyncConnection, ident: bytes, participant: int, version: int, auth: WithdrawalAuth
) -> None:
    """Keep a verified authorization that came with the state `version`; one with the same amount
    is replaced. Of those with other amounts the ones of the newest versions are kept."""
    key = {
        "channel": ident,
        "participant": participant,
        "asset": auth.asset,
        "amount": auth.amount,
    }
    rest = {"receiver": auth.receiver, "sig": auth.sig, "version": version}
    statement = upsert(authorization).values(**key, **rest)
    await tx.execute(statement.on_conflict_do_update(index_elements=list(key), set_=rest))


async def prune_authorizations(
    tx: AsyncConnection, ident: bytes, participant: int, asset: int, keep: set[int]
) -> None:
    """Drop the authorizations of the oldest versions, but none with an amount in `keep`."""
    table = authorization.c
    own = (table.channel == ident) & (table.participant == participant) & (table.asset == asset)
    newest_first = select(table.amount).where(own).order_by(table.version.desc())
    amounts = list(await tx.scalars(newest_first))
    for amount in amounts[_AUTHORIZATIONS:]:
        if amount not in keep:
            await tx.execute(delete(authorization).where(own, table.amount == amount))


async def authorizations(
    tx: AsyncConnection, ident: bytes, participant: int
) -> list[WithdrawalAuth]:
    """All authorizations of a member."""
    where = (authorization.c.channel == ident) & (authorization.c.participant == participant)
    rows = await tx.execute(select(authorization).where(where))
    return [WithdrawalAuth(row.asset, row.receiver, row.amount, row.sig) for row in rows]


async def accuse(tx: AsyncConnection, ident: bytes, other: Signed, limit: int) -> None:
    """Keep a second state of a version that is held otherwise; at most `limit` per channel."""
    rows = list(await tx.scalars(select(evidence.c.hash).where(evidence.c.channel == ident)))
    if other.hash in rows or len(rows) >= limit:
        return
    values = {"channel": ident, "found_at": time.time(), **_signed_values(other)}
    await tx.execute(insert(evidence).values(**values))


def _signed_values(signed: Signed) -> dict[str, object]:
    return {
        "version": signed.state.version,
        "hash": signed.hash,
        "state": encoding.state_bytes(signed.state),
        "sigs": b"".join(signed.sigs),
    }


def from_row(row: Row[Any]) -> Channel:
    """A Channel from a row of its table."""
    params = encoding.read_params(row.params)
    state = encoding.read_state(row.state, params.app)
    sigs = tuple(row.sigs[i : i + _SIGNATURE] for i in range(0, len(row.sigs), _SIGNATURE))
    chain = None
    if row.phase is not None:
        content = None
        if row.registered_state is not None:
            content = encoding.read_state(row.registered_state, params.app)
        elif row.registered_hash == row.hash:
            content = state
        chain = Registration(row.phase, row.registered, row.registered_hash, row.timeout, content)
    agreement = (
        None if row.agreement is None else read_rows(row.agreement, len(params.participants))
    )
    return Channel(
        row.id,
        params,
        Signed(state, row.hash, sigs),
        chain,
        row.dispute_wanted,
        agreement,
        row.funding,
        row.deadline,
        row.closed,
    )


def write_rows(rows: Sequence[Sequence[int]]) -> bytes:
    """Balances as bytes: 32 per amount, asset by asset."""
    return b"".join(amount.to_bytes(32, "big") for row in rows for amount in row)


def read_rows(data: bytes, width: int) -> tuple[tuple[int, ...], ...]:
    """The inverse of write_rows for `width` participants."""
    numbers = [int.from_bytes(data[i : i + 32], "big") for i in range(0, len(data), 32)]
    return tuple(tuple(numbers[i : i + width]) for i in range(0, len(numbers), width))
