"""The rooms of the engine may only know the rooms below them; the host never knows the client."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Which rooms of lib/perun a room may import. `wire.messages` is vocabulary, known to the channel.
BASE = {"compat"}
MAY_KNOW = {
    "compat": set(),
    "model": BASE,
    "crypto": BASE,
    "chain": BASE | {"model", "crypto"},
    "wire": BASE | {"model"},
    "channel": BASE | {"model", "chain", "wire.messages"},
    "link": BASE | {"crypto", "wire"},
    "adoption": BASE | {"model", "wire", "link"},
    "store": BASE,
    "client": BASE | {"model", "chain", "channel", "wire", "link", "adoption", "store"},
    "tools": BASE | {"model", "crypto", "chain", "wire", "link"},
}


def imports(path):
    """The modules of perun that a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            if node.module == "perun":
                yield from (alias.name for alias in node.names)
            elif node.module.startswith("perun."):
                yield node.module[len("perun.") :]
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("perun."):
                    yield alias.name[len("perun.") :]


def known(module, allowed):
    return any(module == room or module.startswith(room + ".") for room in allowed)


def files(folder):
    return sorted(path for path in folder.rglob("*.py") if "__pycache__" not in path.parts)


@pytest.mark.parametrize("room", list(MAY_KNOW))
def test_no_arrow_runs_upward(room):
    if room == "tools":
        paths = files(ROOT / "tools" / "adoption")
    elif room == "compat":
        paths = [ROOT / "lib/perun/compat.py"]
    else:
        paths = files(ROOT / "lib/perun" / room)
    assert paths
    allowed = MAY_KNOW[room] | {room}
    wrong = [
        f"{path.relative_to(ROOT)} imports perun.{module}"
        for path in paths
        for module in imports(path)
        if not known(module, allowed)
    ]
    assert not wrong


def test_every_room_is_listed():
    rooms = {path.name for path in (ROOT / "lib/perun").iterdir() if path.is_dir()}
    assert rooms - {"__pycache__"} <= set(MAY_KNOW)


def test_the_device_never_knows_the_tools():
    hosts = {path.name for path in (ROOT / "tools").iterdir() if path.is_dir()}
    for path in files(ROOT / "lib") + files(ROOT / "firmware"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            assert not {name.split(".")[0] for name in names} & hosts, path


def test_device_files_stay_small():
    for path in files(ROOT / "lib") + files(ROOT / "firmware"):
        assert len(path.read_text().splitlines()) <= 500, path
