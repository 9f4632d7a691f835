"""What the chain hashes, encodes and signs, with eth-abi: independent of the device's own code.

Source: the ABI of Perun's contracts, generations 1 and 2. In generation 2 participants are
(address, bytes) tuples whose second part is 32 zero bytes, assets likewise, and each asset has a
backend; generation 1 has none of that. The store keeps what generation 2 encodes, whatever the
chain speaks.
"""

from __future__ import annotations

from typing import Any

from eth_abi import decode, encode
from eth_abi.exceptions import DecodingError
from eth_utils import function_signature_to_4byte_selector
from eth_utils import keccak as _keccak
from perun.model import NO_APP, Allocation, Asset, Params, State, SubAlloc

NEWEST = 2  # generation of the contracts

_PARTICIPANT = {1: "address", 2: "(address,bytes)"}
_ASSETS = {1: "(uint256,address)[]", 2: "(uint256,address,bytes)[],uint256[]"}
_LOCKED = "(bytes32,uint256[],uint16[])[]"
# By generation.
PARAMS_TYPE = {g: f"(uint256,uint256,{_PARTICIPANT[g]}[],address,bool,bool)" for g in (1, 2)}
STATE_TYPE = {
    g: f"(bytes32,uint64,({_ASSETS[g]},uint256[][],{_LOCKED}),bytes,bool)" for g in (1, 2)
}
SIGNED_TYPE = {g: f"({PARAMS_TYPE[g]},{STATE_TYPE[g]},bytes[])" for g in (1, 2)}
WITHDRAWAL_TYPE = {g: f"(bytes32,{_PARTICIPANT[g]},address,uint256)" for g in (1, 2)}


def _selectors(name: str, arguments: str) -> dict[int, bytes]:
    """By generation; in `arguments` P, S and SIGNED stand for the types."""
    found = {}
    for g in (1, 2):
        types = {"P": PARAMS_TYPE[g], "S": STATE_TYPE[g], "SIGNED": SIGNED_TYPE[g]}
        found[g] = function_signature_to_4byte_selector(f"{name}({arguments.format(**types)})")
    return found


REGISTER = _selectors("register", "{SIGNED},{SIGNED}[]")
PROGRESS = _selectors("progress", "{P},{S},{S},uint256,bytes")
CONCLUDE_FINAL = _selectors("concludeFinal", "{P},{S},bytes[]")

_ZERO_ADDRESS = bytes(20)
_NO_FOREIGN = bytes(32)


def keccak(data: bytes) -> bytes:
    """Keccak-256."""
    return bytes(_keccak(data))


def message_digest(hash32: bytes) -> bytes:
    """What is signed for a 32-byte hash: Ethereum's signed message digest."""
    return keccak(b"\x19Ethereum Signed Message:\n32" + hash32)


def address_of(public_key: bytes) -> bytes:
    """The address of an uncompressed public key (65 bytes, first one 4)."""
    return keccak(public_key[1:])[12:]


def _participant(address: bytes, generation: int) -> Any:
    return address if generation == 1 else (address, _NO_FOREIGN)


def params_tuple(params: Params, generation: int = NEWEST) -> tuple[Any, ...]:
    """Params as the contracts take them."""
    return (
        params.challenge_duration,
        params.nonce,
        [_participant(address, generation) for address in params.participants],
        params.app or _ZERO_ADDRESS,
        params.ledger,
        params.virtual,
    )


def state_tuple(state: State, generation: int = NEWEST) -> tuple[Any, ...]:
    """A State as the contracts take it."""
    allocation = state.allocation
    width = len(allocation.balances[0])
    locked = [
        (sub.id, list(sub.balances), list(sub.index_map) or list(range(width)))
        for sub in allocation.locked
    ]
    assets: list[Any]
    if generation == 1:
        assets = [[(asset.chain_id, asset.holder) for asset in allocation.assets]]
    else:
        assets = [
            [(asset.chain_id, asset.holder, _NO_FOREIGN) for asset in allocation.assets],
            [asset.backend for asset in allocation.assets],
        ]
    outcome = (*assets, [list(row) for row in allocation.balances], locked)
    return (state.id, state.version, outcome, state.data, state.is_final)


def params_bytes(params: Params, generation: int = NEWEST) -> bytes:
    """The ABI encoding of params: what the channel id is the hash of, and how they are stored."""
    return encode([PARAMS_TYPE[generation]], [params_tuple(params, generation)])


def state_bytes(state: State, generation: int = NEWEST) -> bytes:
    """The ABI encoding of a state: what is signed, and how it is stored."""
    return encode([STATE_TYPE[generation]], [state_tuple(state, generation)])


def channel_id(params: Params, generation: int = NEWEST) -> bytes:
    """The id that params give their channel."""
    return keccak(params_bytes(params, generation))


def state_hash(state: State, generation: int = NEWEST) -> bytes:
    """keccak256 of the state's encoding."""
    return keccak(state_bytes(state, generation))


def funding_id(channel: bytes, participant: bytes) -> bytes:
    """Where an asset holder keeps the deposit of one participant."""
    return keccak(encode(["bytes32", "address"], [channel, participant]))


def withdrawal_tuple(
    channel: bytes, participant: bytes, receiver: bytes, amount: int, generation: int = NEWEST
) -> tuple[Any, ...]:
    """A withdrawal authorization as the contracts take it."""
    return (channel, _participant(participant, generation), receiver, amount)


def withdrawal_hash(
    channel: bytes, participant: bytes, receiver: bytes, amount: int, generation: int = NEWEST
) -> bytes:
    """What a participant signs to let anybody withdraw `amount` to `receiver`."""
    value = withdrawal_tuple(channel, participant, receiver, amount, generation)
    return keccak(encode([WITHDRAWAL_TYPE[generation]], [value]))


def read_params(data: bytes) -> Params:
    """Params as they are stored. Raises ValueError."""
    return _params(_decode([PARAMS_TYPE[NEWEST]], data)[0])


def read_state(data: bytes, app: bytes) -> State:
    """A state as it is stored; the app is not part of it. Raises ValueError."""
    return _state(_decode([STATE_TYPE[NEWEST]], data)[0], app)


def _decode(types: list[str], data: bytes) -> tuple[Any, ...]:
    try:
        return decode(types, data)
    except (DecodingError, OverflowError, ValueError) as error:
        raise ValueError("not a valid ABI encoding") from error


def _address(text: str) -> bytes:
    return bytes.fromhex(text[2:])


def _params(value: Any) -> Params:
    duration, nonce, participants, app, ledger, virtual = value
    parts = tuple(_address(address) for address, _ in participants)
    raw = _address(app)
    return Params(duration, nonce, parts, NO_APP if raw == _ZERO_ADDRESS else raw, ledger, virtual)


def _state(value: Any, app: bytes) -> State:
    ident, version, (assets, backends, balances, locked), data, is_final = value
    if len(assets) != len(backends):
        raise ValueError("one backend per asset is needed")
    named = tuple(
        Asset(chain, _address(holder), backend)
        for (chain, holder, _), backend in zip(assets, backends, strict=True)
    )
    subs = tuple(SubAlloc(sub, tuple(bals), tuple(index)) for sub, bals, index in locked)
    allocation = Allocation(named, tuple(tuple(row) for row in balances), subs)
    return State(ident, version, app, allocation, data, is_final)
