"""Writes Keccak's sponge for ARMv6-M: lib/perun/crypto/_keccak_thumb.py.

A Cortex-M0+ has eight registers that all instructions reach, six more that only mov does, and no
64-bit anything. A lane is two words. A round reads one copy of the state and writes another, row
by row of the result, so that a lane is loaded once for theta's last step, rho, pi and chi together
and stored once. The code of a round is straight: every address and rotation is a constant.

Names as in FIPS 202, section 3.2: lane (x, y) is number x + 5 y.

    r12   the state that is read        sp +   0   the other copy of the state
    lr    the state that is written     sp + 200   theta's words, D[x]
                                        sp + 240   what absorbing needs again
"""

from __future__ import annotations

from kernels.thumb import LR, R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10, R12, SP, Assembler

RATE = 136
AT = 200  # where the sponge keeps the place of the next byte
ROUNDS = 24

_THETA = 200
_FAR = 120  # a load reaches 124 bytes beyond its base
_SPONGE, _DATA, _COUNT, _CONSTANT, _FRAME = 240, 244, 248, 252, 256

_HEAD = '''"""Keccak-f[1600] and its sponge in machine code for ARMv6-M; twin of _keccak_portable.

Written by tools/kernels/keccak_thumb.py, which explains it: change that and run `make kernels`.
"""
# ruff: noqa
# fmt: off

import micropython

NAME = "asm_thumb"


@micropython.asm_thumb
def absorb(r0, r1, r2):
    """XOR `count` bytes of `data` into `sponge`, permuting it whenever a block is full."""
'''


def generate() -> dict[str, str]:
    """{name of the module's file: its source}."""
    a = Assembler()
    _enter(a)
    _absorb(a)
    a.note("permute")
    for register, slot in ((R0, _SPONGE), (R1, _DATA), (R2, _COUNT)):
        a.str_(register, SP, slot)
    a.adr(R1, "CONSTANTS")
    a.str_(R1, SP, _CONSTANT)
    a.mov(R12, R0)
    a.mov(LR, SP)
    a.b("ROUND")
    a.note("the constants of the rounds, low and high words, and 0 as their end")
    a.words()
    a.label("CONSTANTS")
    a.words(*(constant >> half & 0xFFFFFFFF for constant in constants() for half in (0, 32)), 0)
    a.label("ROUND")
    _theta(a)
    for y in (1, 2, 3, 4, 0):
        _row(a, y)
    _iota(a)
    _next_round(a)
    _leave(a)
    return {"_keccak_thumb.py": _HEAD + "".join(f"    {line}\n" for line in a.lines())}


def constants() -> list[int]:
    """The constants of the rounds. FIPS 202, algorithms 5 and 6: bits of an LFSR."""
    found = []
    register = 1
    for _ in range(ROUNDS):
        constant = 0
        for j in range(7):
            if register & 1:
                constant |= 1 << (1 << j) - 1
            register = register << 1 ^ (0x171 if register & 0x80 else 0)
        found.append(constant)
    return found


