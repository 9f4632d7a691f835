"""What the chain hashes, encodes and signs, with eth-abi: independent of the device's own code.

Source: the ABI of Perun's gen2 contracts. Participants are (address, bytes) tuples whose second
part is 32 zero bytes; assets likewise.
"""

from __future__ import annotations

from typing import Any

from eth_abi import decode, encode
from eth_abi.exceptions import DecodingError
from eth_utils import function_signature_to_4byte_selector
from eth_utils import keccak as _keccak
from perun.model import NO_APP, Allocation, Asset, Params, State, SubAlloc

PARAMS_TYPE = "(uint256,uint256,(address,bytes)[],address,bool,bool)"
_ALLOCATION = "((uint256,address,bytes)[],uint256[],uint256[][],(bytes32,uint256[],uint16[])[])"
STATE_TYPE = f"(bytes32,uint64,{_ALLOCATION},bytes,bool)"
SIGNED_TYPE = f"({PARAMS_TYPE},{STATE_TYPE},bytes[])"
WITHDRAWAL_TYPE = "(bytes32,(address,bytes),address,uint256)"

REGISTER = function_signature_to_4byte_selector(f"register({SIGNED_TYPE},{SIGNED_TYPE}[])")
PROGRESS = function_signature_to_4byte_selector(
    f"progress({PARAMS_TYPE},{STATE_TYPE},{STATE_TYPE},uint256,bytes)"
)
CONCLUDE_FINAL = function_signature_to_4byte_selector(
    f"concludeFinal({PARAMS_TYPE},{STATE_TYPE},bytes[])"
)

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


def _participant(address: bytes) -> tuple[bytes, bytes]:
    return (address, _NO_FOREIGN)


def params_tuple(params: Params) -> tuple[Any, ...]:
    """Params as the contracts take them."""
    return (
        params.challenge_duration,
        params.nonce,
        [_participant(address) for address in params.participants],
        params.app or _ZERO_ADDRESS,
        params.ledger,
        params.virtual,
    )


def state_tuple(state: State) -> tuple[Any, ...]:
    """A State as the contracts take it."""
    allocation = state.allocation
    width = len(allocation.balances[0])
    locked = [
        (sub.id, list(sub.balances), list(sub.index_map) or list(range(width)))
        for sub in allocation.locked
    ]
    outcome = (
        [(asset.chain_id, asset.holder, _NO_FOREIGN) for asset in allocation.assets],
        [asset.backend for asset in allocation.assets],
        [list(row) for row in allocation.balances],
        locked,
    )
    return (state.id, state.version, outcome, state.data, state.is_final)


def params_bytes(params: Params) -> bytes:
    """The ABI encoding of params: what the channel id is the hash of, and how they are stored."""
    return encode([PARAMS_TYPE], [params_tuple(params)])


def state_bytes(state: State) -> bytes:
    """The ABI encoding of a state: what is signed, and how it is stored."""
    return encode([STATE_TYPE], [state_tuple(state)])


def channel_id(params: Params) -> bytes:
    """The id that params give their channel."""
    return keccak(params_bytes(params))


def state_hash(state: State) -> bytes:
    """keccak256 of the state's encoding."""
    return keccak(state_bytes(state))


def funding_id(channel: bytes, participant: bytes) -> bytes:
    """Where an asset holder keeps the deposit of one participant."""
    return keccak(encode(["bytes32", "address"], [channel, participant]))


def withdrawal_tuple(
    channel: bytes, participant: bytes, receiver: bytes, amount: int
) -> tuple[Any, ...]:
    """A withdrawal authorization as the contracts take it."""
    return (channel, _participant(participant), receiver, amount)


def withdrawal_hash(channel: bytes, participant: bytes, receiver: bytes, amount: int) -> bytes:
    """What a participant signs to let anybody withdraw `amount` to `receiver`."""
    value = withdrawal_tuple(channel, participant, receiver, amount)
    return keccak(encode([WITHDRAWAL_TYPE], [value]))


def read_params(data: bytes) -> Params:
    """Params from their ABI encoding. Raises ValueError."""
    return _params(_decode([PARAMS_TYPE], data)[0])


def read_state(data: bytes, app: bytes) -> State:
    """A state from its ABI encoding; the app is not part of it. Raises ValueError."""
    return _state(_decode([STATE_TYPE], data)[0], app)


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
