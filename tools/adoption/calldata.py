"""Finds the state that somebody registered in the call data of his transaction.

The adjudicator's events name a version, not the state; the state stands in the call data. Call
data is a stranger's: a general ABI decoder would follow many pointers into one array and expand
128 KB into gigabytes. This reader takes only the shape that a guarded channel can have (two
participants, few assets, nothing locked), so its work is bounded. It trusts nothing either: the
caller compares the hash with the chain's and verifies the signatures.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from perun.model import Allocation, Asset, State, ether

from adoption import encoding

_WORD = 32
_MAX_PLACES = 64  # how many places of one call data are tried
_MAX_ASSETS = 64
_MAX_DATA = 65536
_PARTICIPANTS = 2


class Found(NamedTuple):
    """A state in call data. sigs: empty for `progress`, whose actor the contract has checked."""

    state: State
    sigs: tuple[bytes, ...]


class _Unfit(ValueError):
    """Not the shape that is looked for."""


class _Reader:
    """ABI words of a tuple that begins at `base`; pointers are relative to it."""

    def __init__(self, data: bytes, base: int) -> None:
        self.data = data
        self.base = base

    def number(self, index: int, limit: int = 2**256) -> int:
        at = self.base + index * _WORD
        if at + _WORD > len(self.data):
            raise _Unfit("truncated")
        value = int.from_bytes(self.data[at : at + _WORD], "big")
        if value >= limit:
            raise _Unfit("out of range")
        return value

    def word(self, index: int) -> bytes:
        return self.number(index).to_bytes(_WORD, "big")

    def follow(self, index: int) -> _Reader:
        """What the pointer in word `index` points to."""
        return _Reader(self.data, self.base + self.number(index, len(self.data)))

    def items(self, limit: int) -> tuple[int, _Reader]:
        """An array: its length, and a reader behind the length word."""
        return self.number(0, limit + 1), _Reader(self.data, self.base + _WORD)

    def octets(self, limit: int) -> bytes:
        """A `bytes` value."""
        length = self.number(0, limit + 1)
        start = self.base + _WORD
        if start + length > len(self.data):
            raise _Unfit("truncated")
        return self.data[start : start + length]


def find(
    data: bytes, app: bytes, version: int, state_hash: bytes, generation: int = encoding.NEWEST
) -> Found | None:
    """The state with this version and hash, wherever in the call data it stands.

    The call may be wrapped (by a proxy, a multicall), so each place where a known selector
    stands is tried.
    """
    places = 0
    for selectors, layout in _LAYOUTS:
        selector = selectors[generation]
        read = partial(_state, app=app, generation=generation)
        at = data.find(selector)
        while at >= 0 and places < _MAX_PLACES:
            places += 1
            try:
                found = layout(_Reader(data, at + len(selector)), read)
                if found.state.version == version and _hash(found.state, generation) == state_hash:
                    return found
            except _Unfit:
                pass  # four bytes that only look like a selector
            at = data.find(selector, at + 1)
    return None


def _hash(state: State, generation: int) -> bytes:
    try:
        return encoding.state_hash(state, generation)
    except Exception as error:  # eth-abi refuses what no contract would have encoded
        raise _Unfit("cannot be encoded") from error


_ReadState = Callable[[_Reader], State]


def _register(arguments: _Reader, state: _ReadState) -> Found:
    signed = arguments.follow(0)
    return Found(state(signed.follow(1)), _sigs(signed.follow(2)))


def _conclude_final(arguments: _Reader, state: _ReadState) -> Found:
    return Found(state(arguments.follow(1)), _sigs(arguments.follow(2)))


def _progress(arguments: _Reader, state: _ReadState) -> Found:
    return Found(state(arguments.follow(2)), ())


_LAYOUTS = (
    (encoding.REGISTER, _register),
    (encoding.CONCLUDE_FINAL, _conclude_final),
    (encoding.PROGRESS, _progress),
)


def _sigs(reader: _Reader) -> tuple[bytes, ...]:
    count, items = reader.items(_PARTICIPANTS)
    return tuple(items.follow(i).octets(65) for i in range(count))


def _state(reader: _Reader, app: bytes, generation: int) -> State:
    outcome = reader.follow(2)
    allocation = _allocation_1(outcome) if generation == 1 else _allocation_2(outcome)
    data = reader.follow(3).octets(_MAX_DATA)
    final = bool(reader.number(4, 2))
    return State(reader.word(0), reader.number(1, 2**64), app, allocation, data, final)


def _allocation_1(reader: _Reader) -> Allocation:
    if reader.follow(2).number(0) != 0:
        raise _Unfit("locked funds")
    count, assets = reader.follow(0).items(_MAX_ASSETS)
    named = [  # two words each, in a row
        ether(assets.number(2 * i), assets.number(2 * i + 1, 2**160).to_bytes(20, "big"))
        for i in range(count)
    ]
    return Allocation(tuple(named), _balances(reader.follow(1), count), ())


def _allocation_2(reader: _Reader) -> Allocation:
    if reader.follow(3).number(0) != 0:
        raise _Unfit("locked funds")
    count, assets = reader.follow(0).items(_MAX_ASSETS)
    _, backends = reader.follow(1).items(_MAX_ASSETS)
    named = []
    for i in range(count):
        asset = assets.follow(i)
        holder = asset.number(1, 2**160).to_bytes(20, "big")
        named.append(Asset(asset.number(0), holder, backends.number(i)))
    return Allocation(tuple(named), _balances(reader.follow(2), count), ())


def _balances(reader: _Reader, count: int) -> tuple[tuple[int, ...], ...]:
    _, rows = reader.items(_MAX_ASSETS)
    balances = []
    for i in range(count):
        width, row = rows.follow(i).items(_PARTICIPANTS)
        balances.append(tuple(row.number(p) for p in range(width)))
    return tuple(balances)
