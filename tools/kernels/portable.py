"""The field machine in plain Python: what every kernel must do, for tests and comparisons."""

from __future__ import annotations

from collections.abc import Callable

from kernels.machine import (
    BACK,
    COLUMN,
    COMPLETE,
    CONTROL,
    HEADER,
    MOVING,
    NEGATIVE,
    OPERAND_BITS,
    OPERATIONS,
    RESULT,
    SLOT,
    SLOTS,
    TABLE,
)
from kernels.programs import ROUND_CONSTANTS, N, P

NAME = "portable"
SCRATCH = 0

_FULL = (1 << 256) - 1
_WORD = 0xFFFFFFFF


def run(  # noqa: C901 - a branch for each operation
    code: bytes,
    entry: int,
    memory: bytearray,
    table: bytearray | memoryview,
    skip: Callable[[int], bool] | None = None,
) -> int:
    """Execute the program at code[entry:]. An element may be any representative below 2^256.

    skip() is asked for each instruction, by its place, whether to leave it out: for tests.
    """
    here, carry = entry, 0
    base = SLOTS["BASE"] * SLOT - HEADER
    memory[RESULT] = 0

    def place(slot: int) -> int:
        if slot >= TABLE:
            slot += memory[1] - MOVING if slot >= MOVING else memory[0] - TABLE
        return slot * SLOT

    def get(slot: int) -> int:
        at = place(slot)
        return int.from_bytes(memory[at : at + SLOT], "little")

    def put(slot: int, value: int) -> None:
        at = place(slot)
        memory[at : at + SLOT] = (value & _FULL).to_bytes(SLOT, "little")

    def columns(given: int) -> int:
        return int(table[1] if given else memory[base + 1])

    def jump(distance: int) -> int:
        return here + ((distance ^ 128) - 128)

    while True:
        opcode = code[here]
        operands = opcode >> OPERAND_BITS
        if skip is not None and skip(here):
            here += 1 + operands
            continue
        operation = OPERATIONS[opcode & (1 << OPERAND_BITS) - 1]
        d, a, b = [*code[here + 1 : here + 1 + operands], 0, 0, 0][:3]
        here += 1 + operands
        if operation == "MUL":
            put(d, get(a) * get(b) % P)
        elif operation == "SQR":
            put(d, pow(get(a), 1 << b, P))
        elif operation == "ADD":
            put(d, (get(a) + get(b)) % P)
        elif operation == "SUB":
            put(d, (get(a) - get(b)) % P)
        elif operation == "NEGATE":
            if memory[NEGATIVE]:
                put(d, -get(d) % P)
        elif operation == "WIDE":
            product = get(a) * get(b)
            put(d, product)
            put(d + 1, product >> 256)
        elif operation in ("PLUS", "CARRY"):
            total = get(a) + get(b) + (carry if operation == "CARRY" else 0)
            carry = total >> 256
            put(d, total)
        elif operation == "MINUS":
            put(d, get(a) - get(b))
        elif operation == "COPY":
            put(d, get(a))
            carry = 0
        elif operation == "REDUCE":
            total = get(a) + get(b)
            put(d, total if carry or total > _FULL else get(a))
            carry = 0
        elif operation == "INVERT":
            invert(memory, d)
        elif operation == "ODD":
            put(d, get(d) + ((get(d) + get(a) + 1) & 1))
        elif operation == "SWAP":
            put(d, int.from_bytes(get(a).to_bytes(SLOT, "big"), "little"))
        elif operation == "XOR":
            put(d, get(a) ^ get(b))
        elif operation in ("PICK", "TAKE"):
            source, at = (table, 0) if b else (memory, base)
            teeth, spacing = source[at], source[at + 1]
            digits = get(a) >> 1
            index = sum((digits >> memory[COLUMN] + spacing * i & 1) << i for i in range(teeth))
            top = 1 << teeth - 1
            memory[NEGATIVE] = bool(index & top)
            index = (~index if index & top else index) & top - 1
            at += HEADER + 2 * index * SLOT
            for offset in (0, 1):
                start = at + offset * SLOT
                put(d + offset, int.from_bytes(source[start : start + SLOT], "little"))
        elif operation == "COLUMNS":
            memory[COLUMN] = columns(d)
        elif operation == "UNLESS":
            if memory[COLUMN] >= columns(a):
                here = jump(d)
        elif operation == "UNTIL":
            if memory[a] != b:
                here = jump(d)
        elif operation == "JUMP":
            here = jump(d)
        elif operation in ("CALL", "EITHER"):
            memory[2 * BACK : 2 * BACK + 2] = here.to_bytes(2, "little")
            here = 4 * (a if operation == "EITHER" and memory[COMPLETE] else d)
        elif operation == "RETURN":
            here = int.from_bytes(memory[2 * BACK : 2 * BACK + 2], "little")
        elif operation == "CHECK":
            memory[RESULT] |= get(d) != 0
        elif operation == "HASH":
            at, block = place(d), place(a)
            memory[at : at + SLOT] = compress(
                bytes(memory[at : at + SLOT]), bytes(memory[block : block + 2 * SLOT])
            )
        elif operation == "FILL":
            memory[place(d) : place(a) + SLOT] = bytes([b]) * (place(a) + SLOT - place(d))
        elif operation == "SET":
            memory[d] = a
        elif operation == "STEP":
            memory[d] = memory[d] + a & 255
        elif operation == "GRAY":
            count = memory[CONTROL["COUNT"]]
            tooth = (count & -count).bit_length() - 1
            memory[CONTROL["MOVING"]] = SLOTS["DOUBLES"] + 2 * tooth
            memory[NEGATIVE] = ~(count ^ count >> 1) >> tooth & 1
        elif operation == "PLACE":
            count = memory[CONTROL["COUNT"]]
            memory[CONTROL["TABLE"]] = memory[CONTROL["START"]] + 2 * (count ^ count >> 1)
            memory[CONTROL["MOVING"]] = SLOTS["STEPS"] + count
        else:
            assert operation == "END"
            return memory[RESULT]


