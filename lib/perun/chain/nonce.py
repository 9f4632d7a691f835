"""The nonce of a channel: both participants have a share in it, so neither chooses it alone."""

from perun.crypto.keccak import sha3_256


def combine(share_proposer, share_proposee):
    """The combined nonce as an integer: NIST SHA3-256 (not Keccak) over both 32-byte shares."""
    if len(share_proposer) != 32 or len(share_proposee) != 32:
        raise ValueError("a nonce share has 32 bytes")
    return int.from_bytes(sha3_256(share_proposer + share_proposee), "big")
