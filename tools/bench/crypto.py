"""The cryptography, operation by operation and backend by backend.

Instructions and garbage come from the x64 VM, cycles of native code from the emulated board
(board.py). What a board executes beside native code, which is MicroPython's own work on bytecode,
cannot be executed here: its cycles are modelled, as CYCLES_PER_INSTRUCTION of the x64 VM.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from emulator.cycles import HZ_RP2040
from perun.crypto import secp256k1

from bench import board_ram, callgrind
from bench.callgrind import Count
from bench.counter import Counter, Failed, Unavailable
from bench.device import Bench
from bench.size import bytes_of
from bench.vm.operations import HASHES, SIGNATURES

ROOT = Path(__file__).resolve().parents[2]
BIN = ROOT / "build" / "venv" / "bin"
MPY = ROOT / "build" / "mpy" / "x64"
EMBIT = ROOT / "build" / "embit"
SCRIPTS = Path(__file__).with_name("vm")

# MicroPython's own work, in cycles of a Cortex-M0+ for an instruction of the x64 VM. Programs in
# plain Python (Keccak; ECDSA on big integers: sign, two ways to verify, recover) whose cycles in
# a whole firmware on an emulated RP2040 are known took 1.49 to 1.67.
CYCLES_PER_INSTRUCTION = 1.6

_PLAIN = "bigint"
_PREFERENCE = ("asm_thumb", "viper", _PLAIN)  # the best first
OPERATIONS = (*HASHES, *SIGNATURES)
_NATIVE = "thumb,viper,viper64"  # all kinds of native modules
# So many times that a collection more or less does not matter
_COUNTS = {"keccak_f": 20, "state_hash": 20, "state_hash_other": 20, "state_hash_first": 80}
KINDS = ("thumb", "viper", "umaal")  # what is emulated
_COUNT = 2  # of what takes longer
_HEAP = "384k"  # an RP2040's, with words of twice the size: collections are in what is counted
_ROOMY_HEAP = "64m"
_EMBIT_OPERATIONS = ("sign", "verify_new")

Progress = Callable[[str], None]


def measure(progress: Progress, missing: dict[str, str]) -> dict[str, Any]:
    """{backend: {operation: costs, "ram_bytes_x64", "mpy_bytes"}}. Raises Unavailable."""
    callgrind.program()
    if not (MPY / "perun").exists():
        raise Failed("the modules are missing: run `make mpy`")
    with tempfile.TemporaryDirectory() as folder:
        samples = Path(folder, "samples.json")
        samples.write_text(json.dumps(_samples()))
        results: dict[str, dict[str, Any]] = {name: {} for name in _PREFERENCE}
        _on_x64(samples, progress, results)
        for kind in KINDS:
            progress(f"{kind} on the emulated board")
            _enter_board(emulated(samples, kind), kind, results)
        progress("what the heap of a board keeps")
        _on_heap(results)
        progress("the other parts of a payment")
        results["payment"] = _payment(results)
        for name, compare in (("embit", _embit), ("coincurve", _coincurve)):
            progress(name)
            try:
                results[name] = compare(samples)
            except (Unavailable, Failed) as error:
                missing[f"crypto.{name}"] = str(error)
    return {name: found for name, found in results.items() if found}


def _samples() -> dict[str, Any]:
    secret = hashlib.sha256(b"secret").digest()
    digests = [hashlib.sha256(bytes([number])).digest() for number in range(4)]
    signed = [[digest.hex(), secp256k1.sign(digest, secret).hex()] for digest in digests]
    public = secp256k1.public_key(secret).hex()
    return {"secret": secret.hex(), "public": public, "signed": signed}


# -- the x64 VM -------------------------------------------------------------------------------


def _on_x64(samples: Path, progress: Progress, results: dict[str, dict[str, Any]]) -> None:
    def one(without: str, operation: str) -> tuple[str, dict[str, Any]]:
        script = [str(SCRIPTS / "crypto.py"), str(samples), without, operation]
        # Plain integers take long, and their own garbage is what is collected.
        times = _COUNT if without else _COUNTS.get(operation, _COUNT)
        backend, costs = _costs(script, times)
        progress(f"{operation}, {backend}")
        return backend, costs

    # Where there is nothing native for an operation, both measure the same: the plain one stays.
    for without in ("", _NATIVE):
        with ThreadPoolExecutor(max_workers=2) as pool:
            measured = pool.map(one, [without] * len(OPERATIONS), OPERATIONS)
            for operation, (backend, costs) in zip(OPERATIONS, measured, strict=True):
                results.setdefault(backend, {})[operation] = costs
        curve_ram, key_ram, hash_ram, moment, curve, _, *modules = _vm(
            [str(SCRIPTS / "crypto.py"), str(samples), without, "import", "0"], _HEAP
        )
        if curve != _PLAIN:
            modules.append("perun.crypto._secp256k1_start")  # loaded for a moment
        if (without == _NATIVE) == (curve == _PLAIN):
            sizes = {
                "ram_bytes_x64": int(curve_ram) + int(hash_ram),
                "ram_bytes_x64_curve": int(curve_ram),
                "ram_bytes_x64_key": int(key_ram),
                "ram_bytes_x64_moment": int(moment),
                "mpy_bytes_x64": sum(map(_mpy_bytes, modules)),
            }
            results.setdefault(curve, {}).update(sizes)
    for costs in results.values():
        _model(costs)
    for operation in SIGNATURES:
        plain, native = (
            results[name][operation]["instructions_x64"] for name in (_PLAIN, "viper")
        )
        results["viper"][operation]["bigint_instructions_x64_per_own"] = round(plain / native, 2)


def _costs(script: list[str], times: int) -> tuple[str, dict[str, Any]]:
    """(backend, what one time costs), the start and the first time not counted."""
    backend, used = _vm([*script, str(times), "weigh"], _ROOMY_HEAP)[:2]
    once, twice = (
        callgrind.count(_command([*script, str(n)], _HEAP), _ENVIRONMENT)
        for n in (times, 2 * times)
    )
    difference = twice - once
    instructions = Count(difference.native // times, difference.other // times)
    return backend, {
        "instructions_x64": instructions.total,
        "instructions_x64_bytecode": instructions.other,
        "garbage_bytes": round(int(used) / times),
    }


_ENVIRONMENT = {"MICROPYPATH": f"{MPY}:.frozen"}


def _command(script: list[str], heap: str) -> list[str]:
    return [str(BIN / "micropython"), "-X", f"heapsize={heap}", *script]


def _vm(script: list[str], heap: str) -> list[str]:
    """The words that a script prints."""
    done = subprocess.run(
        _command(script, heap),
        env={**os.environ, **_ENVIRONMENT},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode:
        raise Failed(f"{script}: {done.stdout}{done.stderr}")
    return done.stdout.split()


def _mpy_bytes(module: str) -> int:
    return bytes_of((MPY / Path(*module.split("."))).with_suffix(".mpy"))


# -- the board --------------------------------------------------------------------------------


def _model(operations: dict[str, Any]) -> None:
    """Cycles of what has no native code: all of them are modelled."""
    for costs in operations.values():
        if (
            isinstance(costs, dict)
            and costs["instructions_x64"] == costs["instructions_x64_bytecode"]
        ):
            _enter_cycles(costs, 0, costs["instructions_x64"])


def _enter_cycles(costs: dict[str, Any], native: int, instructions: int) -> None:
    modelled = round(instructions * CYCLES_PER_INSTRUCTION)
    costs["cycles_native_emulated"] = native
    costs["cycles_bytecode_modelled"] = modelled
    costs["cycles_cortex_m0plus"] = native + modelled
    costs["ms_rp2040_125mhz"] = round((native + modelled) * 1000 / HZ_RP2040, 3)


def emulated(samples: Path, kind: str) -> Any:
    """What bench.board finds out about the backends of this kind of native modules."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.board", str(samples), kind],
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'tools'}:{ROOT / 'lib'}"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if done.returncode:
        raise Failed(f"{kind} on the emulated board: {done.stdout}{done.stderr}")
    return json.loads(done.stdout)


