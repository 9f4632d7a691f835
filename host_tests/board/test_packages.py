"""`mpremote mip install` from a web server puts the board's own code onto it."""

from __future__ import annotations

import functools
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from board import packages
from board.definitions import boards
from board.deploy import build
from board.port import ARCHITECTURES, Repl
from boardkit import NewBoard, mpremote


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{web.server_port}"
        web.shutdown()


def test_mip_install(new_board: NewBoard, server: str, tmp_path: Path) -> None:
    packages.write(build("x64", everything=True), tmp_path / "x64")
    one = new_board("RPI_PICO_W")
    mpremote(one, "mip", "install", f"{server}/x64/package.json")
    text = (
        "from perun.crypto.keccak import keccak256\n"
        "from perun.crypto import secp256k1\n"
        "import perun.client, perun.crypto.keccak as k\n"
        "print(keccak256(b'').hex()[:8], [n for n in dir(k) if 'viper' in n or n == '_kernel'])"
    )
    assert mpremote(one, "exec", text).startswith("c5d24601")
    with Repl(one.port) as repl:
        native = repl.value("'perun.crypto._secp256k1_viper64' in __import__('sys').modules")
    assert native  # the machine's own code was chosen


@pytest.mark.parametrize("arch", ["armv6m", "rv32imc"])
def test_native_code_of_each_architecture(arch: str, tmp_path: Path) -> None:
    """Every native module of a package is the architecture's; the list names every file."""
    assert arch in packages.architectures()
    software = build(arch, everything=True)
    document = json.loads(packages.write(software, tmp_path / arch).read_text())
    native = set()
    for name, source in document["urls"]:
        data = (tmp_path / arch / source).read_bytes()
        assert data[:2] == b"M\x06", name
        if data[2] >> 2:
            native.add(ARCHITECTURES[data[2] >> 2])
    assert native == {arch}
    found = {str(p.relative_to(tmp_path / arch)) for p in (tmp_path / arch).rglob("*.mpy")}
    assert found == {name for name, _ in document["urls"]} == set(software.files)
    assert document["version"] == software.version


def test_every_board_has_a_package() -> None:
    assert set(packages.architectures()) == {one.arch for one in boards().values()}
