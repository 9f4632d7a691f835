"""The field machine: its instructions, its memory, and an assembler for its programs.

A program is a string of instructions of four bytes: operation, destination, two sources. Memory
is a row of slots of 32 bytes, little endian. A slot holds an integer, or an element of the field
modulo P, which may be any number of 256 bits that is congruent to it. In programs a slot is a
name, and a line is

    t1 = X * YY         elements: a product, a sum, a difference
    t1 = X ^ 4          X to the power of 2^4: so many squarings
    WIDE T K G1         any other operation with its operands
    name:               a place that others CALL or JUMP to
"""

from __future__ import annotations

import re

# fmt: off
OPERATIONS = (
    "END",      # stop; the result is 0, or 1 if a CHECK said so
    "MUL",      # d = a * b modulo P
    "SQR",      # d = a ^ (2 ^ count) modulo P
    "WIDE",     # d, d + 1 = a * b, integers: the lower and the upper half
    "SUB",      # d = a - b modulo P
    "NEGATE",   # d = -d modulo P if the last column was negative
    "MINUS",    # d = a - b modulo 2^256
    "ADD",      # d = a + b modulo P
    "PLUS",     # d = a + b modulo 2^256; remembers the carry
    "CARRY",    # d = a + b + carry modulo 2^256; remembers the carry
    "REDUCE",   # d = a modulo 2^256 - b, where a with the carry is less than twice that
    "ODD",      # d = d + 1 if d + a is even
    "SWAP",     # d = a with its bytes in reverse
    "XOR",      # d = a ^ b, bit by bit
    "PICK",     # d, d + 1 = the point of this column of the digits a from the table b,
                #   read so that time and addresses do not tell which
    "TAKE",     # the same, but faster
    "COLUMNS",  # column = the number of columns of the table d
    "NEXT",     # column = column - 1
    "UNLESS",   # jump by a instructions, -128 to 127, if the table d has no such column
    "LOOP",     # jump by d if column > 0
    "JUMP",     # jump by d
    "CALL",     # call instruction d, or a when points are told to be complete; not nested
    "RETURN",
    "CHECK",    # the machine's result becomes 1 unless the slot d is all zeros
    "WIPE",     # fill the slots d to a with zeros
    "HASH",     # d = the state of SHA-256 after the block a, a + 1; all as bytes, big endian
)
# fmt: on
OPCODES = {name: code for code, name in enumerate(OPERATIONS)}

# Operands from here on are relative to one of two slots that Python has written to the memory
TABLE = 128
MOVING = 192

# What Python writes to the first bytes of the memory before it starts a program: those two, and
# whether points are to be complete
CONTROL_TABLE, CONTROL_MOVING, CONTROL_COMPLETE = 0, 1, 2
# What the machine keeps there for itself: the last column was negative; the column; the result;
# and, as the fourth word of 16 bits, where CALL came from
NEGATIVE, COLUMN, RESULT, BACK = 3, 4, 5, 3

SLOT = 32  # bytes
HEADER = 4  # bytes before a table's first entry: its teeth, its columns, and two to align it
BASE_TEETH = 6
KEY_TEETH = 4
STEPS_AT_ONCE = 16  # so many entries of a table share a division

