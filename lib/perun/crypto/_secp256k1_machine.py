"""secp256k1 in buffers: the backend for machines that can run a native kernel.

A kernel executes programs of the field machine (README.md): whole multiples of points are one
call, and no number is ever an object. This module moves bytes in and out of the machine's memory
and says which program comes next.
"""

import hashlib
import os

from perun.compat import borrowed, const
from perun.crypto._secp256k1_programs import CODE

# Where the programs begin and where things lie: written by tools/kernels
_MULTIPLE = const(636)
_CHECK_MULTIPLE = const(716)
_BLIND = const(840)
_BLIND_PLAINLY = const(960)
_BLIND_RANDOMLY = const(984)
_SUM = const(1020)
_AFFINE = const(1152)
_DIVIDE = const(1160)
_EQUATION = const(1184)
_ROOT = const(1216)
_FLIP = const(1360)
_COMB = const(1368)
_TOOTH = const(1392)
_TOTAL = const(1460)
_SETTLE_TOOTH = const(1468)
_LAST_TOOTH = const(1512)
_LESS_TOOTH = const(1528)
_NEXT_STEPS = const(1544)
_PLUS_DOUBLE = const(1560)
_LESS_DOUBLE = const(1572)
_ENTRY = const(1584)
_FIRST_ENTRY = const(1592)
_SETTLE_ENTRY = const(1608)
_BEGIN_SIGN = const(1632)
_FINISH_SIGN = const(1652)
_DIVIDE_SIGN = const(1660)
_CHECK_SIGN = const(1704)
_OTHER_SIGN = const(1756)
_POINT_OUT = const(1772)
_WIPE = const(1784)
_BEGIN_KEY = const(1792)
_HASH = const(1808)
_END_KEY = const(1832)
_NEXT_VALUE = const(1844)
_BEGIN_VERIFY = const(1872)
_DIVIDE_VERIFY = const(1900)
_UNLIKE_R = const(1928)
_BEGIN_RECOVER = const(1940)
_DIVIDE_RECOVER = const(1968)
_AT_BT = const(24)
_AT_T = const(35)
_AT_R = const(46)
_AT_S = const(47)
_AT_D = const(48)
_AT_E = const(49)
_AT_V = const(50)
_AT_KEY_ = const(42)
_AT_VALUE = const(43)
_AT_DOUBLES = const(59)
_AT_STEPS = const(69)
_AT_KEY = const(78)
_AT_BASE = const(95)
# (end of what tools/kernels writes)

_P = b"\xff" * 27 + b"\xfe\xff\xff\xfc\x2f"
_N = bytes.fromhex("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141")
_HALF_N = bytes.fromhex("7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0")
# As bytes, not as text that would be kept beside them
_G = (
    b"\x79\xbe\x66\x7e\xf9\xdc\xbb\xac\x55\xa0\x62\x95\xce\x87\x0b\x07"
    b"\x02\x9b\xfc\xdb\x2d\xce\x28\xd9\x59\xf2\x81\x5b\x16\xf8\x17\x98"
    b"\x48\x3a\xda\x77\x26\xa3\xc4\x65\x5d\xa4\xfb\xfc\x0e\x11\x08\xa8"
    b"\xfd\x17\xb4\x48\xa6\x85\x54\x19\x9c\x47\xd0\x8f\xfb\x10\xd4\xb8"
)
_ZERO = bytes(32)
_ONES = b"\x01" * 32
_BLOCK = const(64)  # bytes, of SHA-256

# Bytes at the start of the memory that a program reads
_TABLE = const(0)
_MOVING = const(1)
_COMPLETE = const(2)

_SLOT = const(32)  # bytes
_HEADER = const(4)  # of a table: its teeth, its spacing, and two bytes that align the rest
_HALF_BITS = const(130)
_BASE_TEETH = const(6)
_KEY_TEETH = const(4)
_LEAST_TEETH = const(3)
_STEPS = const(16)  # so many entries of a table share a division


class Disturbed(RuntimeError):
    """A signature did not stand its check: the device was disturbed. Nothing was released."""


