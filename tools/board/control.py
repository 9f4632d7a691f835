"""What a hand does with a virtual board, from another process: a socket beside its flash.

One JSON object a line: {"do": name, "arguments": [...]}, and the answer {"ok": ...} or
{"error": ...}.
"""

from __future__ import annotations

import contextlib
import json
import socket
import socketserver
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from board.definitions import BoardError
from board.virtual import Virtual

_NAME = "control"


def _status(one: Virtual) -> dict[str, Any]:
    counts = one.counts()
    wear = counts.pop("wear")
    return {
        "board": one.board.name,
        "port": one.port,
        "power": one.running,
        "boots": one.boots,
        "heap": one.heap,
        "pins": one.pins,
        "flash": {**counts, "most_erased_sector": max(wear)},
    }


# name -> (function, what it takes)
COMMANDS: dict[str, tuple[Callable[..., Any], str]] = {
    "status": (_status, ""),
    "power-on": (Virtual.power_on, ""),
    "power-off": (Virtual.power_off, ""),
    "reset": (Virtual.reset, ""),
    "cut": (lambda one, after, how="": one.cut_after(int(after), how == "half"), "AFTER [half]"),
    "pulse": (lambda one, pin, count="1": one.pulse(pin, int(count)), "PIN [COUNT]"),
    "set": (lambda one, pin, level: one.set_pin(pin, int(level)), "PIN LEVEL"),
    "wifi": (lambda one, *words: one.say(" ".join(("wifi", *words))), "off | NETWORK PASSWORD"),
    "unplug": (Virtual.unplug, ""),
    "plug": (Virtual.plug, ""),
    "noise": (lambda one, text: one.noise(text.encode()), "TEXT"),
}


class Control:
    """Listens for a board's commands while it is open."""

    def __init__(self, one: Virtual) -> None:
        path = one.directory / _NAME
        path.unlink(missing_ok=True)

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                for line in self.rfile:
                    self.wfile.write(json.dumps(_obey(one, line)).encode() + b"\n")

        # The path of a socket may be 107 bytes long: it is opened from its own directory.
        self._server = socketserver.ThreadingUnixStreamServer(_short(path), Handler)
        self._server.daemon_threads = True
        self._path = path
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._path.unlink(missing_ok=True)


def _short(path: Path) -> str:
    """A path of the socket that is short enough."""
    relative = path.resolve()
    with contextlib.suppress(ValueError):
        relative = relative.relative_to(Path.cwd())
    if len(str(relative)) > 100:
        raise BoardError(f"{path}: too long a path for a socket, choose a shorter --directory")
    return str(relative)


def _obey(one: Virtual, line: bytes) -> dict[str, Any]:
    try:
        request = json.loads(line)
        function, _ = COMMANDS[request["do"]]
        return {"ok": function(one, *request["arguments"])}
    except (BoardError, OSError, ValueError, TypeError, KeyError) as error:
        return {"error": str(error) or type(error).__name__}


def tell(directory: Path, command: str, *arguments: str) -> Any:
    """Have the board of this directory do something. Raises BoardError."""
    if command not in COMMANDS:
        known = "\n".join(f"  {name} {usage}".rstrip() for name, (_, usage) in COMMANDS.items())
        raise BoardError(f"{command}: there are\n{known}")
    with socket.socket(socket.AF_UNIX) as line:
        try:
            line.connect(_short(directory / _NAME))
        except OSError:
            text = f"no virtual board runs in {directory}: make board BOARD=..."
            raise BoardError(text) from None
        line.sendall(json.dumps({"do": command, "arguments": arguments}).encode() + b"\n")
        with line.makefile() as file:
            answer = json.loads(file.readline())
    if "error" in answer:
        raise BoardError(f"{command} {COMMANDS[command][1]}: {answer['error']}")
    return answer["ok"]
