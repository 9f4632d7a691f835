"""A key pair that signs. The secret never leaves the object, not even in its printed form."""

from perun.chain.address import to_checksum
from perun.crypto import secp256k1
from perun.crypto.keccak import keccak256


def address_of(public_key):
    """The 20-byte Ethereum address of a 64-byte public key."""
    return keccak256(public_key)[12:]


class Account:
    """The account of a 32-byte secret. Raises ValueError for a secret that is no valid key."""

    def __init__(self, secret):
        self.public_key = secp256k1.public_key(secret)
        self.address = address_of(self.public_key)
        self._secret = bytes(secret)

    def sign(self, digest):
        """The deterministic 65-byte signature r || s || v over a 32-byte digest, low s."""
        return secp256k1.sign(digest, self._secret)

    def __repr__(self):
        return "<Account %s>" % to_checksum(self.address)
