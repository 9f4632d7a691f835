"""How a channel is kept in the store: bytes, by the tables of the compact codec."""

from collections import namedtuple

from perun.channel.machine import Channel
from perun.model import Transaction
from perun.wire import compact
from perun.wire.messages import ChannelUpdate

_Record = namedtuple(
    "_Record",
    (
        "format",
        "params",
        "index",
        "agreement",
        "phase",
        "state",
        "sigs",
        "staged",
        "burnt",
        "refused",
        "evidence",
    ),
)

_FORMATS = (1, 2)  # what may stand in front: a Channel's, a ForeignChannel's

compact.KINDS["whole_update"] = ("record", ChannelUpdate, "state", "u16", "sig")
compact.KINDS["some_update"] = ("optional", "whole_update", None)
compact.KINDS["two_updates"] = ("list", "whole_update", 2, 2)
compact.KINDS["some_evidence"] = ("optional", "two_updates", None)
compact.KINDS["channel"] = (
    "record",
    _Record,
    "u8",
    "params",
    "u8",
    "rows",
    "u8",
    "state",
    "some_sigs",
    "some_update",
    "u64",
    "some_update",
    "some_evidence",
)


def dump_channel(machine):
    """The bytes that keep a perun.channel.machine.Channel."""
    record = _Record(
        machine.FORMAT,
        machine.params,
        machine.index,
        machine.agreement,
        machine.phase,
        machine.current.state,
        machine.current.sigs,
        machine.staged,
        machine.burnt,
        machine.refused,
        machine.evidence,
    )
    return compact.dumps("channel", record)


def read_channel(data):
    """The record in these bytes: params, state, sigs... Raises WireError when they are none, or of
    another format."""
    form = data[1] if len(data) > 1 else 0
    if form not in _FORMATS:
        raise compact.WireError("the store has channels of format %d" % form)
    return compact.loads("channel", data)


def load_channel(data, chain, account):
    """The Channel in these bytes. Raises WireError when they are none, or of another format."""
    record = read_channel(data)
    kind = Channel
    if record.format != kind.FORMAT:
        from perun.channel.foreign import ForeignChannel as kind
    current = Transaction(record.state, record.sigs)
    return kind(
        chain,
        account,
        record.params,
        record.index,
        record.agreement,
        record.phase,
        current,
        record.staged,
        record.burnt,
        record.refused,
        record.evidence,
    )
