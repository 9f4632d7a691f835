"""What may be wrong with a board, looked at one by one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from board import provision
from board.console import Console, Line, NotRunning
from board.definitions import BoardError
from board.deploy import prepare
from board.port import Identity, RemoteError, Repl

if TYPE_CHECKING:
    from board.network import Network

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


@dataclass(frozen=True)
class Facts:
    """What lies on a board, as it is found there; a text in place of what could not be found out.

    version     of the software that was deployed, and what of it is damaged
    place       where software is that was not deployed
    crypto      names of the backends, a hash, a signature
    trouble     with the configuration
    store       what is wrong with it, is there a key, has that a PIN, how many channels
    """

    identity: Identity
    version: str | None = None
    broken: tuple[str, ...] = ()
    place: str | None = None
    crypto: tuple[str, str, str, str] | str = ""
    trouble: str | None = None
    store: tuple[str | None, bool, bool, int] | str = ""


def listen(line: Line | str) -> list[Finding]:
    """What a running device says. A board without one is no mistake yet."""
    try:
        with Console(line) as console:
            status = console.status()
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


def by_repl(repl: Repl) -> Facts:
    """The facts of a board whose device does not run."""
    identity = repl.identify()
    prepare(repl)
    version = repl.ask("say(current()[0])")
    broken = repl.ask(f"say(broken({version!r}))", _FLASH) if version else ()
    place = None if version else repl.ask(_ELSEWHERE)
    if not version and not place:
        return Facts(identity)
    repl.run(provision._PATH)

    def ask(code: str, timeout: float = _FLASH) -> Any:
        try:
            return tuple(repl.ask(code, timeout))
        except RemoteError as error:
            return str(error)

    crypto = ask(_CRYPTO)
    try:
        trouble = repl.ask(provision._CHECK.format(path="/config.json"))
    except RemoteError as error:
        trouble = str(error)
    store = ask(provision.OPEN_STORE + _STORE)
    return Facts(identity, version, tuple(broken), place, crypto, trouble, store)


def by_network(line: Network) -> Facts:
    """The facts of a board whose device runs on meanwhile."""
    line.open()
    try:
        found = json.loads(line.call("examine"))
    finally:
        line.close()
    version, *rest = found["identity"]
    return Facts(
        Identity(tuple(version), *rest),
        found["version"],
        tuple(found["broken"]),
        found["place"],
        tuple(found["crypto"]),
        None,  # it runs with it
        tuple(found["store"]),
    )


def examine(repl: Repl) -> list[Finding]:
    """Look at what lies on the board. Its device must not run."""
    return judge(by_repl(repl))


def judge(facts: Facts) -> list[Finding]:
    """What is to be thought of that."""
    identity = facts.identity
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
    if facts.version:
        bad = facts.broken
        text = f"version {facts.version}, unharmed"
        if bad:
            text = f"damaged: {', '.join(bad)}: board deploy"
        found.append(Finding("software", not bad, text))
    elif facts.place:
        text = f"frozen into the firmware, or installed by mip: {facts.place}"
        found.append(Finding("software", True, text))
    else:
        return [*found, Finding("software", False, "none: board deploy")]
    found.append(_cryptography(facts.crypto))
    trouble = facts.trouble
    found.append(Finding("configuration", not trouble, str(trouble or "right")))
    if isinstance(facts.store, str):
        return [*found, Finding("store", False, facts.store)]
    wrong, key, locked, channels = facts.store
    found.append(Finding("store", not wrong, str(wrong or f"opens, {channels} channels")))
    text = "encrypted by a PIN" if locked else "there; set a PIN against thieves"
    found.append(Finding("key", key, text if key else "none: board provision makes it"))
    return found


def _cryptography(crypto: tuple[str, str, str, str] | str) -> Finding:
    """What the board's processor makes of it: native code may not be what it was compiled from."""
    what = "cryptography"
    if isinstance(crypto, str):
        return Finding(what, False, f"does not run ({crypto}): board deploy")
    hashing, signing, digest, signature = crypto
    names = f"{hashing} and {signing}"
    if digest != _DIGEST:
        return Finding(what, False, f"{names}: a wrong hash: do not use this board")
    if signature != _SIGNATURE:
        return Finding(what, False, f"{names}: a wrong signature: do not use this board")
    return Finding(what, True, f"{names}, a hash and a signature are right")