def compress(state: bytes, block: bytes) -> bytes:
    """The state of SHA-256 after a block: FIPS 180-4, section 6.2.2."""
    words = [int.from_bytes(block[at : at + 4], "big") for at in range(0, 64, 4)]
    before = [int.from_bytes(state[at : at + 4], "big") for at in range(0, 32, 4)]
    for t in range(16, 64):
        x, y = words[t - 15], words[t - 2]
        low = _rotated(x, 7) ^ _rotated(x, 18) ^ x >> 3
        high = _rotated(y, 17) ^ _rotated(y, 19) ^ y >> 10
        words.append((high + words[t - 7] + low + words[t - 16]) & _WORD)
    a, b, c, d, e, f, g, h = before
    for constant, word in zip(ROUND_CONSTANTS, words, strict=True):
        h += _rotated(e, 6) ^ _rotated(e, 11) ^ _rotated(e, 25)
        h += (e & f ^ ~e & g) + constant + word
        other = (_rotated(a, 2) ^ _rotated(a, 13) ^ _rotated(a, 22)) + (a & b ^ a & c ^ b & c)
        a, b, c, d, e, f, g, h = (h + other) & _WORD, a, b, c, (d + h) & _WORD, e, f, g
    after = zip(before, (a, b, c, d, e, f, g, h), strict=True)
    return b"".join((old + new & _WORD).to_bytes(4, "big") for old, new in after)


def _rotated(word: int, by: int) -> int:
    return (word >> by | word << 32 - by) & _WORD


def invert(memory: bytearray, order: int) -> None:
    """The slot A = 1 / A modulo P, or N; 0 stays 0."""
    at = SLOTS["A"] * SLOT
    modulus = N if order else P
    inverse = pow(int.from_bytes(memory[at : at + SLOT], "little"), modulus - 2, modulus)
    memory[at : at + SLOT] = inverse.to_bytes(SLOT, "little")
