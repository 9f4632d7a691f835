"""The programs of the field machine: the formulas of the curve and of ECDSA.

Points are (X, Y, Z). Jacobian ones stand for (X / Z^2, Y / Z^3), and their formulas fail where
the sum is infinite or both points are equal; they then leave Z = 0, which nothing that follows
changes. Complete ones are homogeneous, (X / Z, Y / Z), with (0, 1, 0) for infinity, and their
formulas never fail.
"""

from __future__ import annotations

import re

from kernels.machine import BASE_TEETH, CONSTANTS, KEY_TEETH, SLOTS, TABLE

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
    # 2^L - 1 for the L digits of a half, see `split`, and what makes it that for a key's comb
    "DIGITS": (1 << BASE_TEETH * spacing(BASE_TEETH)) - 1,
    "MORE": (1 << KEY_TEETH * spacing(KEY_TEETH)) - (1 << BASE_TEETH * spacing(BASE_TEETH)),
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
# (x, y) with x = V, and S = y below P, is a point if there is one: then the result is 0.
# A square root is the power (P + 1) / 4.
# The exponent is 223 ones, a 0, 22 ones, 0000, 11, 00 in binary.
root:
    R = V
    x = R
    CALL right_side
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
# (x, y) from R, S, big endian. The result is 0 if both are below P and the point on the curve.
equation:
    SWAP x R
    SWAP y S
    REDUCE T x FOLD_P
    MINUS T T x
    CHECK T
    REDUCE T y FOLD_P
    MINUS T T y
    CHECK T
    CALL right_side
    t1 = y * y
    t0 = t0 - t1
    JUMP differs
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
# HMAC-SHA256 (RFC 2104; FIPS 180-4): INNER and OUTER are the states after the first blocks, which
# are those of the key KEY_, 32 bytes; HASHED begins with INNER and takes the message block by
# block, and `outer` makes of it what it becomes in the end.
keyed:
    FILL T T_ 54
    XOR T T KEY_
    INNER = IV
    HASH INNER T
    FILL T T_ 92
    XOR T T KEY_
    OUTER = IV
    HASH OUTER T
    RETURN
outer:
    T = HASHED
    T_ = PADDING
    HASHED = OUTER
    HASH HASHED T
    RETURN
"""

MULTIPLES = """
# Digest D, secret E, nonce V: big endian
load:
    SWAP E E
    SWAP D D
    REDUCE D D FOLD_N
    SWAP V V
    REDUCE V V FOLD_N
    RETURN

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
    END                 # never signs, even if RETURN is left out

# A signature. First (X, Y, Z) = V G, with K = V blinded: the sum begins with the point
# (BX, BY, BZ), which the doublings take to -BT G. R, S is the affine point, below P.
sign:
    CALL load
    K = V
    PLUS K K BT
    REDUCE K K FOLD_N
    CALL split
    X = BX
    Y = BY
    C = BX
    Z = BZ
    COLUMNS BASE
multiple_column:
    STEP COLUMN 255
    CALL double
    PICK x K1 BASE
    NEGATE y
    CALL add
    PICK x K2 BASE
    NEGATE y
    x = x * BETA
    CALL add
    UNTIL multiple_column COLUMN 0
    A = Z               # which forgets the witness's carry
    REDUCE A A FOLD_P
    INVERT 0
    t0 = A
    CALL affine_jacobian
    REDUCE R X FOLD_P
    REDUCE S Y FOLD_P
# W = (D + R E) / V
    A = R
    B = E
    CALL times
    PLUS T T D
    REDUCE W T FOLD_N
    A = V
    INVERT 1
    B = W
    CALL times
    W = T
    END

# Whether (R, S) is not V G after all: V is loaded anew. README.md has the argument.
# The point is on the curve; the witness is what it becomes when only the points are picked once
# more; nothing that lasts has changed.
check_multiple:
    CALL load
    x = R
    CALL right_side
    t1 = S * S
    t0 = t0 - t1
    REDUCE T t0 FOLD_P
    CHECK T
    K = V
    PLUS K K BT
    REDUCE K K FOLD_N
    CALL split
    H1 = BX
    COLUMNS BASE
witness_column:
    STEP COLUMN 255
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
    UNTIL witness_column COLUMN 0
    MINUS T H1 C
    CHECK T
    CALL sum_up
    MINUS T T SEAL
    CHECK T
    END

