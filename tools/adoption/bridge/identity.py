"""The wire identities that the service holds for its devices, and its TLS certificate.

Made when they are first needed, and kept in one directory: an RSA key per device, and a
certificate with its key. Only their owner may read them. None of them is worth money: with a
stolen one somebody can pose as the device's endpoint, and still signs no state.
"""

from __future__ import annotations

import os
import ssl
import stat
from pathlib import Path
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from eth_utils import to_checksum_address

from adoption import certificate
from adoption.bridge import addresses
from adoption.certificate import Certificate
from adoption.config import BridgeSection
from adoption.keys import BadKey


class Identity(NamedTuple):
    """What a device is to nodes of one kind: the marshalled address, and the handshake's proof."""

    kind: str
    address: bytes
    proof: bytes


def simple_identity(name: str, key: rsa.RSAPrivateKey) -> Identity:
    """The net/simple identity of this name and key."""
    address = addresses.marshal_simple(name, key.public_key())
    signed = addresses.signed_bytes(address)
    return Identity("simple", address, key.sign(signed, padding.PKCS1v15(), hashes.SHA256()))


class Keyring:
    """folder: where the keys are; made with mode 0700 if it is not there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._simple: dict[bytes, Identity] = {}

    def identity(self, kind: str, device: bytes, name: str) -> Identity:
        """The identity of a device towards nodes of this kind. Raises BadKey."""
        if kind != "simple":
            return Identity(kind, device, addresses.AUTHENTICATE)
        if device not in self._simple:
            key = rsa_key(self._folder / f"{to_checksum_address(device)}.pem")
            self._simple[device] = simple_identity(name, key)
        return self._simple[device]

    def certificate(self) -> Certificate:
        """What nodes see when they dial, or are dialled. Raises BadCertificate."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return certificate.load(self._folder / "tls.pem", create=True)

    def client(self) -> ssl.SSLContext:
        """For dialling. The certificate is compared with the pinned one afterwards, if any."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.load_cert_chain(self.certificate().path)
        return context


def described(section: BridgeSection) -> dict[str, Any]:
    """What the operators of nodes need to know. Raises BadKey."""
    keyring = Keyring(section.keys)
    devices = []
    for device in section.device:
        found = {"device": to_checksum_address(device.address), "name": device.name}
        for kind in ("simple", "ethereum"):
            identity = keyring.identity(kind, device.address, device.name)
            found[kind] = "0x" + identity.address.hex()
        devices.append(found)
    text = keyring.certificate().path.read_text()
    end = "-----END CERTIFICATE-----\n"
    return {"devices": devices, "certificate": text[: text.index(end) + len(end)]}


def rsa_key(path: Path) -> rsa.RSAPrivateKey:
    """The RSA-2048 key in this file, which is made if it is not there. Raises BadKey."""
    if not path.exists():
        _write(path, _pem(rsa.generate_private_key(65537, 2048)))
    _check_mode(path)
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError):
        raise BadKey(f"{path} holds no RSA key: restore it, or remove it for a new one") from None
    if not isinstance(key, rsa.RSAPrivateKey) or key.key_size != 2048:
        raise BadKey(f"{path} holds no RSA-2048 key: restore it, or remove it for a new one")
    return key


def read_certificate(path: Path) -> bytes:
    """The DER form of the certificate in a PEM file. Raises ValueError."""
    try:
        found = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} holds no certificate: {error}") from error
    return found.public_bytes(serialization.Encoding.DER)


def _pem(key: PrivateKeyTypes) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".new")
    temporary.unlink(missing_ok=True)
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)


def _check_mode(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise BadKey(f"{path} cannot be read: {error.strerror}") from error
    if stat.S_IMODE(mode) & 0o077:
        raise BadKey(f"{path} can be read by others: chmod 600 it")
