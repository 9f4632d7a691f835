"""An assembler for the 16-bit instructions of ARMv6-M, for programs that write programs.

MicroPython's own asm_thumb lacks instructions that kernels live on: ldm and stm, loads and stores
relative to the stack pointer, adr. Here they all are; the machine code goes into an asm_thumb
function as data.

Source: ARMv6-M Architecture Reference Manual (DDI 0419), chapter A5 (encodings).
"""

from __future__ import annotations

from collections.abc import Iterator

R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10, R11, R12, SP, LR, PC = range(16)

_CONDITIONS = ("eq", "ne", "cs", "cc", "mi", "pl", "vs", "vc", "hi", "ls", "ge", "lt", "gt", "le")
_OPERATIONS = (
    *("and", "eor", "lsl", "lsr", "asr", "adc", "sbc", "ror"),
    *("tst", "rsb", "cmp", "cmn", "orr", "mul", "bic", "mvn"),
)

_FRAME = 1  # halfwords that MicroPython puts before the code: push of r4 to r7 and lr


def _low(*registers: int) -> None:
    if not all(R0 <= register <= R7 for register in registers):
        raise ValueError("a register beyond r7")


def _check(value: int, limit: int, step: int = 1) -> int:
    """`value` in units of `step`, below `limit` of them."""
    if value % step or not 0 <= value // step < limit:
        raise ValueError(f"{value} does not fit")
    return value // step


def _bits(registers: tuple[int, ...]) -> int:
    _low(*registers)
    return sum(1 << register for register in registers)


class Assembler:
    """Collects halfwords. Methods are instructions, in the order of Arm's operands."""

    def __init__(self) -> None:
        self.code: list[int] = []
        self._notes: dict[int, str] = {}
        self._labels: dict[str, int] = {}
        self._branches: list[tuple[int, str, str]] = []  # place, kind or condition, label

    # -- structure --------------------------------------------------------------------------

    def note(self, text: str) -> None:
        """A comment before the next instruction."""
        self._notes[len(self.code)] = text

    def label(self, name: str) -> None:
        if name in self._labels:
            raise ValueError(f"label {name} is there twice")
        self._labels[name] = len(self.code)

    def words(self, *values: int) -> None:
        """Constants of 32 bits, at a word's beginning."""
        if (_FRAME + len(self.code)) % 2:
            self._emit(0xBF00)  # nop
        for value in values:
            self._emit(value & 0xFFFF)
            self._emit(value >> 16)

    def lines(self, width: int = 10) -> Iterator[str]:
        """The finished code as lines of an asm_thumb function."""
        code = self._linked()
        starts = sorted({0, *self._notes, len(code)})
        for start, end in zip(starts, starts[1:], strict=False):
            if start in self._notes:
                yield f"# {self._notes[start]}"
            for at in range(start, end, width):
                values = ", ".join(f"0x{half:04X}" for half in code[at : min(at + width, end)])
                yield f"data(2, {values})"

    def _emit(self, half: int) -> None:
        self.code.append(half)

    def _linked(self) -> list[int]:
        code = list(self.code)
        for at, kind, label in self._branches:
            distance = 2 * (self._labels[label] - at) - 4
            if kind == "b":
                code[at] = 0xE000 | _signed(distance, 11)
            elif kind == "adr":
                base = 2 * (_FRAME + at) + 4 & ~3
                code[at] |= _check(2 * (_FRAME + self._labels[label]) - base, 256, 4)
            else:
                code[at] = 0xD000 | _CONDITIONS.index(kind) << 8 | _signed(distance, 8)
        return code

    # -- branches ---------------------------------------------------------------------------

    def b(self, label: str, condition: str = "b") -> None:
        """A branch, always or with a condition such as "ne"."""
        self._branches.append((len(self.code), condition, label))
        self._emit(0)

    def adr(self, rd: int, label: str) -> None:
        """The address of constants further on."""
        _low(rd)
        self._branches.append((len(self.code), "adr", label))
        self._emit(0xA000 | rd << 8)

    # -- data processing --------------------------------------------------------------------

    def movs(self, rd: int, value: int) -> None:
        self._immediate(0x2000, rd, value)

    def cmp(self, rn: int, value: int) -> None:
        self._immediate(0x2800, rn, value)

    def adds(self, rd: int, value: int) -> None:
        self._immediate(0x3000, rd, value)

    def subs(self, rd: int, value: int) -> None:
        self._immediate(0x3800, rd, value)

    def _immediate(self, opcode: int, register: int, value: int) -> None:
        _low(register)
        self._emit(opcode | register << 8 | _check(value, 256))

    def mov(self, rd: int, rm: int) -> None:
        """Between any two registers; flags stay."""
        self._emit(0x4600 | rd >> 3 << 7 | rm << 3 | rd & 7)

    def lsls(self, rd: int, rm: int, count: int) -> None:
        _low(rd, rm)
        self._emit(0x0000 | _check(count, 32) << 6 | rm << 3 | rd)

    def lsrs(self, rd: int, rm: int, count: int) -> None:
        _low(rd, rm)
        self._emit(0x0800 | _check(count, 32) << 6 | rm << 3 | rd)

    def op(self, name: str, rd: int, rm: int) -> None:
        """Two low registers: rd = rd op rm."""
        _low(rd, rm)
        self._emit(0x4000 | _OPERATIONS.index(name) << 6 | rm << 3 | rd)

    # -- memory -----------------------------------------------------------------------------

    def ldr(self, rt: int, rn: int, offset: int = 0) -> None:
        self._access(0x6800, 0x9800, rt, rn, offset)

    def str_(self, rt: int, rn: int, offset: int = 0) -> None:
        self._access(0x6000, 0x9000, rt, rn, offset)

    def _access(self, opcode: int, of_stack: int, rt: int, rn: int, offset: int) -> None:
        if rn == SP:
            _low(rt)
            self._emit(of_stack | rt << 8 | _check(offset, 256, 4))
        else:
            _low(rt, rn)
            self._emit(opcode | _check(offset, 32, 4) << 6 | rn << 3 | rt)

    def indexed(self, name: str, rt: int, rn: int, rm: int) -> None:
        """str, ldr, strb or ldrb at rn + rm."""
        _low(rt, rn, rm)
        opcode = {"str": 0x5000, "strb": 0x5400, "ldr": 0x5800, "ldrb": 0x5C00}[name]
        self._emit(opcode | rm << 6 | rn << 3 | rt)

    def ldm(self, rn: int, *registers: int) -> None:
        """Load; rn goes on by as many words."""
        _low(rn)
        self._emit(0xC800 | rn << 8 | _bits(registers))

    def push(self, *registers: int) -> None:
        self._emit(0xB400 | _bits(registers))

    def pop(self, *registers: int) -> None:
        self._emit(0xBC00 | _bits(registers))

    def add_sp(self, count: int) -> None:
        """Give back `count` bytes of the stack; take them if negative."""
        self._emit(0xB000 | (count < 0) << 7 | _check(abs(count), 128, 4))


def _signed(distance: int, bits: int) -> int:
    if not -(1 << bits) <= distance < 1 << bits:
        raise ValueError("a branch reaches too far")
    return distance >> 1 & (1 << bits) - 1
