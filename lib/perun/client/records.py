"""How a channel is kept in the store: bytes, by the tables of the compact codec. `keeping` reads
them."""

from collections import namedtuple

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
