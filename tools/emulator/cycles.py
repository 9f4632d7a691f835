"""How many cycles a Cortex-M0+ takes, instruction by instruction.

Source: ARM, Cortex-M0+ Technical Reference Manual (DDI 0484), "Instruction set summary", with the
single-cycle multiplier and memory without wait states that an RP2040 has in its RAM (where
MicroPython keeps native code that comes from a file).

| instruction | cycles |
|---|---|
| arithmetic, logic, shift, multiply, move, compare | 1 |
| load or store one register | 2 |
| load or store N registers | 1 + N |
| push N; pop N; pop N with pc among them | 1 + N; 1 + N; 3 + N |
| branch: not taken, taken | 1, 2 |
| b, bx, blx, writing pc; bl | 2; 3 |
| mrs, msr, barriers | 3 |

Larger cores: the cycles of a Cortex-M33 are not published. What is counted for one is a model: as
above, and one cycle for each further instruction, multiplications into 64 bits included, which
take one on a Cortex-M4 (its Technical Reference Manual, ARM 100166, "Instruction set summary").

The core has two stages and no caches or prediction, so the sum over the instructions is the whole
cost. What the sum leaves out is the rest of the chip: the other core or a DMA at the same bank of
memory, interrupts, and code that runs out of flash.
"""

from __future__ import annotations

HZ_RP2040 = 125_000_000


def cost(code: bytes, larger: bool = False) -> tuple[int, int, bool]:
    """(cycles, instructions, whether the last one is a conditional branch) of straight code.

    The branch is counted as not taken; taken it costs one cycle more. `larger` is for a core that
    has more instructions: by the model above.
    """
    cycles = count = at = 0
    conditional = False
    while at < len(code):
        first = int.from_bytes(code[at : at + 2], "little")
        at += 2
        if first >> 11 >= 0b11101:  # the first half of 32 bits
            second = int.from_bytes(code[at : at + 2], "little")
            at += 2
            conditional = False
            if first >> 11 == 0b11110 and second >> 15:
                cycles += 3
            elif larger:
                cycles += 1
            else:
                raise ValueError(f"a Cortex-M0+ does not have {first:04x} {second:04x}")
        else:
            cycles += _cost(first)
            conditional = is_conditional(first)
        count += 1
    return cycles, count, conditional


def is_conditional(opcode: int) -> bool:
    """Whether it is a branch with a condition (the two last conditions are other instructions)."""
    return opcode >> 12 == 0b1101 and opcode >> 9 != 0b1101111


def _cost(opcode: int) -> int:
    """Cycles of an instruction of 16 bits."""
    if opcode >> 11 == 0b01001 or 0b0101 <= opcode >> 12 <= 0b1001:
        return 2  # ldr, str and their kin
    if opcode >> 12 == 0b1100:  # ldm, stm
        return 1 + (opcode & 0xFF).bit_count()
    if opcode >> 9 == 0b1011010:  # push
        return 1 + (opcode & 0x1FF).bit_count()
    if opcode >> 9 == 0b1011110:  # pop
        return 1 + (opcode & 0x1FF).bit_count() + (opcode >> 7 & 2)
    if opcode >> 11 == 0b11100 or opcode >> 8 == 0b01000111:  # b; bx, blx
        return 2
    if opcode & 0xFD87 == 0x4487:  # add or mov to pc
        return 2
    return 1
