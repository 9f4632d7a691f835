"""Perun's hashes and signatures, quickly: the device's encodings, coincurve's curve, a memory.

Signatures are real, strict, and the very ones that a device makes (RFC 6979): the unit tests and
`crypto` hold the device's own curve to the same.
"""

from __future__ import annotations

from functools import lru_cache

from adoption import encoding, verify
from coincurve import PrivateKey
from perun.chain.account import Account
from perun.chain.ethereum import Ethereum
from perun.model import Params, State

_CHAIN = Ethereum()
_KEYS: dict[bytes, PrivateKey] = {}


def account(number: int) -> Account:
    """A key made of a number from 1 to 255."""
    made = Account(bytes((number,)) * 32)
    _KEYS[made.address] = PrivateKey(bytes((number,)) * 32)
    return made


@lru_cache(1 << 14)
def _sign(address: bytes, hash32: bytes) -> bytes:
    raw = _KEYS[address].sign_recoverable(encoding.message_digest(hash32), hasher=None)
    return bytes(raw[:64]) + bytes((27 + raw[64],))


_verify = lru_cache(1 << 14)(verify.signed_by)
_state_hash = lru_cache(1 << 14)(_CHAIN.state_hash)
_channel_id = lru_cache(1 << 10)(_CHAIN.channel_id)
_withdrawal_hash = lru_cache(1 << 12)(_CHAIN.withdrawal_hash)


class Swift(Ethereum):
    """The chain room's interface."""

    def channel_id(self, params: Params) -> bytes:
        return _channel_id(params)

    def state_hash(self, state: State) -> bytes:
        return _state_hash(state)

    def withdrawal_hash(
        self, channel_id: bytes, participant: bytes, receiver: bytes, amount: int
    ) -> bytes:
        return _withdrawal_hash(channel_id, participant, receiver, amount)

    def sign(self, account: Account, hash32: bytes) -> bytes:
        return _sign(account.address, hash32)

    def verify(self, address: bytes, hash32: bytes, sig: bytes) -> bool:
        return _verify(address, hash32, sig)

    def sign_bytes(self, account: Account, data: bytes) -> bytes:
        return self.sign(account, encoding.keccak(data))

    def verify_bytes(self, address: bytes, data: bytes, sig: bytes) -> bool:
        return self.verify(address, encoding.keccak(data), sig)


SWIFT = Swift()
