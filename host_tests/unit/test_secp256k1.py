"""ECDSA over secp256k1: known answers, strictness, edge cases of scalars and points."""

# timeout: 300

import hashlib
import sys

from perun.crypto import _secp256k1_bigint as bigint
from perun.crypto import secp256k1 as curve
from support import Random, raises, vector_json

N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
P = (1 << 256) - (1 << 32) - 977
LAMBDA = 0x5363AD4CC05C30E0A5261C028812645A122E22EA20816678DF02967C1B23BD72
BASE = (
    0x79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798,
    0x483ADA7726A3C4655DA4FBFC0E1108A8FD17B448A68554199C47D08FFB10D4B8,
)

# RFC 6979 over secp256k1 with SHA-256, as published with Bitcoin's and Trezor's tests:
# secret, message, nonce, r || s. The second nonces come from another implementation.
RFC_6979 = (
    (
        1,
        b"Satoshi Nakamoto",
        "8f8a276c19f4149656b280621e358cce24f5f52542772691ee69063b74f15d15",
        "f15fb763a6bcbbacbde0a6a9ae2a02482bd92f3e75a50b357bd551ddd771045e",
        "934b1ea10a4b3c1757e2b0c017d0b6143ce3c9a7e6a4a49860d7a6ab210ee3d8"
        "2442ce9d2b916064108014783e923ec36b49743e2ffa1c4496f01a512aafd9e5",
        28,
    ),
    (
        N - 1,
        b"Satoshi Nakamoto",
        "33a19b60e25fb6f4435af53a3d42d493644827367e6453928554f43e49aa6f90",
        "635653806d2b851edb5eb4a3e0098ad6df9cf16447dc19530c33854e78a5c964",
        "fd567d121db66e382991534ada77a6bd3106f0a1098c231e47993447cd6af2d0"
        "6b39cd0eb1bc8603e159ef5c20a5c8ad685a45b06ce9bebed3f153d10d93bed5",
        27,
    ),
    (
        1,
        b"All those moments will be lost in time, like tears in rain. Time to die...",
        "38aa22d72376b4dbc472e06c3ba403ee0a394da63fc58d88686c611aba98d6b3",
        "dc5417a2ada98871b9ee7db9e12e62e7283f6fc0e18a1c1b161e7e75a64034ba",
        "8600dbd41e348fe5c9465ab92d23e3db8b98b873beecd930736488696438cb6b"
        "547fe64427496db33bf66019dacbf0039c04199abb0122918601db38a72cfc21",
        27,
    ),
    (
        0xF8B8AF8CE3C7CCA5E300D33939540C10D45CE001B8F252BFBC57BA0342904181,
        b"Alan Turing",
        "525a82b70e67874398067543fd84c83d30c175fdc45fdeee082fe13b1d7cfdf1",
        "7fd11aa3db66ad20c832d3df288d33982aca50b1cd436880b44d839819087a84",
        "7063ae83e7f62bbb171798131b4a0564b956930092b33b07b395615d9ec7e15c"
        "58dfcc1e00a35e1572f366ffe34ba0fc47db1e7189759b9fb233c5b05ab388ea",
        27,
    ),
)

SECRET = b"\x01" * 32
DIGEST = b"\x5a" * 32


def number(data):
    return int.from_bytes(data, "big")


def octets(value):
    return value.to_bytes(32, "big")


def multiply(k, point=BASE):
    """k times an affine point, by doubling and adding with a division each: None is infinity."""
    result = None
    for bit in range(256, -1, -1):
        result = plain_add(result, result)
        if k >> bit & 1:
            result = plain_add(result, point)
    return result


def plain_add(p, q):
    if p is None or q is None:
        return q if p is None else p
    if p[0] == q[0]:
        if (p[1] + q[1]) % P == 0:
            return None
        slope = 3 * p[0] * p[0] * pow(2 * p[1], P - 2, P) % P
    else:
        slope = (q[1] - p[1]) * pow(q[0] - p[0], P - 2, P) % P
    x = (slope * slope - p[0] - q[0]) % P
    return x, (slope * (p[0] - x) - p[1]) % P


def affine(point):
    """The affine form of a Jacobian point of the backend, None for infinity."""
    X, Y, Z = point
    if Z % P == 0:
        return None
    inverse = pow(Z, P - 2, P)
    return X * inverse * inverse % P, Y * inverse * inverse * inverse % P


def forge(r, s, v):
    return octets(r) + octets(s) + bytes((v,))


