"""The runner of the unit tests itself: what fails inside the MicroPython VM must fail here."""

import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytest_plugins = ["pytester"]


@pytest.fixture
def run(pytester):
    """Run a unit file of the given text on both VMs, in a project of its own."""
    tests = pytester.mkdir("host_tests")
    for name in ("conftest.py", "micropython_tests.py"):
        shutil.copy(ROOT / "host_tests" / name, tests)
    for name in ("build", "lib"):
        (pytester.path / name).symlink_to(ROOT / name)
    pytester.makeini(
        "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n"
    )

    def run(text, *arguments):
        unit = tests / "unit"
        unit.mkdir()
        (unit / "test_it.py").write_text(text)
        return pytester.runpytest_inprocess("-v", *arguments, "host_tests/unit/test_it.py")

    return run


def test_each_function_runs_on_both(run):
    result = run(
        "import sys\n"
        "def test_vm(): assert sys.implementation.name == 'micropython'\n"
        "def test_any(): pass\n"
        "async def test_coroutine():\n"
        "    import asyncio\n"
        "    await asyncio.sleep(0)\n",
    )
    result.assert_outcomes(passed=5, failed=1)
    result.stdout.fnmatch_lines(["*test_it.py::test_vm FAILED*"])


def test_failures_show_their_source(run):
    result = run(
        "import sys\n"
        "MICRO = sys.implementation.name == 'micropython'\n"
        "def test_assert():\n"
        "    assert not MICRO\n"
        "async def test_coroutine():\n"
        "    assert not MICRO\n"
        "def test_exit():\n"
        "    if MICRO: sys.exit(0)\n"
        "def test_memory():\n"
        "    bytearray(4_000_000)\n"
        "def test_after(): pass\n",
    )
    result.assert_outcomes(passed=6, failed=4)
    result.stdout.fnmatch_lines(["*line 4, in test_assert", "*assert not MICRO"])
    result.stdout.fnmatch_lines(["*MemoryError*"])


@pytest.mark.parametrize(
    ("crash", "reason"),
    [
        ("print('#end'); import os; os.system('kill -9 $PPID')", "*exit status -9*"),
        ("while True: pass", "*no end within 1 s*"),
    ],
)
def test_a_dead_vm_fails_all_its_tests(run, crash, reason):
    result = run(
        "# timeout: 1\n"
        "import sys\n"
        "def test_before(): pass\n"
        "def test_crash():\n"
        "    if sys.implementation.name == 'micropython':\n"
        f"        {crash}\n"
        "def test_after(): pass\n"
    )
    result.assert_outcomes(passed=3, failed=3)
    result.stdout.fnmatch_lines([reason])


def test_a_file_that_micropython_cannot_import_fails(run):
    result = run("import dataclasses\ndef test_one(): pass\ndef test_two(): pass\n")
    result.assert_outcomes(passed=2, failed=2)
    result.stdout.fnmatch_lines(["*ImportError: no module named 'dataclasses'*"])


def test_a_file_without_tests_is_an_error(run):
    result = run("def tset_misspelt(): pass\n")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*has no test functions*"])


def test_the_heap_is_bounded(run):
    result = run("# heapsize: 100k\ndef test_big(): bytearray(120_000)\n")
    result.assert_outcomes(passed=1, failed=1)