# Whether W V is not D + R E after all; S = W
check_sign:
    A = W
    B = V
    CALL times
    K = T
    A = E
    B = R
    CALL times
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

# The next blinding: twice the point and its scalar. Both stay random if they were. C doubles with
# the point, U by itself; they must agree, and so must what is then kept.
blind:
    CALL sum_up
    MINUS T T SEAL
    CHECK T
    X = BX
    Y = BY
    C = BT
    Z = BZ
    CALL double
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
    CALL sum_up
    SEAL = T
    END

# The first blinding, which is not random, ...
blind_plainly:
    MINUS BT N BT       # BT = -2^26
    BX = x
    BY = y
    BZ = ONE
    JUMP seal
# ... and what becomes of it with a random scalar V and its multiple
blind_randomly:
    BX = R
    BY = S
    BZ = ONE
    A = V
    B = BT
    CALL times
    BT = T
    JUMP seal

# R, S = D G + E Q by the combs of G and Q, the latter with at least as many columns.
# No column is empty, so the sum begins with a point. The result tells whether it is finite:
# Z not 0.
sum:
    K = D
    CALL split
    H1 = K1
    H2 = K2
    K = E
    CALL split
    PLUS K1 K1 MORE
    PLUS K2 K2 MORE
    COLUMNS KEY
    STEP COLUMN 255
    TAKE x K1 KEY
    NEGATE y
    X = x
    Y = y
    Z = ONE
    JUMP sum_second
sum_column:
    STEP COLUMN 255
    EITHER double double_complete
    TAKE x K1 KEY
    NEGATE y
    EITHER add add_complete
sum_second:
    TAKE x K2 KEY
    NEGATE y
    x = x * BETA
    EITHER add add_complete
    UNLESS sum_next BASE
    TAKE x H1 BASE
    NEGATE y
    EITHER add add_complete
    TAKE x H2 BASE
    NEGATE y
    x = x * BETA
    EITHER add add_complete
sum_next:
    UNTIL sum_column COLUMN 0
    A = Z               # which forgets the witness's carry
    REDUCE A A FOLD_P
    INVERT 0
    t0 = A
    EITHER affine_jacobian affine_complete
    REDUCE R X FOLD_P
    REDUCE S Y FOLD_P
    CHECK A
    END
"""

_TOOTH = SLOTS["TEETH"] - SLOTS["DOUBLES"]
_RATIO = SLOTS["RATIOS"] - SLOTS["DOUBLES"]
# What belongs to a tooth, relative to MOVING, which is its double: the tooth, what divides both,
# and the same of the next one
_OF_A_TOOTH = {
    **{"TX": _TOOTH, "TY": _TOOTH + 1, "RATIO": _RATIO},
    **{"NEXT_TX": _TOOTH + 2, "NEXT_TY": _TOOTH + 3, "NEXT_RATIO": _RATIO + 1},
}

COMBS = f"""
# A comb of (x, y): the table has every sum of the teeth, which are 2^(spacing * i) (x, y), with
# signs; the last tooth's is always negative. No addition here meets equal or opposite points: of
# each two, one is an odd multiple of (x, y) and one an even, or they differ in size, and both are
# below 2^132. Divisions by Z are put off until the product of all, W, is known.
#
# MOVING0 and MOVING1 are a tooth's double, TX and TY the tooth, NEXT_TX and NEXT_TY the next one.
comb:
    SET MOVING {SLOTS["DOUBLES"]}
    TX = x
    TY = y
    X = x
    Y = y
    W = ONE
# From here on (X, Y) is a point of an isomorphic curve, where Z is 1 again.
tooth:
    Z = ONE
    CALL double
    MOVING0 = X
    MOVING1 = Y
    RATIO = Z
    W = W * Z
    Z = ONE
    COLUMNS KEY
    STEP COLUMN 255
tooth_double:
    STEP COLUMN 255
    CALL double
    UNTIL tooth_double COLUMN 0
    NEXT_TX = X
    NEXT_TY = Y
    NEXT_RATIO = Z
    W = W * Z
    STEP MOVING 2
    STEP TEETH_TO_MAKE 255
    UNTIL tooth TEETH_TO_MAKE 0
    REDUCE A W FOLD_P
    INVERT 0
