"""The documents say what is: links lead somewhere, commands exist, the example is the program."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    ROOT / name
    for name in subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text()):
        if "://" not in target:
            assert (path.parent / target).exists(), target


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_make_targets_exist(path):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    for target in re.findall(r"(?:`|^ {4}|^)make ([a-z][a-z-]*[a-z])", path.read_text(), re.M):
        assert target in targets, target


def test_every_target_is_explained():
    text = (ROOT / "Makefile").read_text()
    phony = re.findall(r"(?<!\S)[a-z][a-z-]*", re.search(r"^\.PHONY:(.*)$", text, re.M)[1])
    explained = re.findall(r"^([a-z-]+):.*## ", text, re.M)
    assert sorted(phony) == sorted(explained)


def test_the_readme_shows_the_program():
    program = (ROOT / "firmware/examples/earn.py").read_text()
    assert program in (ROOT / "README.md").read_text()
    code = [line for line in program.splitlines() if line.strip() and not line.startswith('"""')]
    assert len([line for line in code if "import" not in line]) <= 20


def test_differences_of_the_contracts_are_listed():
    listed = (ROOT / "tools/contracts/README.md").read_text()
    marks = [
        what
        for path in (ROOT / "host_tests/contracts").glob("test_*.py")
        for what in re.findall(r'mark\.differs\("(.+?)"\)', path.read_text())
    ]
    assert marks
    assert [what for what in marks if f"| {what} |" not in listed] == []


def test_the_interop_table_is_what_is_tested():
    """A mark for each way of each test; where there is none, a note says why."""
    room = ROOT / "host_tests/interop"
    columns = ("tcp", "serial", "perunio", "ethereum", "direct", "gen1")
    tested = {}
    for ways, name in re.findall(
        r"^@ways\((.+?)\)\nasync def (\w+)", (room / "test_table.py").read_text(), re.M | re.S
    ):
        chosen = columns if ways == "*WAYS" else tuple(re.findall(r'"(\w+)"', ways))
        tested[name] = sorted(chosen)
    shown = {}
    for line in (room / "README.md").read_text().splitlines():
        if found := re.match(r"\| .+ \| `(test_\w+)` \|(.+)\|$", line):
            marks = [cell.strip() for cell in found[2].split("|")]
            assert len(marks) == len(columns) and all(marks), line
            shown[found[1]] = sorted(c for c, mark in zip(columns, marks) if mark[0] == "✓")
    assert tested and shown == tested
