"""The chain room against known encodings, hashes and signatures of both generations."""

from perun.chain.account import Account
from perun.chain.ethereum import Ethereum
from perun.chain.nonce import combine
from perun.crypto.keccak import keccak256
from perun.model import NO_APP, Allocation, Asset, Params, State, SubAlloc, ether
from support import raises, vector_json

VECTORS = vector_json("computed_vectors.json")
INPUTS = VECTORS["inputs"]
GENERATIONS = (1, 2)

unhex = bytes.fromhex
HOLDER = unhex(INPUTS["holder"])
RECEIVER = unhex(INPUTS["receiver"])
ACCOUNTS = (Account(unhex(INPUTS["sk0"])), Account(unhex(INPUTS["sk1"])))
ADDRESSES = (ACCOUNTS[0].address, ACCOUNTS[1].address)
NONCE = combine(unhex(INPUTS["nonce_share0"]), unhex(INPUTS["nonce_share1"]))
ASSET = ether(INPUTS["chain_id"], HOLDER)
APP = b"\x42" * 20


def known(generation):
    return VECTORS["gen%d" % generation]


def params(app=NO_APP, ledger=True, virtual=False):
    return Params(INPUTS["challenge_duration"], NONCE, ADDRESSES, app, ledger, virtual)


def allocation(balances, assets=(ASSET,), locked=()):
    return Allocation(assets, balances, locked)


def states(channel_id):
    """The states of the vectors by their names there."""
    two = (ASSET, ether(1, b"\x99" * 20))
    sub = SubAlloc(b"\x77" * 32, (10,), (0, 1))
    return {
        "state_v0": State(channel_id, 0, NO_APP, allocation(((100000, 100000),)), b"", False),
        "state_v1": State(channel_id, 1, NO_APP, allocation(((99900, 100100),)), b"", False),
        "state_v2_final": State(channel_id, 2, NO_APP, allocation(((0, 200000),)), b"", True),
        "state_v2_locked": State(
            channel_id, 2, NO_APP, allocation(((95, 95),), locked=(sub,)), b"", False
        ),
        "state_v3_two_assets_data": State(
            channel_id, 3, APP, allocation(((1, 2), (1 << 255, 0)), two), b"hello", False
        ),
    }


def plain(id=b"\x11" * 32, version=1, allocation=allocation(((1, 2),)), data=b""):
    return State(id, version, NO_APP, allocation, data, False)


def locking(sub, balances=((1, 2),), assets=(ASSET,)):
    return plain(allocation=allocation(balances, assets, (sub,)))


def one_after_another():
    """States of which some are like the one before, and some only almost."""
    two = (ASSET, ether(1, b"\x99" * 20))
    sub = SubAlloc(b"\x77" * 32, (10,), (0, 1))
    rows = ((0, 0), (1, 2), (1 << 64, (1 << 64) - 1), ((1 << 256) - 1, 1 << 255), (5, 6))
    for version, row in enumerate(rows):
        yield plain(version=version, allocation=allocation((row,)))
    yield State(b"\x22" * 32, (1 << 64) - 1, NO_APP, allocation(((5, 6),)), b"", True)
    yield plain(id=b"\x22" * 32)
    yield plain(data=b"more")
    yield plain(data=b"most")
    yield plain(allocation=allocation(((1, 2),), (two[1],)))
    yield plain(allocation=allocation(((1, 2, 3),)))
    yield plain(allocation=allocation(((3, 2, 1),)))
    for balances in (((1, 2), (3, 4)), ((1 << 99, 2), (3, 1 << 65)), ((1, 2), (3, 0))):
        yield plain(allocation=allocation(balances, two))
    yield locking(sub)
    yield locking(sub, ((7, 1 << 70),))
    yield locking(SubAlloc(b"\x77" * 32, (11,), (0, 1)))
    yield locking(SubAlloc(b"\x77" * 32, (11,), (1, 0)))
    yield plain()


# -- the vectors ------------------------------------------------------------------------------


def test_accounts():
    assert ADDRESSES[0].hex() == INPUTS["addr0"]
    assert ADDRESSES[1].hex() == INPUTS["addr1"]


def test_nonce():
    assert NONCE == int(INPUTS["nonce"], 16)
    for shares in ((b"\x11" * 31, b"\x22" * 32), (b"\x11" * 32, b"\x22" * 33)):
        raises(ValueError, combine, *shares)


def test_channel_ids():
    for generation in GENERATIONS:
        chain, vectors = Ethereum(generation), known(generation)
        for name, channel in (
            ("channel_id", params()),
            ("channel_id_virtual", params(ledger=False, virtual=True)),
            ("channel_id_sub", params(ledger=False)),
            ("channel_id_app", params(app=APP)),
        ):
            assert chain.channel_id(channel).hex() == vectors[name], (generation, name)


