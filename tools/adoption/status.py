"""What the store says, for people and for programs, while the service runs or not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from eth_utils import to_checksum_address
from perun.wire import inquiry_messages as im
from sqlalchemy import Connection, create_engine, func, inspect, select

from adoption import requests
from adoption.store import channels, tables

_STAGES = {
    im.STAGE_OPEN: "open",
    im.STAGE_FUNDING: "funding",
    im.STAGE_FUNDED: "funded",
    im.STAGE_DISPUTE: "dispute",
    im.STAGE_CONCLUDED: "concluded",
    im.STAGE_WITHDRAWN: "withdrawn",
}
_FUNDING = ("none", "running", "done", "failed")


def read(database: Path) -> dict[str, Any]:
    """Everything that is known, as plain values that JSON can carry; amounts are ints.

    {"block": cursor, "devices": [{"address", "name", "enabled", "budgets"}],
     "channels": [{"id", "version", "final", "balances", "funding", "registered", "timeout",
                   "closed", "evidence", "members": [{"device", "participant", "stage",
                   "authorized", "holdings", "needs_authorization"}]}],
     "settled": number of the channels that were paid out and pruned,
     "late": [{"channel", "device", "holder", "amount"}]: what came for them afterwards}

    Reads only; raises FileNotFoundError if there is no store.
    """
    if not database.is_file():
        raise FileNotFoundError(f"{database}: no store; has the service been started?")
    engine = create_engine(f"sqlite:///file:{database}?mode=ro&uri=true")
    try:
        with engine.connect() as connection:
            return {
                "block": connection.scalar(
                    select(tables.block.c.number).order_by(tables.block.c.number.desc()).limit(1)
                ),
                "devices": _devices(connection),
                "channels": _channels(connection),
                "settled": connection.scalar(select(func.count()).select_from(tables.settled)),
                "late": _late(connection),
            }
    finally:
        engine.dispose()


def _late(connection: Connection) -> list[dict[str, Any]]:
    if not inspect(connection).has_table("late"):  # before the service has renewed the file
        return []
    return [
        {
            "channel": "0x" + row.channel.hex(),
            "device": to_checksum_address(row.device),
            "holder": to_checksum_address(row.holder),
            "amount": row.amount,
        }
        for row in connection.execute(select(tables.late))
    ]


def _devices(connection: Connection) -> list[dict[str, Any]]:
    found = []
    device, budget = tables.device, tables.budget
    for row in connection.execute(select(device).order_by(device.c.registered_at)):
        rows = connection.execute(select(budget).where(budget.c.device == row.address))
        budgets = {
            to_checksum_address(one.holder): {"granted": one.granted, "spent": one.spent}
            for one in rows
        }
        found.append(
            {
                "address": to_checksum_address(row.address),
                "name": row.name,
                "enabled": row.enabled,
                "budgets": budgets,
            }
        )
    return found


def _channels(connection: Connection) -> list[dict[str, Any]]:
    table, evidence = tables.channel, tables.evidence
    found = []
    for row in connection.execute(select(table).order_by(table.c.created_at)):
        channel = channels.from_row(row)
        proofs = select(evidence.c.version).where(evidence.c.channel == channel.id)
        chain = channel.chain
        found.append(
            {
                "id": "0x" + channel.id.hex(),
                "version": channel.held.state.version,
                "final": channel.held.state.is_final,
                "balances": [list(line) for line in channel.held.state.allocation.balances],
                "funding": _FUNDING[channel.funding],
                "registered": None if chain is None else chain.version,
                "timeout": None if chain is None else chain.timeout,
                "closed": channel.closed,
                "evidence": list(connection.scalars(proofs)),
                "members": _members(connection, channel),
            }
        )
    return found


def _members(connection: Connection, channel: channels.Channel) -> list[dict[str, Any]]:
    member, holding = tables.member, tables.holding
    found = []
    for row in connection.execute(select(member).where(member.c.channel == channel.id)):
        one = channels.Member(*row)
        where = (holding.c.channel == channel.id) & (holding.c.participant == one.participant)
        amounts = connection.execute(select(holding).where(where).order_by(holding.c.asset))
        found.append(
            {
                "device": to_checksum_address(one.device),
                "participant": one.participant,
                "stage": _STAGES[requests.stage(channel, one)],
                "authorized": one.authorized,
                "holdings": [line.amount for line in amounts],
                "needs_authorization": one.needed_since is not None,
            }
        )
    return found
