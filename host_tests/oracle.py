"""A second reading of what Perun hashes and signs, made of eth-abi and coincurve alone.

Shares no code with lib/perun, so the two check each other. Tuples have the shape of the contracts'
ABI: what comes out of params() and state() can be encoded, hashed, or handed to web3 as it is.
`generation` is that of the contracts, 1 or 2.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

from coincurve import PrivateKey, PublicKey
from eth_abi.abi import encode
from eth_utils.crypto import keccak

NOBODY = bytes(20)
# What stands for the address or the holder on another chain where there is none
ELSEWHERE = bytes(32)
ETHEREUM = 1  # the number of the backend
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141

_LOCKED = "(bytes32,uint256[],uint16[])[]"
PARAMS_TYPE = {
    1: "(uint256,uint256,address[],address,bool,bool)",
    2: "(uint256,uint256,(address,bytes)[],address,bool,bool)",
}
STATE_TYPE = {
    1: f"(bytes32,uint64,((uint256,address)[],uint256[][],{_LOCKED}),bytes,bool)",
    2: f"(bytes32,uint64,((uint256,address,bytes)[],uint256[],uint256[][],{_LOCKED}),bytes,bool)",
}
AUTHORIZATION_TYPE = {
    1: "(bytes32,address,address,uint256)",
    2: "(bytes32,(address,bytes),address,uint256)",
}

Tuple = tuple[Any, ...]


# keys and signatures


def address(secret: bytes) -> bytes:
    """The 20 bytes of the Ethereum address of a key."""
    return _address(PrivateKey(secret).public_key)


def digest(data: bytes) -> bytes:
    """The 32 bytes that are signed for data: hash, prefix, hash again."""
    return keccak(b"\x19Ethereum Signed Message:\n32" + keccak(data))


def sign(secret: bytes, data: bytes) -> bytes:
    """r, s, v (65 bytes): RFC 6979, low s, v 27 or 28."""
    signature = PrivateKey(secret).sign_recoverable(digest(data), hasher=None)
    return signature[:64] + bytes([27 + signature[64]])


def verify(signer: bytes, data: bytes, signature: bytes) -> bool:
    """As strict as the contracts: 65 bytes, v 27 or 28, low s, that signer."""
    if len(signature) != 65 or signature[64] not in (27, 28):
        return False
    if int.from_bytes(signature[32:64], "big") > ORDER // 2:
        return False
    plain = signature[:64] + bytes([signature[64] - 27])
    try:
        key = PublicKey.from_signature_and_message(plain, digest(data), hasher=None)
    except Exception:  # whatever it is that cannot be a signature
        return False
    return _address(key) == signer


def compact(signature: bytes) -> bytes:
    """The 64 byte form of EIP-2098: v is the top bit of s."""
    return signature[:32] + bytes([signature[32] | (signature[64] - 27) << 7]) + signature[33:64]


def _address(key: PublicKey) -> bytes:
    return keccak(key.format(compressed=False)[1:])[12:]


# channels and states


def nonce(share0: bytes, share1: bytes) -> int:
    """The nonce of a channel from the shares of proposer and responder."""
    return int.from_bytes(hashlib.sha3_256(share0 + share1).digest(), "big")


def params(
    participants: Iterable[bytes],
    nonce: int = 1,
    duration: int = 60,
    app: bytes = NOBODY,
    ledger: bool = True,
    virtual: bool = False,
    generation: int = 2,
) -> Tuple:
    parts = list(participants)
    shown = parts if generation == 1 else [(part, ELSEWHERE) for part in parts]
    return (duration, nonce, shown, app, ledger, virtual)


def state(
    channel: bytes,
    version: int,
    assets: Sequence[tuple[int, bytes]],
    balances: Sequence[Sequence[int]],
    locked: Sequence[Tuple] = (),
    data: bytes = b"",
    final: bool = False,
    generation: int = 2,
) -> Tuple:
    """assets: (chain id, holder); balances: a row of the participants' amounts for each asset;
    locked: (channel id, an amount for each asset, index map)."""
    rows = [list(row) for row in balances]
    if generation == 1:
        outcome: Tuple = (list(assets), rows, list(locked))
    else:
        shown = [(chain, holder, ELSEWHERE) for chain, holder in assets]
        outcome = (shown, [ETHEREUM] * len(shown), rows, list(locked))
    return (channel, version, outcome, data, final)


def authorization(
    channel: bytes, participant: bytes, receiver: bytes, amount: int, generation: int = 2
) -> Tuple:
    """Of a withdrawal."""
    shown = participant if generation == 1 else (participant, ELSEWHERE)
    return (channel, shown, receiver, amount)


def params_bytes(params: Tuple, generation: int = 2) -> bytes:
    return encode([PARAMS_TYPE[generation]], [params])


def channel_id(params: Tuple, generation: int = 2) -> bytes:
    return keccak(params_bytes(params, generation))


def state_bytes(state: Tuple, generation: int = 2) -> bytes:
    """What the participants sign."""
    return encode([STATE_TYPE[generation]], [state])


def state_hash(state: Tuple, generation: int = 2) -> bytes:
    return keccak(state_bytes(state, generation))


def authorization_bytes(authorization: Tuple, generation: int = 2) -> bytes:
    """What the participant signs to be paid."""
    return encode([AUTHORIZATION_TYPE[generation]], [authorization])


def funding_id(channel: bytes, participant: bytes) -> bytes:
    """Where the deposit of a participant is booked."""
    return keccak(encode(["bytes32", "address"], [channel, participant]))
