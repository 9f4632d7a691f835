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
_ELSEWHERE = """
try:
    import config
    say(getattr(config, "__file__", "config"))
except ImportError:
    say(None)
"""
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
# A hash and a signature with the nonce of RFC 6979, of the key 1: what they must be is known.
_CRYPTO = """
from perun.crypto import keccak, secp256k1
digest = keccak.keccak256(b"uPerun")
signature = secp256k1.sign(digest, bytes(31) + b"\\x01")
say([keccak.BACKEND, secp256k1.BACKEND, digest.hex(), signature.hex()])
"""
_DIGEST = "5e55bea35a7f00e4d2cb182d255103748d2c5e9b958547572f1e79b3ea17b2a5"
_SIGNATURE = (
    "f5e1c52ed108ae02ffaf894f9af0522e5d9615f38294b528f35dc7bdd45565ab"
    "79dc3e545298c7e608ceb1ef7e433f6844044d34948a41155edc0fa185d8d9321c"
)


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
    if version:
        bad = repl.ask(f"say(broken({version!r}))", _FLASH)
        text = (
            f"damaged: {', '.join(bad)}: board deploy" if bad else f"version {version}, unharmed"
        )
        found.append(Finding("software", not bad, text))
    elif place := repl.ask(_ELSEWHERE):
        text = f"frozen into the firmware, or installed by mip: {place}"
        found.append(Finding("software", True, text))
    else:
        return [*found, Finding("software", False, "none: board deploy")]
    repl.run(provision._PATH)
    found.append(_cryptography(repl))
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


def _cryptography(repl: Repl) -> Finding:
    """What the board's processor makes of it: native code may not be what it was compiled from."""
    what = "cryptography"
    try:
        hashing, signing, digest, signature = repl.ask(_CRYPTO, _FLASH)
    except RemoteError as error:
        return Finding(what, False, f"does not run ({error}): board deploy")
    names = f"{hashing} and {signing}"
    if digest != _DIGEST:
        return Finding(what, False, f"{names}: a wrong hash: do not use this board")
    if signature != _SIGNATURE:
        return Finding(what, False, f"{names}: a wrong signature: do not use this board")
    return Finding(what, True, f"{names}, a hash and a signature are right")
