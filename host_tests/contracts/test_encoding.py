"""Ids, hashes and signatures: contracts, oracle and known values agree."""

import json
from pathlib import Path

import oracle
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scene import ALICE, BOB, reverts
from web3.exceptions import ContractLogicError

KNOWN = json.loads((Path(__file__).parents[1] / "vectors" / "computed_vectors.json").read_text())
INPUTS = KNOWN["inputs"]
SECRETS = [bytes.fromhex(INPUTS["sk0"]), bytes.fromhex(INPUTS["sk1"])]
PARTICIPANTS = [bytes.fromhex(INPUTS["addr0"]), bytes.fromhex(INPUTS["addr1"])]
ASSETS = [(INPUTS["chain_id"], bytes.fromhex(INPUTS["holder"]))]
RECEIVER = bytes.fromhex(INPUTS["receiver"])


def known_params(**more):
    return oracle.params(
        PARTICIPANTS, int(INPUTS["nonce"], 16), INPUTS["challenge_duration"], **more
    )


KINDS = {
    "channel_id": {},
    "channel_id_virtual": {"ledger": False, "virtual": True},
    "channel_id_sub": {"ledger": False},
    "channel_id_app": {"app": b"\x42" * 20},
}
STATES = {
    "state_v0": (0, ASSETS, [[100000, 100000]], {}),
    "state_v1": (1, ASSETS, [[99900, 100100]], {}),
    "state_v2_final": (2, ASSETS, [[0, 200000]], {"final": True}),
    "state_v2_locked": (2, ASSETS, [[95, 95]], {"locked": [(b"\x77" * 32, [10], [0, 1])]}),
    "state_v3_two_assets_data": (
        3,
        [*ASSETS, (1, b"\x99" * 20)],
        [[1, 2], [2**255, 0]],
        {"data": b"hello"},
    ),
}


def test_keys_and_nonce():
    assert [oracle.address(secret) for secret in SECRETS] == PARTICIPANTS
    shares = [bytes.fromhex(INPUTS[f"nonce_share{number}"]) for number in (0, 1)]
    assert oracle.nonce(*shares) == int(INPUTS["nonce"], 16)