class Curve:
    """The curve, computed by a kernel: a module with NAME, run() and invert().

    run(code, entry, memory, table) executes a
    program and gives 0, or 1 if one of its CHECKs found something. invert(memory, order) makes
    the slot A 1 / A modulo P, or modulo N.
    """

    def __init__(self, kernel):
        self.NAME = kernel.NAME
        self._kernel = kernel
        self._memory = bytearray((_AT_BASE << 5) + (_SLOT << _BASE_TEETH))
        view = memoryview(self._memory)
        self._base = view[(_AT_BASE << 5) - _HEADER :]
        self._once = view[(_AT_KEY << 5) - _HEADER : (_AT_BASE << 5) - _SLOT]
        self._value = view[_AT_VALUE << 5 : (_AT_VALUE << 5) + 32]
        self._pair = view[_AT_R << 5 : (_AT_R << 5) + 64]
        self._signature = view[_AT_R << 5 : (_AT_R << 5) + 65]
        self._start()

    def _start(self):
        """Constants; what else the machine keeps is made when it is needed."""
        self._base[0] = 0
        self._blinded = False
        self._put(_AT_BT, _ZERO)
        constants = borrowed("perun.crypto._secp256k1_constants").CONSTANTS
        at = 0
        slot = _SLOT
        while at < len(constants):  # each begins with its length
            end = at + 1 + constants[at]
            self._memory[slot : slot + _SLOT] = _ZERO
            self._memory[slot : slot + end - at - 1] = constants[at + 1 : end]
            slot += _SLOT
            at = end

    def public_key(self, secret):
        """The public key x || y of a secret."""
        failed = self._blind(secret)
        try:
            self._load(_ZERO, _ZERO, secret)
            failed |= self._multiple()
            self._load(_ZERO, _ZERO, secret)
            failed |= self._run(_CHECK_MULTIPLE)
            public = self._point()
        finally:
            self._run(_WIPE)
        self._release(failed)
        return public

    def sign(self, digest, secret, nonce):
        """The signature r || s || v, or None if this nonce cannot give one.

        Raises Disturbed if it does not stand its check, with the arguments loaded anew.
        """
        failed = self._blind(nonce)
        try:
            self._load(digest, secret, nonce)
            failed |= self._multiple()
            self._inverted(_FINISH_SIGN, _DIVIDE_SIGN, 1)
            v = 27 + self._odd()
            self._load(digest, secret, nonce)
            failed |= self._run(_CHECK_MULTIPLE) | self._run(_CHECK_SIGN)
            self._run(_POINT_OUT)
            high = self._memory[_AT_S << 5]
            if high > 0x7F or high == 0x7F and bytes(self._pair)[32:] > _HALF_N:
                self._run(_OTHER_SIGN)  # -s belongs to the nonce -k, with the other y
                v = 55 - v
            self._memory[_AT_D << 5] = v
            signature = bytes(self._signature)
        finally:
            self._run(_WIPE)
        self._release(failed)
        # An x beyond the order would need another v.
        if signature[0] == 0xFF and signature[:32] >= _N:
            return None
        if not signature[32] and signature[32:64] == _ZERO:
            return None
        return signature

    def nonce(self, digest, secret, entropy, skip):
        """The candidate of RFC 6979, section 3.2, after `skip` others."""
        self._put(_AT_KEY_, _ZERO)
        self._put(_AT_VALUE, _ONES)
        self._new_key(b"\x00", secret, digest, entropy)
        self._new_key(b"\x01", secret, digest, entropy)
        self._run(_NEXT_VALUE)
        for _ in range(skip):
            self._new_key(b"\x00")
            self._run(_NEXT_VALUE)
        nonce = bytes(self._value)
        self._run(_WIPE)
        return nonce

    def _new_key(self, *parts):
        """A new key, from the value and what is given here, and a new value."""
        self._run(_BEGIN_KEY)
        at = 32  # in the block, after the value
        length = 96  # of all that is hashed, the block of the key included
        for part in parts:
            length += len(part)
            for start in range(0, len(part), _BLOCK):
                piece = part if len(part) <= _BLOCK else part[start : start + _BLOCK]
                place = (_AT_T << 5) + at
                self._memory[place : place + len(piece)] = piece
                at += len(piece)
                if at >= _BLOCK:
                    self._run(_HASH)
                    at -= _BLOCK
        self._memory[(_AT_T << 5) + at] = 0x80
        if at > _BLOCK - 9:
            self._run(_HASH)
        end = (_AT_T << 5) + _BLOCK
        self._memory[end - 1] = length << 3 & 255
        self._memory[end - 2] = length >> 5 & 255
        self._memory[end - 3] = length >> 13 & 255
        self._run(_END_KEY)

    def recover(self, digest, signature):
        """The public key that made a strict signature, or None."""
        self._begin(_BEGIN_RECOVER, _DIVIDE_RECOVER, digest, signature)
        if self._run(_ROOT):
            return None
        if self._odd() != signature[64] - 27:
            self._run(_FLIP)
        return self._point() if self._sum(self._comb(True)) else None

    def prepare(self, public, once=False):
        """The comb of a public key for verify(), or None if it is not on the curve.

        A comb for one use is valid until the next one or the next recover().
        """
        # The first byte settles nearly all cases, without a copy of the number.
        for at in (0, 32):
            if public[at] == 0xFF and public[at : at + 32] >= _P:
                return None
        self._ready()  # its place is needed now
        self._put(_AT_R, public)
        return None if self._run(_EQUATION) else self._comb(once)

    def verify(self, digest, signature, comb):
        """Whether the key of this comb has made a strict signature, v included."""
        self._begin(_BEGIN_VERIFY, _DIVIDE_VERIFY, digest, signature)
        return bool(
            self._sum(comb) and not self._run(_UNLIKE_R) and self._odd() == signature[64] - 27
        )

    # -- the machine ------------------------------------------------------------------------

    def _run(self, entry, table=None):
        return self._kernel.run(CODE, entry, self._memory, table or self._base)

    def _put(self, slot, data):
        slot <<= 5
        self._memory[slot : slot + len(data)] = data

    def _odd(self):
        """The lowest bit of the y that a program has left in S."""
        return self._memory[_AT_S << 5] & 1

    def _point(self):
        """What a program has left in R and S."""
        self._run(_POINT_OUT)
        return bytes(self._pair)

    def _begin(self, begin, divide, digest, signature):
        self._ready()
        self._put(_AT_D, digest)
        self._put(_AT_E, signature)  # and on to V; its last byte falls on W
        self._inverted(begin, divide, 1)

    def _load(self, digest, secret, nonce):
        self._put(_AT_D, digest)
        self._put(_AT_E, secret)
        self._put(_AT_V, nonce)
        self._run(_BEGIN_SIGN)

    def _multiple(self):
        """R, S = V G, affine; 1 if it is infinite, which it never is."""
        self._run(_MULTIPLE)
        return self._affine() ^ 1

    def _release(self, failed):
        if failed:
            self._start()  # whatever was disturbed
            raise Disturbed("not released")

    def _affine(self):
        """Make the point affine; 0 if it is infinite."""
        return self._inverted(_AFFINE, _DIVIDE, 0)

    def _inverted(self, before, after, order):
        """Two programs, with the inverse of A between them."""
        self._run(before)
        self._kernel.invert(self._memory, order)
        return self._run(after)

    def _sum(self, comb):
        """D G + E Q by the comb of Q, made affine; 0 if it is infinite."""
        memory = self._memory
        self._run(_SUM, comb)
        if self._affine():
            return 1
        # Infinite, or two points met that the faster formulas cannot add
        memory[_COMPLETE] = 1
        self._run(_SUM, comb)
        finite = self._affine()
        memory[_COMPLETE] = 0
        return finite

    # -- combs ------------------------------------------------------------------------------

    def _ready(self):
        """Make the comb of the base point, once."""
        if not self._base[0]:
            self._load_base()
            self._make(_AT_BASE, self._base, _BASE_TEETH)

    def _load_base(self):
        self._put(_AT_R, _G)
        self._run(_EQUATION)

    def _blind(self, secret):
        """Blind the multiples of the base point anew: at random first, then by doubling.

        Gives 1 if what is kept for it is not what it was.
        """
        if self._blinded:
            return self._run(_BLIND)
        self._ready()
        seed = hashlib.sha256(secret)
        if hasattr(os, "urandom"):
            seed.update(os.urandom(32))
        self._load_base()
        self._put(_AT_V, seed.digest())
        spacing = self._base[1]
        self._memory[(_AT_BT << 5) + (spacing >> 3)] = 1 << (spacing & 7)
        self._run(_BLIND_PLAINLY)
        self._run(_MULTIPLE)
        self._run(_BLIND_RANDOMLY)
        # What the point B is of the scalar BT shows in a multiple that is known: G itself.
        failed = self._multiple() | self._run(_CHECK_MULTIPLE) | (self._point() != _G)
        self._blinded = not failed
        return failed

    def _comb(self, once):
        """A comb of the point (x, y) in the machine; a smaller one if memory is short."""
        teeth = _KEY_TEETH
        comb = self._once
        while not once:
            try:
                comb = bytearray(_HEADER + (_SLOT << teeth))
                break
            except MemoryError:
                if teeth == _LEAST_TEETH:
                    raise
                teeth -= 1
        self._make(_AT_KEY, self._once, teeth)
        if not once:
            comb[:] = self._once[: len(comb)]
        return comb

    def _make(self, first, comb, teeth):
        """Fill a table with the sums of a comb's teeth, entry i with tooth j added if bit j of i
        is set and subtracted if not."""
        memory = self._memory
        run = self._run
        comb[1] = (_HALF_BITS + teeth - 1) // teeth
        memory[_MOVING] = _AT_DOUBLES
        run(_COMB)
        for tooth in range(teeth - 1):
            memory[_MOVING] = _AT_DOUBLES + 2 * tooth
            run(_TOOTH, comb)
        run(_TOTAL)
        self._kernel.invert(memory, 0)
        for tooth in range(teeth - 2, -1, -1):
            memory[_MOVING] = _AT_DOUBLES + 2 * tooth
            run(_SETTLE_TOOTH)
        memory[_MOVING] = _AT_DOUBLES + 2 * (teeth - 1)
        run(_LAST_TOOTH)
        for tooth in range(teeth - 1):
            memory[_MOVING] = _AT_DOUBLES + 2 * tooth
            run(_LESS_TOOTH)
        memory[_TABLE] = first
        run(_FIRST_ENTRY)
        # Gray code: each entry differs from the one before in one tooth, by its double.
        for i in range(1, 1 << teeth - 1):
            if not i & _STEPS - 1:
                self._settle(first, i)
                run(_NEXT_STEPS)
            entry = i ^ i >> 1
            tooth = 0
            while not i >> tooth & 1:
                tooth += 1
            memory[_MOVING] = _AT_DOUBLES + 2 * tooth
            run(_PLUS_DOUBLE if entry >> tooth & 1 else _LESS_DOUBLE)
            memory[_MOVING] = _AT_STEPS + (i & _STEPS - 1)
            memory[_TABLE] = first + 2 * entry
            run(_ENTRY)
        self._settle(first, 1 << teeth - 1)
        comb[0] = teeth

    def _settle(self, first, end):
        """Make the last entries before `end`, in the order of the code, affine."""
        memory = self._memory
        self._run(_TOTAL)
        self._kernel.invert(memory, 0)
        for i in range(end - 1, max(0, end - _STEPS) - 1, -1):
            memory[_MOVING] = _AT_STEPS + (i & _STEPS - 1)
            memory[_TABLE] = first + 2 * (i ^ i >> 1)
            self._run(_SETTLE_ENTRY)
        memory[_TABLE] = first + 2 * (end - 1 ^ end - 1 >> 1)
