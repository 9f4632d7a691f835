"""The programs of the field machine: the formulas of the curve and of ECDSA.

Points are (X, Y, Z). Jacobian ones stand for (X / Z^2, Y / Z^3), and their formulas fail where
the sum is infinite or both points are equal; they then leave Z = 0, which nothing that follows
changes. Complete ones are homogeneous, (X / Z, Y / Z), with (0, 1, 0) for infinity, and their
formulas never fail.
"""

from __future__ import annotations

from kernels.machine import BASE_TEETH, CONSTANTS, KEY_TEETH, SLOTS

P = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEFFFFFC2F
N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
A1 = 0x3086D221A7D46BCDE86C90E49284EB15
A2 = 0x114CA50F7A8E2F3F657C1108D9D44CFD8
B1 = 0xE4437ED6010E88286F547FA90ABFE4C3
BETA = 0x7AE96A2B657C07106E64479EAC3434E99CF0497512F58995C1396C28719501EE

# SHA-256 (FIPS 180-4, section 4.2.2 and 5.3.3): the first 32 bits of the fractional parts of the
# cube roots and square roots of the first primes
PRIMES = [n for n in range(2, 312) if all(n % d for d in range(2, n))]


def _root(number: int, degree: int) -> int:
    """The integer part of a root."""
    low, high = 0, 1 << -(-number.bit_length() // degree)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if middle**degree <= number else (low, middle - 1)
    return low


IV = [_root(prime << 64, 2) & 0xFFFFFFFF for prime in PRIMES[:8]]
ROUND_CONSTANTS = [_root(prime << 96, 3) & 0xFFFFFFFF for prime in PRIMES]
assert len(ROUND_CONSTANTS) == 64

HALF_BITS = 130  # the halves of a scalar are below 2^130: see `split`


def spacing(teeth: int) -> int:
    """The columns of a comb with so many teeth."""
    return -(-HALF_BITS // teeth)


VALUES = {
    "P": P,
    "BLANK": 0,
    "N": N,
    "ZERO": 0,
    "ONE": 1,
    "SEVEN": 7,
    "BETA": BETA,
    "B3": 21,
    "FOLD_P": (1 << 256) - P,
    "FOLD_N": (1 << 256) - N,
    "G1": (A1 << 256) // N,
    "G2": (B1 << 256) // N,
    "A1": A1,
    "A2": A2,
    "B1": B1,
    # 2^L - 1 for the L digits of a half: see `split`
    "DIGITS": (1 << BASE_TEETH * spacing(BASE_TEETH)) - 1,
    # HMAC, RFC 2104
    "IPAD": int.from_bytes(b"\x36" * 32, "little"),
    "OPAD": int.from_bytes(b"\x5c" * 32, "little"),
    # SHA-256, FIPS 180-4: where it begins, and the end of a message of 96 bytes
    "IV": int.from_bytes(b"".join(word.to_bytes(4, "big") for word in IV), "little"),
    "PADDING": int.from_bytes(b"\x80" + bytes(29) + (8 * 96).to_bytes(2, "big"), "little"),
}
assert list(VALUES) == CONSTANTS

FORMULAS = """
# The Jacobian formulas also keep C, a witness: an integer that is doubled, modulo N, with each
# point and takes in the coordinates of each point that is added. See `check_multiple`.
#
# Doubling a Jacobian point, a = 0: 3 products and 4 squarings.
double:
    t0 = Y * Y
    t1 = X * t0
    t2 = X * X
    Z = Y * Z
    PLUS C C C
    REDUCE C C FOLD_N
    Z = Z + Z
    t0 = t0 + t0
    t0 = t0 * t0
    t0 = t0 + t0        # 8 Y^4
    t1 = t1 + t1
    t1 = t1 + t1        # S = 4 X Y^2
    t3 = t2 + t2
    t2 = t3 + t2        # M = 3 X^2
    X = t2 * t2
    X = X - t1
    X = X - t1          # M^2 - 2 S
    t1 = t1 - X
    Y = t2 * t1
    Y = Y - t0          # M (S - X) - 8 Y^4
    RETURN

# Adding the affine point (x, y) to a Jacobian one: 8 products and 3 squarings.
# Leaves H, by which Z was multiplied, in t1.
add:
    t0 = Z * Z
    t1 = x * t0
    t1 = t1 - X         # H = x Z^2 - X
    t0 = t0 * Z
    PLUS C C x
    PLUS C C y
    t0 = t0 * y
    t0 = t0 - Y         # R = y Z^3 - Y
    Z = Z * t1
    t2 = t1 * t1
    t3 = t1 * t2        # H^3
    t2 = t2 * X         # V = X H^2
    X = t0 * t0
    X = X - t3
    X = X - t2
    X = X - t2          # R^2 - H^3 - 2 V
    t2 = t2 - X
    t2 = t2 * t0
    t3 = t3 * Y
    Y = t2 - t3         # R (V - X) - Y H^3
    RETURN

# Renes, Costello, Batina: Complete addition formulas for prime order elliptic curves (2015),
# algorithm 9 with b3 = 21
double_complete:
    t0 = Y * Y
    t3 = t0 + t0
    t3 = t3 + t3
    t3 = t3 + t3
    t1 = Y * Z
    t2 = Z * Z
    t2 = B3 * t2
    t4 = t2 * t3
    t5 = t0 + t2
    Z = t1 * t3
    t1 = t2 + t2
    t2 = t1 + t2
    t0 = t0 - t2
    t5 = t0 * t5
    t1 = X * Y
    Y = t4 + t5
    X = t0 * t1
    X = X + X
    RETURN

# ... algorithm 8
add_complete:
    t0 = X * x
    t1 = Y * y
    t3 = x + y
    t4 = X + Y
    t3 = t3 * t4
    t4 = t0 + t1
    t3 = t3 - t4
    t4 = y * Z
    t4 = t4 + Y
    t5 = x * Z
    t5 = t5 + X
    X = t0 + t0
    t0 = X + t0
    t2 = B3 * Z
    Z = t1 + t2
    t1 = t1 - t2
    t5 = B3 * t5
    X = t4 * t5
    t2 = t3 * t1
    X = t2 - X
    t5 = t5 * t0
    t1 = t1 * Z
    Y = t1 + t5
    t0 = t0 * t3
    Z = Z * t4
    Z = Z + t0
    RETURN

# Dividing a point by its Z, whose inverse is t0
affine_jacobian:
    t1 = t0 * t0
    X = X * t1
    t1 = t1 * t0
    Y = Y * t1
    RETURN
affine_complete:
    X = X * t0
    Y = Y * t0
    RETURN

# t0 = x^3 + 7
right_side:
    t0 = x * x
    t0 = t0 * x
    t0 = t0 + SEVEN
    RETURN
"""

POINTS = """
# R, S = the affine point, integers below P. The result tells whether there is one: Z not 0.
affine:
    REDUCE A Z FOLD_P
    END                 # A is inverted
divide:
    t0 = A
    CALL affine_jacobian affine_complete
    REDUCE R X FOLD_P
    REDUCE S Y FOLD_P
    CHECK A
    END

# (x, y) from R, S, big endian and below P. The result is 0 if the point is on the curve.
equation:
    SWAP R R
    SWAP S S
    x = R
    y = S
    CALL right_side right_side
    t1 = y * y
    t0 = t0 - t1
    JUMP differs
# (x, y) with x = R, and S = y below P, is a point if there is one: then the result is 0.
# A square root is the power (P + 1) / 4.
# The exponent is 223 ones, a 0, 22 ones, 0000, 11, 00 in binary.
root:
    R = V
    x = R
    CALL right_side right_side
    t1 = t0 ^ 1
    t1 = t1 * t0        # 2 ones
    t2 = t1 ^ 1
    t2 = t2 * t0        # 3
    t3 = t2 ^ 3
    t3 = t3 * t2        # 6
    t3 = t3 ^ 3
    t3 = t3 * t2        # 9
    t3 = t3 ^ 2
    t3 = t3 * t1        # 11
    t4 = t3 ^ 11
    t3 = t4 * t3        # 22
    t4 = t3 ^ 22
    t4 = t4 * t3        # 44
    t5 = t4 ^ 44
    t5 = t5 * t4        # 88
    y = t5 ^ 88
    y = y * t5          # 176
    y = y ^ 44
    y = y * t4          # 220
    y = y ^ 3
    y = y * t2          # 223
    y = y ^ 23
    y = y * t3
    y = y ^ 6
    y = y * t1
    y = y ^ 2
    REDUCE S y FOLD_P
    t1 = y * y
    t0 = t0 - t1
differs:
    REDUCE T t0 FOLD_P
    CHECK T
    END
flip:
    y = ZERO - y
    END
"""

SCALARS = """
# T = A B modulo N. With N = 2^256 - F, each fold of the upper half, times F, makes it shorter:
# below 2^256, 2^130, 2^4; what is left then is less than 2 N.
times:
    WIDE T A B
    WIDE U T_ FOLD_N
    PLUS T T U
    CARRY T_ U_ ZERO
    WIDE U T_ FOLD_N
    PLUS T T U
    CARRY T_ U_ ZERO
    WIDE U T_ FOLD_N
    PLUS T T U
    REDUCE T T FOLD_N
    RETURN

# Halves K1 + K2 lambda = K modulo N, as the digits of both: K1, K2 = them and DIGITS.
# The vectors (A1, -B1) and (A2, A1) span the pairs (a, b) with a + b lambda = 0. K is A1 K / N
# times the second and B1 K / N times the first away from 0 (N = A1 A1 + A2 B1): rounded to
# integers that are at most 2 off and make both halves odd, they leave less than
# 2 (A1 + A2) < 2^130 for the halves. An odd half of L digits 1 or -1, where a bit stands for a
# digit, is twice the number that the bits are, less 2^L - 1, which is DIGITS.
split:
    WIDE T K G1
    A = T_
    ODD A K             # K1 = K - A A1 - B A2 is odd: A2 is even
    WIDE T K G2
    B = T_
    ODD B A             # K2 = A B1 - B A1 is odd
    WIDE T A A1
    MINUS K1 K T
    WIDE T B A2
    MINUS K1 K1 T
    PLUS K1 K1 DIGITS
    WIDE T A B1
    WIDE U B A1
    MINUS K2 T U
    PLUS K2 K2 DIGITS
    RETURN
"""

HASHES = """
# HMAC-SHA256 (RFC 2104; FIPS 180-4) with KEY_, 32 bytes: HASHED, to which the message is added
# block by block, and what becomes of it in the end
inner:
    XOR T KEY_ IPAD
    T_ = IPAD
    HASHED = IV
    HASH HASHED T
    RETURN
outer:
    U = HASHED
    XOR T KEY_ OPAD
    T_ = OPAD
    HASHED = IV
    HASH HASHED T
    T = U
    T_ = PADDING
    HASH HASHED T
    RETURN
"""

MULTIPLES = """
# T = the sum of all that lasts from one signature to the next, but for the comb
sum_up:
    PLUS T P N
    PLUS T T BETA
    PLUS T T FOLD_P
    PLUS T T FOLD_N
    PLUS T T G1
    PLUS T T G2
    PLUS T T A1
    PLUS T T A2
    PLUS T T B1
    PLUS T T ONE
    PLUS T T SEVEN
    PLUS T T ZERO
    PLUS T T DIGITS
    PLUS T T BX
    PLUS T T BY
    PLUS T T BZ
    PLUS T T BT
    RETURN

# (X, Y, Z) = V G, with K = V blinded: the sum begins with the point (BX, BY, BZ), which the
# doublings take to -BT G.
multiple:
    K = V
    PLUS K K BT
    REDUCE K K FOLD_N
    CALL split split
    X = BX
    Y = BY
    C = BX
    Z = BZ
    COLUMNS BASE
multiple_column:
    NEXT
    CALL double double
    PICK x K1 BASE
    NEGATE y
    CALL add add
    PICK x K2 BASE
    NEGATE y
    x = x * BETA
    CALL add add
    LOOP multiple_column
    END

# Whether (R, S) is not V G after all: V is loaded anew. README.md has the argument.
# The point is on the curve; the witness is what it becomes when only the points are picked once
# more; nothing that lasts has changed.
check_multiple:
    x = R
    CALL right_side right_side
    t1 = S * S
    t0 = t0 - t1
    REDUCE T t0 FOLD_P
    CHECK T
    K = V
    PLUS K K BT
    REDUCE K K FOLD_N
    CALL split split
    H1 = BX
    COLUMNS BASE
witness_column:
    NEXT
    PLUS H1 H1 H1
    REDUCE H1 H1 FOLD_N
    PICK x K1 BASE
    NEGATE y
    PLUS H1 H1 x
    PLUS H1 H1 y
    PICK x K2 BASE
    NEGATE y
    x = x * BETA
    PLUS H1 H1 x
    PLUS H1 H1 y
    LOOP witness_column
    MINUS T H1 C
    CHECK T
check_seal:
    CALL sum_up sum_up
    MINUS T T SEAL
    CHECK T
    END

# The next blinding: twice the point and its scalar. Both stay random if they were. C doubles with
# the point, U by itself; they must agree, and so must what is then kept.
blind:
    CALL sum_up sum_up
    MINUS T T SEAL
    CHECK T
    X = BX
    Y = BY
    C = BT
    Z = BZ
    CALL double double
    PLUS U BT BT
    REDUCE U U FOLD_N
    MINUS T U C
    CHECK T
    # The seal becomes another by what changes, so that nothing else is sealed with it.
    MINUS SEAL SEAL BX
    MINUS SEAL SEAL BY
    MINUS SEAL SEAL BZ
    MINUS SEAL SEAL BT
    PLUS SEAL SEAL X
    PLUS SEAL SEAL Y
    PLUS SEAL SEAL Z
    PLUS SEAL SEAL U
    BX = X
    BY = Y
    BT = U
    BZ = Z
    MINUS T BT C
    CHECK T
    END
seal:
    CALL sum_up sum_up
    SEAL = T
    END

# The first blinding, which is not random, ...
blind_plainly:
    MINUS BT N BT       # BT = -2^22
    BX = x
    BY = y
    BZ = ONE
    REDUCE V V FOLD_N
    JUMP seal
# ... and what becomes of it with a random scalar V and its multiple; V = 1 for a last check
blind_randomly:
    BX = X
    BY = Y
    BZ = Z
    A = V
    B = BT
    CALL times times
    BT = T
    V = ONE
    JUMP seal
# (X, Y, Z) = D G + E Q by the combs of G and Q, the latter with at least as many columns.
# No column is empty, so the sum begins with a point.
sum:
    K = D
    CALL split split
    H1 = K1
    H2 = K2
    K = E
    CALL split split
    COLUMNS KEY
    NEXT
    TAKE x K1 KEY
    NEGATE y
    X = x
    Y = y
    Z = ONE
    JUMP sum_second
sum_column:
    NEXT
    CALL double double_complete
    TAKE x K1 KEY
    NEGATE y
    CALL add add_complete
sum_second:
    TAKE x K2 KEY
    NEGATE y
    x = x * BETA
    CALL add add_complete
    UNLESS BASE sum_next
    TAKE x H1 BASE
    NEGATE y
    CALL add add_complete
    TAKE x H2 BASE
    NEGATE y
    x = x * BETA
    CALL add add_complete
sum_next:
    LOOP sum_column
    END
"""

COMBS = """
# A comb of (x, y): the table has every sum of the teeth, which are 2^(spacing * i) (x, y), with
# signs; the last tooth's is always positive. No addition here meets equal or opposite points: of
# each two, one is an odd multiple of (x, y) and one an even, or they differ in size, and both are
# below 2^132. Divisions by Z are put off until the product of all, W, is known.
#
# MOVING0 ... is a tooth's double, MOVING10 ... the tooth, MOVING12 ... the next.
comb:
    MOVING10 = x
    MOVING11 = y
    X = x
    Y = y
    W = ONE
    END
# From here on (X, Y) is a point of an isomorphic curve, where Z is 1 again.
tooth:
    Z = ONE
    CALL double double
    MOVING0 = X
    MOVING1 = Y
    MOVING22 = Z
    W = W * Z
    Z = ONE
    COLUMNS KEY
    NEXT
tooth_double:
    NEXT
    CALL double double
    LOOP tooth_double
    MOVING12 = X
    MOVING13 = Y
    MOVING23 = Z
    W = W * Z
    END
total:
    REDUCE A W FOLD_P
    END                 # A is inverted
settle_tooth:
    t0 = A * A
    MOVING12 = MOVING12 * t0
    t0 = t0 * A
    MOVING13 = MOVING13 * t0
    A = A * MOVING23
    t0 = A * A
    MOVING0 = MOVING0 * t0
    t0 = t0 * A
    MOVING1 = MOVING1 * t0
    A = A * MOVING22
    END
# The first entry: the last tooth less all others
last_tooth:
    X = MOVING10
    Y = MOVING11
    Z = ONE
    END
less_tooth:
    x = MOVING10
    y = ZERO - MOVING11
    CALL add add
    END
# The others, each from the one before
next_steps:
    X = TABLE0
    Y = TABLE1
    Z = ONE
    END
plus_double:
    x = MOVING0
    y = MOVING1
    END
less_double:
    x = MOVING0
    y = ZERO - MOVING1
    END
entry:
    CALL add add
    MOVING0 = t1
first_entry:
    TABLE0 = X
    TABLE1 = Y
    W = Z
    END
settle_entry:
    t0 = A * A
    TABLE0 = TABLE0 * t0
    t0 = t0 * A
    TABLE1 = TABLE1 * t0
    A = A * MOVING0
    END
"""

ECDSA = """
# Digest D, secret E, nonce V: big endian
begin_sign:
    SWAP E E
    SWAP D D
    REDUCE D D FOLD_N
    SWAP V V
    END
finish_sign:
    A = V
    END                 # A is inverted
# W = (D + R E) / V
divide_sign:
    W = A
    A = R
    B = E
    CALL times times
    PLUS T T D
    REDUCE T T FOLD_N
    A = W
    B = T
    CALL times times
    W = T
    END
# Whether W V is not D + R E after all; S = W
check_sign:
    A = W
    B = V
    CALL times times
    K = T
    A = E
    B = R
    CALL times times
    PLUS T T D
    REDUCE T T FOLD_N
    MINUS T T K
    CHECK T
    S = W
    END
# S = -S
other_sign:
    SWAP S S
    MINUS S N S
    SWAP S S
    END
# R, S as big-endian bytes
point_out:
    SWAP R R
    SWAP S S
    END
wipe:
    WIPE X LAST
    END
# Nonces, RFC 6979, section 3.2: KEY_ is the key, VALUE the value. The message that makes a new key
# begins with the value; T, T_, U, U_ take what comes next, with zeros behind it.
begin_key:
    CALL inner inner
    T = VALUE
    T_ = ZERO
    JUMP hash_rest
hash:
    HASH HASHED T
    T = U
    T_ = U_
hash_rest:
    U = ZERO
    U_ = ZERO
    END
end_key:
    HASH HASHED T
    CALL outer outer
    KEY_ = HASHED
next_value:
    CALL inner inner
    T = VALUE
    T_ = PADDING
    HASH HASHED T
    CALL outer outer
    VALUE = HASHED
    END

# r = E, s = V, digest D, big endian: V = r, D = D / s, E = r / s
begin_verify:
    SWAP V V
    SWAP E E
    SWAP D D
    REDUCE D D FOLD_N
    A = V
    V = E
    END                 # A is inverted
divide_verify:
    B = V
    CALL times times
    E = T
    B = D
    CALL times times
    D = T
    END
# Whether the x of the sum is not r
unlike_r:
    MINUS T R V
    CHECK T
    END
# The same, then V = r, D = -D / r, E = s / r
begin_recover:
    SWAP A V
    SWAP V E
    E = A
    SWAP D D
    REDUCE D D FOLD_N
    A = V
    END                 # A is inverted
divide_recover:
    B = E
    CALL times times
    E = T
    B = D
    CALL times times
    MINUS D N T
    END
"""

SOURCE = FORMULAS + SCALARS + HASHES + MULTIPLES + POINTS + COMBS + ECDSA

# What the backend knows by name
ENTRIES = (
    *("multiple", "check_multiple", "blind", "blind_plainly", "blind_randomly", "sum", "affine"),
    *("divide", "equation", "root", "flip", "comb", "tooth", "total", "settle_tooth"),
    *("last_tooth", "less_tooth", "next_steps", "plus_double", "less_double", "entry"),
    *("first_entry", "settle_entry", "begin_sign", "finish_sign", "divide_sign", "check_sign"),
    *("other_sign", "point_out", "wipe", "begin_key", "hash", "end_key", "next_value"),
    *("begin_verify", "divide_verify", "unlike_r", "begin_recover", "divide_recover"),
)
PUBLIC_SLOTS = (
    *("BT", "T", "R", "S", "D", "E", "V", "KEY_", "VALUE"),
    *("DOUBLES", "STEPS", "KEY", "BASE"),
)
assert (SLOTS["TEETH"] - SLOTS["DOUBLES"], SLOTS["RATIOS"] - SLOTS["DOUBLES"]) == (10, 22)
# A base comb with more columns than a key's would have some that no key column goes with.
assert spacing(BASE_TEETH) <= spacing(KEY_TEETH)
# All combs have the same number of digits.
assert len({teeth * spacing(teeth) for teeth in (3, KEY_TEETH, BASE_TEETH)}) == 1
