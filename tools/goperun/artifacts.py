"""Perun's own contracts, out of the bindings of its Ethereum backend (generation 2)."""

import fcntl
import shutil
import subprocess
from pathlib import Path

from contracts.toolchain import BUILD

from goperun.build import OUTPUT, program

FOLDER = BUILD / "contracts-perun"


def folder() -> Path:
    """A folder with <Name>.json as in build/contracts: abi, bytecode, deployedBytecode."""
    node = program(2)
    with (OUTPUT / ".artifacts-lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not FOLDER.is_dir() or FOLDER.stat().st_mtime < node.stat().st_mtime:
            scratch = FOLDER.with_name(FOLDER.name + ".new")
            shutil.rmtree(scratch, ignore_errors=True)
            subprocess.run([node, "artifacts", scratch], check=True, stdout=subprocess.DEVNULL)
            shutil.rmtree(FOLDER, ignore_errors=True)
            scratch.replace(FOLDER)
    return FOLDER
