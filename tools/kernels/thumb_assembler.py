"""A small assembler for ARMv6-M: just the instructions that the kernel uses.

MicroPython's own inline assembler lacks some of them (no multiplication into 64 bits' neighbours
such as LDM, no UXTH, nothing relative to SP), so that the kernel is assembled here and given to
it as data. Encodings: ARMv6-M Architecture Reference Manual, chapter A6.7.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_NAMES = {"sp": 13, "lr": 14, "pc": 15}
_CONDITIONS = "eq ne cs cc mi pl vs vc hi ls ge lt gt le".split()
# Two registers, the first is also the destination
_ALU = {
    **{"and": 0x4000, "eor": 0x4040, "adc": 0x4140, "sbc": 0x4180, "tst": 0x4200},
    **{"neg": 0x4240, "cmp": 0x4280, "orr": 0x4300, "mul": 0x4340, "bic": 0x4380, "mvn": 0x43C0},
    **{"lsl": 0x4080, "lsr": 0x40C0, "asr": 0x4100, "ror": 0x41C0},
    **{"sxth": 0xB200, "sxtb": 0xB240, "uxth": 0xB280, "uxtb": 0xB2C0, "rev": 0xBA00},
}
_SHIFTS = {"lsl": 0x0000, "lsr": 0x0800, "asr": 0x1000}
# opcode of the form with an immediate offset, and its unit
_MEMORY = {
    **{"str": (0x6000, 4), "ldr": (0x6800, 4), "strb": (0x7000, 1)},
    **{"ldrb": (0x7800, 1), "strh": (0x8000, 2), "ldrh": (0x8800, 2)},
}
_MEMORY_REGISTER = {"str": 0x5000, "strb": 0x5400, "ldr": 0x5800, "ldrb": 0x5C00, "ldrh": 0x5A00}


class Program:
    """Instructions and labels, in their order."""

    def __init__(self) -> None:
        self._items: list[tuple[str, list[str]]] = []
        self._labels: dict[str, int] = {}
        self._fresh = 0

    def __call__(self, text: str) -> None:
        """Add lines such as `add r0, r1, r2` and `name:`."""
        for line in text.split("\n"):
            line = line.split("@")[0].strip()
            if line.endswith(":"):
                self._items.append(("label", [line[:-1]]))
            elif line:
                name, _, rest = line.partition(" ")
                self._items.append((name, _operands(rest)))

    def words(self, numbers: list[int]) -> None:
        """Add words of 32 bits that are no instructions."""
        halves = [str(half) for number in numbers for half in (number & 0xFFFF, number >> 16)]
        self._items.append((".half", halves))

    def label(self) -> str:
        """A name that no other label has."""
        self._fresh += 1
        return f"_{self._fresh}"

    def assemble(self) -> list[int]:  # noqa: C901 - the passes of an assembler
        """Half words. A jump that goes too far is made with two: a
        plain one with BL, which changes only LR."""
        long: set[int] = set()
        while True:
            places, at = {}, 0
            for index, (name, operands) in enumerate(self._items):
                if name == "label":
                    assert operands[0] not in places, operands
                    places[operands[0]] = at
                elif name == ".half":
                    at += len(operands)
                else:
                    at += 2 if name in ("bl", *_LONG) or index in long else 1
            code: list[int] = []
            far = set()
            for index, (name, operands) in enumerate(self._items):
                if name in ("label", ".half"):
                    code += map(int, operands if name == ".half" else ())
                    continue
                if name in _LONG:
                    code += _LONG[name](operands)
                elif name in ("b", "bl") or (name[0] == "b" and name[1:] in _CONDITIONS):
                    distance = places[operands[0]] - len(code) - 2
                    condition = _CONDITIONS.index(name[1:]) if name not in ("b", "bl") else -1
                    if index in long and condition >= 0:  # the opposite, over a jump
                        code += [0xD000 | (condition ^ 1) << 8, 0xE000 | distance - 1 & 0x7FF]
                        assert -1024 <= distance - 1 < 1024, operands
                    elif name == "bl" or index in long:
                        code += _long(distance)
                    elif name == "b":
                        if not -1024 <= distance < 1024:
                            far.add(index)
                        code.append(0xE000 | distance & 0x7FF)
                    else:
                        if not -128 <= distance < 128:
                            far.add(index)
                        code.append(0xD000 | condition << 8 | distance & 0xFF)
                else:
                    try:
                        code.append(_encode(name, operands))
                    except (AssertionError, ValueError, KeyError, IndexError) as error:
                        raise ValueError(f"{name} {operands}") from error
            if not far:
                self.places = places
                return code
            long |= far


def _operands(text: str) -> list[str]:
    return [part.strip() for part in re.split(r",(?![^{\[]*[}\]])", text) if part.strip()]


def _register(name: str, below: int = 8) -> int:
    number = _NAMES.get(name)
    if number is None:
        assert name[0] == "r", name
        number = int(name[1:])
    assert number < below, name
    return number


def _number(text: str, below: int, unit: int = 1) -> int:
    assert text[0] == "#", text
    value = int(text[1:], 0)
    assert value % unit == 0 and 0 <= value // unit < below, text
    return value // unit


def _encode(name: str, operands: list[str]) -> int:
    if name in ("ldm", "stm", "push", "pop"):
        return _many(name, operands)
    if name in _MEMORY:
        return _access(name, operands)
    special: dict[str, Callable[[list[str]], int]] = {"mov": _mov, "add": _add, "sub": _sub}
    if name in special:
        return special[name](operands)
    if name == "bx":
        return 0x4700 | _register(operands[0], 16) << 3
    if name == "nop":
        return 0x46C0
    if name == "cmp" and operands[1][0] == "#":
        return 0x2800 | _register(operands[0]) << 8 | _number(operands[1], 256)
    if name == "cmp" and _register(operands[0], 16) | _register(operands[1], 16) > 7:
        n = _register(operands[0], 16)
        return 0x4500 | (n & 8) << 4 | _register(operands[1], 16) << 3 | n & 7
    if name in _SHIFTS and len(operands) == 3:
        d, m = _register(operands[0]), _register(operands[1])
        return _SHIFTS[name] | _number(operands[2], 32) << 6 | m << 3 | d
    return _ALU[name] | _register(operands[1]) << 3 | _register(operands[0])


def _mov(operands: list[str]) -> int:
    if operands[1][0] == "#":
        return 0x2000 | _register(operands[0]) << 8 | _number(operands[1], 256)
    d, m = _register(operands[0], 16), _register(operands[1], 16)
    return 0x4600 | (d & 8) << 4 | m << 3 | d & 7  # changes no flags


def _add(operands: list[str]) -> int:
    if operands[0] == "sp":
        return 0xB000 | _number(operands[1], 128, 4)
    if len(operands) == 3 and operands[1] == "sp":
        return 0xA800 | _register(operands[0]) << 8 | _number(operands[2], 256, 4)
    if len(operands) == 2 and operands[1][0] != "#":  # also the upper registers; no flags
        d, m = _register(operands[0], 16), _register(operands[1], 16)
        return 0x4400 | (d & 8) << 4 | m << 3 | d & 7
    return _three(0x1800, 0x1C00, 0x3000, operands)


def _sub(operands: list[str]) -> int:
    if operands[0] == "sp":
        return 0xB080 | _number(operands[1], 128, 4)
    return _three(0x1A00, 0x1E00, 0x3800, operands)


def _three(registers: int, small: int, large: int, operands: list[str]) -> int:
    d = _register(operands[0])
    if len(operands) == 2:
        return large | d << 8 | _number(operands[1], 256)
    n = _register(operands[1])
    if operands[2][0] == "#":
        return small | _number(operands[2], 8) << 6 | n << 3 | d
    return registers | _register(operands[2]) << 6 | n << 3 | d


def _access(name: str, operands: list[str]) -> int:
    t = _register(operands[0])
    found = re.fullmatch(r"\[(\w+)(?:, *(#?\w+))?\]", operands[1])
    assert found
    offset = found[2] or "#0"
    if found[1] == "sp":
        assert name in ("ldr", "str")
        return (0x9800 if name == "ldr" else 0x9000) | t << 8 | _number(offset, 256, 4)
    n = _register(found[1])
    if offset[0] == "#":
        opcode, unit = _MEMORY[name]
        return opcode | _number(offset, 32, unit) << 6 | n << 3 | t
    return _MEMORY_REGISTER[name] | _register(offset) << 6 | n << 3 | t


def _many(name: str, operands: list[str]) -> int:
    """LDM and STM always write back; LDM's base is not among what is loaded."""
    listed = 0
    for part in operands[-1].strip("{}").split(","):
        first, _, last = part.strip().partition("-")
        if first in ("lr", "pc"):
            listed |= 0x100
            continue
        for number in range(_register(first), _register(last or first) + 1):
            listed |= 1 << number
    if name in ("push", "pop"):
        return (0xB400 if name == "push" else 0xBC00) | listed
    n = _register(operands[0].rstrip("!"))
    assert name == "stm" or not listed >> n & 1
    return (0xC000 if name == "stm" else 0xC800) | n << 8 | listed


def _umaal(operands: list[str]) -> list[int]:
    """r0, r1, r2, r3: r0 and r1, the upper word, = r2 * r3 + r0 + r1. ARMv7E-M; A7.7.203 there."""
    low, high, n, m = (_register(name, 15) for name in operands)
    return [0xFBE0 | n, low << 12 | high << 8 | 0x60 | m]


def _clear(operands: list[str]) -> list[int]:
    """A register of any number = 0; no flags."""
    return [0xF04F, _register(operands[0], 15) << 8]


# What ARMv7E-M has besides, in two half words
_LONG = {"umaal": _umaal, "clear": _clear}


def _long(distance: int) -> list[int]:
    """BL, T1: 24 bits of distance in half words."""
    assert -(1 << 21) <= distance < 1 << 21
    bits = distance & 0xFFFFFF
    sign = bits >> 23
    j1, j2 = (bits >> 22 & 1) ^ sign ^ 1, (bits >> 21 & 1) ^ sign ^ 1
    return [0xF000 | sign << 10 | bits >> 11 & 0x3FF, 0xD000 | j1 << 13 | j2 << 11 | bits & 0x7FF]
