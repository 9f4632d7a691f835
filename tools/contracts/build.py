"""Compiles src/ into build/contracts/<Name>.json: abi, bytecode, deployedBytecode.

Nothing is compiled, and no file touched, while sources, settings and compiler are the same.
"""

import hashlib
import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from contracts import toolchain

SOURCES = Path(__file__).parent / "src"
OUTPUT = toolchain.BUILD / "contracts"
_STAMP = ".stamp"

SETTINGS: dict[str, Any] = {
    # The newest instruction set that Ethereum's main and test networks and the common layer 2
    # chains all have.
    "evmVersion": "cancun",
    # The pipeline that keeps call data structures off the stack; smaller and cheaper code, too.
    "viaIR": True,
    "optimizer": {"enabled": True, "runs": 200},
    # Same sources, same code: no hash of comments and paths at the end of it.
    "metadata": {"bytecodeHash": "none", "appendCBOR": False},
    "outputSelection": {"*": {"*": ["abi", "evm.bytecode.object", "evm.deployedBytecode.object"]}},
}


class CompileError(RuntimeError):
    """What the compiler says against the sources."""


def build() -> bool:
    """Makes OUTPUT fit SOURCES. True if it had to compile. CompileError, MissingProgram."""
    job = {
        "language": "Solidity",
        "sources": {path.name: {"content": path.read_text()} for path in _sources()},
        "settings": SETTINGS,
    }
    digest = _digest(job)
    stamp = OUTPUT / _STAMP
    if stamp.is_file() and stamp.read_text() == digest:
        stamp.touch()  # for make, which goes by time
        return False
    contracts = _compile(job)
    OUTPUT.mkdir(parents=True, exist_ok=True)
    for old in OUTPUT.glob("*.json"):
        if old.stem not in contracts:
            old.unlink()
    for name, contract in contracts.items():
        _replace(OUTPUT / f"{name}.json", json.dumps(contract, indent=1) + "\n")
    # Last, so that an interrupted build is not taken for a complete one.
    _replace(stamp, digest)
    return True


def artifact(name: str, source: str | None = None) -> dict[str, Any]:
    """{"abi": [...], "bytecode": "0x...", "deployedBytecode": "0x..."} of a contract, built if
    need be. An interface or an abstract contract has an ABI and empty code, "0x".

    source: "own" for src/, "perun" for Perun's own contract of that name, which needs Go (and
    "perun-gen1" for that of generation 1); None for what the environment's CONTRACTS says, own if
    it says nothing."""
    contract: dict[str, Any] = json.loads((_folder(source) / f"{name}.json").read_text())
    return contract


def _folder(source: str | None) -> Path:
    source = source or os.environ.get("CONTRACTS") or "own"
    if source == "own":
        build()
        return OUTPUT
    if source in ("perun", "perun-gen1"):
        from goperun.artifacts import folder

        return folder(2 if source == "perun" else 1)
    raise ValueError(f"CONTRACTS={source}: it is own or perun")


def _sources() -> list[Path]:
    return sorted(SOURCES.glob("*.sol"))


def _digest(job: dict[str, Any]) -> str:
    version = json.loads((toolchain.solc() / "package.json").read_text())["version"]
    return hashlib.sha256(json.dumps([version, job], sort_keys=True).encode()).hexdigest()


def _compile(job: dict[str, Any]) -> dict[str, dict[str, Any]]:
    # Into a file: the compiler's program ends before a pipe has taken more than its buffer.
    with tempfile.TemporaryFile("w+") as output:
        run = subprocess.run(
            [toolchain.node(), toolchain.solc() / "solc.js", "--standard-json"],
            input=json.dumps(job),
            stdout=output,
            stderr=subprocess.PIPE,
            text=True,
        )
        output.seek(0)
        text = output.read()
    start = text.find("{")  # behind a remark about provers
    if run.returncode != 0 or start < 0:
        raise CompileError(run.stderr or text or "the compiler gave no answer")
    answer = json.loads(text[start:])
    # The sources compile without a warning; a new one is worth stopping for.
    complaints = [error["formattedMessage"] for error in answer.get("errors", [])]
    if complaints:
        raise CompileError("\n".join(complaints))
    return {
        name: {
            "abi": contract["abi"],
            "bytecode": "0x" + contract["evm"]["bytecode"]["object"],
            "deployedBytecode": "0x" + contract["evm"]["deployedBytecode"]["object"],
        }
        for source in answer["contracts"].values()
        for name, contract in source.items()
        if contract["abi"]  # a library of internal functions has none
    }


def _replace(path: Path, text: str) -> None:
    """Two builds at once each leave whole files."""
    scratch = path.with_name(f"{path.name}.{os.getpid()}")
    scratch.write_text(text)
    scratch.replace(path)
