"""An emulated Cortex-M that runs one function at a time, in the manner of MicroPython's VM.

Every buffer lies by itself between pages that do not exist and marked bytes, so that an access
beside it is a fault and not a lucky accident. After each call the registers that a function must
keep are compared, too.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, cast

import unicorn
from unicorn import arm_const as arm

from emulator import cycles
from emulator.mpy import ASSEMBLER, KINDS, VIPER, Code, Module
from emulator.runtime import CALL_FUNCTION, ENTRIES, Runtime

_CORES = {
    "cortex-m0+": ("armv6m", arm.UC_CPU_ARM_CORTEX_M0),
    "cortex-m33": ("armv7emsp", arm.UC_CPU_ARM_CORTEX_M33),
}

_PAGE = 0x1000
_CODE = 0x1000_0000
_RAM = 0x2000_0000  # where it is on an RP2040
_STACK = 0x2800_0000  # its end
_STACK_SIZE = 2 * _PAGE
_TRAPS = 0x3000_0000
_STOP = _TRAPS + 4 * ENTRIES
_RETURN = b"\x70\x47"  # bx lr
# The VM's way from a call (function object, counts, arguments) into a viper function:
# mov r3, r2; ldr r2, [r0, #12]; mov r12, r2; movs r2, #0; bx r12
_CALLER = _STOP + 16
_CALL = b"\x13\x46\xc2\x68\x94\x46\x00\x22\x60\x47"
_MARK = b"\xa5"
_KEPT = (0x4A4A4A40, 0x4A4A4A50, 0x4A4A4A60, 0x4A4A4A70, 0x48, 0x49, 0x4A, 0x4B)  # r4 ... r11
_MAX_VIPER_ARGUMENTS = 16

_ARGUMENTS = (arm.UC_ARM_REG_R0, arm.UC_ARM_REG_R1, arm.UC_ARM_REG_R2, arm.UC_ARM_REG_R3)
_CALLEE_SAVED = tuple(getattr(arm, f"UC_ARM_REG_R{n}") for n in range(4, 12))


class Fault(Exception):
    """The function did what it must not do."""


class Run(NamedTuple):
    """What one call did."""

    result: int  # r0
    cycles: int  # without those of the VM's runtime
    instructions: int
    stack: int  # bytes
    requests: int  # calls of the VM's runtime
    path: int  # equal for two runs that took the same way through the code


class Buffer:
    """A piece of memory for a function."""

    def __init__(
        self, engine: unicorn.Uc, start: int, pages: int, address: int, size: int
    ) -> None:
        self._engine, self._start, self._pages = engine, start, pages
        self.address, self.size = address, size

    def read(self) -> bytes:
        return bytes(self._engine.mem_read(self.address, self.size))

    def write(self, data: bytes) -> None:
        """Put `data` at the beginning."""
        if len(data) > self.size:
            raise ValueError(f"{len(data)} bytes do not fit into {self.size}")
        self._engine.mem_write(self.address, data)

    def intact(self) -> bool:
        """Whether nothing was written beside it."""
        pages = bytes(self._engine.mem_read(self._start, self._pages * _PAGE))
        before = self.address - self._start
        beside = pages[:before] + pages[before + self.size :]
        return beside.count(_MARK) == len(beside)


class Function:
    """A native function: call it with numbers and buffers."""

    def __init__(self, call: Callable[..., Run], object_: Buffer | None = None) -> None:
        self._call = call
        self.object = object_  # of viper: what other functions know it by

    def __call__(self, *arguments: Argument) -> Run:
        return self._call(*arguments)


Argument = int | Buffer | Function


class _Frame(NamedTuple):
    """What a viper function needs beside its code."""

    function: Buffer  # the function object
    arguments: Buffer
    names: dict[str, int]
    qstrs: tuple[str, ...]


class Cpu:
    """A core with memory. A function gets `limit` instructions; more are a Fault.

    With `watch` every load and store is looked at: one that is not aligned is a Fault, as on a
    Cortex-M0+, and its address goes into the path of the run. This takes its time.

    Cycles are those of a Cortex-M0+; on another core only instructions are counted.
    """

    def __init__(
        self, core: str = "cortex-m0+", watch: bool = False, limit: int = 1_000_000_000
    ) -> None:
        self.architecture, model = _CORES[core]
        self._limit = limit
        self._is_m0 = core == "cortex-m0+"
        self._engine = unicorn.Uc(
            unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS
        )
        self._engine.ctl_set_cpu_model(model)
        self._buffers: list[Buffer] = []
        self._blocks: dict[tuple[int, int], tuple[int, int, bool]] = {}
        self._next_code, self._next_ram = _CODE, _RAM
        self._runtime = Runtime()
        self._map(_STACK - _STACK_SIZE, _STACK_SIZE, b"")
        self._map(_TRAPS, _PAGE, (_RETURN + _RETURN) * (ENTRIES + 1))
        self._engine.mem_write(_CALLER, _CALL)
        self._engine.hook_add(unicorn.UC_HOOK_BLOCK, self._enter)
        if watch:
            kinds = unicorn.UC_HOOK_MEM_READ | unicorn.UC_HOOK_MEM_WRITE
            self._engine.hook_add(kinds, self._access)
        self._start()

    def buffer(self, content: bytes | int, misalign: int = 0) -> Buffer:
        """Memory with this content or of this size, `misalign` bytes behind a word's beginning."""
        data = bytes(content)
        room = (len(data) + misalign + 3) // 4 * 4
        pages = max(1, -(-room // _PAGE))
        start = self._next_ram
        self._next_ram += (pages + 1) * _PAGE
        self._map(start, pages * _PAGE, _MARK * (pages * _PAGE))
        address = start + pages * _PAGE - room + misalign
        buffer = Buffer(self._engine, start, pages, address, len(data))
        buffer.write(data)
        self._buffers.append(buffer)
        return buffer

    def function(
        self,
        module: Module,
        name: str,
        names: dict[str, Argument] | None = None,
        misalign: int = 0,
    ) -> Function:
        """A native function of the module, to be called with numbers and buffers.

        `names` are the module's global names that a viper function looks up. The code begins
        `misalign` bytes behind a word's beginning: frozen into a firmware, it has even addresses.
        """
        if module.architecture != self.architecture:
            raise ValueError(f"code for {module.architecture} on {self.architecture}")
        code = module.functions[name]
        if code.kind not in (ASSEMBLER, VIPER):
            raise ValueError(f"{name} is {KINDS[code.kind]}, which only the VM can run")
        entry = self._load(code, misalign)
        if code.kind == ASSEMBLER:
            return Function(partial(self._call, entry))
        frame = _Frame(
            self._function_object(module, entry),
            self.buffer(4 * _MAX_VIPER_ARGUMENTS),
            {name: self._object(value) for name, value in (names or {}).items()},
            module.qstrs,
        )
        return Function(partial(self._call_viper, entry, frame), frame.function)

    # -- calls ------------------------------------------------------------------------------

    def _call(self, entry: int, *arguments: Argument) -> Run:
        """As the VM calls asm_thumb: up to four words in registers."""
        if len(arguments) > len(_ARGUMENTS):
            raise ValueError("at most four arguments")
        engine = self._engine
        for register, value in zip(_ARGUMENTS, arguments, strict=False):
            engine.reg_write(register, _word(value))
        for register, value in zip(_CALLEE_SAVED, _KEPT, strict=True):
            engine.reg_write(register, value)
        engine.reg_write(arm.UC_ARM_REG_SP, _STACK)
        engine.reg_write(arm.UC_ARM_REG_LR, _STOP | 1)
        engine.mem_write(_STACK - _STACK_SIZE, _MARK * _STACK_SIZE)
        self._start()
        try:
            engine.emu_start(entry | 1, _STOP, 0, self._limit)
        except unicorn.UcError as error:
            raise Fault(f"{error} at code + {self._pc() - entry:#x}") from None
        self._check(entry)
        stack = bytes(engine.mem_read(_STACK - _STACK_SIZE, _STACK_SIZE))
        return Run(
            cast(int, engine.reg_read(arm.UC_ARM_REG_R0)),
            self._cycles,
            self._instructions,
            len(stack.lstrip(_MARK)),
            self._runtime.requests,
            self._path,
        )

    def _call_viper(self, entry: int, frame: _Frame, *arguments: Argument) -> Run:
        """As the VM calls viper: function object, counts of arguments, array of arguments.

        They are objects, as the result is.
        """
        frame.arguments.write(_words(*map(self._object, arguments)))
        self._runtime.names, self._runtime.qstrs = frame.names, frame.qstrs
        run = self._call(entry, frame.function, len(arguments), 0, frame.arguments)
        return run._replace(result=self._runtime.native(run.result))

    def _object(self, value: Argument) -> int:
        return self._runtime.object(value) if isinstance(value, int) else _word(value)

    def _check(self, entry: int) -> None:
        if self._pc() != _STOP:
            raise Fault(f"no end after {self._instructions} instructions")
        kept = tuple(self._engine.reg_read(register) for register in _CALLEE_SAVED)
        if kept != _KEPT or self._engine.reg_read(arm.UC_ARM_REG_SP) != _STACK:
            raise Fault("r4 to r11 or sp are not as they were")
        if not all(buffer.intact() for buffer in self._buffers):
            raise Fault("a write beside a buffer")

    def _pc(self) -> int:
        return cast(int, self._engine.reg_read(arm.UC_ARM_REG_PC))

    # -- what happens meanwhile -------------------------------------------------------------

    def _start(self) -> None:
        self._cycles = self._instructions = self._path = 0
        self._not_taken = 0  # where it goes on if the last conditional branch is not taken
        self._runtime.requests = 0

    def _enter(self, _: unicorn.Uc, address: int, size: int, __: Any) -> None:
        """A block of straight code begins."""
        if address >= _TRAPS:
            if address < _STOP:
                self._answer((address - _TRAPS) // 4)
            self._not_taken = 0
            return
        if self._not_taken and self._not_taken != address:
            self._cycles += 1
        known = self._blocks.get((address, size))
        if known is None:
            known = self._blocks[address, size] = self._count(address, size)
        count, instructions, conditional = known
        self._cycles += count
        self._instructions += instructions
        self._not_taken = address + size if conditional else 0
        self._path = hash((self._path, address))

    def _count(self, address: int, size: int) -> tuple[int, int, bool]:
        code = bytes(self._engine.mem_read(address, size))
        return cycles.cost(code, not self._is_m0)

    def _access(self, _: unicorn.Uc, __: int, address: int, size: int, *___: Any) -> None:
        if address % size and self._is_m0:
            raise Fault(f"{size} bytes at {address:#x} are not aligned")
        self._path = hash((self._path, address))

    def _answer(self, entry: int) -> None:
        """The code asks the VM's runtime."""
        first, second = (cast(int, self._engine.reg_read(one)) for one in _ARGUMENTS[:2])
        self._engine.reg_write(_ARGUMENTS[0], self._runtime.answer(entry, first, second))

    # -- memory -----------------------------------------------------------------------------

    def _map(self, start: int, size: int, content: bytes) -> None:
        self._engine.mem_map(start, size)
        self._engine.mem_write(start, content)

    def _load(self, code: Code, misalign: int) -> int:
        """Put a function into memory; where it begins."""
        start = self._next_code
        pages = -(-(misalign + len(code.code)) // _PAGE)
        self._next_code += (pages + 1) * _PAGE
        self._map(start, pages * _PAGE, bytes(misalign) + code.code)
        return start + misalign

    def _function_object(self, module: Module, entry: int) -> Buffer:
        """The function object that a viper function finds its names and the runtime through.

        A function object's second word leads to its module's context, whose third and fourth
        word lead to the table of qstrs and to that of constant objects. One of the latter is the
        table of the runtime's functions; here they are traps. The fourth word of a function object
        leads to its code.
        """
        if module.fun_table is None:
            raise ValueError("the module has no table of the runtime")
        numbers = range(len(module.qstrs))
        qstrs = self.buffer(b"".join(number.to_bytes(2, "little") for number in numbers))
        traps = [_TRAPS + 4 * entry | 1 for entry in range(ENTRIES)]
        traps[CALL_FUNCTION] = _CALLER | 1
        table = self.buffer(_words(*traps))
        objects = self.buffer(_words(*[0] * module.fun_table, table.address))
        context = self.buffer(_words(0, 0, qstrs.address, objects.address))
        return self.buffer(_words(0, context.address, 0, entry | 1))


def _word(value: Argument) -> int:
    if isinstance(value, Function):
        if value.object is None:
            raise ValueError("only viper functions are objects")
        value = value.object
    return (value.address if isinstance(value, Buffer) else value) & 0xFFFFFFFF


def _words(*values: int) -> bytes:
    return b"".join(value.to_bytes(4, "little") for value in values)
