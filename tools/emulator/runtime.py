"""The little of MicroPython's runtime that viper functions ask for.

A viper function has its arguments converted, makes its module's names the global ones, looks them
up, and has its result converted. Here values are native on both sides, so a conversion changes
nothing, and there is one module's names only. Whatever else a function asks for needs the VM.
"""

from __future__ import annotations

# Places in the VM's table of functions for native code (mp_fun_table_t in py/nativeglue.h)
ENTRIES = 96
_NATIVE_FROM_OBJECT = 3
_NATIVE_TO_OBJECT = 4
_SWAP_GLOBALS = 5
_LOAD_GLOBAL = 7


class Runtime:
    """Answers the requests of native code."""

    def __init__(self) -> None:
        self.names: dict[str, int] = {}  # global names and their values
        self.qstrs: tuple[str, ...] = ()
        self.requests = 0

    def answer(self, entry: int, first: int) -> int:
        """The answer to a request with this first argument."""
        self.requests += 1
        if entry in (_NATIVE_FROM_OBJECT, _NATIVE_TO_OBJECT, _SWAP_GLOBALS):
            return first
        if entry == _LOAD_GLOBAL:
            name = self.qstrs[first]
            if name not in self.names:
                raise LookupError(f"the function looks up {name}")
            return self.names[name]
        raise LookupError(f"the function asks the runtime for entry {entry}")
