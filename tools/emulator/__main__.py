"""Lists the functions of a .mpy file: `python -m emulator FILE [FUNCTION]`.

With the name of a function of an Arm module, its instructions.
"""

from __future__ import annotations

import sys

import capstone

from emulator.mpy import KINDS, load


def main(path: str, name: str = "") -> None:
    module = load(path)
    if not name:
        print(f"{path}: {module.architecture}, {module.size} bytes")
        for name, code in module.functions.items():
            print(f"  {name}: {KINDS[code.kind]}, {len(code.code)} bytes")
        return
    if not module.architecture.startswith("arm"):
        raise SystemExit(f"this is {module.architecture}, not Arm")
    reader = capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS)
    reader.skipdata = True  # constants stand between the instructions
    for instruction in reader.disasm(module.functions[name].code, 0):
        print(f"{instruction.address:6x}  {instruction.mnemonic} {instruction.op_str}")


main(*sys.argv[1:])
