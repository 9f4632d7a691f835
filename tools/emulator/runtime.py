"""The little of MicroPython's runtime that viper functions ask for.

A viper function has its arguments converted from objects, makes its module's names the global
ones, looks them up, calls other functions, and has its result converted to an object. Objects
here are numbers, and addresses: those of functions and, in place of objects with a buffer, of the
buffers. Whatever else a function asks for needs the VM.
"""

from __future__ import annotations

# Places in the VM's table of functions for native code (mp_fun_table_t in py/nativeglue.h)
ENTRIES = 96
_NATIVE_FROM_OBJECT = 3
_NATIVE_TO_OBJECT = 4
_SWAP_GLOBALS = 5
_LOAD_GLOBAL = 7
CALL_FUNCTION = 27


_BOXES = 0x3800_0000  # numbers that are too large for a small integer, in even places
_POINTER = 4  # the first of the types of pointers


class Runtime:
    """Answers the requests of native code."""

    def __init__(self) -> None:
        self.names: dict[str, int] = {}  # global names and their objects
        self.qstrs: tuple[str, ...] = ()
        self.requests = 0
        self._boxed: list[int] = []

    def answer(self, entry: int, first: int, second: int) -> int:
        """The answer to a request with these arguments."""
        self.requests += 1
        if entry == _NATIVE_FROM_OBJECT:
            return self.native(first)
        if entry == _NATIVE_TO_OBJECT:
            return first if second >= _POINTER else self.object(first)
        if entry == _SWAP_GLOBALS:
            return first  # there is one module's names only
        if entry == _LOAD_GLOBAL:
            name = self.qstrs[first]
            if name not in self.names:
                raise LookupError(f"the function looks up {name}")
            return self.names[name]
        raise LookupError(f"the function asks the runtime for entry {entry}")

    def object(self, number: int) -> int:
        """The object for a number of 32 bits: a small integer has 31 and ends in a 1."""
        if number + (1 << 30) & 0xFFFFFFFF < 1 << 31:
            return number << 1 & 0xFFFFFFFF | 1
        if number not in self._boxed:
            self._boxed.append(number)
        return _BOXES + 4 * self._boxed.index(number)

    def native(self, value: int) -> int:
        """The number or the address that an object stands for."""
        if value & 1:
            return (value >> 1) | (value & 0x8000_0000)
        if 0 <= value - _BOXES < 4 * len(self._boxed):
            return self._boxed[(value - _BOXES) // 4]
        return value
