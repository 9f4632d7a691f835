"""The device's cryptography against coincurve (libsecp256k1), pycryptodome and hashlib."""

from __future__ import annotations

import hashlib
import os
import random

import coincurve
import pytest
from Crypto.Hash import keccak as pycryptodome
from hypothesis import example, given, settings
from hypothesis import strategies as st

from perun.crypto import keccak
from perun.crypto import secp256k1 as curve

N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def octets(number: int) -> bytes:
    return number.to_bytes(32, "big")


def near(*numbers: int) -> st.SearchStrategy[int]:
    """Numbers of 256 bits, often ones where carries, signs and ranges change."""
    edges = [n + d for n in numbers for d in (-2, -1, 0, 1, 2) if 0 <= n + d < 1 << 256]
    runs = st.builds(
        lambda high, low: ((1 << high) - 1) ^ ((1 << low) - 1),
        st.integers(0, 256),
        st.integers(0, 256),
    )
    return st.one_of(st.integers(0, (1 << 256) - 1), st.sampled_from(edges), runs)


# A case takes some 3 ms of a processor: CI has seconds for thousands of them. The whole:
# PERUN_CASES=100000 pytest host_tests/crypto/test_against_libraries.py -k many
CASES = int(os.environ.get("PERUN_CASES", "4000"))

SECRETS = near(1, N, N >> 1, 1 << 128, 1 << 255).filter(lambda d: 0 < d < N)
DIGESTS = near(0, N, 1 << 128, (1 << 256) - 1).map(octets)


def keccak256(data: bytes) -> bytes:
    return pycryptodome.new(digest_bits=256, data=data).digest()


@pytest.mark.parametrize("length", [*range(280), 407, 408, 409, 832, 1000])
def test_hashes_of_every_length(length: int) -> None:
    data = bytes(7 * i & 255 for i in range(length))
    assert keccak.keccak256(data) == keccak256(data)
    assert keccak.sha3_256(data) == hashlib.sha3_256(data).digest()


@settings(max_examples=200)
@given(SECRETS.map(octets))
def test_public_keys(secret: bytes) -> None:
    key = coincurve.PrivateKey(secret).public_key
    assert curve.public_key(secret) == key.format(compressed=False)[1:]


@settings(max_examples=300)
@given(SECRETS.map(octets), DIGESTS)
def test_signatures(secret: bytes, digest: bytes) -> None:
    signature = curve.sign(digest, secret)
    # libsecp256k1 feeds its nonces with digests of N and more as they are; RFC 6979 does not.
    if digest < octets(N):
        theirs = coincurve.PrivateKey(secret).sign_recoverable(digest, hasher=None)
        assert signature == theirs[:64] + bytes([theirs[64] + 27])
    public = curve.public_key(secret)
    recoverable = signature[:64] + bytes([signature[64] - 27])
    key = coincurve.PublicKey.from_signature_and_message(recoverable, digest, hasher=None)
    assert key.format(compressed=False)[1:] == public
    assert curve.recover(digest, signature) == public
    assert curve.verify(digest, signature, curve.prepare(public))


@settings(max_examples=300)
@given(
    near(0, 1, N).map(octets),
    near(0, 1, N >> 1, N).map(octets),
    st.sampled_from([27, 28]),
    DIGESTS,
)
@example(octets(1), octets(1), 27, bytes(32))
@example(octets(1), octets(N >> 1), 28, octets(N))
def test_recovery_of_any_numbers(r: bytes, s: bytes, v: int, digest: bytes) -> None:
    """Whatever the numbers: both find the same key, or both find none."""
    try:
        key = coincurve.PublicKey.from_signature_and_message(
            r + s + bytes([v - 27]), digest, hasher=None
        )
        theirs = key.format(compressed=False)[1:]
    except Exception:  # coincurve raises a bare Exception for what it cannot recover
        theirs = None
    strict = octets(0) < s <= octets(N >> 1)
    signature = r + s + bytes([v])
    if theirs and strict:
        assert curve.recover(digest, signature) == theirs
        assert curve.verify(digest, signature, theirs)
        assert not curve.verify(digest, r + s + bytes([55 - v]), theirs)
    else:
        with pytest.raises(curve.SignatureError):
            curve.recover(digest, signature)
        assert not curve.verify(digest, signature, curve.public_key(octets(1)))


@settings(max_examples=200)
@given(near(0, 1, N), near(0, 1, 1 << 255))
def test_points_on_and_off_the_curve(x: int, y: int) -> None:
    public = octets(x) + octets(y)
    try:
        coincurve.PublicKey(b"\x04" + public)
    except ValueError:
        with pytest.raises(ValueError, match="not on the curve"):
            curve.prepare(public)
    else:
        curve.prepare(public)


@pytest.mark.timeout(3600)
def test_many_cases() -> None:
    """Random numbers and edges: the same signature as libsecp256k1's, and what it means."""
    randoms = random.Random(CASES)
    edges = [1, 2, 3, N >> 1, (N >> 1) + 1, 1 << 128, 1 << 255, N - 2, N - 1]
    edges += [(1 << bit) - 1 for bit in range(16, 256, 16)]

    def number() -> int:
        return randoms.choice(edges) if randoms.randrange(4) == 0 else randoms.randrange(1, N)

    for case in range(CASES):
        secret, digest = octets(number()), octets(number() - randoms.randrange(2))
        theirs = coincurve.PrivateKey(secret).sign_recoverable(digest, hasher=None)
        signature = theirs[:64] + bytes([theirs[64] + 27])
        assert curve.sign(digest, secret) == signature
        if case % 4:
            continue
        public = coincurve.PrivateKey(secret).public_key.format(compressed=False)[1:]
        assert curve.recover(digest, signature) == public
        # A changed bit: whatever coincurve finds, and not this key
        bit = randoms.randrange(64 * 8)
        changed = bytearray(signature)
        changed[bit >> 3] ^= 1 << (bit & 7)
        assert not curve.verify(digest, bytes(changed), public)
        assert curve.verify(digest, signature, public)
