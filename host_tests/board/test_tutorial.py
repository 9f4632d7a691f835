"""From two bare boards to money in a wallet, by way of a power cut, an update, a stale backup.

The same steps are shown in tools/board/README.md.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from board import tutorial
from board.definitions import ROOT

README = ROOT / "tools" / "board" / "README.md"


def shape(line: str) -> str:
    """A command line without what differs from run to run."""
    line = re.sub(r"0x[0-9a-fA-F]{40}|[0-9a-f]{64}", "HEX", line)
    return re.sub(r"127\.0\.0\.1:\d+", "PLACE", line)


@pytest.mark.timeout(400)
async def test_tutorial(tmp_path: Path) -> None:
    lines: list[str] = []
    verdict = await tutorial.run(tmp_path / "tutorial", lines.append)
    assert verdict.ok, (verdict, "\n".join(lines))
    assert set(verdict.actual) >= {"station's wallet", "car's wallet", "version after the restore"}
    # The document shows the same commands and remarks, in the same order.
    ours = [shape(line) for line in lines if line.startswith(("$", "#"))]
    text = README.read_text()
    (shown,) = re.findall(r"<!-- tutorial -->\n```\n(.*?)```", text, re.S)
    wrapped = re.sub(r" \\\n +", " ", shown)
    theirs = [shape(line) for line in wrapped.splitlines() if line.startswith(("$", "#"))]
    assert theirs == ours
