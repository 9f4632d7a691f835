"""The service's TLS certificate: made by itself, known to devices by its SHA-256.

A device has neither a clock nor a list of authorities that it could trust, so nothing in the
certificate counts but its key. It stays the same for ever, until the operator changes it in two
steps that leave time to tell the devices:

    prepare()   makes the next one; devices get a second pin
    switch()    puts it in place of the old one; devices may drop the old pin
"""

from __future__ import annotations

import datetime
import hashlib
import os
import ssl
import stat
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_NAME = "uPerun IoT adoption service"


class BadCertificate(ValueError):
    """The certificate is missing, unreadable or unsafe; the text says what to do."""


@dataclass(frozen=True)
class Certificate:
    """path: of a PEM file with the certificate and its key; fingerprint: the SHA-256, 32 bytes."""

    path: Path
    fingerprint: bytes

    def context(self) -> ssl.SSLContext:
        """For a server. At least TLS 1.2, which is what MicroPython speaks."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.path)
        return context


def load(path: Path, create: bool = False) -> Certificate:
    """The certificate in `path`; with `create`, a missing one is made. Raises BadCertificate."""
    if create and not path.exists():
        _write(path)
    try:
        mode = path.stat().st_mode
        text = path.read_bytes()
    except OSError as error:
        raise BadCertificate(f"no certificate: {path} cannot be read: {error.strerror}") from error
    if stat.S_IMODE(mode) & 0o077:
        raise BadCertificate(f"{path} can be read by others: chmod 600 it")
    try:
        certificate = x509.load_pem_x509_certificate(text)
        found = Certificate(path, _fingerprint(certificate))
        found.context()
    except (ValueError, ssl.SSLError) as error:
        raise BadCertificate(
            f"{path} does not hold a certificate and its key in PEM: restore it, or remove it and"
            " have a new one made, which devices must then pin"
        ) from error
    return found


def next_path(path: Path) -> Path:
    """Where the next certificate waits."""
    return path.with_name(path.stem + ".next" + path.suffix)


def prepare(path: Path) -> Certificate:
    """The next certificate; made by the first call."""
    return load(next_path(path), create=True)


def switch(path: Path) -> Certificate:
    """Put the next certificate in place. Raises BadCertificate when none is prepared."""
    if not next_path(path).exists():
        raise BadCertificate("no next certificate: prepare one, and tell the devices, first")
    load(next_path(path))
    next_path(path).replace(path)
    return load(path)


def _fingerprint(certificate: x509.Certificate) -> bytes:
    return hashlib.sha256(certificate.public_bytes(serialization.Encoding.DER)).digest()


def _write(path: Path) -> None:
    # P-256 with ECDSA: the one pair of key and signature that every port's mbedTLS speaks.
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _NAME)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.datetime(2020, 1, 1))
        .not_valid_after(datetime.datetime(9999, 12, 31))  # "no date" in RFC 5280
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".new")
    temporary.unlink(missing_ok=True)
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(certificate.public_bytes(serialization.Encoding.PEM) + secret)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
