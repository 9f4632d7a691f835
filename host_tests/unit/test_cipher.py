"""What two ends need to speak in secret, by the book."""

import os
from hashlib import sha256

from perun.crypto import cipher, secp256k1
from support import raises

N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
A, B = sha256(b"a").digest(), sha256(b"b").digest()


def test_hmac():
    """RFC 4231, test cases 1 to 3 (keys of at most 64 bytes)."""
    for key, data, mac in (
        (
            b"\x0b" * 20,
            b"Hi There",
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
        ),
        (
            b"Jefe",
            b"what do ya want for nothing?",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        ),
        (
            b"\xaa" * 20,
            b"\xdd" * 50,
            "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
        ),
    ):
        assert cipher.hmac(key, data).hex() == mac
        assert cipher.hmac(key, data[:3], b"", data[3:]).hex() == mac


def test_aes():
    """NIST SP 800-38A, F.2.5: AES-256 in CBC mode."""
    key = bytes.fromhex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4")
    plain = bytes.fromhex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51")
    secret = cipher.aes(key, bytes(range(16)), plain, True)
    assert secret.hex() == "f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d"
    assert cipher.aes(key, bytes(range(16)), secret, False) == plain


def test_same():
    assert cipher.same(b"abc", b"abc") and cipher.same(b"", b"")
    for other in (b"abd", b"bbc", b"ab", b"abcd", b""):
        assert not cipher.same(b"abc", other)


def test_agreement():
    """As libsecp256k1 multiplies: the x of a * B is the same for both."""
    ours, theirs = secp256k1.public_key(A)[:32], secp256k1.public_key(B)[:32]
    assert ours.hex() == "4da006f958beba78ec54443df4a3f52237253f7ae8cbdb17dccf3feaa57f3126"
    secret = "436429e94eaa4f59f72ea250916a9858a199580fe42ebd32e615c305ab7881ed"
    assert cipher.agree(A, theirs).hex() == secret
    assert cipher.agree(B, ours).hex() == secret


def test_any_two_agree():
    for _ in range(4):
        (one, x), (two, y) = cipher.ephemeral(os.urandom), cipher.ephemeral(os.urandom)
        assert cipher.agree(one, y) == cipher.agree(two, x) != cipher.agree(one, x)


def test_no_points():
    """Five is the x of no point; others are no numbers of the field."""
    for x in (0, 5, N, (1 << 256) - 1):
        raises(ValueError, cipher.agree, A, x.to_bytes(32, "big"))
    for x in (b"", bytes(31), bytes(33)):
        raises(ValueError, cipher.agree, A, x)


def test_an_unusable_secret_is_not_taken():
    values = [bytes(32), b"\xff" * 32, A]
    secret, x = cipher.ephemeral(lambda _: values.pop(0))
    assert secret == A and x == secp256k1.public_key(A)[:32] and not values
