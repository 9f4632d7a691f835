"""Perun's own contracts, out of the bindings of its Ethereum backend."""

import fcntl
import shutil
import subprocess
from pathlib import Path

from contracts.toolchain import BUILD

from goperun.build import OUTPUT, program

FOLDERS = {1: BUILD / "contracts-perun-gen1", 2: BUILD / "contracts-perun"}


def folder(generation: int = 2) -> Path:
    """A folder with <Name>.json as in build/contracts: abi, bytecode, deployedBytecode."""
    node, target = program(generation), FOLDERS[generation]
    with (OUTPUT / ".artifacts-lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.is_dir() or target.stat().st_mtime < node.stat().st_mtime:
            scratch = target.with_name(target.name + ".new")
            shutil.rmtree(scratch, ignore_errors=True)
            command = [str(node), "artifacts", str(scratch)]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            shutil.rmtree(target, ignore_errors=True)
            scratch.replace(target)
    return target