@pytest.mark.parametrize("generation", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_oracle_knows_ids(kind, generation):
    params = known_params(generation=generation, **KINDS[kind])
    assert oracle.channel_id(params, generation).hex() == KNOWN[f"gen{generation}"][kind]


@pytest.mark.parametrize("generation", [1, 2])
@pytest.mark.parametrize("name", STATES)
def test_oracle_knows_states(name, generation):
    known = KNOWN[f"gen{generation}"]
    version, assets, balances, more = STATES[name]
    channel = bytes.fromhex(known["channel_id"])
    state = oracle.state(channel, version, assets, balances, generation=generation, **more)
    data = oracle.state_bytes(state, generation)
    expected = known[name]
    assert data.hex() == expected["abi"]
    assert oracle.state_hash(state, generation).hex() == expected["hash"]
    assert oracle.digest(data).hex() == expected["signed_digest"]
    for number, secret in enumerate(SECRETS):
        signature = oracle.sign(secret, data)
        assert signature.hex() == expected[f"sig{number}"]
        assert oracle.verify(PARTICIPANTS[number], data, signature)
        assert not oracle.verify(PARTICIPANTS[1 - number], data, signature)
        assert not oracle.verify(PARTICIPANTS[number], data + b"\0", signature)


@pytest.mark.parametrize("generation", [1, 2])
def test_oracle_knows_withdrawals(generation):
    known = KNOWN[f"gen{generation}"]
    channel = bytes.fromhex(known["channel_id"])
    expected = known["withdrawal_auth"]
    authorization = oracle.authorization(
        channel, PARTICIPANTS[0], RECEIVER, int(expected["amount"]), generation
    )
    data = oracle.authorization_bytes(authorization, generation)
    assert data.hex() == expected["abi"]
    assert oracle.sign(SECRETS[0], data).hex() == expected["sig"]
    found = [oracle.funding_id(channel, participant).hex() for participant in PARTICIPANTS]
    assert found == known["funding_ids"]


@pytest.mark.parametrize("kind", KINDS)
def test_contract_knows_ids(scene, kind):
    found = scene.calls.channelID(known_params(**KINDS[kind])).call()
    assert found.hex() == KNOWN["gen2"][kind]


@pytest.mark.parametrize("name", STATES)
def test_contract_knows_states(scene, name):
    version, assets, balances, more = STATES[name]
    channel = bytes.fromhex(KNOWN["gen2"]["channel_id"])
    state = oracle.state(channel, version, assets, balances, **more)
    assert scene.calls.hashState(state).call().hex() == KNOWN["gen2"][name]["hash"]


words = st.integers(0, 2**256 - 1)
addresses = st.binary(min_size=20, max_size=20)
hashes = st.binary(min_size=32, max_size=32)
rows = st.lists(words, max_size=3)
any_params = st.tuples(
    words,
    words,
    st.lists(st.tuples(addresses, st.binary(max_size=70)), max_size=4),
    addresses,
    st.booleans(),
    st.booleans(),
)
any_state = st.tuples(
    hashes,
    st.integers(0, 2**64 - 1),
    st.tuples(
        st.lists(st.tuples(words, addresses, st.binary(max_size=70)), max_size=3),
        rows,
        st.lists(rows, max_size=3),
        st.lists(st.tuples(hashes, rows, st.lists(st.integers(0, 65535), max_size=3)), max_size=3),
    ),
    st.binary(max_size=100),
    st.booleans(),
)
few = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


@few
@given(params=any_params)
def test_any_id(scene, params):
    assert scene.calls.channelID(params).call() == oracle.channel_id(params)


@few
@given(state=any_state)
def test_any_hash(scene, state):
    assert scene.calls.hashState(state).call() == oracle.state_hash(state)


# what the chain takes as a signature


def test_compact_signatures(scene):
    channel = scene.open()
    state = channel.state(final=True)
    # a version for which v is 27 in one signature and 28 in the other
    while {sig[64] for sig in channel.sign(state)} != {27, 28}:
        state = channel.state(state[1] + 1, final=True)
    scene.conclude_final(channel, state, [oracle.compact(sig) for sig in channel.sign(state)])


def high_s(signature):
    s = oracle.ORDER - int.from_bytes(signature[32:64], "big")
    return signature[:32] + s.to_bytes(32, "big") + bytes([55 - signature[64]])


BAD = {
    "empty": (lambda sig: b"", "ECDSA: invalid signature length"),
    "short": (lambda sig: sig[:63], "ECDSA: invalid signature length"),
    "long": (lambda sig: sig + b"\0", "ECDSA: invalid signature length"),
    "high s": (high_s, "ECDSA: invalid signature 's' value"),
    "v 0": (lambda sig: sig[:64] + b"\0", "ECDSA: invalid signature 'v' value"),
    "v 1": (lambda sig: sig[:64] + b"\1", "ECDSA: invalid signature 'v' value"),
    "v 29": (lambda sig: sig[:64] + b"\x1d", "ECDSA: invalid signature 'v' value"),
    "r 0": (lambda sig: bytes(32) + sig[32:], "ECDSA: invalid signature"),
    "s 0": (lambda sig: sig[:32] + bytes(32) + sig[64:], "ECDSA: invalid signature"),
    "r too large": (lambda sig: b"\xff" * 32 + sig[32:], "ECDSA: invalid signature"),
    "other v": (lambda sig: sig[:64] + bytes([55 - sig[64]]), "invalid signature"),
    # 64 bytes are a compact signature: r and s without v are not
    "no v": (lambda sig: sig[:64], "invalid signature"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_signatures(scene, name):
    spoil, reason = BAD[name]
    channel = scene.open()
    state = channel.state(final=True)
    while channel.sign(state)[1][64] != 28:
        state = channel.state(state[1] + 1, final=True)
    good, bad = channel.sign(state)
    bad = spoil(bad)
    assert not oracle.verify(oracle.address(BOB), oracle.state_bytes(state), bad)
    reverts(reason, scene.conclude_final, channel, state, [good, bad])
    # the same rules wherever a signature is read
    reverts(
        reason, scene.chain.send, scene.calls.register((channel.params, state, [good, bad]), [])
    )


def test_highest_s(scene):
    """s may be half of the order, not one more: with such an s the signer is somebody else."""
    channel = scene.open()
    state = channel.state(final=True)
    first = channel.sign(state)[0]
    for s, reason in (
        (oracle.ORDER // 2, "invalid signature"),
        (oracle.ORDER // 2 + 1, "ECDSA: invalid signature 's' value"),
    ):
        sigs = [first, first[:32] + s.to_bytes(32, "big") + b"\x1b"]
        reverts(reason, scene.conclude_final, channel, state, sigs)


def test_signers_are_oracles_addresses(scene):
    assert scene.open().params[2] == [
        (oracle.address(ALICE), oracle.ELSEWHERE),
        (oracle.address(BOB), oracle.ELSEWHERE),
    ]


# words that hold more than their type can: the chain must not cut them to something signed


def test_words_out_of_range(scene):
    locked = [(b"\x77" * 32, [10], [0, 1])]
    state = oracle.state(b"\x11" * 32, 3, ASSETS, [[4, 5]], locked)
    call = scene.calls.hashState(state)
    data = bytes.fromhex(call._encode_transaction_data()[2:])
    words = [data[start : start + 32] for start in range(4, len(data), 32)]
    assert b"".join(words) == oracle.state_bytes(state)
    index_map = len(words) - 2  # of three words, before the empty app data
    assert [int.from_bytes(word) for word in words[index_map - 2 :]] == [2, 0, 1, 0]
    holder = words.index(bytes(12) + ASSETS[0][1])
    for place, type_bits in ((2, 64), (5, 1), (holder, 160), (index_map, 16)):
        value = int.from_bytes(words[place]) | 1 << type_bits
        spoiled = [*words[:place], value.to_bytes(32), *words[place + 1 :]]
        transaction = {"to": scene.chain.place.adjudicator, "data": data[:4] + b"".join(spoiled)}
        with pytest.raises(ContractLogicError):
            scene.chain.web3.eth.call(transaction)
    transaction["data"] = data
    assert scene.chain.web3.eth.call(transaction) == oracle.state_hash(state)
