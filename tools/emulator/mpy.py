"""Reads .mpy files: which native functions they hold, and what those need.

The format is MicroPython's version 6, as py/persistentcode.c reads it: a header, interned names
(qstrs), constant objects, and the module's code with the code of its functions as children. Names
of functions stand only in the module's bytecode, which makes each function and stores it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

BYTECODE, NATIVE, VIPER, ASSEMBLER = range(4)
KINDS = ("bytecode", "native", "viper", "asm_thumb")

_ARCHITECTURES = (
    *("bytecode", "x86", "x64", "armv6", "armv6m", "armv7m", "armv7em", "armv7emsp"),
    *("armv7emdp", "xtensa", "xtensawin", "rv32imc", "rv64imc"),
)
_HAS_FLAGS = 0x40  # in the third byte: the flags of the architecture follow

# Constant objects
_FUN_TABLE, _BYTES, _TUPLE = 0, 6, 10
_SINGLETONS = (1, 2, 3, 4)
_TEXTS = (5, 6)  # these end in a zero byte

# Bytecode. The high digit of an opcode tells its argument: none, a qstr, a number, an offset.
_FORMATS = 0x3A4
_NO_ARGUMENT, _OFFSET = 0, 3
_UNWINDS = 0x9E  # opcodes without any of these bits have one byte more
_STORE_NAME = 0x16
_MAKE_FUNCTION = (0x32, 0x33)  # without and with defaults of arguments


class Code(NamedTuple):
    """One function: its kind (an index of KINDS) and its bytes."""

    kind: int
    code: bytes
    children: tuple[Code, ...]


class Module(NamedTuple):
    """What a .mpy file holds."""

    architecture: str
    qstrs: tuple[str, ...]  # names; what the VM knows itself appears as "#" and its number
    fun_table: int | None  # the place of the runtime's table among the constant objects
    functions: dict[str, Code]  # the functions of the module itself, by name
    size: int  # bytes of the file
    pieces: tuple[Piece, ...]  # what a VM copies to its heap, without the structures around it


class Piece(NamedTuple):
    """One thing that a VM allocates when it loads the module."""

    kind: str  # one of KINDS, or "constant" or "name"
    size: int  # bytes


def load(path: str | Path) -> Module:
    """Read a .mpy file. Raises ValueError for what is none or has another version."""
    data = Path(path).read_bytes()
    if data[:2] != b"M\x06":
        raise ValueError(f"{path} is no .mpy file of version 6")
    try:
        return _Reader(data).module()
    except IndexError:
        raise ValueError(f"{path} is cut off") from None


class _Reader:
    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data = data
        self.at = at

    def byte(self) -> int:
        self.at += 1
        return self.data[self.at - 1]

    def number(self) -> int:
        """A number in groups of seven bits, the highest first."""
        value = 0
        while True:
            byte = self.byte()
            value = value << 7 | byte & 0x7F
            if not byte & 0x80:
                return value

    def take(self, count: int) -> bytes:
        self.at += count
        if self.at > len(self.data):
            raise IndexError
        return self.data[self.at - count : self.at]

    def module(self) -> Module:
        self.at = 2
        features = self.byte()
        self.byte()  # bits of a small integer
        qstr_count, object_count = self.number(), self.number()
        if features & _HAS_FLAGS:
            self.number()
        qstrs = tuple(self.qstr() for _ in range(qstr_count))
        objects, pieces = [], [Piece("name", len(name) + 1) for name in qstrs if name[0] != "#"]
        for _ in range(object_count):
            begin = self.at
            objects.append(self.object())
            pieces.append(Piece("constant", self.at - begin))
        code = self.code()
        pieces += [Piece(KINDS[one.kind], len(one.code)) for one in _all(code)]
        return Module(
            _ARCHITECTURES[features >> 2 & 0xF],
            qstrs,
            objects.index(_FUN_TABLE) if _FUN_TABLE in objects else None,
            _functions(code, qstrs),
            len(self.data),
            tuple(pieces),
        )

    def qstr(self) -> str:
        length = self.number()
        if length & 1:
            return f"#{length >> 1}"
        text = self.take(length >> 1).decode()
        self.byte()
        return text

    def object(self) -> int:
        """Pass over a constant object; its type."""
        kind = self.byte()
        if kind == _FUN_TABLE or kind in _SINGLETONS:
            return kind
        length = self.number()
        if kind == _TUPLE:
            for _ in range(length):
                self.object()
        else:
            self.take(length + (kind in _TEXTS))
        return kind

    def code(self) -> Code:
        head = self.number()
        kind, has_children = head & 3, head & 4
        code = self.take(head >> 3)
        if kind == NATIVE:
            self.number()  # where its prelude begins
        elif kind != BYTECODE:
            self.number()  # flags
            if kind == ASSEMBLER:
                self.number(), self.number()  # arguments, types
        count = self.number() if has_children else 0
        return Code(kind, code, tuple(self.code() for _ in range(count)))


def _all(code: Code) -> Iterator[Code]:
    yield code
    for child in code.children:
        yield from _all(child)


def _functions(module: Code, qstrs: tuple[str, ...]) -> dict[str, Code]:
    """Follow the module's bytecode: a function is made, perhaps decorated, and stored."""
    if module.kind != BYTECODE:
        return {}
    functions: dict[str, Code] = {}
    made: Code | None = None
    reader = _Reader(module.code)
    _pass_prelude(reader)
    while reader.at < len(module.code):
        opcode = reader.byte()
        argument = _argument(reader, opcode)
        if opcode in _MAKE_FUNCTION:
            made = module.children[argument]
        elif opcode == _STORE_NAME and made:
            functions[qstrs[argument]] = made
            made = None
    return functions


def _argument(reader: _Reader, opcode: int) -> int:
    kind = _FORMATS >> 2 * (opcode >> 4) & 3
    argument = 0
    if kind == _OFFSET:
        if reader.byte() & 0x80:
            reader.byte()
    elif kind != _NO_ARGUMENT:
        argument = reader.number()
    if not opcode & _UNWINDS:
        reader.byte()
    return argument


def _pass_prelude(reader: _Reader) -> None:
    """The sizes of a bytecode function's frame and of its information, which is passed over."""
    while reader.byte() & 0x80:
        pass
    info = shift = 0
    while True:
        byte = reader.byte()
        info |= (byte >> 1 & 0x3F) << shift
        shift += 6
        if not byte & 0x80:
            break
    reader.take(info)
