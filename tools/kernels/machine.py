"""The field machine: its instructions, its memory, and an assembler for its programs.

A program is a string of instructions: an operation, whose byte also tells how many operands follow
(OPERAND_BITS), and a byte for each of them. Memory is a row of slots of 32 bytes, little endian. A
slot holds an integer, or an element of the field modulo P, which may be any number of 256 bits
that is congruent to it. In programs a slot is a name, and a line is

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
    "COPY",     # d = a; forgets the carry
    "REDUCE",   # d = a modulo 2^256 - b, where a with the carry is less than twice that
    "INVERT",   # A = 1 / A modulo P or, if the operand is 1, N; 0 stays 0
    "ODD",      # d = d + 1 if d + a is even
    "SWAP",     # d = a with its bytes in reverse
    "XOR",      # d = a ^ b, bit by bit
    "PICK",     # d, d + 1 = the point of this column of the digits a from the table b,
                #   read so that time and addresses do not tell which
    "TAKE",     # the same, but faster
    "COLUMNS",  # column = the number of columns of the table
    "UNLESS",   # jump, -128 to 127 bytes, if the table has no such column
    "UNTIL",    # jump unless a byte of the control slot is a number: not one that is kept there,
                #   where a flipped bit would go unnoticed
    "JUMP",
    "CALL",     # call a routine, by a quarter of its place; not nested
    "EITHER",   # call the first or, when points are told to be complete, the second routine
    "RETURN",
    "CHECK",    # the machine's result becomes 1 unless the slot d is all zeros
    "FILL",     # fill the slots d to a with a byte
    "HASH",     # d = the state of SHA-256 after the block a, a + 1; all as bytes, big endian
    "SET",      # a byte of the control slot = a number
    "STEP",     # a byte of the control slot += a number, modulo 256
    "GRAY",     # MOVING = the double of the tooth that changes before entry COUNT of a table;
                #   negative if it does so to -1
    "PLACE",    # TABLE = the entry number COUNT in the order of the code, MOVING = its step
)
# fmt: on
OPCODES = {name: code for code, name in enumerate(OPERATIONS)}
OPERAND_BITS = 5  # from this bit on an operation's byte has the number of operands
assert len(OPERATIONS) <= 1 << OPERAND_BITS
_OPERANDS = {
    **dict.fromkeys(("END", "RETURN", "GRAY", "PLACE"), 0),
    **dict.fromkeys(("NEGATE", "INVERT", "COLUMNS", "JUMP", "CALL", "CHECK"), 1),
    **dict.fromkeys(("COPY", "ODD", "SWAP", "UNLESS", "EITHER", "HASH", "SET", "STEP"), 2),
}  # the others have 3

# Operands from here on are relative to one of two slots that stand in the control slot
TABLE = 128
MOVING = 192

# Bytes of the control slot. Python writes those of the last line before it makes a comb (all teeth
# but one, twice; the entries; the first of them), and whether points are to be complete.
CONTROL = {
    **{"TABLE": 0, "MOVING": 1, "COMPLETE": 2},
    "NEGATIVE": 3,  # whether the last column was
    **{"COLUMN": 4, "RESULT": 5},
    # 6 and 7 are the place that CALL came from
    "COUNT": 8,
    **{"TEETH_TO_MAKE": 9, "TEETH_TO_SUBTRACT": 10, "ENTRIES_TO_MAKE": 11, "START": 12},
}
BACK = 3  # as a word of 16 bits
NEGATIVE, COLUMN, RESULT, COMPLETE = (
    CONTROL[name] for name in ("NEGATIVE", "COLUMN", "RESULT", "COMPLETE")
)

SLOT = 32  # bytes
HEADER = 4  # bytes before a table's first entry: its teeth, its columns, and two to align it
BASE_TEETH = 5
KEY_TEETH = 4
SCRATCH = 6  # slots behind the others, for kernels that have no stack

# P and N are followed by zeros: an inverse takes them as longer than they are.
_CONSTANTS = "P BLANK N ZERO ONE SEVEN BETA B3 FOLD_P FOLD_N G1 G2 A1 A2 B1 DIGITS MORE IV PADDING"
CONSTANTS = _CONSTANTS.split()
_WORK = (
    *("BX", "BY", "BZ", "BT", "SEAL"),  # kept from one signature to the next
    *("X", "Y", "Z", "x", "y", "t0", "t1", "t2", "t3", "A", "B", "T", "T_", "U", "U_"),
    *("K", "K1", "K2", "H1", "H2", "R", "S", "D", "E", "V", "W", "C"),
)
SLOTS = {name: slot for slot, name in enumerate(["CONTROL", *CONSTANTS, *_WORK])}
# Names that share a slot, for they are never needed at once
SLOTS["HASHED"], SLOTS["KEY_"], SLOTS["VALUE"] = SLOTS["K"], SLOTS["K1"], SLOTS["K2"]
SLOTS["INNER"], SLOTS["OUTER"] = SLOTS["H1"], SLOTS["H2"]
SLOTS["t4"], SLOTS["t5"] = SLOTS["A"], SLOTS["B"]
# What making a comb needs: the doubles of the teeth, where scalars are split otherwise, then the
# teeth and what divides neighbours, which give way to what divides the entries. The entry 0 has
# no such divisor: its place is the slot before, which is free then.
SLOTS["DOUBLES"] = SLOTS["T"]
SLOTS["TEETH"] = SLOTS["C"] + 1
SLOTS["RATIOS"] = SLOTS["TEETH"] + 2 * BASE_TEETH
SLOTS["STEPS"] = SLOTS["C"]
# Two tables; the header of each is the end of the slot before. A key's comb begins behind its
# teeth and what divides its entries, and takes the place of what divided its neighbours.
SLOTS["KEY"] = SLOTS["TEETH"] + 2 * KEY_TEETH + 1
SLOTS["BASE"] = SLOTS["KEY"] + (1 << KEY_TEETH) + 1
SLOTS["SCRATCH"] = SLOTS["BASE"] + (1 << BASE_TEETH)
assert SLOTS["DOUBLES"] + 2 * (BASE_TEETH - 1) <= SLOTS["R"]
assert SLOTS["STEPS"] + (1 << KEY_TEETH - 1) < SLOTS["KEY"]
assert SLOTS["STEPS"] + (1 << BASE_TEETH - 1) < SLOTS["BASE"]
assert SLOTS["RATIOS"] + 2 * (BASE_TEETH - 1) < SLOTS["BASE"]
assert SLOTS["SCRATCH"] + SCRATCH <= TABLE
MEMORY = SLOT * SLOTS["SCRATCH"]  # bytes, without the scratch
TABLES = {"BASE": 0, "KEY": 1}

_RELATIVE = {"TABLE": TABLE, "MOVING": MOVING}
_JUMPS = ("UNLESS", "UNTIL", "JUMP")
_CALLS = ("CALL", "EITHER")
_INFIX = {"*": "MUL", "+": "ADD", "-": "SUB", "^": "SQR"}
_TAIL = bytes(3)  # a kernel reads operands, whether there are any or not


def operation(name: str, *operands: int) -> bytes:
    """An instruction."""
    assert len(operands) == _OPERANDS.get(name, 3), name
    return bytes([OPCODES[name] | len(operands) << OPERAND_BITS, *operands])


def assemble(source: str) -> tuple[bytes, dict[str, int]]:
    """The bytes of a program, and where its places are."""
    lines = [line.split("#")[0].strip() for line in source.splitlines()]
    instructions = [_parse(line) for line in lines if line]
    called = {text for name, texts in instructions if name in _CALLS for text in texts}
    places: dict[str, int] = {}
    at = 0
    for name, texts in instructions:
        if name == "PLACE:":
            assert texts[0] not in places, texts
            if texts[0] in called:
                at += -at % 4
            places[texts[0]] = at
        else:
            at += 1 + _OPERANDS.get(name, 3)
    code = bytearray()
    for name, texts in instructions:
        if name == "PLACE:":
            code += bytes(places[texts[0]] - len(code))  # what no one executes: END
            continue
        end = len(code) + 1 + len(texts)
        operands = [_operand(name, index, text, places, end) for index, text in enumerate(texts)]
        code += operation(name, *operands)
    return bytes(code) + _TAIL, places


def _parse(line: str) -> tuple[str, list[str]]:
    if line.endswith(":"):
        return "PLACE:", [line[:-1]]
    formula = re.fullmatch(r"(\w+) = (\w+) ([*+^-]) (\w+)", line)
    if formula:
        d, a, sign, b = formula.groups()
        return ("SQR", [d, a, "1"]) if sign == "*" and a == b else (_INFIX[sign], [d, a, b])
    copy = re.fullmatch(r"(\w+) = (\w+)", line)
    if copy:
        return "COPY", [copy[1], copy[2]]
    name, *operands = line.split()
    return name, operands


def _operand(name: str, index: int, text: str, places: dict[str, int], end: int) -> int:
    if text.isdigit():
        return int(text)
    if name in _CALLS:
        return places[text] // 4
    if name in _JUMPS and index == 0:
        assert -128 <= places[text] - end < 128, text
        return places[text] - end & 255
    if name in ("UNTIL", "SET", "STEP") and text in CONTROL:
        return CONTROL[text]
    relative = re.fullmatch(r"(TABLE|MOVING)(\d+)", text)
    if relative:
        return _RELATIVE[relative[1]] + int(relative[2])
    if name in ("COLUMNS", "UNLESS") or (name in ("PICK", "TAKE") and index == 2):
        return TABLES[text]
    return SLOTS[text]
