"""The tables. Amounts and 64-bit numbers are big-endian blobs: SQLite's integers end at 2**63."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Float,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
)
from sqlalchemy.types import TypeDecorator

SCHEMA = 3  # store/migrations.py leads from one to the next

metadata = MetaData()


class _Number(TypeDecorator[int]):
    """An unsigned integer as a blob of fixed size: compares and sorts like the number."""

    impl = LargeBinary
    cache_ok = True
    size = 32

    def process_bind_param(self, value: int | None, dialect: Any) -> bytes | None:
        return None if value is None else value.to_bytes(self.size, "big")

    def process_result_value(self, value: bytes | None, dialect: Any) -> int | None:
        return None if value is None else int.from_bytes(value, "big")


class Uint256(_Number):
    """An amount."""

    cache_ok = True


class Uint64(_Number):
    """A version or a time."""

    cache_ok = True
    size = 8


def _channel_key() -> Column[bytes]:
    return Column("channel", LargeBinary, ForeignKey("channel.id"), primary_key=True)


# What this file is about: schema, chain_id, adjudicator, funder. It never changes.
meta = Table(
    "meta",
    metadata,
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

device = Table(
    "device",
    metadata,
    Column("address", LargeBinary, primary_key=True),
    Column("name", Text, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("egoistic", Boolean),  # NULL: as the policy says
    Column("registered_at", Float, nullable=False),
)

# How much of an asset the service deposits for a device, and how much of it is spent.
budget = Table(
    "budget",
    metadata,
    Column("device", LargeBinary, ForeignKey("device.address"), primary_key=True),
    Column("holder", LargeBinary, primary_key=True),
    Column("granted", Uint256, nullable=False),
    Column("spent", Uint256, nullable=False),
)

channel = Table(
    "channel",
    metadata,
    Column("id", LargeBinary, primary_key=True),
    Column("params", LargeBinary, nullable=False),
    # The newest state that everybody signed.
    Column("version", Uint64, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("state", LargeBinary, nullable=False),
    Column("sigs", LargeBinary, nullable=False),
    # What the chain said last. phase NULL: nothing is registered.
    Column("phase", Integer),
    Column("registered", Uint64),
    Column("registered_hash", LargeBinary),
    Column("registered_state", LargeBinary),  # NULL: as `state`, or its content is not known
    Column("timeout", Uint64),
    # What has been decided.
    Column("dispute_wanted", Boolean, nullable=False),
    Column("agreement", LargeBinary),  # NULL: nobody asked for funding
    Column("funding", Integer, nullable=False),  # FUNDING_*
    Column("deadline", Uint64),  # block time at which funding has failed
    Column("closed", Boolean, nullable=False),  # nothing is left to do
    Column("created_at", Float, nullable=False),
    Column("closed_at", Float),  # NULL: not closed
)

FUNDING_NONE, FUNDING_RUNNING, FUNDING_DONE, FUNDING_FAILED = range(4)

# A device of this service that takes part in a channel.
member = Table(
    "member",
    metadata,
    _channel_key(),
    Column("participant", Integer, primary_key=True),
    Column("device", LargeBinary, ForeignKey("device.address"), nullable=False, index=True),
    Column("authorized", Uint64),  # newest version with authorizations; NULL: none
    Column("withdrawn", Boolean, nullable=False),
    Column("needed_since", Float),  # when an authorization began to be missing; NULL: not missing
)

# What an asset holder held for a member when the service last looked.
holding = Table(
    "holding",
    metadata,
    _channel_key(),
    Column("participant", Integer, primary_key=True),
    Column("asset", Integer, primary_key=True),
    Column("amount", Uint256, nullable=False),
)

# From the name under which an asset holder keeps a deposit to its channel.
funding_id = Table(
    "funding_id",
    metadata,
    Column("id", LargeBinary, primary_key=True),
    Column("channel", LargeBinary, ForeignKey("channel.id"), nullable=False),
)

# A deposit that the service makes for a member.
deposit = Table(
    "deposit",
    metadata,
    _channel_key(),
    Column("participant", Integer, primary_key=True),
    Column("asset", Integer, primary_key=True),
    Column("amount", Uint256, nullable=False),
    Column("done", Boolean, nullable=False),  # its transaction is in a block
    Column("job", Text, nullable=False, unique=True),  # the key of its transaction
)

authorization = Table(
    "authorization",
    metadata,
    _channel_key(),
    Column("participant", Integer, primary_key=True),
    Column("asset", Integer, primary_key=True),
    Column("amount", Uint256, primary_key=True),
    Column("receiver", LargeBinary, nullable=False),
    Column("sig", LargeBinary, nullable=False),
    Column("version", Uint64, nullable=False),  # of the state that it came with
)

# Two signed states with one version: proof that a peer (or a device) equivocates.
evidence = Table(
    "evidence",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("channel", LargeBinary, ForeignKey("channel.id"), nullable=False, index=True),
    Column("version", Uint64, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("state", LargeBinary, nullable=False),
    Column("sigs", LargeBinary, nullable=False),
    Column("found_at", Float, nullable=False),
)

# A transaction that was decided: one nonce, one purpose, one or more attempts with rising fees.
job = Table(
    "job",
    metadata,
    Column("key", Text, primary_key=True),
    Column("nonce", Integer, nullable=False, unique=True),
    Column("target", LargeBinary, nullable=False),
    Column("data", LargeBinary, nullable=False),
    Column("value", Uint256, nullable=False),
    Column("gas", Integer, nullable=False),
    Column("mined_block", Integer),  # NULL: not in a block yet
    Column("succeeded", Boolean),
)

attempt = Table(
    "attempt",
    metadata,
    Column("hash", LargeBinary, primary_key=True),
    Column("job", Text, ForeignKey("job.key", ondelete="CASCADE"), nullable=False, index=True),
    Column("raw", LargeBinary, nullable=False),
    Column("max_fee", Uint256, nullable=False),
    Column("priority_fee", Uint256, nullable=False),
    Column("sent_at", Float, nullable=False),
)

# What is left of a channel that was paid out and pruned.
settled = Table(
    "settled",
    metadata,
    Column("id", LargeBinary, primary_key=True),
    Column("version", Uint64, nullable=False),  # the newest state that was held
    Column("hash", LargeBinary, nullable=False),
    Column("participants", Integer, nullable=False),
    Column("payouts", LargeBinary),  # per asset and participant; NULL: not known
    Column("closed_at", Float, nullable=False),
)

settled_member = Table(
    "settled_member",
    metadata,
    Column("channel", LargeBinary, ForeignKey("settled.id"), primary_key=True),
    Column("participant", Integer, primary_key=True),
    Column("device", LargeBinary, nullable=False),
)

# From the name under which an asset holder keeps a deposit to who it is for, in a settled channel.
settled_funding = Table(
    "settled_funding",
    metadata,
    Column("id", LargeBinary, primary_key=True),
    Column("channel", LargeBinary, ForeignKey("settled.id"), nullable=False),
    Column("device", LargeBinary, nullable=False),
)

# What lies at an asset holder for a device in a settled channel: it came after the payout.
late = Table(
    "late",
    metadata,
    Column("channel", LargeBinary, ForeignKey("settled.id"), primary_key=True),
    Column("device", LargeBinary, primary_key=True),
    Column("holder", LargeBinary, primary_key=True),
    Column("amount", Uint256, nullable=False),
)

# The newest blocks whose events were seen; the highest one is the cursor.
block = Table(
    "block",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("hash", LargeBinary, nullable=False),
)