settle_tooth:
    STEP MOVING 254
    t0 = A * A
    NEXT_TX = NEXT_TX * t0
    t0 = t0 * A
    NEXT_TY = NEXT_TY * t0
    A = A * NEXT_RATIO
    t0 = A * A
    MOVING0 = MOVING0 * t0
    t0 = t0 * A
    MOVING1 = MOVING1 * t0
    A = A * RATIO
    UNTIL settle_tooth MOVING {SLOTS["DOUBLES"]}
# The first entry: all teeth subtracted
    X = TX
    Y = ZERO - TY
    Z = ONE
less_tooth:
    STEP MOVING 2
    x = TX
    y = ZERO - TY
    CALL add
    STEP TEETH_TO_SUBTRACT 255
    UNTIL less_tooth TEETH_TO_SUBTRACT 0
    SET COUNT 0
    JUMP entry
# The others along a Gray code, each from the one before
next_entry:
    GRAY
    x = MOVING0
    y = MOVING1
    NEGATE y
    CALL add
entry:
    PLACE
    MOVING0 = t1
    TABLE0 = X
    TABLE1 = Y
    STEP COUNT 1
    STEP ENTRIES_TO_MAKE 255
    UNTIL next_entry ENTRIES_TO_MAKE 0
    REDUCE A Z FOLD_P
    INVERT 0
settle_entry:
    STEP COUNT 255
    PLACE
    t0 = A * A
    TABLE0 = TABLE0 * t0
    t0 = t0 * A
    TABLE1 = TABLE1 * t0
    A = A * MOVING0
    UNTIL settle_entry COUNT 0
    END
"""
COMBS = re.sub(r"\b(NEXT_)?(TX|TY|RATIO)\b", lambda found: f"MOVING{_OF_A_TOOTH[found[0]]}", COMBS)

ECDSA = """
# R, S as big-endian bytes
point_out:
    SWAP R R
    SWAP S S
    END
wipe:
    FILL X C 0
    END
# Nonces, RFC 6979, section 3.2: KEY_ is the key, VALUE the value. The message that makes a new key
# begins with the value; T, T_, U, U_ take what comes next, with zeros behind it.
begin_nonce:
    FILL KEY_ KEY_ 0
    FILL VALUE VALUE 1
    CALL keyed
    END
begin_key:
    T = VALUE
    FILL T_ U_ 0
    HASHED = INNER
    END
hash:
    HASH HASHED T
    T = U
    T_ = U_
    FILL U U_ 0
    END
end_key:
    HASH HASHED T
    CALL outer
    KEY_ = HASHED
    CALL keyed
next_value:
    T = VALUE
    T_ = PADDING
    HASHED = INNER
    HASH HASHED T
    CALL outer
    VALUE = HASHED
    END

# r = E, s = V, digest D, big endian: V = r, D = D / s, E = r / s
begin_verify:
    SWAP A V
    SWAP V E
    SWAP D D
    REDUCE D D FOLD_N
    INVERT 1
    B = V
    CALL times
    E = T
    B = D
    CALL times
    D = T
    END
# Whether the x of the sum is not r
unlike_r:
    MINUS T R V
    CHECK T
    END
# The same, then V = r, D = -D / r, E = s / r and what `root` gives
begin_recover:
    SWAP B V
    SWAP V E
    SWAP D D
    REDUCE D D FOLD_N
    A = V
    INVERT 1
    CALL times
    E = T
    B = D
    CALL times
    MINUS D N T
    JUMP root
"""

SOURCE = FORMULAS + SCALARS + HASHES + MULTIPLES + ECDSA + POINTS + COMBS

# What the backend knows by name, and what only its start does
ENTRIES = (
    *("sign", "check_multiple", "check_sign", "other_sign", "point_out", "wipe", "blind", "sum"),
    *("flip", "equation", "comb", "begin_nonce", "begin_key", "hash", "end_key"),
    *("next_value", "begin_verify", "unlike_r", "begin_recover"),
)
START_ENTRIES = ("equation", "sign", "blind_plainly", "blind_randomly")
PUBLIC_SLOTS = (*("T", "R", "S", "D", "VALUE", "KEY", "BASE"),)
START_SLOTS = ("BT", "R", "V", "BASE")
assert _RATIO + 2 * BASE_TEETH < TABLE // 2  # what an operand reaches
# A base comb with more columns than a key's would have some that no key column goes with.
assert spacing(BASE_TEETH) <= spacing(KEY_TEETH)
# The combs of keys have the same number of digits.
assert KEY_TEETH * spacing(KEY_TEETH) == 3 * spacing(3)