def test_states_and_their_signatures():
    for generation in GENERATIONS:
        chain, vectors = Ethereum(generation), known(generation)
        for name, state in states(unhex(vectors["channel_id"])).items():
            expected = vectors[name]
            hash32 = chain.state_hash(state)
            assert hash32 == keccak256(unhex(expected["abi"]))
            assert hash32.hex() == expected["hash"], (generation, name)
            for i, account in enumerate(ACCOUNTS):
                sig = chain.sign(account, hash32)
                assert sig.hex() == expected["sig%d" % i], (generation, name, i)
                assert sig == account.sign(unhex(expected["signed_digest"]))
                assert chain.verify(ADDRESSES[i], hash32, sig)
                assert not chain.verify(ADDRESSES[1 - i], hash32, sig)


def test_funding_ids():
    for generation in GENERATIONS:
        chain, vectors = Ethereum(generation), known(generation)
        for address, expected in zip(ADDRESSES, vectors["funding_ids"]):
            assert chain.funding_id(unhex(vectors["channel_id"]), address).hex() == expected


def test_withdrawal_authorization():
    for generation in GENERATIONS:
        chain, vectors = Ethereum(generation), known(generation)
        expected = vectors["withdrawal_auth"]
        hash32 = chain.withdrawal_hash(
            unhex(vectors["channel_id"]), ADDRESSES[0], RECEIVER, expected["amount"]
        )
        assert hash32.hex() == expected["hash"]
        assert chain.sign(ACCOUNTS[0], hash32).hex() == expected["sig"]


# -- known answers from other implementations --------------------------------------------------

RUST_ADDRESS = unhex("a9572220348b1080264e81c0779f77c144790cd6")
RUST_STATE_HASH = "e7518ad2414d38370ea5f21f1351eabce47480ab191c984ac12a3aedf70eda3d"
RUST_STATE_SIG = (
    "e274ea53fa64de7338bffbf264dc1f58a81e3660e426d328a2838944cbcc0402"
    "05353a79da2bf1c67650c14e32e944ae6644c1a7f8f06146f7b6d152c87bdfb11c"
)
RUST_BYTES_SIG = (
    "db101ce5201d7a04b67bdfe5c50b910524c62c0900c85997fd187a7b4e56aa99"
    "0f96e031be10092befa49e713218cb14c75a6f6a5aa4699d969f4348f873f0151b"
)


def test_perun_rs_state():
    chain = Ethereum(1)
    outcome = allocation(((0x5555, 0x6666),), (ether(0x3333, HOLDER),))
    state = State(b"1111" + bytes(28), 0x2222, NO_APP, outcome, b"", True)
    hash32 = chain.state_hash(state)
    assert hash32.hex() == RUST_STATE_HASH
    assert chain.verify(RUST_ADDRESS, hash32, unhex(RUST_STATE_SIG))


def test_perun_rs_bytes():
    encoded = (32).to_bytes(32, "big") + (4).to_bytes(32, "big") + b"\xa1\xa2\xa3\xa4" + bytes(28)
    chain = Ethereum(1)
    assert chain.verify_bytes(RUST_ADDRESS, encoded, unhex(RUST_BYTES_SIG))
    assert not chain.verify_bytes(RUST_ADDRESS, encoded[:-1], unhex(RUST_BYTES_SIG))


# -- rules of the encoding -----------------------------------------------------------------------


def test_empty_index_map_is_signed_as_identity():
    for generation in GENERATIONS:
        chain = Ethereum(generation)
        hashes = [
            chain.state_hash(locking(SubAlloc(b"\x77" * 32, (10,), index_map)))
            for index_map in ((), (0, 1), (1, 0))
        ]
        assert hashes[0] == hashes[1] != hashes[2]


def test_neither_app_nor_generation_is_confused():
    one, two = Ethereum(1), Ethereum(2)
    state = plain()
    assert one.state_hash(state) != two.state_hash(state)
    # A state's app is not signed: the params, and so the id, name it.
    other = State(state.id, state.version, APP, state.allocation, state.data, state.is_final)
    assert two.state_hash(state) == two.state_hash(other)
    raises(ValueError, Ethereum, 3)


def test_foreign_assets():
    state = plain(allocation=allocation(((1, 2),), (Asset(0, b"foreign asset", 6),)))
    expected = unhex(
        # chain 6, holder 0, 13 bytes of ccHolder, backend 6: computed with eth-abi
        "1aba835bba6360d1b0b1d2be153fb83d2d30625b230467c37254a16a221a8d86"
    )
    assert Ethereum(2).state_hash(state) == expected
    raises(ValueError, Ethereum(1).state_hash, state)