# --- known answers


def test_public_keys():
    native = sys.implementation.name == "micropython"
    assert curve.BACKEND == ("viper" if native else "bigint")
    assert curve.public_key(octets(1)) == octets(BASE[0]) + octets(BASE[1])
    assert curve.public_key(octets(N - 1)) == octets(BASE[0]) + octets(P - BASE[1])
    for secret in (2, 3, 4, 7, N - 2, N >> 1, (N >> 1) + 1, LAMBDA, 1 << 128, number(SECRET)):
        x, y = multiply(secret)
        assert curve.public_key(octets(secret)) == octets(x) + octets(y)


def test_rfc_6979():
    for secret, message, nonce, second, signature, v in RFC_6979:
        digest = hashlib.sha256(message).digest()
        assert curve._nonce(digest, octets(secret), b"", 0).hex() == nonce
        assert curve._nonce(digest, octets(secret), b"", 1).hex() == second
        expected = bytes.fromhex(signature) + bytes((v,))
        assert curve.sign(digest, octets(secret)) == expected
        public = curve.public_key(octets(secret))
        assert curve.recover(digest, expected) == public
        assert curve.verify(digest, expected, public)


def test_nonce_of_a_digest_beyond_the_order():
    # bits2octets: such a digest counts modulo N
    high = b"\xff" * 32
    expected = "ae5bde4343ee72aa9c1755c3dc3d22007efb95087e163a2e1b3be4a51c6aae02"
    assert curve._nonce(high, SECRET, b"", 0).hex() == expected
    assert curve._nonce(octets(number(high) - N), SECRET, b"", 0).hex() == expected


def test_signatures_of_perun():
    vectors = vector_json("computed_vectors.json")
    for i in (0, 1):
        secret = bytes.fromhex(vectors["inputs"]["sk{}".format(i)])
        public = curve.public_key(secret)
        key = curve.prepare(public)
        for generation in ("gen1", "gen2"):
            for name, value in vectors[generation].items():
                if not name.startswith("state_v"):
                    continue
                digest = bytes.fromhex(value["signed_digest"])
                signature = bytes.fromhex(value["sig{}".format(i)])
                assert curve.sign(digest, secret) == signature
                assert curve.verify(digest, signature, key)
                assert curve.recover(digest, signature) == public


# --- what comes in


def test_secrets_out_of_range():
    for wrong in (bytes(32), octets(N), octets(N + 1), b"\xff" * 32):
        for error in (
            raises(ValueError, curve.public_key, wrong),
            raises(ValueError, curve.sign, DIGEST, wrong),
        ):
            assert wrong.hex() not in str(error) and repr(wrong) not in str(error)
    for wrong in (b"", b"\x01" * 31, b"\x01" * 33, "1" * 32, 1, None):
        raises(ValueError, curve.public_key, wrong)
        raises(ValueError, curve.sign, DIGEST, wrong)


def test_digests_of_another_length():
    signature = curve.sign(DIGEST, SECRET)
    public = curve.public_key(SECRET)
    for wrong in (b"", DIGEST[:31], DIGEST + b"\x00", "d" * 32, None):
        raises(ValueError, curve.sign, wrong, SECRET)
        raises(ValueError, curve.recover, wrong, signature)
        raises(ValueError, curve.verify, wrong, signature, public)


def test_kinds_of_buffers():
    signature = curve.sign(bytearray(DIGEST), memoryview(SECRET))
    assert signature == curve.sign(DIGEST, SECRET) and isinstance(signature, bytes)
    public = curve.recover(memoryview(DIGEST), bytearray(signature))
    assert public == curve.public_key(bytearray(SECRET)) and isinstance(public, bytes)
    assert curve.verify(bytearray(DIGEST), memoryview(signature), bytearray(public))
    assert curve.verify(DIGEST, bytearray(signature), curve.prepare(memoryview(public)))


