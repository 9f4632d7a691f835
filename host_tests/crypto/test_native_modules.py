"""Native modules as .mpy: each board's compiles, and a foreign one is not fatal."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import coincurve
import pytest

from bundle.plan import runs_on
from perun import compat

LIB = Path(__file__).parents[2] / "lib"
TOOLS = Path(sys.executable).parent  # the environment has the VM and the cross-compiler too

HASH = """
from perun.crypto import keccak
print(keccak.BACKEND, keccak.keccak256(b"abc").hex())
"""
HASH_WITHOUT = (
    """
from perun import compat
compat.without = ("viper",)
"""
    + HASH
)
HASH_OF_ABC = "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45"


def compile_library(target: Path, architecture: str) -> None:
    """As `make mpy` does."""
    for source in [*LIB.glob("perun/*.py"), *LIB.glob("perun/crypto/*.py")]:
        if not runs_on(source.stem, architecture):
            continue
        compiled = (target / source.relative_to(LIB)).with_suffix(".mpy")
        compiled.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            [TOOLS / "mpy-cross", f"-march={architecture}", "-o", compiled, source], check=True
        )


@pytest.mark.parametrize(
    ("architecture", "backend"),
    [
        ("x64", "viper"),
        ("armv6m", "portable"),
        ("armv7emsp", "portable"),
        ("xtensawin", "portable"),
        ("rv32imc", "portable"),
    ],
)
def test_architectures(tmp_path: Path, architecture: str, backend: str) -> None:
    compile_library(tmp_path, architecture)
    foreign = "thumb" if architecture.startswith("armv") else "viper"
    for program, expected in ((HASH, backend), (HASH_WITHOUT, "portable")):
        run = subprocess.run(
            [TOOLS / "micropython", "-X", "heapsize=192k", "-c", program],
            env={"MICROPYPATH": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=60,
        )
        *lines, last = run.stdout.splitlines()
        assert (last, run.stderr) == (f"{expected} {HASH_OF_ABC}", "")
        # A line for a module of another board, unless it is not to be used
        assert all("incompatible .mpy arch" in line for line in lines)
        told = [line.split()[1] for line in lines if "keccak" in line]
        fits = backend == "viper"
        unwanted = program is HASH_WITHOUT and foreign == "viper"
        assert told == ([] if fits or unwanted else [f"perun.crypto._keccak_{foreign}"])


SIGN = """
from perun.crypto import secp256k1
print(secp256k1.BACKEND, secp256k1.sign(b"d" * 32, b"s" * 32).hex())
"""
SIGN_WITHOUT = (
    """
from perun import compat
compat.without = ("viper64",)
"""
    + SIGN
)


@pytest.mark.parametrize("architecture", ["x64", "armv6m", "armv7emsp", "xtensawin", "rv32imc"])
def test_the_curve_on_architectures(tmp_path: Path, architecture: str) -> None:
    compile_library(tmp_path, architecture)
    signature = coincurve.PrivateKey(b"s" * 32).sign_recoverable(b"d" * 32, hasher=None)
    expected = (signature[:64] + bytes([signature[64] + 27])).hex()
    for program in (SIGN, SIGN_WITHOUT):
        run = subprocess.run(
            [TOOLS / "micropython", "-X", "heapsize=192k", "-c", program],
            env={"MICROPYPATH": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=60,
        )
        *lines, last = run.stdout.splitlines()
        backend = "viper" if architecture == "x64" and program is SIGN else "bigint"
        assert (last, run.stderr) == (f"{backend} {expected}", "")
        assert all("incompatible .mpy arch" in line for line in lines)
        assert bool(lines) == architecture.startswith("armv")


def test_a_decorator_that_the_vm_does_not_know(tmp_path: Path) -> None:
    """What a port without the native emitter makes of viper source: a SyntaxError."""
    (tmp_path / "other.py").write_text(
        "@micropython.no_such_emitter\ndef f(a: ptr8):\n    return a\n"
    )
    program = "from perun.compat import native_module\nprint(native_module('other'))\n"
    run = subprocess.run(
        [TOOLS / "micropython", "-c", program],
        env={"MICROPYPATH": f"{LIB}:{tmp_path}"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (run.stdout, run.stderr) == ("None\n", "")


@pytest.mark.parametrize(
    ("machine", "words", "expected"),
    [
        (4, 32, ["thumb", "viper"]),  # ARMv6-M, an RP2040: UMAAL would be a fault
        (5, 32, ["thumb", "viper"]),  # ARMv7-M
        (7, 32, ["umaal", "thumb", "viper"]),  # ARMv7E-M with floats: an RP2350
        (10, 32, ["umaal", "thumb", "viper"]),  # an ESP32, for which a foreign file is told
        (0, 32, ["thumb", "viper"]),  # no native code
        (2, 64, ["viper64", "umaal", "thumb"]),
    ],
)
def test_what_a_machine_tries(
    machine: int, words: int, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []
    implementation = SimpleNamespace(_mpy=machine << 10 | 6)
    system = SimpleNamespace(implementation=implementation, maxsize=(1 << words - 1) - 1)
    monkeypatch.setitem(sys.modules, "sys", system)
    monkeypatch.setattr(compat, "native_module", lambda name: tried.append(name))
    source = LIB / "perun" / "crypto" / "secp256k1.py"
    names: dict[str, object] = {"__name__": "perun.crypto.secp256k1"}
    exec(compile(source.read_text(), str(source), "exec", dont_inherit=True), names)  # noqa: S102
    assert names["BACKEND"] == "bigint"
    assert [name.split("_")[-1] for name in tried] == expected


SCARCE = """
from perun.crypto import secp256k1
secret, digest = b"\\x05" * 32, b"\\x07" * 32
public, signature = secp256k1.public_key(secret), secp256k1.sign(digest, secret)
blocks, number, chain = [None] * 4000, 0, None
try:
    while True:
        blocks[number] = bytearray(280)  # room for a comb of three teeth, not for one of four
        number += 1
except MemoryError:
    pass
try:
    while True:
        chain = (chain,)
except MemoryError:
    pass
while number > 1:
    number -= 2
    blocks[number] = None
key = secp256k1.prepare(public)
answers = [secp256k1.verify(message, signature, key) for message in (digest, secret)]
print(key.table[0], *answers)
"""


def test_too_little_memory_for_a_table() -> None:
    """In a heap of small holes: a smaller table, slower, with the same result."""
    run = subprocess.run(
        [TOOLS / "micropython", "-X", "heapsize=160k", "-c", SCARCE],
        env={"MICROPYPATH": str(LIB)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (run.stdout, run.stderr) == ("3 True False\n", "")
