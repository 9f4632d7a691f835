"""secp256k1 in plain integers: the backend that runs everywhere and that others must equal.

Points are affine (x, y) or Jacobian (X, Y, Z), which stands for (X / Z^2, Y / Z^3) and with
Z = 0 for the point at infinity. Every path is complete: equal and opposite points and infinity
are handled wherever they can meet.

All multiples come from combs. A scalar is split into two halves by the endomorphism of Gallant,
Lambert and Vanstone; a half is a row of digits 1 and -1, cut into `teeth` pieces of `spacing`
digits. The digits that stand below each other form a column, and for every column the comb's
table has the point that it adds. No digit is 0, so the sequence of doublings and additions is
the same for every scalar; yet nothing here runs in constant time, for the integers of the
virtual machine do not.
"""

import hashlib

from perun.compat import const

NAME = "bigint"

# SEC 2, section 2.4.1: the curve y^2 = x^3 + 7 modulo P, its base point and its order.
_P = const(0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEFFFFFC2F)
_N = const(0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141)
_GX = const(0x79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798)
_GY = const(0x483ADA7726A3C4655DA4FBFC0E1108A8FD17B448A68554199C47D08FFB10D4B8)
_HALF_N = const(0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0)
_SQUARE_ROOT = const(0x3FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFBFFFFF0C)

# The endomorphism: lambda * (x, y) = (_BETA * x, y), where lambda is
# 0x5363ad4cc05c30e0a5261c028812645a122e22ea20816678df02967c1b23bd72. The pairs (a, b) with
# a + b * lambda = 0 modulo _N are spanned by the short vectors (_A1, -_B1) and (_A2, _A1).
_BETA = const(0x7AE96A2B657C07106E64479EAC3434E99CF0497512F58995C1396C28719501EE)
_A1 = const(0x3086D221A7D46BCDE86C90E49284EB15)
_B1 = const(0xE4437ED6010E88286F547FA90ABFE4C3)
_A2 = const(0x114CA50F7A8E2F3F657C1108D9D44CFD8)

# Each tooth more makes multiples a little cheaper and the table, of 64 << (teeth - 1) bytes, twice
# as long. Keys have a tooth less: a device may hold several, and theirs are made more often.
_BASE_TEETH = const(6)
_KEY_TEETH = const(5)
_HALF_BITS = const(130)

_INFINITY = (1, 1, 0)

_base = None  # the comb of the base point, made when first needed


def public_key(secret):
    """The public key x || y of a secret."""
    x, y = _affine(_multiply((_number(secret), _base_comb())))
    return _bytes(x) + _bytes(y)


def sign(digest, secret, nonce):
    """The signature r || s || v, or None if this nonce cannot give one.

    That is if the x coordinate is not below the order, which a v of 27 or 28 cannot say, or if s
    would be 0. (r is not: the curve has no point with x = 0.)
    """
    k = _number(nonce)
    r, y = _affine(_multiply((k, _base_comb())))
    if r >= _N:
        return None
    s = _inverse(k, _N) * (_number(digest) + r * _number(secret)) % _N
    if not s:
        return None
    v = 27 + (y & 1)
    if s > _HALF_N:  # -s belongs to the nonce -k, whose point has the other y
        s = _N - s
        v = 55 - v
    return _bytes(r) + _bytes(s) + bytes((v,))


def nonce(digest, secret, entropy, skip):
    """The candidate of RFC 6979, section 3.2, after `skip` others."""
    value = b"\x01" * 32
    key = bytes(32)
    for step in (b"\x00", b"\x01"):
        key = _hmac(key, value, step, secret, digest, entropy)
        value = _hmac(key, value)
    value = _hmac(key, value)
    for _ in range(skip):
        key = _hmac(key, value, b"\x00")
        value = _hmac(key, value)
        value = _hmac(key, value)
    return value


def _hmac(key, *parts):
    """HMAC-SHA256 under a key of 32 bytes, which is half a block of the hash."""
    inner = _keyed(key, 0x36)
    for part in parts:
        inner.update(part)
    outer = _keyed(key, 0x5C)
    outer.update(inner.digest())
    return outer.digest()


def _keyed(key, mask):
    return hashlib.sha256(bytes([byte ^ mask for byte in key]) + bytes((mask,)) * 32)


def recover(digest, signature):
    """The public key that made a strict signature, or None."""
    r = _number(signature[:32])
    square = (r * r * r + 7) % _P
    y = pow(square, _SQUARE_ROOT, _P)
    if y * y % _P != square:
        return None
    if y & 1 != signature[64] - 27:
        y = _P - y
    inverse = _inverse(r, _N)
    key = _multiply(
        (-_number(digest) * inverse % _N, _base_comb()),
        (_number(signature[32:64]) * inverse % _N, _make_comb(r, y, _KEY_TEETH)),
    )
    if not key[2]:
        return None
    x, y = _affine(key)
    return _bytes(x) + _bytes(y)


def prepare(public, once=False):
    """The comb of a public key for verify(), or None if it is not on the curve.

    A comb for one use is made like any other here.
    """
    x = _number(public[:32])
    y = _number(public[32:])
    if x >= _P or y >= _P or (y * y - x * x * x - 7) % _P:
        return None
    return _make_comb(x, y, _KEY_TEETH)


def verify(digest, signature, comb):
    """Whether the key of this comb has made a strict signature, v included."""
    r = _number(signature[:32])
    inverse = _inverse(_number(signature[32:64]), _N)
    point = _multiply(
        (_number(digest) * inverse % _N, _base_comb()),
        (r * inverse % _N, comb),
    )
    X, _, Z = point
    # What is wrong is found without a division. An x of r + N needs no look: v is not 27 or 28.
    if not Z or (r * Z % _P * Z - X) % _P:
        return False
    return _affine(point)[1] & 1 == signature[64] - 27


