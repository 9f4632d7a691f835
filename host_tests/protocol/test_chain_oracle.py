"""The chain room against eth-abi and coincurve, on random channels.

The formulas here are written from the contracts' tuple types, not from the code under test.
"""

from __future__ import annotations

from typing import Any

import coincurve
from eth_abi import encode
from eth_utils import keccak, to_checksum_address
from hypothesis import given, settings
from hypothesis import strategies as st

from perun.chain.account import Account
from perun.chain.address import from_text, to_checksum
from perun.chain.ethereum import Ethereum
from perun.model import NO_APP, Allocation, Asset, Params, State, SubAlloc

_LOCKED = "(bytes32,uint256[],uint16[])[]"
STATE = {
    1: f"(bytes32,uint64,((uint256,address)[],uint256[][],{_LOCKED}),bytes,bool)",
    2: f"(bytes32,uint64,((uint256,address,bytes)[],uint256[],uint256[][],{_LOCKED}),bytes,bool)",
}
PARAMS = {
    1: "(uint256,uint256,address[],address,bool,bool)",
    2: "(uint256,uint256,(address,bytes)[],address,bool,bool)",
}
WITHDRAWAL = {
    1: "(bytes32,address,address,uint256)",
    2: "(bytes32,(address,bytes),address,uint256)",
}
NONE = bytes(32)
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141

words = st.binary(min_size=32, max_size=32)
addresses = st.binary(min_size=20, max_size=20)
# Amounts of every length in bytes: hypothesis alone prefers small ones.
uint256 = st.integers(0, 32).flatmap(lambda n: st.integers(0, (1 << 8 * n) - 1))
uint64 = st.integers(0, (1 << 64) - 1)
generations = st.sampled_from((1, 2))
secrets = st.integers(1, ORDER - 1).map(lambda n: n.to_bytes(32, "big"))

ethereum_assets = st.builds(Asset, uint256, addresses, st.just(1))
foreign_assets = st.builds(
    Asset, st.just(0), st.binary(max_size=100), st.integers(2, (1 << 32) - 1)
)

# These saw all states before, of which an Ethereum keeps some
KEPT = {generation: Ethereum(generation) for generation in (1, 2)}


@st.composite
def states(draw: st.DrawFn, generation: int) -> State:
    kinds = ethereum_assets if generation == 1 else ethereum_assets | foreign_assets
    assets = tuple(draw(st.lists(kinds, min_size=1, max_size=5)))
    parts = draw(st.integers(1, 4))  # the encoding knows more than two
    row = st.tuples(*[uint256] * parts)
    maps = st.just(()) | st.tuples(*[st.integers(0, 0xFFFF)] * parts)
    sub = st.builds(SubAlloc, words, st.tuples(*[uint256] * len(assets)), maps)
    return State(
        draw(words),
        draw(uint64),
        draw(st.just(NO_APP) | addresses),
        Allocation(
            assets,
            tuple(draw(row) for _ in assets),
            tuple(draw(st.lists(sub, max_size=4))),
        ),
        draw(st.binary(max_size=200)),
        draw(st.booleans()),
    )


def encoded_state(generation: int, state: State) -> bytes:
    assets, balances, locked = state.allocation
    identity = tuple(range(len(balances[0])))
    subs = [(sub.id, sub.balances, sub.index_map or identity) for sub in locked]
    outcome: tuple[Any, ...]
    if generation == 1:
        outcome = ([(a.chain_id, a.holder) for a in assets], balances, subs)
    else:
        tuples = [
            (a.chain_id, a.holder, NONE) if a.backend == 1 else (a.backend, bytes(20), a.holder)
            for a in assets
        ]
        outcome = (tuples, [a.backend for a in assets], balances, subs)
    value = (state.id, state.version, outcome, state.data, state.is_final)
    return encode([STATE[generation]], [value])


generation_and_state = generations.flatmap(lambda g: st.tuples(st.just(g), states(g)))


@given(generation_and_state)
@settings(max_examples=300)
def test_state_hash(case: tuple[int, State]) -> None:
    generation, state = case
    expected = keccak(encoded_state(generation, state))
    for chain in (Ethereum(generation), KEPT[generation], KEPT[generation]):
        assert chain.state_hash(state) == expected


@given(
    generations,
    uint64,
    uint256,
    st.lists(addresses, max_size=5),
    st.just(NO_APP) | addresses,
    st.booleans(),
    st.booleans(),
)
def test_channel_id(
    generation: int,
    duration: int,
    nonce: int,
    participants: list[bytes],
    app: bytes,
    ledger: bool,
    virtual: bool,
) -> None:
    params = Params(duration, nonce, tuple(participants), app, ledger, virtual)
    listed = participants if generation == 1 else [(p, NONE) for p in participants]
    value = (duration, nonce, listed, app or bytes(20), ledger, virtual)
    expected = keccak(encode([PARAMS[generation]], [value]))
    assert Ethereum(generation).channel_id(params) == expected


@given(generations, words, addresses, addresses, uint256)
def test_withdrawal_and_funding(
    generation: int, channel_id: bytes, participant: bytes, receiver: bytes, amount: int
) -> None:
    chain = Ethereum(generation)
    who = participant if generation == 1 else (participant, NONE)
    value = (channel_id, who, receiver, amount)
    hash32 = chain.withdrawal_hash(channel_id, participant, receiver, amount)
    assert hash32 == keccak(encode([WITHDRAWAL[generation]], [value]))
    pair = encode(["bytes32", "address"], [channel_id, participant])
    assert chain.funding_id(channel_id, participant) == keccak(pair)


def oracle_sign(secret: bytes, digest: bytes) -> bytes:
    sig = coincurve.PrivateKey(secret).sign_recoverable(digest, hasher=None)
    return sig[:64] + bytes([sig[64] + 27])


@given(secrets, words)
@settings(max_examples=40)
def test_signatures(secret: bytes, hash32: bytes) -> None:
    public = coincurve.PrivateKey(secret).public_key.format(compressed=False)[1:]
    account = Account(secret)
    assert account.address == keccak(public)[12:]
    digest = keccak(b"\x19Ethereum Signed Message:\n32" + hash32)
    chain = Ethereum()
    sig = chain.sign(account, hash32)
    assert sig == oracle_sign(secret, digest)
    for _ in range(2):  # recovered, then with the kept key
        assert chain.verify(account.address, hash32, sig)
        assert not chain.verify(account.address, digest, sig)


@given(secrets, words, st.integers(0, 64), st.integers(1, 255))
@settings(max_examples=40)
def test_a_changed_signature_is_refused(
    secret: bytes, hash32: bytes, position: int, change: int
) -> None:
    account = Account(secret)
    chain = Ethereum()
    sig = chain.sign(account, hash32)
    wrong = bytearray(sig)
    wrong[position] ^= change
    assert not chain.verify(account.address, hash32, bytes(wrong))
    assert chain.verify(account.address, hash32, sig)
    assert not chain.verify(account.address, hash32, bytes(wrong))


@given(addresses)
def test_address_texts(address: bytes) -> None:
    assert to_checksum(address) == to_checksum_address(address)
    assert from_text(to_checksum(address)) == address