def moves() -> dict[int, tuple[int, int]]:
    """{target: (source, rotation)} of rho and pi. FIPS 202, algorithms 2 and 3."""
    found = {0: (0, 0)}
    x, y = 1, 0
    for t in range(24):
        target = y + 5 * ((2 * x + 3 * y) % 5)
        found[target] = (x + 5 * y, (t + 1) * (t + 2) // 2 % 64)
        x, y = y, (2 * x + 3 * y) % 5
    return found


def _enter(a: Assembler) -> None:
    """The VM's frame has saved r4 to r7 and lr; the high registers are ours to save."""
    a.note("save r8 to r11")
    for low in (R4, R5, R6, R7):
        a.mov(low, low + 4)
    a.push(R4, R5, R6, R7)
    a.add_sp(-_FRAME)
    a.movs(R4, AT)
    a.indexed("ldrb", R3, R0, R4)


def _absorb(a: Assembler) -> None:
    """r0: sponge, r1: data, r2: bytes left, r3: place in the block. Words where all is aligned."""
    a.note("absorb")
    a.label("ABSORB")
    a.cmp(R2, 4)
    a.b("BYTE", "cc")
    a.mov(R4, R1)
    a.op("orr", R4, R3)
    a.lsls(R4, R4, 30)
    a.b("BYTE", "ne")
    a.ldm(R1, R5)
    a.indexed("ldr", R6, R0, R3)
    a.op("eor", R5, R6)
    a.indexed("str", R5, R0, R3)
    a.adds(R3, 4)
    a.subs(R2, 4)
    a.b("FULL")
    a.label("BYTE")
    a.subs(R2, 1)
    a.b("MORE", "cs")
    a.b("LEAVE")
    a.label("MORE")
    a.movs(R4, 0)
    a.indexed("ldrb", R5, R1, R4)
    a.adds(R1, 1)
    a.indexed("ldrb", R6, R0, R3)
    a.op("eor", R5, R6)
    a.indexed("strb", R5, R0, R3)
    a.adds(R3, 1)
    a.label("FULL")
    a.cmp(R3, RATE)
    a.b("ABSORB", "ne")


def _theta(a: Assembler) -> None:
    """D[x] = C[x - 1] ^ rol(C[x + 1], 1), with C the columns' parities.

    In the order 0, 2, 4, 1, 3, 0 a parity is needed for two neighbouring steps only.
    """
    a.note("theta")
    a.mov(R0, R12)
    a.mov(R1, R0)
    a.adds(R1, _FAR)
    before, now = (R2, R3), (R4, R5)
    _parity(a, before, 0)
    a.mov(R8, before[0])
    a.mov(R9, before[1])
    for x in (2, 4, 1, 3, 0):
        if x:
            _parity(a, now, x)
        else:
            a.mov(now[0], R8)
            a.mov(now[1], R9)
        _change(a, before, now)
        for half, register in enumerate(before):
            a.str_(register, SP, _THETA + 8 * ((x - 1) % 5) + 4 * half)
        before, now = now, before


def _parity(a: Assembler, into: tuple[int, int], x: int) -> None:
    """The parity of a column of the state at r0; r1 is further on, for what r0 does not reach."""
    for half, register in enumerate(into):
        offset = 8 * x + 4 * half
        a.ldr(register, R0, offset)
        for base, row in ((R0, 40), (R0, 80), (R1, 120 - _FAR), (R1, 160 - _FAR)):
            a.ldr(R6, base, offset + row)
            a.op("eor", register, R6)


def _change(a: Assembler, before: tuple[int, int], now: tuple[int, int]) -> None:
    """before ^= rol(now, 1), through the carry: the highest bit of each half enters the other."""
    a.lsls(R6, now[1], 1)
    a.mov(R6, now[0])
    a.op("adc", R6, R6)
    a.mov(R7, now[1])
    a.op("adc", R7, R7)
    a.op("eor", before[0], R6)
    a.op("eor", before[1], R7)


def _row(a: Assembler, y: int) -> None:
    """A row of the new state: theta's end, rho and pi for its lanes, then chi.

    Low words gather in r0 to r4, high words in r8 to r11 and the last one where it is.
    """
    a.note(f"rho, pi and chi: row {y}")
    last = R6
    for x in range(5):
        source, left = moves()[x + 5 * y]
        low, high = _fetch(a, source)
        if left >= 32:
            low, high, left = high, low, left - 32
        _rotate(a, x, low, high, left)
        if x < 4:
            a.mov(R8 + x, high)
        last = high
    base, temp = R7, R5 + R6 - last
    a.mov(base, LR)
    if y:
        a.adds(base, 40 * y)
    _chi(a, (R0, R1, R2, R3, R4), temp, base, 0)
    for x in range(4):
        a.mov(x, R8 + x)
    _chi(a, (R0, R1, R2, R3, last), temp, base, 4)


def _fetch(a: Assembler, source: int) -> tuple[int, int]:
    """A lane of the old state with theta's change, in r5 and r6."""
    a.mov(R7, R12)
    if source:
        a.adds(R7, 8 * source)
    a.ldm(R7, R5, R6)
    for half, register in enumerate((R5, R6)):
        a.ldr(R7, SP, _THETA + 8 * (source % 5) + 4 * half)
        a.op("eor", register, R7)
    return R5, R6


def _rotate(a: Assembler, into: int, low: int, high: int, left: int) -> None:
    """Rotate a lane to the left by less than 32; the low word ends in `into`."""
    if not left:
        a.mov(into, low)
        return
    a.lsls(into, low, left)
    a.lsrs(R7, high, 32 - left)
    a.op("orr", into, R7)
    a.lsls(high, high, left)
    a.lsrs(low, low, 32 - left)
    a.op("orr", high, low)


def _chi(a: Assembler, row: tuple[int, ...], temp: int, base: int, offset: int) -> None:
    """Each word ^= not the next one, and the next but one; stored at every second word.

    The order lets the last three overwrite what is not needed any more.
    """
    for x in (0, 1, 4, 3, 2):
        word, following, third = (row[(x + step) % 5] for step in range(3))
        if x < 2:
            a.mov(temp, third)
            third = temp
        a.op("bic", third, following)
        a.op("eor", third, word)
        a.str_(third, base, offset + 8 * x)


def _iota(a: Assembler) -> None:
    """The round's constant, into the first lane of the new state."""
    a.note("iota")
    a.mov(R0, LR)
    a.ldr(R1, SP, _CONSTANT)
    a.ldm(R1, R2, R3)
    a.str_(R1, SP, _CONSTANT)
    for half, register in enumerate((R2, R3)):
        a.ldr(R4, R0, 4 * half)
        a.op("eor", register, R4)
        a.str_(register, R0, 4 * half)


def _next_round(a: Assembler) -> None:
    """Change the two states' roles; on with the round or, after the last one, with absorbing."""
    a.note("the next round")
    a.mov(R2, R12)
    a.mov(R12, R0)
    a.mov(LR, R2)
    a.ldr(R3, R1)
    a.cmp(R3, 0)
    a.b("PERMUTED", "eq")
    a.b("ROUND")
    a.label("PERMUTED")
    for register, slot in ((R0, _SPONGE), (R1, _DATA), (R2, _COUNT)):
        a.ldr(register, SP, slot)
    a.b("ABSORB")


def _leave(a: Assembler) -> None:
    """Keep the place, give the registers back."""
    a.note("leave")
    a.label("LEAVE")
    a.movs(R4, AT)
    a.indexed("strb", R3, R0, R4)
    a.add_sp(_FRAME)
    a.pop(R4, R5, R6, R7)
    for low in (R4, R5, R6, R7):
        a.mov(low + 4, low)