# P and N are followed by zeros: an inverse takes them as longer than they are.
_CONSTANTS = (
    "P BLANK N ZERO ONE SEVEN BETA B3 FOLD_P FOLD_N G1 G2 A1 A2 B1 DIGITS IPAD OPAD IV PADDING"
)
CONSTANTS = _CONSTANTS.split()
_WORK = (
    *("BX", "BY", "BZ", "BT", "SEAL"),  # kept from one signature to the next
    *("X", "Y", "Z", "x", "y", "t0", "t1", "t2", "t3", "T", "T_", "U", "U_", "A", "B"),
    *("K", "K1", "K2", "H1", "H2", "R", "S", "D", "E", "V", "W", "C", "SCRATCH"),
)
SLOTS = {name: slot for slot, name in enumerate(["CONTROL", *CONSTANTS, *_WORK])}
# Names that share a slot, for they are never needed at once
SLOTS["HASHED"], SLOTS["KEY_"], SLOTS["VALUE"] = SLOTS["K"], SLOTS["K1"], SLOTS["K2"]
SLOTS["t4"], SLOTS["t5"] = SLOTS["A"], SLOTS["B"]
# What making a comb needs: the doubles of the teeth, then the teeth and what divides neighbours,
# which give way to what divides the entries; all of it is wide enough for the base point's
SLOTS["DOUBLES"] = SLOTS["SCRATCH"] + 6  # the scratch is the kernel's
SLOTS["TEETH"] = SLOTS["DOUBLES"] + 2 * (BASE_TEETH - 1)
SLOTS["RATIOS"] = SLOTS["TEETH"] + 2 * BASE_TEETH
SLOTS["STEPS"] = SLOTS["TEETH"]
# Two tables; the header of each is the end of the slot before. A key's comb begins behind what
# divides its entries, and takes the place of what divided the neighbours of its fewer teeth.
SLOTS["KEY"] = SLOTS["STEPS"] + (1 << KEY_TEETH - 1) + 1
SLOTS["LAST"] = SLOTS["DOUBLES"] - 1
SLOTS["BASE"] = SLOTS["KEY"] + (1 << KEY_TEETH) + 1
assert SLOTS["TEETH"] + 2 * KEY_TEETH < SLOTS["KEY"] < TABLE
assert SLOTS["STEPS"] + STEPS_AT_ONCE < SLOTS["BASE"]
assert SLOTS["RATIOS"] + 2 * (BASE_TEETH - 1) < SLOTS["BASE"]
assert SLOTS["BASE"] + (1 << BASE_TEETH) - 2 < 256
TABLES = {"BASE": 0, "KEY": 1}

_RELATIVE = {"TABLE": TABLE, "MOVING": MOVING}
_JUMPS = ("UNLESS", "LOOP", "JUMP")
_INFIX = {"*": "MUL", "+": "ADD", "-": "SUB", "^": "SQR"}


def assemble(source: str) -> tuple[bytes, dict[str, int]]:
    """The bytes of a program, and where its places are, counted in instructions."""
    lines = [line.split("#")[0].strip() for line in source.splitlines()]
    places: dict[str, int] = {}
    instructions: list[tuple[str, list[str]]] = []
    for line in filter(None, lines):
        if line.endswith(":"):
            assert line[:-1] not in places, line
            places[line[:-1]] = len(instructions)
        else:
            instructions.append(_parse(line))
    code = bytearray()
    for here, (operation, operands) in enumerate(instructions):
        encoded = []
        for index, text in enumerate(operands):
            if operation == "CALL":  # what is called comes first in the source
                encoded.append(places[text])
            elif text in places and operation in _JUMPS:
                assert -128 <= places[text] - here < 128, text
                encoded.append(places[text] - here & 255)
            else:
                encoded.append(_operand(operation, index, text))
        code += bytes([OPCODES[operation], *encoded, *bytes(3 - len(encoded))])
    return bytes(code), places


def _parse(line: str) -> tuple[str, list[str]]:
    formula = re.fullmatch(r"(\w+) = (\w+) ([*+^-]) (\w+)", line)
    if formula:
        d, a, sign, b = formula.groups()
        return ("SQR", [d, a, "1"]) if sign == "*" and a == b else (_INFIX[sign], [d, a, b])
    copy = re.fullmatch(r"(\w+) = (\w+)", line)
    if copy:
        return "PLUS", [copy[1], copy[2], "ZERO"]
    operation, *operands = line.split()
    return operation, operands


def _operand(operation: str, index: int, text: str) -> int:
    if text.isdigit():
        return int(text)
    relative = re.fullmatch(r"(TABLE|MOVING)(\d+)", text)
    if relative:
        return _RELATIVE[relative[1]] + int(relative[2])
    if operation in ("COLUMNS", "UNLESS") or (operation in ("PICK", "TAKE") and index == 2):
        return TABLES[text]
    return SLOTS[text]
