"""The format that the README of the wire room describes is the one of the tables."""

from pathlib import Path

import wire_samples
from perun.wire import (
    compact,
    compact_bridge,
    compact_control,
    compact_inquiry,
    compact_subchannel,
    kinds,
    witness_messages,
)

README = Path(compact.__file__).with_name("README.md")


def rows(title):
    """The cells of each row of the table with this first column."""
    lines = README.read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| {title} |"))
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            return
        yield [cell.strip() for cell in line.strip("|").split("|")]


TABLES = (
    compact,
    compact_control,
    compact_inquiry,
    compact_subchannel,
    compact_bridge,
    witness_messages,
)


def test_messages():
    described = {int(number): (name, fields) for number, name, fields in rows("type")}
    actual = {}
    for table in TABLES:
        for number, (message, *fields) in table.MESSAGES.items():
            pairs = zip(message._fields, fields, strict=True)
            actual[number] = (message.__name__, ", ".join(f"{n}: {kind}" for n, kind in pairs))
    assert described == actual


def test_the_samples_have_every_message():
    known = {message for table in TABLES for message, *_ in table.MESSAGES.values()}
    assert {type(message) for message in wire_samples.PERUN + wire_samples.OURS} == known


def test_kinds():
    described = {name for cells in rows("kind") for name in cells[0].split(", ")}
    used = {kind for table in TABLES for _, *kinds in table.MESSAGES.values() for kind in kinds}
    assert used <= described
    known = {name for table in (*TABLES, kinds) for name in table.KINDS}
    assert described <= known
