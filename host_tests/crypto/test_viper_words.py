"""The viper permutation with the integers of a 32-bit board, played through on CPython.

The VM of the tests is x86-64, where viper integers have 64 bits. Here the very source of
_keccak_viper runs as Python, with numbers that wrap, shift and load as viper's do on machines
of either size. What this cannot show is that the compiler's code for a board does the same.
"""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from perun.crypto import _keccak_portable

SOURCE = Path(__file__).parents[2] / "lib/perun/crypto/_keccak_viper.py"
PAGE = 1 << 12  # each buffer gets a page of the address space


class Machine:
    """Viper's types on a machine with words of so many bits."""

    def __init__(self, bits: int) -> None:
        self.bits = bits
        self.buffers: list[bytearray] = []

    def address(self, buffer: bytearray) -> int:
        for page, known in enumerate(self.buffers, 1):
            if known is buffer:
                return page * PAGE
        self.buffers.append(buffer)
        return len(self.buffers) * PAGE

    def int(self, value: Any) -> Word:
        return Word(self, builtins.int(value), signed=True)

    def uint(self, value: Any) -> Word:
        return Word(self, builtins.int(value), signed=False)

    def ptr8(self, value: Any) -> Pointer:
        return Pointer(self, value, 1)

    def ptr32(self, value: Any) -> Pointer:
        return Pointer(self, value, 4)

    def load(self, source: str) -> SimpleNamespace:
        """Run the module's source: its tables are made by Python, its functions use our types."""
        names: dict[str, Any] = {
            "ptr8": self.ptr8,
            "ptr32": self.ptr32,
            "uint": self.uint,
            "int": self.int,
        }
        exec(compile(source, str(SOURCE), "exec", dont_inherit=True), names)  # noqa: S102
        return SimpleNamespace(**names)


class Word:
    """A native integer. A result has the type of the left operand."""

    def __init__(self, machine: Machine, value: int, signed: bool) -> None:
        value &= (1 << machine.bits) - 1
        if signed and value >> (machine.bits - 1):
            value -= 1 << machine.bits
        self.machine, self.value, self.signed = machine, value, signed

    def _make(self, value: int) -> Word:
        return Word(self.machine, value, self.signed)

    def __int__(self) -> int:
        return self.value

    __index__ = __int__

    def __bool__(self) -> bool:
        return self.value != 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, (builtins.int, Word)) and self.value == int(other)

    __hash__ = None  # type: ignore[assignment]

    def __add__(self, other: Any) -> Word:
        return self._make(self.value + int(other))

    def __sub__(self, other: Any) -> Word:
        return self._make(self.value - int(other))

    def __rsub__(self, other: int) -> Word:
        return Word(self.machine, other - self.value, signed=True)

    def __xor__(self, other: Any) -> Word:
        return self._make(self.value ^ int(other))

    def __or__(self, other: Any) -> Word:
        return self._make(self.value | int(other))

    def __and__(self, other: Any) -> Word:
        return self._make(self.value & int(other))

    def __invert__(self) -> Word:
        return self._make(~self.value)

    def __lshift__(self, other: Any) -> Word:
        return self._make(self.value << self._distance(other))

    def __rshift__(self, other: Any) -> Word:
        return self._make(self.value >> self._distance(other))

    def _distance(self, other: Any) -> int:
        # Beyond the word's size the processors differ: correct code does not go there.
        distance = int(other)
        assert 0 <= distance < self.machine.bits
        return distance


class Pointer:
    """A pointer to bytes or to words of 32 bits, made from a buffer, a number or a pointer."""

    def __init__(self, machine: Machine, value: Any, size: int) -> None:
        self.machine, self.size = machine, size
        self.at = machine.address(value) if isinstance(value, bytearray) else int(value)
        assert self.at % size == 0, "unaligned: a fault on a Cortex-M0+"

    def __int__(self) -> int:
        return self.at

    def _find(self, index: Any) -> tuple[bytearray, int]:
        at = self.at + int(index) * self.size
        buffer = self.machine.buffers[at // PAGE - 1]
        assert at % PAGE + self.size <= len(buffer), "outside of the buffer"
        return buffer, at % PAGE

    def __getitem__(self, index: Any) -> Word:
        buffer, at = self._find(index)
        return self.machine.int(int.from_bytes(buffer[at : at + self.size], "little"))

    def __setitem__(self, index: Any, value: Any) -> None:
        buffer, at = self._find(index)
        low = int(value) & ((1 << 8 * self.size) - 1)
        buffer[at : at + self.size] = low.to_bytes(self.size, "little")


def convert_arguments(function: Callable[..., Any]) -> Callable[..., Any]:
    """What the decorator does with a call: each argument becomes what its annotation says."""
    types = list(function.__annotations__.items())
    names = function.__code__.co_varnames

    def call(*arguments: Any) -> Any:
        values = list(arguments)
        for name, kind in types:
            values[names.index(name)] = kind(values[names.index(name)])
        return function(*values)

    return call


@pytest.fixture(params=[32, 64], ids=["32-bit", "64-bit"])
def machine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Machine:
    micropython = ModuleType("micropython")
    micropython.viper = convert_arguments  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "micropython", micropython)
    return Machine(request.param)


def test_permutation(machine: Machine) -> None:
    viper = machine.load(SOURCE.read_text())
    states = [bytes(200), b"\xff" * 200, bytes(range(200)), bytes(range(55, 255))]
    for before in states:
        state, expected = bytearray(before), bytearray(before)
        viper.permute(state)
        _keccak_portable.permute(expected)
        assert state == expected


def test_absorption(machine: Machine) -> None:
    viper = machine.load(SOURCE.read_text())
    data = bytearray(range(100, 250))
    for at, count in ((0, 136), (3, 60), (135, 1), (10, 0), (130, 150)):
        sponge = bytearray(b"\x5a" * 200 + bytes([at]))
        expected = bytearray(sponge)
        viper.absorb(sponge, data, count)
        _keccak_portable.absorb(expected, data, count)
        assert sponge == expected
