"""Who one is for go-perun: wire addresses and the signature that its handshake asks for.

Made with the cryptography package alone, so that it checks what the project has of its own.
Source: go-perun v0.15.0, wire/net/simple and wire/account.go; perun-eth-backend v0.6.0, wire.
"""

from __future__ import annotations

import datetime
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID

_CONSTANT = b"Authenticate"  # what the Ethereum backend takes for a signature


class Simple:
    """net/simple: a name and an RSA key, 2048 bits."""

    def __init__(self, name: str) -> None:
        self._key = rsa.generate_private_key(65537, 2048)
        numbers = self._key.public_key().public_numbers()
        self.address = simple_address(name, numbers.n, numbers.e)

    @property
    def signature(self) -> bytes:
        """Of the own address as the only one in its map: always the same."""
        return self._key.sign(b"\x01" + self.address, padding.PKCS1v15(), hashes.SHA256())


class Name:
    """Generation 1: a name, and nothing is proven."""

    signature = b""

    def __init__(self, name: str) -> None:
        self.address = name.encode()


class Eth:
    """The Ethereum backend's: 20 bytes, and nothing is proven."""

    signature = _CONSTANT

    def __init__(self, address: bytes) -> None:
        self.address = address


def simple_address(name: str, modulus: int | None = None, exponent: int = 65537) -> bytes:
    """The marshalled address; without a modulus one that has no key."""
    data = name.encode()
    address = len(data).to_bytes(2, "big") + data
    if modulus is None:
        return address
    size = (modulus.bit_length() + 7) // 8
    return address + size.to_bytes(2, "big") + modulus.to_bytes(size, "big") + exponent.to_bytes(4)


def with_key(address: bytes) -> bytes:
    """The same address made anew from its name and its key of 2048 bits."""
    at = 2 + int.from_bytes(address[:2])
    modulus = int.from_bytes(address[at + 2 : at + 258])
    return simple_address(address[2:at].decode(), modulus, int.from_bytes(address[at + 258 :]))


def proves(address: bytes, signature: bytes) -> bool:
    """Whether the signature is that of the owner of this marshalled address."""
    if len(address) == 20:
        return signature == _CONSTANT
    at = 2 + int.from_bytes(address[:2])
    size = int.from_bytes(address[at : at + 2])
    modulus = int.from_bytes(address[at + 2 : at + 2 + size])
    exponent = int.from_bytes(address[at + 2 + size :])
    key = rsa.RSAPublicNumbers(exponent, modulus).public_key()
    try:
        key.verify(signature, b"\x01" + address, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return False
    return True


def tls(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Contexts for dialling and for listening. Like go-perun's examples they trust anybody: who
    is who, the handshake says."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    path = folder / "tls.pem"
    plain = serialization.NoEncryption()
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    path.write_bytes(key.private_bytes(pem, pkcs8, plain) + certificate.public_bytes(pem))
    dialling = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    dialling.check_hostname = False
    dialling.verify_mode = ssl.CERT_NONE
    listening = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    listening.load_cert_chain(path)
    return dialling, listening