def test_values_out_of_range_give_no_hash():
    word = 1 << 256
    sub = SubAlloc(b"\x77" * 32, (10,), ())
    bad = (
        plain(id=bytes(31)),
        plain(version=1 << 64),
        plain(version=-1),
        plain(allocation=allocation(((word, 2),))),
        plain(allocation=allocation(((1, -2),))),
        plain(allocation=allocation(((1, 2),), (ether(word, HOLDER),))),
        plain(allocation=allocation(((1, 2),), (ether(1, HOLDER[:19]),))),
        plain(allocation=allocation(((1, 2),), (Asset(1, HOLDER, -1),))),
        plain(allocation=allocation((), ())),
        plain(allocation=allocation(((1, 2), (3, 4)))),
        plain(allocation=allocation(((1, 2), (3,)), (ASSET, ether(1, HOLDER)))),
        locking(SubAlloc(bytes(33), (10,), ())),
        locking(SubAlloc(sub.id, (word,), ())),
        locking(SubAlloc(sub.id, (), ())),
        locking(SubAlloc(sub.id, (10, 11), ())),
        locking(SubAlloc(sub.id, (10,), (0,))),
        locking(SubAlloc(sub.id, (10,), (0, 1, 0))),
        locking(SubAlloc(sub.id, (10,), (0, 1 << 16))),
    )
    for generation in GENERATIONS:
        chain = Ethereum(generation)
        chain.state_hash(locking(sub))
        for state in bad:
            raises(ValueError, chain.state_hash, state)
        for duration, nonce, participant, app in (
            (1 << 64, 0, ADDRESSES[1], NO_APP),
            (-1, 0, ADDRESSES[1], NO_APP),
            (1, word, ADDRESSES[1], NO_APP),
            (1, 0, ADDRESSES[1] + b"\x00", NO_APP),
            (1, 0, ADDRESSES[1], bytes(32)),
        ):
            wrong = Params(duration, nonce, (ADDRESSES[0], participant), app, True, False)
            raises(ValueError, chain.channel_id, wrong)
        raises(ValueError, chain.funding_id, bytes(31), RECEIVER)
        raises(ValueError, chain.funding_id, bytes(32), bytes(32))
        for amount in (-1, word):
            raises(ValueError, chain.withdrawal_hash, bytes(32), RECEIVER, RECEIVER, amount)


# -- signatures --------------------------------------------------------------------------------


def mangled(sig):
    """Signatures the contracts refuse; go-perun takes some of them off chain."""
    n = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    high = (n - int.from_bytes(sig[32:64], "big")).to_bytes(32, "big")
    return (
        sig[:64] + bytes((sig[64] - 27,)),
        sig[:64] + bytes((55 - sig[64],)),
        sig[:64],
        sig + b"\x00",
        sig[:32] + high + bytes((55 - sig[64],)),
        bytes(32) + sig[32:],
        sig[:32] + bytes(32) + sig[64:],
        n.to_bytes(32, "big") + sig[32:],
        b"",
    )


def test_strict_signatures_with_and_without_a_cached_key():
    chain = Ethereum(2)
    hash32 = b"\x55" * 32
    sig = chain.sign(ACCOUNTS[0], hash32)
    for _ in range(2):
        for wrong in mangled(sig):
            assert not chain.verify(ADDRESSES[0], hash32, wrong), wrong.hex()
        assert not chain.verify(ADDRESSES[0], b"\x56" * 32, sig)
        assert not chain.verify(ADDRESSES[0][:19], hash32, sig)
        assert chain.verify(ADDRESSES[0], hash32, sig)  # the second round has the key
    raises(ValueError, chain.verify, ADDRESSES[0], hash32[:31], sig)
    raises(ValueError, chain.sign, ACCOUNTS[0], hash32 + b"\x00")


def test_the_key_cache_is_bounded_and_right_when_it_turns_over():
    chain = Ethereum(2)
    hash32 = b"\x55" * 32
    accounts = [Account(bytes(31) + bytes((i,))) for i in range(1, 7)]
    sigs = [chain.sign(account, hash32) for account in accounts]
    for _ in range(2):
        for i, account in enumerate(accounts):
            assert chain.verify(account.address, hash32, sigs[i])
            assert not chain.verify(account.address, hash32, sigs[i - 1])
    assert len(chain._keys) == 4
    assert chain._keys[-1][0] == accounts[-1].address


def test_signed_bytes():
    chain = Ethereum(2)
    sig = chain.sign_bytes(ACCOUNTS[0], b"transcript")
    assert chain.verify_bytes(ADDRESSES[0], b"transcript", sig)
    assert not chain.verify_bytes(ADDRESSES[0], b"Transcript", sig)


def test_a_state_after_another():
    """What is kept from one state does not show in the hash of the next one."""
    for generation in GENERATIONS:
        chain = Ethereum(generation)
        for state in one_after_another():
            assert chain.state_hash(state) == Ethereum(generation).state_hash(state)


def test_bad_states_after_a_good_one():
    for generation in GENERATIONS:
        chain = Ethereum(generation)
        expected = chain.state_hash(plain())
        for bad in (
            plain(version=1 << 64),
            plain(version=-1),
            plain(id=b"\x11" * 31),
            plain(allocation=allocation(((1 << 256, 2),))),
            plain(allocation=allocation(((1, -1),))),
            plain(allocation=allocation(((1, 2), (3,)))),
            plain(allocation=allocation(())),
        ):
            raises(ValueError, chain.state_hash, bad)
        assert chain.state_hash(plain()) == expected
