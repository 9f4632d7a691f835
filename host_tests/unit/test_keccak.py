"""Keccak-256 and SHA3-256: known answers, and both permutations compared."""

import sys

from perun.compat import MICROPYTHON, native_module
from perun.crypto import _keccak_portable, keccak
from support import Random, raises, vector_json

# FIPS 202 example messages and the Keccak team's, then 00 01 02 ... of lengths around a block.
KNOWN = (
    (
        b"",
        "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470",
        "a7ffc6f8bf1ed76651c14756a061d662f580ff4de43b49fa82d80a4b80f8434a",
    ),
    (
        b"abc",
        "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45",
        "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532",
    ),
)
KNOWN_LENGTHS = (
    (
        135,
        "cbdfd9dee5faad3818d6b06f95a219fd290b0e1706f6a82e5a595b9ce9faca62",
        "fded8fd9d6551c601eeb3b7c6bc5e5cfd8aad1d015b7e9aaa9c9b9475231d5e2",
    ),
    (
        136,
        "7ce759f1ab7f9ce437719970c26b0a66ff11fe3e38e17df89cf5d29c7d7f807e",
        "cf3ccff92480a29160c2d38317c430e14749bfee1788106957dfe73f8c4930e5",
    ),
    (
        137,
        "ac73d4fae68b8453f764007c1a20ce95994187861f0c3227a3a8e99a73a3b1db",
        "ce9d7dc90913ee5d92745019479a5352c6d6279bef18ed07dc0a83ee8084daca",
    ),
    (
        271,
        "7c974895b2a88303ff2dc6b58f438ceb0b298cac91099ac0539cc0f477506191",
        "d409bcbb54825556454a757a1f629135ba49c0467dcf6b4e0aa69e9718dd31e6",
    ),
    (
        272,
        "fdf2ec49e749960d3c8521a0219af8d03e30e2b3bf19bd16150ee0eaf133d66e",
        "0b21ec4a8eff6d179e09ba9fe0ab08515b24e0923fbf419f5c30a38e64577db5",
    ),
    (
        273,
        "4f707289a9c3ccd0c4a51f2f17339f5dd171d371c04ff7783b735b5b22682eaf",
        "6e7f5de2677213044468ef21d3c8c57bb10cc5957e4f99d038db65ac3151e9c1",
    ),
    (
        832,
        "85d4a1e80a9b9a245b29c45428dc7add3c5493dbed91fd0e6b9f9af3b5482ed6",
        "b0803e95009000d9e09d7d982d6682ec3307c8752f79166a2d7ff293477f1b95",
    ),
)


def counting(length):
    return bytes([i & 255 for i in range(length)])


def test_known_answers():
    for message, keccak256, sha3_256 in KNOWN:
        assert keccak.keccak256(message).hex() == keccak256
        assert keccak.sha3_256(message).hex() == sha3_256
    for length, keccak256, sha3_256 in KNOWN_LENGTHS:
        assert keccak.keccak256(counting(length)).hex() == keccak256
        assert keccak.sha3_256(counting(length)).hex() == sha3_256


def test_fips_202_long_message():
    expected = "79f38adec5c20307a98ef76e8324afbfd46cfd81b22e3973c65fa1bd9de31787"
    assert keccak.sha3_256(b"\xa3" * 200).hex() == expected


def test_hashes_of_perun():
    vectors = vector_json("computed_vectors.json")
    inputs = vectors["inputs"]
    shares = bytes.fromhex(inputs["nonce_share0"] + inputs["nonce_share1"])
    assert keccak.sha3_256(shares).hex() == inputs["nonce"]
    for generation in ("gen1", "gen2"):
        for name, value in vectors[generation].items():
            if name.startswith("state_v"):
                state_hash = keccak.keccak256(bytes.fromhex(value["abi"]))
                assert state_hash.hex() == value["hash"]
                digest = keccak.keccak256(b"\x19Ethereum Signed Message:\n32" + state_hash)
                assert digest.hex() == value["signed_digest"]


def test_kinds_of_buffers():
    message = counting(300)
    expected = keccak.keccak256(message)
    assert keccak.keccak256(bytearray(message)) == expected
    assert keccak.keccak256(memoryview(message)) == expected
    # at odd addresses too
    shifted = memoryview(b"\xff\xff\xff" + message + b"\xff")
    assert keccak.keccak256(shifted[3:303]) == expected


def test_input_is_not_changed():
    message = bytearray(counting(200))
    keccak.keccak256(message)
    assert message == counting(200)


def test_refuses_what_is_not_bytes():
    for wrong in ("c", 3, None, [1], (1,)):
        raises(TypeError, keccak.keccak256, wrong)
        raises(TypeError, keccak.sha3_256, wrong)


def test_permutation_of_zeros():
    state = bytearray(200)
    for lane0 in (0xF1258F7940E1DDE7, 0x2D5C954DF96ECB3C):
        _keccak_portable.permute(state)
        assert int.from_bytes(state[:8], "little") == lane0


def test_the_native_permutation_is_there_and_equals_the_portable():
    native = native_module("perun.crypto._keccak_viper")
    if not MICROPYTHON:
        assert native is None and keccak.BACKEND == "portable"
        return
    assert keccak.BACKEND == native.NAME == "viper"
    random = Random(1600)
    # Single bits, so that every lane and rotation is seen alone, and random states.
    states = [bytearray(200) for _ in range(25)]
    for lane in range(25):
        states[lane][8 * lane + random.below(8)] = 1 << random.below(8)
    states.append(bytearray(b"\xff" * 200))
    states.extend([bytearray(random.bytes(200)) for _ in range(10)])
    for state in states:
        twin = bytearray(state)
        native.permute(state)
        _keccak_portable.permute(twin)
        assert state == twin


def test_native_module_falls_back():
    assert native_module("perun.crypto._no_such_module") is None
    assert "perun.crypto._no_such_module" not in sys.modules
