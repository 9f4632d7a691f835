"""Makes a board a device: its configuration, and a key that is made on it and never leaves it."""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import dataclass
from typing import Any

from board.definitions import Board, BoardError
from board.port import RemoteError, Repl

_SECONDS = 120  # that making a key may take on a slow board: an address, and a stretched PIN

# What runs on the board. The key stays there: only its address and the names of what it was made
# of come back.
_PATH = """
import sys
try:
    with open("/app/current") as f:
        sys.path.insert(0, "/app/" + f.readline().strip())
except OSError:
    pass
"""
_CHECK = """
import config
try:
    config.load({path!r})
    say(None)
except ValueError as error:
    say(str(error))
for name in ("config", ): sys.modules.pop(name, None)
"""
# As firmware/start.py chooses: a partition of the channels' own, if there is one and no file.
OPEN_STORE = """
def open_store():
    import json, os
    kind = device = None
    try:
        with open("/config.json") as f:
            kind = json.load(f).get("store")
    except OSError:
        pass
    try:
        device = __import__("partition").channels()
    except ImportError:
        pass
    if device and kind != "file" and (kind == "flash" or "perun.journal" not in os.listdir("/")):
        from perun.store.flash import FlashJournal
        return FlashJournal(device)
    from perun.store.journal import Journal
    return Journal("perun.journal")
"""
_KEY = """
import identity
from perun.chain.address import to_checksum
store = open_store()
sources, locked = None, False
try:
    address = None
    if store.get(b"k") is not None:
        try:
            address = identity.load(store).address
        except identity.Locked as error:
            address, locked = error.address, True
    elif {make}:
        account, sources = identity.make(store, {pin!r}, {extra!r})
        address, locked = account.address, {pin!r} is not None
    say(address and [to_checksum(address), sources, locked])
finally:
    store.close()
"""


@dataclass(frozen=True)
class Key:
    """address: with its checksum; sources: of a new key's randomness, None for one that was there;
    locked: it has a PIN."""

    address: str
    sources: list[str] | None
    locked: bool


def configuration(
    board: Board | None,
    *,
    chain_id: int,
    assets: list[tuple[str, int]],
    receiver: str,
    service: dict[str, Any],
    peer: dict[str, Any],
    app: str,
    price_per_kwh: int,
    deposit: int | None = None,
    station_deposit: int = 0,
    wifi: dict[str, str] | None = None,
    charger: dict[str, Any] | None = None,
    more: dict[str, Any] | None = None,
    witness: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """A config.json; the pins are the board's unless `charger` says something else."""
    if charger is None:
        if board is None:
            raise BoardError("an unknown board: name the pins of its meter and relay")
        charger = {"module": "pins", "meter_pin": board.pins["meter"]}
        if app == "ev_station":
            charger["relay_pin"] = board.pins["relay"]
    settings: dict[str, Any] = {"module": app, "price_per_kwh": str(price_per_kwh)}
    if app == "ev_car":
        if deposit is None:
            raise BoardError("a car needs a deposit (--deposit): what it can spend in a channel")
        settings |= {"deposit": str(deposit), "station_deposit": str(station_deposit)}
    result: dict[str, Any] = {
        "chain": {
            "id": chain_id,
            "assets": [{"holder": one, "max_deposit": str(most)} for one, most in assets],
        },
        "receiver": receiver,
        "service": service,
        "peer": peer,
        "app": {**settings, "charger": charger, **(more or {})},
        "console": "json",
    }
    if wifi:
        result["wifi"] = wifi
    if witness:
        result["witness"] = witness
    return result


def serial_line(text: str, board: Board | None, baud: int | None = None) -> dict[str, Any]:
    """`service.serial` of a config.json: "repl", "uart" for the board's own one, "uart1" for
    another at the port's own pins, or the path of a tty. Raises BoardError."""
    found: dict[str, Any]
    number = text.removeprefix("uart")
    if text == "repl":
        found = {"repl": True}
    elif text == "uart":
        if board is None:
            raise BoardError("an unknown board: name its UART, like uart1")
        found = {"uart": board.uart, "tx": board.pins["uart_tx"], "rx": board.pins["uart_rx"]}
    elif number != text and number.isdigit():
        found = {"uart": int(number)}
    elif text.startswith("/"):
        found = {"path": text}
    else:
        raise BoardError(
            f"{text}: a line is repl, uart, uart1, or on a computer the path of a tty"
        )
    return found if baud is None else {**found, "baud": baud}


def install(repl: Repl, settings: dict[str, Any]) -> None:
    """Write config.json, when the device's own check takes it. Raises BoardError."""
    text = json.dumps(settings, indent=1).encode() + b"\n"
    repl.write("/config.new", text)
    try:
        repl.run(_PATH + "import config")
    except RemoteError as error:
        if error.name == "ImportError":
            raise BoardError(
                "there is no software on the board: board deploy comes first"
            ) from None
        raise
    trouble = repl.ask(_CHECK.format(path="/config.new"))
    if trouble:
        repl.run("import os; os.remove('/config.new')")
        raise BoardError(f"{str(trouble).replace('/config.new: ', '')}; nothing was changed")
    repl.run("import os; os.rename('/config.new', '/config.json')")


def make_key(repl: Repl, pin: str | None = None) -> Key:
    """Have the board make its key, unless it has one, and tell its address.

    The computer adds randomness of its own, which makes the key no worse whoever knows it.
    """
    extra = hashlib.sha256(secrets.token_bytes(32)).digest()
    return Key(
        *repl.ask(_PATH + OPEN_STORE + _KEY.format(make=True, pin=pin, extra=extra), _SECONDS)
    )


def key(repl: Repl) -> Key | None:
    """The board's key, if it has one."""
    found = repl.ask(_PATH + OPEN_STORE + _KEY.format(make=False, pin=None, extra=b""), _SECONDS)
    return Key(*found) if found else None


def qr(address: str, chain_id: int) -> str:
    """The address as a QR code of text (EIP-681: a wallet offers to pay there)."""
    import io

    import segno

    out = io.StringIO()
    segno.make(f"ethereum:{address}@{chain_id}", error="m").terminal(out, compact=True)
    return out.getvalue()


def change(settings: dict[str, Any], text: str) -> None:
    """Set one field: "app.slice_wh=200". Raises BoardError."""
    path, _, value = text.partition("=")
    *folders, name = path.split(".")
    try:
        place = settings
        for folder in folders:
            place = place.setdefault(folder, {})
        place[name] = json.loads(value)
    except (ValueError, TypeError, AttributeError):
        raise BoardError(f"{text}: a setting is PATH=JSON, like app.slice_wh=200") from None