def test_public_keys_off_the_curve():
    signature = curve.sign(DIGEST, SECRET)
    public = curve.public_key(SECRET)
    x, y = public[:32], public[32:]
    x_beyond = octets(P + 1)  # congruent to 1, which is the x of a point
    y_of_1 = pow(8, (P + 1) >> 2, P)
    assert y_of_1 * y_of_1 % P == 8
    wrongs = (
        bytes(64),
        x + x,
        y + x,
        x + octets(number(y) ^ 1),
        octets(P) + y,
        x + octets(P),
        x_beyond + octets(y_of_1),
        b"\xff" * 64,
        public[:63],
        public + b"\x00",
        b"\x04" + public,
        b"",
        None,
    )
    for wrong in wrongs:
        raises(ValueError, curve.prepare, wrong)
        raises(ValueError, curve.verify, DIGEST, signature, wrong)
    assert curve.prepare(octets(1) + octets(y_of_1)).public == octets(1) + octets(y_of_1)
    # a point with so small a y that y + P has 256 bits too
    y = 1
    while True:
        x = pow(y * y - 7, (P + 2) // 9, P)  # a cube root, if there is one: P is 7 modulo 9
        if (x * x * x + 7 - y * y) % P == 0:
            break
        y += 1
    curve.prepare(octets(x) + octets(y))
    raises(ValueError, curve.prepare, octets(x) + octets(y + P))


def test_strictness():
    signature = curve.sign(DIGEST, SECRET)
    public = curve.public_key(SECRET)
    key = curve.prepare(public)
    assert curve.verify(DIGEST, signature, key)
    r, s, v = number(signature[:32]), number(signature[32:64]), signature[64]
    wrongs = [
        b"",
        signature[:64],
        signature[:63],
        signature + b"\x00",
        signature + signature,
        # EIP-2098: the contracts know it, but nobody sends it
        signature[:32] + octets(s | (v - 27) << 255),
        forge(r, N - s, 55 - v),  # the other signature of the same nonce
        forge(0, s, v),
        forge(N, s, v),
        forge(r, 0, v),
        forge(r, N, v),
        forge(r, (N >> 1) + 1, v),
        forge(r, (1 << 256) - 1, v),
        forge((1 << 256) - 1, s, v),
        None,
        65,
        "s" * 65,
        list(signature),
    ]
    for wrong_v in (0, 1, 2, 26, 29, 30, 31, 32, 35, 255):
        wrongs.append(forge(r, s, wrong_v))
    for wrong in wrongs:
        assert curve.verify(DIGEST, wrong, key) is False
        assert curve.verify(DIGEST, wrong, public) is False
        raises(curve.SignatureError, curve.recover, DIGEST, wrong)


def test_the_wrong_v_recovers_another_key():
    # A contract would see another signer, so it must not pass although r and s are right.
    signature = curve.sign(DIGEST, SECRET)
    public = curve.public_key(SECRET)
    flipped = signature[:64] + bytes((55 - signature[64],))
    other = curve.recover(DIGEST, flipped)
    assert other != public
    assert not curve.verify(DIGEST, flipped, public)
    assert curve.verify(DIGEST, flipped, other)
    assert not curve.verify(DIGEST, signature, other)


def test_r_that_is_no_point():
    # 5 is not the x of a point
    wrong = forge(5, 1, 27)
    raises(curve.SignatureError, curve.recover, DIGEST, wrong)
    assert not curve.verify(DIGEST, wrong, curve.public_key(SECRET))


def test_the_ends_of_the_ranges():
    # x = 1 and 2 are points, and so is the greatest x below N that is one
    greatest = N - 1
    while not is_x(greatest):
        greatest -= 1
    for r in (1, 2, greatest):
        for s in (1, N >> 1):
            for v in (27, 28):
                signature = forge(r, s, v)
                public = curve.recover(DIGEST, signature)
                assert curve.verify(DIGEST, signature, public)
                assert not curve.verify(DIGEST, forge(r, s, 55 - v), public)


def is_x(x):
    square = (x * x * x + 7) % P
    return pow(square, (P - 1) >> 1, P) == 1


def test_changed_signatures():
    random = Random(65)
    signature = curve.sign(DIGEST, SECRET)
    public = curve.public_key(SECRET)
    key = curve.prepare(public)
    for i in range(65):
        changed = bytearray(signature)
        changed[i] ^= 1 << random.below(8)
        assert not curve.verify(DIGEST, changed, key)
        if i % 8 == 0:
            try:
                assert curve.recover(DIGEST, changed) != public
            except curve.SignatureError:
                pass
    for i in range(0, 32, 5):
        changed = bytearray(DIGEST)
        changed[i] ^= 1 << random.below(8)
        assert not curve.verify(changed, signature, key)
    assert not curve.verify(DIGEST, signature, curve.public_key(octets(2)))


# --- edges of the arithmetic


def test_signatures_with_edge_scalars():
    # Keys, nonces and digests that make equal, opposite and infinite points meet: the key's
    # comb and the base point's then hold the same points or opposite ones.
    half = (N + 1) >> 1
    for secret in (1, 2, N - 1, half, LAMBDA, N - LAMBDA):
        public = bigint.public_key(octets(secret))
        key = curve.prepare(public)
        for nonce in (1, N - 1, half, LAMBDA):
            for digest in (0, 1, N - 1, N, (1 << 256) - 1):
                digest = octets(digest)
                signature = bigint.sign(digest, octets(secret), octets(nonce))
                assert curve.verify(digest, signature, key)
                if digest[31] == 1:
                    assert curve.recover(digest, signature) == public


def test_verify_when_both_multiples_are_equal():
    # z = r d makes u1 G = u2 Q; s = 2 r d / k makes their sum the nonce's point
    d, k = 0xD00D, 0xC0DE
    x, y = multiply(k)
    s = 2 * x * d * bigint._inverse(k, N) % N
    v = 27 + (y & 1)
    if s > N >> 1:
        s, v = N - s, 55 - v
    public = curve.public_key(octets(d))
    assert curve.verify(octets(x * d % N), forge(x, s, v), public)
    assert not curve.verify(octets(x * d % N), forge(x, s, 55 - v), public)


def test_verify_when_the_sum_is_infinite():
    # z = -r d makes u1 G = -u2 Q, whatever s is
    d = 0xD00D
    public = curve.public_key(octets(d))
    for r in (1, 2, BASE[0]):
        digest = octets(-r * d % N)
        for s in (1, 2, N >> 1):
            assert not curve.verify(digest, forge(r, s, 27), public)
            assert not curve.verify(digest, forge(r, s, 28), public)


def test_recovery_of_infinity():
    # s R = z G with R = G: no key
    v = 27 + (BASE[1] & 1)
    for s in (1, 5, N >> 1):
        raises(curve.SignatureError, curve.recover, octets(s), forge(BASE[0], s, v))
        assert len(curve.recover(octets(s), forge(BASE[0], s, 55 - v))) == 64


def test_nonce_with_x_beyond_the_order():
    # N and N + 2 are x of points, whose r would need v 29 or 30; nobody knows their nonces.
    real = bigint._affine
    try:
        for x in (N, N + 2):
            assert is_x(x)
            bigint._affine = lambda point: (x, 1)
            assert bigint.sign(DIGEST, SECRET, octets(1)) is None
    finally:
        bigint._affine = real


def test_s_at_its_edges():
    d, k = 0xD00D, 0xC0DE
    x, y = multiply(k)

    def sign_for(s):
        """Sign the digest that gives this s with the nonce k."""
        return bigint.sign(octets((s * k - x * d) % N), octets(d), octets(k))

    odd = y & 1
    half = N >> 1
    assert sign_for(0) is None
    assert sign_for(1) == forge(x, 1, 27 + odd)
    assert sign_for(N - 1) == forge(x, 1, 28 - odd)
    assert sign_for(half) == forge(x, half, 27 + odd)
    assert sign_for(half + 1) == forge(x, half, 28 - odd)


def test_sign_takes_the_next_nonce():
    class Reluctant:
        """The backend, but no nonce will do before the third."""

        nonces = []
        nonce = bigint.nonce

        @classmethod
        def sign(cls, digest, secret, nonce):
            cls.nonces.append(nonce.hex())  # the nonce itself is wiped
            return bigint.sign(digest, secret, nonce) if len(cls.nonces) == 3 else None

    real = curve._backend
    curve._backend = Reluctant
    try:
        signature = curve.sign(DIGEST, SECRET)
    finally:
        curve._backend = real
    candidates = [curve._nonce(DIGEST, SECRET, b"", tried).hex() for tried in range(3)]
    assert Reluctant.nonces == candidates
    assert number(signature[:32]) == multiply(number(bytes.fromhex(Reluctant.nonces[2])))[0]
    assert curve.verify(DIGEST, signature, curve.public_key(SECRET))


def test_a_nonce_that_changes_releases_nothing():
    class Disturbed:
        """The backend, but the digest changes between the nonce and the signature."""

        sign = bigint.sign
        times = 0

        @classmethod
        def nonce(cls, digest, secret, entropy, skip):
            cls.times += 1
            return bigint.nonce(digest if cls.times == 1 else bytes(32), secret, entropy, skip)

    real = curve._backend
    curve._backend = Disturbed
    try:
        raises(RuntimeError, curve.sign, DIGEST, SECRET)
    finally:
        curve._backend = real
    assert Disturbed.times == 2


def test_additions_of_every_kind():
    infinity = (1, 1, 0)
    x, y = BASE
    for z in (1, 2, P - 1, 0x1234567):
        point = (x * z * z % P, y * z * z * z % P, z)
        assert affine(bigint._add(point, x, y)) == multiply(2)
        assert affine(bigint._add(point, x, P - y)) is None
        assert affine(bigint._double(point)) == multiply(2)
        assert affine(bigint._add(bigint._double(point), x, y)) == multiply(3)
        assert affine(bigint._add(bigint._double(point), x, P - y)) == BASE
    assert affine(bigint._add(infinity, x, y)) == BASE
    assert affine(bigint._double(infinity)) is None
    assert affine(bigint._add(bigint._double(infinity), x, y)) == BASE
    # the infinity that opposite points leave behind
    nothing = bigint._add((x, y, 1), x, P - y)
    assert affine(bigint._add(nothing, x, y)) == BASE


def edge_scalars(random):
    scalars = [0, 1, 2, 3, N - 1, N - 2, N >> 1, (N >> 1) + 1, LAMBDA, N - LAMBDA, LAMBDA - 1]
    for bit in (21, 22, 25, 26, 127, 128, 129, 130, 131, 255):
        scalars.append((1 << bit) % N)
        scalars.append(((1 << bit) - 1) % N)
    scalars.extend([random.below(N) for _ in range(10)])
    return scalars


def test_split_into_odd_halves():
    for k in edge_scalars(Random(2)):
        a, b = bigint._split(k)
        assert (a + b * LAMBDA - k) % N == 0
        assert a & 1 and b & 1
        assert -(1 << 129) < a < 1 << 129 and -(1 << 129) < b < 1 << 129


def test_multiples_by_combs():
    for k in edge_scalars(Random(3)):
        expected = multiply(k)
        assert affine(bigint._multiply((k, bigint._base_comb()))) == expected
    for teeth in (4, 5, 7):  # smaller and larger tables give the same
        comb = bigint._make_comb(BASE[0], BASE[1], teeth)
        assert len(comb[2]) == 32 << teeth
        for k in (0, 1, N - 1, LAMBDA, 0xC0FFEE << 200):
            assert affine(bigint._multiply((k, comb))) == multiply(k)


def test_every_entry_of_the_tables():
    point = multiply(0xBEEF)
    for x, y, teeth in ((BASE[0], BASE[1], 6), (point[0], point[1], 5)):
        _, spacing, table = bigint._make_comb(x, y, teeth)
        assert len(table) == 64 << teeth - 1
        weights = [1 << spacing * tooth for tooth in range(teeth)]
        powers = [multiply(weight, (x, y)) for weight in weights]
        for i in range(1 << teeth - 1):
            expected = powers[-1]
            for tooth in range(teeth - 1):
                px, py = powers[tooth]
                expected = plain_add(expected, (px, py if i >> tooth & 1 else P - py))
            assert bigint._entry(table, i) == expected


def test_sums_of_two_multiples():
    random = Random(4)
    d = 0xBEEF
    comb = bigint._make_comb(*multiply(d), 5)
    for k, m in ((0, 0), (1, 0), (0, 1), (N - d, 1), (d, 1), (random.below(N), random.below(N))):
        sum_ = bigint._multiply((k, bigint._base_comb()), (m, comb))
        assert affine(sum_) == multiply((k + m * d) % N)


def test_inverses():
    random = Random(5)
    for modulus in (N, P):
        values = [1, 2, 3, modulus - 1, modulus - 2, modulus >> 1, (modulus >> 1) + 1]
        values.extend([random.between(1, modulus - 1) for _ in range(20)])
        for value in values:
            inverse = bigint._inverse(value, modulus)
            assert 0 < inverse < modulus
            assert value * inverse % modulus == 1


def test_there_and_back():
    random = Random(6)
    for _ in range(10):
        secret = octets(random.between(1, N - 1))
        digest = random.bytes(32)
        signature = curve.sign(digest, secret)
        assert signature == curve.sign(digest, secret)
        assert number(signature[32:64]) <= N >> 1 and signature[64] in (27, 28)
        public = curve.recover(digest, signature)
        assert public == curve.public_key(secret)
        assert curve.verify(digest, signature, curve.prepare(public))