def _enter_board(found: Any, kind: str, results: dict[str, dict[str, Any]]) -> None:
    """Add the cycles to the results.

    Around its native code a backend runs the same Python as its sibling on x64.
    """
    if kind == "umaal":
        for operation, costs in found["operations"].items():
            own = results.setdefault("asm_umaal", {}).setdefault(operation, {})
            own["cycles_native_cortex_m33_modelled"] = costs["cycles"]
        return
    for operation, costs in found["operations"].items():
        sibling = results.get("viper", {}).get(operation)
        if costs["backend"] == _PLAIN or sibling is None:
            continue
        own = results.setdefault(costs["backend"], {}).setdefault(operation, {})
        own.setdefault("garbage_bytes", sibling["garbage_bytes"])
        _enter_cycles(own, costs["cycles"], sibling["instructions_x64_bytecode"])
    if kind == "thumb":
        results["asm_thumb"]["native_mpy_bytes_armv6m"] = found["mpy_bytes"]


def _on_heap(results: dict[str, dict[str, Any]]) -> None:
    """What sign and verify keep, after both were used, in the heap of each kind of board."""
    heap = results["viper"]["ram_bytes_x64_curve"]
    here = [_CURVE, "perun.crypto._secp256k1_viper64"]
    for backend, arch, kernel in _BOARDS:
        module = f"perun.crypto._secp256k1_{kernel}"
        subprocess.run(["make", "-s", "mpy", f"ARCH={arch}"], cwd=ROOT, check=True)
        kept = board_ram.model(heap, here, [_CURVE, module], arch)
        results.setdefault(backend, {}).update(
            {
                f"ram_bytes_{arch}_modelled": kept.loaded,
                f"ram_bytes_{arch}_modelled_frozen": kept.frozen,
                **{f"ram_bytes_{arch}_{part}": size for part, size in kept._asdict().items()},
            }
        )


