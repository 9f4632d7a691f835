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

from kernels.thumb_assembler import Program

RATE = 136
AT = 200  # where the sponge keeps the place of the next byte
ROUNDS = 24

_THETA = 200
_SPONGE, _DATA, _COUNT, _CONSTANT, _FRAME = 240, 244, 248, 252, 256
_FAR = 120  # a load reaches 124 bytes beyond its base

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
_PER_LINE = 10

# r0: sponge, r1: data, r2: bytes left, r3: place in the block. Words where all is aligned. The
# VM's frame has saved r4 to r7 and lr; the upper registers are ours to save.
_ABSORB = f"""
begin:
    mov r4, r8
    mov r5, r9
    mov r6, r10
    mov r7, r11
    push {{r4-r7}}
    sub sp, #{_FRAME}
    mov r4, #{AT}
    ldrb r3, [r0, r4]
absorb:
    cmp r2, #4
    bcc byte
    mov r4, r1
    orr r4, r3
    lsl r4, r4, #30
    bne byte
    ldm r1!, {{r5}}
    ldr r6, [r0, r3]
    eor r5, r6
    str r5, [r0, r3]
    add r3, #4
    sub r2, #4
    b full
byte:
    sub r2, #1
    bcs more
    b leave
more:
    ldrb r5, [r1, #0]
    add r1, #1
    add r4, r0, r3
    ldrb r6, [r4, #0]
    eor r5, r6
    strb r5, [r4, #0]
    add r3, #1
full:
    cmp r3, #{RATE}
    bne absorb
permute:
    str r0, [sp, #{_SPONGE}]
    str r1, [sp, #{_DATA}]
    str r2, [sp, #{_COUNT}]
    mov r1, pc
address:
    nop
    str r1, [sp, #{_CONSTANT}]
    mov r12, r0
    mov lr, sp
    b theta
"""

# After the last round r3 is 0, the end of the constants: the place in the new block.
_AFTER = f"""
iota:
    mov r0, lr
    ldr r1, [sp, #{_CONSTANT}]
    ldrh r2, [r1, #0]
    ldrh r4, [r1, #2]
    add r1, #4
    str r1, [sp, #{_CONSTANT}]
    lsr r3, r4, #15
    lsl r3, r3, #31
    orr r2, r3
    lsl r3, r4, #31
    ldr r4, [r0, #0]
    eor r2, r4
    str r2, [r0, #0]
    ldr r4, [r0, #4]
    eor r3, r4
    str r3, [r0, #4]
next:
    mov r2, r12
    mov r12, r0
    mov lr, r2
    ldrh r3, [r1, #0]
    cmp r3, #0
    beq permuted
    b theta
permuted:
    ldr r0, [sp, #{_SPONGE}]
    ldr r1, [sp, #{_DATA}]
    ldr r2, [sp, #{_COUNT}]
    b absorb
leave:
    mov r4, #{AT}
    add r4, r0, r4
    strb r3, [r4, #0]
    add sp, #{_FRAME}
    pop {{r4-r7}}
    mov r8, r4
    mov r9, r5
    mov r10, r6
    mov r11, r7
"""

_NOTES = {
    "begin": "save the upper registers",
    "absorb": "absorb",
    "permute": "permute",
    "constants": "the constants of the rounds: bits 0 to 15; bits 31 and 63; and 0 as their end",
    "theta": "theta",
    **{f"row{y}": f"rho, pi and chi: row {y}" for y in range(5)},
    "iota": "iota",
    "next": "the next round",
    "leave": "leave",
}


def generate() -> dict[str, str]:
    """{name of the module's file: its source}."""
    lines = []
    code, places = assemble()
    starts = {places[label]: note for label, note in _NOTES.items()}
    ends = [*sorted(starts)[1:], len(code)]
    for start, end in zip(sorted(starts), ends, strict=True):
        lines.append(f"    # {starts[start]}\n")
        for at in range(start, end, _PER_LINE):
            halves = ", ".join(f"0x{half:04X}" for half in code[at : min(at + _PER_LINE, end)])
            lines.append(f"    data(2, {halves})\n")
    return {"_keccak_thumb.py": _HEAD + "".join(lines)}


def assemble() -> tuple[list[int], dict[str, int]]:
    """The halfwords, and where the labels are among them."""
    table = [half for constant in constants() for half in _halves(constant)] + [0]
    emit = Program()
    emit(_ABSORB)
    emit("constants:" + "\nnop" * len(table))
    _theta(emit)
    for y in (1, 2, 3, 4, 0):
        _row(emit, y)
    emit(_AFTER)
    code = emit.assemble()
    assert len(code) < 1024  # no jump is long: those would change lr
    start, address = emit.places["constants"], emit.places["address"]
    code[start : start + len(table)] = table
    # add r1, what is between: r1 is the address of the instruction after this one. Firmware into
    # which this is frozen has it at any even address: so no adr, which counts in words, and no
    # words among the constants.
    code[address] = 0x3100 | 2 * (start - address - 1)
    return code, emit.places


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


