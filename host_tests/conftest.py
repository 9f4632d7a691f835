"""Runs every unit test file a second time, inside the real MicroPython VM.

pytest collects host_tests/unit/test_*.py as usual, for CPython. This plugin adds
to each file a node "micropython" with the same test functions: the file is run
once in a VM of its own, and each function gets its own result and traceback.

    pytest host_tests/unit/test_model.py                          both VMs
    pytest host_tests/unit/test_model.py::test_x                  CPython
    pytest host_tests/unit/test_model.py::micropython::test_x     MicroPython

The files host_tests/flash/vm_*.py need what only MicroPython has: they run in the VM alone.

A unit file sets the heap and the time of its VM with comments of its own:

    # heapsize: 256k
    # timeout: 60
"""

from __future__ import annotations

import ast
import os
import re
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

ROOT = Path(__file__).resolve().parent.parent
UNIT = ROOT / "host_tests" / "unit"
FLASH = ROOT / "host_tests" / "flash"
VM = ROOT / "build" / "venv" / "bin" / "micropython"
RUNNER = ROOT / "host_tests" / "micropython_tests.py"
# The frozen modules of the VM (asyncio) come last; nothing of the user's home is seen.
VM_PATH = ":".join([*map(str, (ROOT / "lib", ROOT / "firmware", UNIT, FLASH)), ".frozen"])
VM_HEAP = "2m"
VM_TIMEOUT = 300  # seconds for all tests of a file

# A machine that has other things to do is no fault of a test.
BUSY = [hypothesis.HealthCheck.too_slow]
hypothesis.settings.register_profile("local", deadline=None, suppress_health_check=BUSY)
hypothesis.settings.register_profile(
    "ci", deadline=None, suppress_health_check=BUSY, derandomize=True, print_blob=True
)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "local")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--contracts",
        choices=("own", "perun"),
        help="whose contracts are on the chains: ours, or Perun's own, which need Go",
    )


def pytest_configure(config: pytest.Config) -> None:
    for line in (
        "differs(what): Perun's contracts fail this test; what: as tools/contracts/README.md says",
        "ours: about our own contracts alone",
    ):
        config.addinivalue_line("markers", line)
    if config.getoption("--contracts"):
        os.environ["CONTRACTS"] = config.getoption("--contracts")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.environ.get("CONTRACTS") != "perun":
        return
    for item in items:
        for mark in item.iter_markers("differs"):
            # Strict: a difference that is gone must leave the list.
            item.add_marker(pytest.mark.xfail(reason=mark.args[0], strict=True))
        if item.get_closest_marker("ours"):
            item.add_marker(pytest.mark.skip(reason="about our own contracts"))


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    if file_path.parent == UNIT and file_path.match("test_*.py"):
        return UnitFile.from_parent(parent, path=file_path)
    if only_vm(file_path) and not parent.session.isinitpath(file_path):
        return UnitFile.from_parent(parent, path=file_path)
    return None


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> Any:
    """A file that is named on the command line is always a module for pytest: not these."""
    return UnitFile.from_parent(parent, path=module_path) if only_vm(module_path) else None


def only_vm(path: Path) -> bool:
    return path.parent == FLASH and path.match("vm_*.py")


class UnitFile(pytest.File):
    """A unit test file as seen by MicroPython."""

    def collect(self) -> Iterator[VirtualMachine]:
        yield VirtualMachine.from_parent(self, name="micropython")


class VirtualMachine(pytest.Collector):
    """The tests of one unit file. They run together, in one VM, when the first is due."""

    results: dict[str, str | None] | None = None

    def collect(self) -> Iterator[UnitTest]:
        source = self.path.read_text()
        names = [
            node.name
            for node in ast.parse(source, str(self.path)).body
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
            and node.name.startswith("test_")
        ]
        if not names:
            raise self.CollectError(f"{self.path.name} has no test functions")
        for name in names:
            yield UnitTest.from_parent(self, name=name)

    def setting(self, name: str, default: str) -> str:
        """A setting that the unit file makes in a comment."""
        found = re.search(rf"^# {name}: *(\S+)$", self.path.read_text(), re.MULTILINE)
        return found[1] if found else default

    def result(self, test: str) -> str | None:
        """None if the test passed on MicroPython, else what went wrong."""
        if self.results is None:
            chosen = [item.name for item in self.session.items if item.parent is self]
            self.results = self.run(chosen)
        return self.results[test]

    def run(self, names: list[str]) -> dict[str, str | None]:
        mark = f"#{secrets.token_hex(4)}"
        heap = self.setting("heapsize", VM_HEAP)
        limit = float(self.setting("timeout", str(VM_TIMEOUT)))
        command = [str(VM), "-X", f"heapsize={heap}", str(RUNNER), mark, self.path.stem, *names]
        try:
            done = subprocess.run(
                command,
                env={**os.environ, "MICROPYPATH": VM_PATH},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=limit,
                check=False,
            )
            output, ending = done.stdout, f"the VM ended with exit status {done.returncode}"
            complete = done.returncode == 0
        except FileNotFoundError:
            pytest.exit(f"no MicroPython at {VM}: run `make setup`", returncode=3)
        except subprocess.TimeoutExpired as error:
            output, ending = error.stdout or b"", f"no end within {limit:g} s; the VM was killed"
            complete = False
        return judge(output.decode(errors="replace"), mark, names, ending, complete)


def judge(
    output: str, mark: str, names: list[str], ending: str, complete: bool
) -> dict[str, str | None]:
    """Read the runner's lines. Only an `ok` line, in a run that ended well, is a success."""
    printed: dict[str, list[str]] = {name: [] for name in names}
    passed: set[str] = set()
    failed: set[str] = set()
    loose: list[str] = []  # what stands outside of any test: an import error, a crash
    into, ended = loose, False
    for line in output.splitlines():
        word, _, name = line.removeprefix(mark + " ").partition(" ")
        if not line.startswith(mark + " "):
            into.append(line)
        elif word == "run":
            into = printed[name]
        elif word == "end":
            ended = True
        else:
            (passed if word == "ok" else failed).add(name)
            into = loose

    complete = complete and ended
    results: dict[str, str | None] = {}
    for name in names:
        if complete and name in passed:
            results[name] = None
        elif name in failed:
            results[name] = "\n".join(printed[name])
        else:
            results[name] = "\n".join([*printed[name], *loose, f"no result: {ending}"])
    return results


class UnitTest(pytest.Item):
    """One test function on MicroPython."""

    parent: VirtualMachine

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # The VM's own limit strikes first and tells which test did not end.
        limit = float(self.parent.setting("timeout", str(VM_TIMEOUT)))
        self.add_marker(pytest.mark.timeout(limit + 10))

    def runtest(self) -> None:
        problem = self.parent.result(self.name)
        if problem is not None:
            raise MicroPythonFailure(problem)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        if isinstance(excinfo.value, MicroPythonFailure):
            return with_source(str(excinfo.value))
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, None, str]:
        return self.path, None, f"{self.path.name}::micropython::{self.name}"


class MicroPythonFailure(Exception):
    """A test failed inside the VM; the text is what the VM wrote."""


def with_source(text: str) -> str:
    """Add to each line of a MicroPython traceback the source line that it names."""
    lines = []
    for line in text.splitlines():
        lines.append(line)
        found = re.match(r'  File "(.+)", line (\d+)', line)
        if found and Path(found[1]).is_file():
            source = Path(found[1]).read_text().splitlines()
            lines.extend("    " + code.strip() for code in source[int(found[2]) - 1 :][:1])
    return "\n".join(lines)
