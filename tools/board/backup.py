"""A device's directory as an encrypted file, and back.

The file: a line of JSON that says what it is (with the salt, the nonce and the cost of the
passphrase), then AES-256-GCM over the files; the line is authenticated with them. The key from the
passphrase is scrypt's.

A backup is a copy of an old state. A device that is started from one has forgotten what it signed
since: it signs nothing until its peer and its service have shown what they hold, as after every
restart. Two devices of one backup are two devices with one key, and may lose money to anybody who
notices: restore() wants to be told that the old one is no more.
"""

from __future__ import annotations

import base64
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from board.definitions import BoardError
from board.port import Repl

# In the order of removal. The mark belongs to the journal: one without the other does not open,
# and that is meant.
FILES = ("config.json", "perun.journal", "perun.journal.mark/mark")
# The partition of the channels, under firmware that has one: all of it, as it lies there.
PARTITION = "channels.flash"
_SECTOR = 4096
_CHUNK = 1024
_DEVICE = """
try:
    _d = __import__("partition").channels()
except ImportError:
    _d = None
say(_d.ioctl(4, 0) if _d else 0)
"""
_FORMAT = "uPerun backup 1"
_COST = 1 << 15  # of scrypt: 32 MB and a tenth of a second
_SHORTEST = 8  # characters


@dataclass(frozen=True)
class Backup:
    """files: name -> content; made: seconds since 1970; address: the device's; board: its name."""

    files: dict[str, bytes]
    address: str
    board: str
    made: int


def take(repl: Repl, address: str, board: str) -> Backup:
    """Read what the device must not lose. It must not run meanwhile."""
    files = {}
    for name in FILES:
        data = repl.read("/" + name)
        if data is not None:
            files[name] = data
    if "perun.journal" not in files and (sectors := int(repl.ask(_DEVICE))):
        files[PARTITION] = _read_partition(repl, sectors)
    if not {"perun.journal", PARTITION} & set(files):
        raise BoardError(
            "there is no journal on this board: it is no device yet (board provision)"
        )
    return Backup(files, address, board, int(time.time()))


def _read_partition(repl: Repl, sectors: int) -> bytes:
    repl.run(f"import binascii\n_b = bytearray({_CHUNK})")
    data = b""
    for at in range(0, sectors * _SECTOR, _CHUNK):
        place = f"{at // _SECTOR}, _b, {at % _SECTOR}"
        text = repl.ask(f"_d.readblocks({place})\nsay(binascii.b2a_base64(_b).decode())")
        data += base64.b64decode(text)
    return data


def _write_partition(repl: Repl, data: bytes) -> None:
    sectors = int(repl.ask(_DEVICE))
    if sectors * _SECTOR != len(data):
        raise BoardError(
            f"the backup has the channels of a partition of {len(data) // 1024} KB, and this "
            f"board has {sectors * _SECTOR // 1024} KB of it: flash the same firmware first"
        )
    repl.run(f"import binascii\nfor _n in range({sectors}): _d.ioctl(6, _n)", 60)
    for at in range(0, len(data), _CHUNK):
        part = data[at : at + _CHUNK]
        if part.strip(b"\xff"):
            text = base64.b64encode(part).decode()
            place = f"{at // _SECTOR}, binascii.a2b_base64({text!r}), {at % _SECTOR}"
            repl.run(f"_d.writeblocks({place})")
    if _read_partition(repl, sectors) != data:
        raise BoardError("the channels are not as they were written: restore again")


def _key(passphrase: str, salt: bytes, cost: int) -> bytes:
    return Scrypt(salt, 32, cost, 8, 1).derive(passphrase.encode())


def seal(backup: Backup, passphrase: str) -> bytes:
    """The file. Raises BoardError for a passphrase that is none."""
    if len(passphrase) < _SHORTEST:
        raise BoardError(f"a passphrase has at least {_SHORTEST} characters: the key is in there")
    salt, nonce = os.urandom(16), os.urandom(12)
    head: dict[str, Any] = {
        "format": _FORMAT,
        "address": backup.address,
        "board": backup.board,
        "made": backup.made,
        "scrypt": _COST,
        "salt": salt.hex(),
        "nonce": nonce.hex(),
    }
    line = json.dumps(head).encode() + b"\n"
    files = {name: base64.b64encode(data).decode() for name, data in backup.files.items()}
    key = _key(passphrase, salt, _COST)
    return line + AESGCM(key).encrypt(nonce, json.dumps(files).encode(), line)


def unseal(data: bytes, passphrase: str) -> Backup:
    """The backup in a file. Raises BoardError."""
    line, end, body = data.partition(b"\n")
    try:
        head = json.loads(line)
        if head["format"] != _FORMAT or not end:
            raise ValueError
        cost = int(head["scrypt"])
        if not 1 << 10 <= cost <= 1 << 20:
            raise ValueError
        key = _key(passphrase, bytes.fromhex(head["salt"]), cost)
        text = AESGCM(key).decrypt(bytes.fromhex(head["nonce"]), body, line + b"\n")
        files = {str(name): base64.b64decode(part) for name, part in json.loads(text).items()}
        return Backup(files, str(head["address"]), str(head["board"]), int(head["made"]))
    except InvalidTag:
        raise BoardError("a wrong passphrase, or a damaged file: nothing was restored") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise BoardError(f"this is no backup of uPerun ({_FORMAT})") from None


def write(path: Path, data: bytes) -> None:
    """A file that its owner alone may read; never over another one."""
    try:
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise BoardError(f"{path} is there already: a backup is not overwritten") from None
    except OSError as error:
        raise BoardError(f"{path}: {error.strerror}") from None
    with os.fdopen(number, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(number)


def _is_device(repl: Repl) -> bool:
    if repl.read("/perun.journal") is not None:
        return True
    sectors = int(repl.ask(_DEVICE))
    return bool(sectors) and bool(_read_partition(repl, sectors).strip(b"\xff"))


def restore(repl: Repl, backup: Backup, replace: bool = False) -> None:
    """Write the files. One that is cut short leaves a board without a configuration: repeat it.

    The configuration goes first and comes last, so that no device starts on a half of a store, or
    on none, for which it would make a key.

    Raises BoardError when the board is a device already, unless `replace`.
    """
    if not replace and _is_device(repl):
        raise BoardError(
            "this board is a device already, with a key and perhaps channels of its own: back it "
            "up first, then say --replace"
        )
    unknown = set(backup.files) - {*FILES, PARTITION}
    if unknown:
        raise BoardError(f"the backup has files of another version: {', '.join(sorted(unknown))}")
    if "perun.journal" in backup.files:
        repl.run("import os\ntry: os.mkdir('/perun.journal.mark')\nexcept OSError: pass")
    for name in FILES:
        repl.run(f"import os\ntry: os.remove({'/' + name!r})\nexcept OSError: pass")
    files = dict(backup.files)
    channels = files.pop(PARTITION, None)
    if channels is not None:
        _write_partition(repl, channels)
    for name, data in sorted(files.items(), key=lambda file: file[0] == "config.json"):
        repl.replace("/" + name, data)
    for name, data in files.items():
        if repl.read("/" + name) != data:
            raise BoardError(f"{name} is not as it was written: restore again")
