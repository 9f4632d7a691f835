"""What may be wrong with a board, looked at one by one."""

from __future__ import annotations

from dataclasses import dataclass

from board import provision
from board.console import Console, NotRunning
from board.definitions import BoardError
from board.deploy import prepare
from board.port import RemoteError, Repl

_FLASH = 60  # seconds for work on the flash
_LEAST = 64 * 1024  # bytes that should be free for a journal to grow
_STORE = """
try:
    store = open_store()
    try:
        key = store.get(b"k")
        say([None, key is not None, len(key or b"") != 32,
             len([k for k in store.keys() if k[:1] == b"c"])])
    finally:
        store.close()
except (OSError, ValueError) as error:
    say([str(error), False, False, 0])
"""


@dataclass(frozen=True)
class Finding:
    """what was looked at; ok; text: what it is, or what to do."""

    what: str
    ok: bool
    text: str


def listen(port: str) -> list[Finding]:
    """What a running device says. A board without one is no mistake yet."""
    try:
        with Console(port) as console:
            status = console.status(5)
            noise = console.noise
    except NotRunning:
        return [Finding("device", False, "none runs: board restart runs it")]
    except BoardError as error:
        return [Finding("device", False, f"no answer ({error})")]
    found = [Finding("device", True, f"{status.get('app', 'locked')} runs")]
    if "service" in status:
        text = "connected" if status["service"] is True else "no link: address, pins, its list"
        found.append(Finding("service", status["service"] in (True, "connected"), text))
    if noise > 3:
        found.append(
            Finding("line", False, f"{noise} lines of noise: another program writes here")
        )
    return found


def examine(repl: Repl) -> list[Finding]:
    """Look at what lies on the board. Its device must not run."""
    identity = repl.identify()
    known = identity.board
    found = [
        Finding(
            "board",
            True,
            f"{known.name if known else identity.machine}, {identity.arch}, free "
            f"{identity.free // 1024} of {identity.size // 1024} KB",
        ),
        Finding(
            "flash",
            identity.free >= _LEAST,
            "room enough" if identity.free >= _LEAST else "less than 64 KB: remove files",
        ),
    ]
    prepare(repl)
    version = repl.ask("say(current()[0])")
    if not version:
        return [*found, Finding("software", False, "none: board deploy")]
    bad = repl.ask(f"say(broken({version!r}))", _FLASH)
    text = f"damaged: {', '.join(bad)}: board deploy" if bad else f"version {version}, unharmed"
    found.append(Finding("software", not bad, text))
    repl.run(provision._PATH)
    try:
        trouble = repl.ask(provision._CHECK.format(path="/config.json"))
    except RemoteError as error:
        trouble = str(error)
    found.append(Finding("configuration", not trouble, str(trouble or "right")))
    try:
        wrong, key, locked, channels = repl.ask(provision.OPEN_STORE + _STORE, _FLASH)
    except RemoteError as error:
        return [*found, Finding("store", False, str(error))]
    found.append(Finding("store", not wrong, str(wrong or f"opens, {channels} channels")))
    text = "encrypted by a PIN" if locked else "there; set a PIN against thieves"
    found.append(Finding("key", key, text if key else "none: board provision makes it"))
    return found