def _halves(constant: int) -> tuple[int, int]:
    """A constant as the code has it: there is no bit but those of the first half, 31 and 63."""
    low, high = constant & 0xFFFF, constant & 1 << 31 | constant >> 63
    assert constant == low | high & 1 << 31 | (high & 1) << 63 and low
    return low, high >> 16 | high & 1


def moves() -> dict[int, tuple[int, int]]:
    """{target: (source, rotation)} of rho and pi. FIPS 202, algorithms 2 and 3."""
    found = {0: (0, 0)}
    x, y = 1, 0
    for t in range(24):
        target = y + 5 * ((2 * x + 3 * y) % 5)
        found[target] = (x + 5 * y, (t + 1) * (t + 2) // 2 % 64)
        x, y = y, (2 * x + 3 * y) % 5
    return found


def _theta(emit: Program) -> None:
    """D[x] = C[x - 1] ^ rol(C[x + 1], 1), with C the columns' parities.

    In the order 0, 2, 4, 1, 3, 0 a parity is needed for two neighbouring steps only.
    """
    emit(f"""
    theta:
        mov r0, r12
        mov r1, r0
        add r1, #{_FAR}""")
    before, now = ("r2", "r3"), ("r4", "r5")
    _parity(emit, before, 0)
    emit(f"""
        mov r8, {before[0]}
        mov r9, {before[1]}""")
    for x in (2, 4, 1, 3):
        _parity(emit, now, x)
        _change(emit, before, now, (x - 1) % 5)
        before, now = now, before
    emit(f"""
        mov {now[0]}, r8
        mov {now[1]}, r9""")
    _change(emit, before, now, 4)


def _parity(emit: Program, into: tuple[str, str], x: int) -> None:
    """The parity of a column of the state at r0; r1 is further on, for what r0 does not reach."""
    for half, register in enumerate(into):
        offset = 8 * x + 4 * half
        emit(f"ldr {register}, [r0, #{offset}]")
        for row in (40, 80, 120, 160):
            base, beyond = ("r0", 0) if row < _FAR else ("r1", _FAR)
            emit(f"""
            ldr r6, [{base}, #{offset + row - beyond}]
            eor {register}, r6""")


def _change(emit: Program, before: tuple[str, str], now: tuple[str, str], x: int) -> None:
    """D[x] = before ^ rol(now, 1), through the carry: a half's highest bit enters the other."""
    emit(f"""
        lsl r6, {now[1]}, #1
        mov r6, {now[0]}
        adc r6, r6
        mov r7, {now[1]}
        adc r7, r7
        eor {before[0]}, r6
        eor {before[1]}, r7
        str {before[0]}, [sp, #{_THETA + 8 * x}]
        str {before[1]}, [sp, #{_THETA + 8 * x + 4}]""")


def _row(emit: Program, y: int) -> None:
    """A row of the new state: theta's end, rho and pi for its lanes, then chi.

    Low words gather in r0 to r4, high words in r8 to r11 and the last one where it is.
    """
    emit(f"row{y}:")
    last = "r6"
    for x in range(5):
        source, left = moves()[x + 5 * y]
        _fetch(emit, source)
        low, high = ("r5", "r6") if left < 32 else ("r6", "r5")
        _rotate(emit, f"r{x}", low, high, left % 32)
        if x < 4:
            emit(f"mov r{8 + x}, {high}")
        last = high
    temp = "r5" if last == "r6" else "r6"
    emit("mov r7, lr")
    if y:
        emit(f"add r7, #{40 * y}")
    lows = ["r0", "r1", "r2", "r3", "r4"]
    _chi(emit, lows, temp, 0)
    for x in range(4):
        emit(f"mov r{x}, r{8 + x}")
    _chi(emit, [*lows[:4], last], temp, 4)


def _fetch(emit: Program, source: int) -> None:
    """A lane of the old state with theta's change, in r5 and r6."""
    emit("mov r7, r12")
    if source:
        emit(f"add r7, #{8 * source}")
    emit(f"""
        ldm r7!, {{r5, r6}}
        ldr r7, [sp, #{_THETA + 8 * (source % 5)}]
        eor r5, r7
        ldr r7, [sp, #{_THETA + 8 * (source % 5) + 4}]
        eor r6, r7""")


def _rotate(emit: Program, into: str, low: str, high: str, left: int) -> None:
    """Rotate a lane to the left by less than 32; the low word ends in `into`."""
    if not left:
        emit(f"mov {into}, {low}")
        return
    emit(f"""
        lsl {into}, {low}, #{left}
        lsr r7, {high}, #{32 - left}
        orr {into}, r7
        lsl {high}, {high}, #{left}
        lsr {low}, {low}, #{32 - left}
        orr {high}, {low}""")


def _chi(emit: Program, row: list[str], temp: str, offset: int) -> None:
    """Each word ^= not the next one, and the next but one; stored at every second word from r7 on.

    The order lets the last three overwrite what is not needed any more.
    """
    for x in (0, 1, 4, 3, 2):
        word, following, third = (row[(x + step) % 5] for step in range(3))
        if x < 2:
            emit(f"mov {temp}, {third}")
            third = temp
        emit(f"""
            bic {third}, {following}
            eor {third}, {word}
            str {third}, [r7, #{offset + 8 * x}]""")
