"""The tables of the README name tests that exist."""

import ast
import re
from pathlib import Path

HERE = Path(__file__).parent


def names(path: Path) -> set[str]:
    """What a test file defines, or gives a name, at its top."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return found


def test_every_test_that_is_named_exists() -> None:
    text = (HERE / "README.md").read_text()
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", text)
    assert len(named) > 40
    missing = [(file, name) for file, name in named if name not in names(HERE.parent / file)]
    assert missing == []


def test_every_row_names_a_test() -> None:
    rows = [line for line in (HERE / "README.md").read_text().splitlines() if line[:1] == "|"]
    cells = [row for row in rows if "---" not in row and "who loses what" not in row]
    assert all("::" in row for row in cells)