def _number(data):
    return int.from_bytes(data, "big")


def _bytes(number):
    return number.to_bytes(32, "big")


def _inverse(a, modulus):
    """1 / a by Euclid: on MicroPython pow() takes no negative exponent and is slower."""
    b = modulus
    u, v = 1, 0
    while a:
        quotient = b // a
        b, a = a, b - quotient * a
        v, u = u, v - quotient * u
    return v % modulus


def _affine(point):
    """(x, y) of a Jacobian point that is not infinity."""
    X, Y, Z = point
    inverse = _inverse(Z, _P)
    square = inverse * inverse % _P
    return X * square % _P, Y * square * inverse % _P


def _double(point):
    """Twice a Jacobian point; infinity stays infinity."""
    X, Y, Z = point
    YY = Y * Y % _P
    S = 4 * X * YY % _P
    M = X * X % _P * 3
    X3 = (M * M - 2 * S) % _P
    return X3, (M * (S - X3) - 8 * YY * YY) % _P, 2 * Y * Z % _P


def _add(point, x, y):
    """The sum of a Jacobian and an affine point, whatever they are."""
    X, Y, Z = point
    if not Z:
        return x, y, 1
    ZZ = Z * Z % _P
    H = (x * ZZ - X) % _P
    R = (y * Z % _P * ZZ - Y) % _P
    if not H:
        return _INFINITY if R else _double(point)
    HH = H * H % _P
    HHH = H * HH % _P
    V = X * HH % _P
    X3 = (R * R - HHH - 2 * V) % _P
    return X3, (R * (V - X3) - Y * HHH) % _P, Z * H % _P


def _multiply(*terms):
    """The sum of k * P over pairs of a scalar k below _N and the comb of P, Jacobian."""
    rows = []
    columns = 0
    for k, comb in terms:
        columns = max(columns, comb[1])
        a, b = _split(k)
        rows.append((_digits(a, comb), comb, False))
        rows.append((_digits(b, comb), comb, True))
    point = _INFINITY
    for column in range(columns - 1, -1, -1):
        point = _double(point)
        for digits, comb, image in rows:
            if column < comb[1]:
                x, y = _column(digits, column, comb)
                point = _add(point, x * _BETA % _P if image else x, y)
    return point


def _split(k):
    """Odd numbers a, b of either sign below 2^129 with a + b * lambda = k modulo _N.

    The nearest lattice point would make them a bit shorter; one of its neighbours makes them
    odd, and only odd numbers are a sum of digits 1 and -1.
    """
    c1 = _A1 * k // _N
    c1 += (c1 + k + 1) & 1
    c2 = _B1 * k // _N
    c2 += (c2 + c1 + 1) & 1
    return k - c1 * _A1 - c2 * _A2, c1 * _B1 - c2 * _A1


def _digits(a, comb):
    """The digits of an odd number, a bit each: 1 for 1, 0 for -1, the lowest first."""
    return (a + (1 << comb[0] * comb[1]) - 1 >> 1).to_bytes(17, "little")


def _column(digits, column, comb):
    """The affine point that a column of digits stands for."""
    teeth, spacing, table = comb
    index = 0
    for tooth in range(teeth):
        bit = column + spacing * tooth
        index |= (digits[bit >> 3] >> (bit & 7) & 1) << tooth
    top = 1 << teeth - 1
    if index & top:
        return _entry(table, index ^ top)
    x, y = _entry(table, index ^ top - 1)
    return x, _P - y


def _base_comb():
    global _base
    if _base is None:
        _base = _make_comb(_GX, _GY, _BASE_TEETH)
    return _base


def _make_comb(x, y, teeth):
    """The comb (teeth, spacing, table) of a point, with 4 teeth or more.

    Entry i of the table is the sum of 2^(spacing * tooth) * (x, y) over all teeth, negated where
    i has no bit for the tooth. The last tooth is never negated: a column with -1 there is the
    opposite of another one.
    """
    spacing = (_HALF_BITS + teeth - 1) // teeth
    table = bytearray(64 << teeth - 1)  # first, while the heap has a piece of this size
    point = (x, y, 1)
    points = [point]
    for _ in range(teeth - 1):
        for _ in range(spacing):
            point = _double(point)
        points.append(point)
    # Twice a tooth, added to an entry that has it negated, makes it positive. What this takes
    # has room in the table until the entries come.
    points.extend([_double(tooth) for tooth in points[:-1]])
    _store(points, table)
    entry = point
    for tooth in range(teeth - 1):
        x, y = _entry(table, tooth)
        entry = _add(entry, x, _P - y)
    points = [entry]
    for tooth in range(teeth - 1):
        x, y = _entry(table, teeth + tooth)
        points.extend([_add(entry, x, y) for entry in points])
    _store(points, table)
    return teeth, spacing, table


def _store(points, table):
    """Write Jacobian points, none infinity, to a table as affine x || y; divide only once."""
    product = 1
    before = []  # the product of every Z before this point's
    for point in points:
        before.append(product)
        product = product * point[2] % _P
    inverse = _inverse(product, _P)
    for i in range(len(points) - 1, -1, -1):
        X, Y, Z = points[i]
        own = inverse * before[i] % _P
        inverse = inverse * Z % _P
        square = own * own % _P
        table[64 * i : 64 * i + 32] = _bytes(X * square % _P)
        table[64 * i + 32 : 64 * i + 64] = _bytes(Y * square * own % _P)


def _entry(table, i):
    """The affine point at a place of a table."""
    return _number(table[64 * i : 64 * i + 32]), _number(table[64 * i + 32 : 64 * i + 64])