_CURVE = "perun.crypto.secp256k1"
# An RP2040, an RP2350, an ESP32, an ESP32-C3
_BOARDS = (
    ("asm_thumb", "armv6m", "thumb"),
    ("asm_umaal", "armv7emsp", "umaal"),
    ("viper", "xtensawin", "viper"),
    ("viper", "rv32imc", "viper"),
)

# -- a payment --------------------------------------------------------------------------------

# Part: the operation, as the best backend does it that is there
_PARTS = {"hash": "state_hash", "sign": "sign", "verify": "verify_cached"}
_OTHER_PARTS = {"encode": 60, "journal": 12}  # times; all in bytecode


class _Callgrind:
    """As a counter of bench.device."""

    name = "callgrind"

    def count(self, command: list[str], env: Mapping[str, str], cwd: Path) -> int:
        return callgrind.count(command, dict(env), cwd).total


def _payment(results: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """A payment on a board: each of its parts once, and their sum."""
    parts: dict[str, Any] = {}
    for part, operation in _PARTS.items():
        backend = next(name for name in _PREFERENCE if operation in results.get(name, {}))
        costs = results[backend][operation]
        parts[part] = {"backend": backend, **{key: costs[key] for key in _SHARED}}
    counter: Counter = _Callgrind()
    with Bench() as bench:
        for part, times in _OTHER_PARTS.items():
            costs = {"garbage_bytes": bench.allocated(part, times)}
            _enter_cycles(costs, 0, bench.instructions(part, times, counter))
            parts[part] = {key: costs[key] for key in _SHARED}
    sums = {key: round(sum(part[key] for part in parts.values()), 3) for key in _SHARED}
    return {**sums, "part": parts}


_SHARED = ("cycles_cortex_m0plus", "ms_rp2040_125mhz", "garbage_bytes")


# -- others -----------------------------------------------------------------------------------


def _embit(samples: Path) -> dict[str, Any]:
    """embit's portable code in the same VM."""
    source = EMBIT / "embit" / "util" / "key.py"
    if not source.exists():
        _fetch_embit()
    found = {}
    for operation in _EMBIT_OPERATIONS:
        script = [str(SCRIPTS / "portable_embit.py"), str(samples), str(source), operation]
        _, found[operation] = _costs(script, 1)
    _model(found)
    return found


def _fetch_embit() -> None:
    """A package that is published as source only."""
    requirement = Path(__file__).with_name("embit.txt")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "-q"]
    done = subprocess.run(
        [*pip, "install", "--no-deps", "--require-hashes", "-r", requirement, "--target", EMBIT],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode:
        raise Unavailable(f"embit cannot be had: {done.stderr.strip().splitlines()[-1]}")


# libsecp256k1 as CPython sees it. The differences are of 100 times.
_COINCURVE = """
import json, sys
from coincurve import PrivateKey, PublicKey
samples = json.load(open(sys.argv[1]))
key = PrivateKey(bytes.fromhex(samples["secret"]))
digest, signature = (bytes.fromhex(part) for part in samples["signed"][0])
recoverable = signature[:64] + bytes([signature[64] - 27])
public = b"\\4" + bytes.fromhex(samples["public"])
der = key.sign(digest, hasher=None)
work = {
    "sign": lambda: key.sign_recoverable(digest, hasher=None) == recoverable,
    "verify_new": lambda: PublicKey(public).verify(der, digest, hasher=None),
    "recover": lambda: PublicKey.from_signature_and_message(recoverable, digest, hasher=None)
    .format(compressed=False) == public,
}[sys.argv[2]]
for _ in range(int(sys.argv[3])):
    if not work():
        sys.exit("coincurve says something else")
"""


def _coincurve(samples: Path) -> dict[str, Any]:
    """The upper bound: libsecp256k1, compiled C with tables of its own."""
    times = 100

    def run(operation: str, count: int) -> Count:
        command = [sys.executable, "-c", _COINCURVE, str(samples), operation, str(count)]
        return callgrind.count(command, {})

    found = {}
    for operation in ("sign", "verify_new", "recover"):
        difference = run(operation, 1 + times) - run(operation, 1)
        found[operation] = {"instructions_x64": difference.total // times}
    return found
