"""The service's two keys: its identity towards devices, and the wallet that pays.

A key lives in a file that only its owner may read, or in an environment variable. It is never
printed: `repr` of a Key shows its address.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from coincurve import PrivateKey
from eth_utils import to_checksum_address

from adoption import encoding

IDENTITY_VARIABLE = "UPERUN_IDENTITY_KEY"
FUNDER_VARIABLE = "UPERUN_FUNDER_KEY"


class BadKey(ValueError):
    """A key is missing, unreadable or unsafe; the text says what to do."""


class Key:
    """A secp256k1 key and its Ethereum address."""

    def __init__(self, secret: bytes) -> None:
        self._key = PrivateKey(secret)
        self.address: bytes = encoding.address_of(self._key.public_key.format(compressed=False))

    def __repr__(self) -> str:
        return f"Key({to_checksum_address(self.address)})"

    def sign(self, hash32: bytes) -> bytes:
        """65 bytes r||s||v over the Ethereum signed message digest of a 32-byte hash."""
        raw = self._key.sign_recoverable(encoding.message_digest(hash32), hasher=None)
        return raw[:64] + bytes((raw[64] + 27,))

    def sign_bytes(self, data: bytes) -> bytes:
        """Sign keccak256(data): handshake transcripts and receipts."""
        return self.sign(encoding.keccak(data))

    def secret_for_transactions(self) -> bytes:
        """The secret, for the one place that signs transactions."""
        return bytes(self._key.secret)


def load(path: Path, variable: str, create: bool = False) -> Key:
    """The key from the environment `variable`, else from `path`.

    With `create`, a missing file is made with a new random key. Raises BadKey.
    """
    text = os.environ.get(variable)
    if text is not None:
        return _parse(text, f"environment variable {variable}")
    if create and not path.exists():
        _create(path)
    try:
        mode = path.stat().st_mode
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise BadKey(
            f"no key: write 64 hex digits to {path} (mode 0600) or set {variable}"
        ) from error
    if stat.S_IMODE(mode) & 0o077:
        raise BadKey(f"{path} can be read by others: chmod 600 it")
    return _parse(text, str(path))


def _parse(text: str, where: str) -> Key:
    try:
        secret = bytes.fromhex(text.strip().removeprefix("0x"))
        if len(secret) != 32:
            raise ValueError("length")
        return Key(secret)
    except ValueError:
        # The cause is dropped: it could show a part of the key.
        raise BadKey(f"{where} does not hold a key of 64 hex digits") from None


def _create(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".new")
    temporary.unlink(missing_ok=True)
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(PrivateKey().to_hex() + "\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
