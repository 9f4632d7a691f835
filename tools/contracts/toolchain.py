"""Where the programs are: what `make setup` installed, or what the environment names.

NODE        the Node program             (build/venv/bin/node)
NODE_PATH   the folder with solc         (build/node/node_modules)
ANVIL       the development chain        (build/venv/bin/anvil)
"""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"


class MissingProgram(RuntimeError):
    """A program is not where it should be; the text says what to do."""


def _find(variable: str, default: str, inside: str = "") -> Path:
    path = Path(os.environ.get(variable) or BUILD / default) / inside
    if not path.exists():
        raise MissingProgram(f"{path} is missing: run `make setup`, or set {variable}")
    return path


def node() -> Path:
    """The Node program."""
    return _find("NODE", "venv/bin/node")


def solc() -> Path:
    """The folder of the npm package solc, the compiler as a Node program."""
    return _find("NODE_PATH", "node/node_modules", "solc")


def anvil() -> Path:
    """The development chain."""
    return _find("ANVIL", "venv/bin/anvil")
