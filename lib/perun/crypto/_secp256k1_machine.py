"""secp256k1 in buffers: the backend for machines that can run a native kernel.

A kernel executes programs of the field machine (README.md): whole multiples of points are one
call, and no number is ever an object. This module moves bytes in and out of the machine's memory
and says which program comes next.
"""

from perun.compat import borrowed, const
from perun.crypto._secp256k1_programs import CODE

# Where the programs begin and where things lie: written by tools/kernels
_SIGN = const(642)
_CHECK_MULTIPLE = const(752)
_CHECK_SIGN = const(853)
_OTHER_SIGN = const(890)
_POINT_OUT = const(1160)
_WIPE = const(1167)
_BLIND = const(901)
_SUM = const(1031)
_FLIP = const(1444)
_EQUATION = const(1449)
_COMB = const(1487)
_BEGIN_NONCE = const(1172)
_BEGIN_KEY = const(1183)
_HASH = const(1194)
_END_KEY = const(1208)
_NEXT_VALUE = const(1218)
_BEGIN_VERIFY = const(1236)
_UNLIKE_R = const(1268)
_BEGIN_RECOVER = const(1275)
_AT_T = const(36)
_AT_R = const(45)
_AT_S = const(46)
_AT_D = const(47)
_AT_VALUE = const(42)
_AT_KEY = const(61)
_AT_BASE = const(78)
# (end of what tools/kernels writes)

_N = bytes.fromhex("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141")
_HIGH_S = bytes.fromhex("7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a1")
_ZERO = bytes(32)
_BLOCK = const(64)  # bytes, of SHA-256

# Bytes at the start of the memory that a program reads
_COMPLETE = const(2)
_MAKING = const(9)

_SLOT = const(32)  # bytes
_HEADER = const(4)  # of a table: its teeth, its spacing, and two bytes that align the rest
_HALF_BITS = const(130)
_BASE_TEETH = const(5)
_KEY_TEETH = const(4)
_LEAST_TEETH = const(3)

_AT_T_ = const((_AT_T << 5) + 32)  # bytes
_AT_BLOCK_END = const((_AT_T << 5) + 64)

_START = "perun.crypto._secp256k1_start"


class Curve:
    """The curve, computed by a kernel: a module with NAME, SCRATCH and run().

    run(code, entry, memory, table) executes a program and gives 0, or 1 if one of its CHECKs
    found something. SCRATCH is how many bytes it needs for itself behind the memory.
    """

    def __init__(self, kernel):
        self.NAME = kernel.NAME
        self._execute = kernel.run
        self._memory = bytearray((_AT_BASE << 5) + (_SLOT << _BASE_TEETH) + kernel.SCRATCH)
        view = memoryview(self._memory)
        self._base = view[(_AT_BASE << 5) - _HEADER :]  # its teeth are 0 until it is made
        self._once = view[(_AT_KEY << 5) - _HEADER : (_AT_BASE << 5) - _SLOT]
        self._blinded = False

    def public_key(self, secret, plainly=False):
        """The public key x || y of a secret. Only the first blinding is checked `plainly`."""
        failed = 0 if plainly else self._blind(secret)
        try:
            self._given(_ZERO, _ZERO, secret)
            self._run(_SIGN)
            self._given(_ZERO, _ZERO, secret)
            failed |= self._run(_CHECK_MULTIPLE)
            public = self._point()
        finally:
            self._run(_WIPE)
        self._release(failed)
        return public

    def sign(self, digest, secret, nonce):
        """The signature r || s || v, or None if this nonce cannot give one.

        Raises RuntimeError if it does not stand its check, with the arguments loaded anew.
        """
        failed = self._blind(nonce)
        memory = self._memory
        try:
            self._given(digest, secret, nonce)
            self._run(_SIGN)
            v = 27 + self._odd()
            self._given(digest, secret, nonce)
            failed |= self._run(_CHECK_MULTIPLE) | self._run(_CHECK_SIGN)
            self._run(_POINT_OUT)
            high = memory[_AT_S << 5]
            if high > 0x7F or high == 0x7F and self._bytes(_AT_S, 32) >= _HIGH_S:
                self._run(_OTHER_SIGN)  # -s belongs to the nonce -k, with the other y
                v = 55 - v
            memory[_AT_D << 5] = v
            signature = self._bytes(_AT_R, 65)
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
        self._ready()
        self._run(_BEGIN_NONCE)
        self._new_key(0, secret, digest, entropy)
        self._new_key(1, secret, digest, entropy)
        self._run(_NEXT_VALUE)
        while skip:
            self._new_key(0, b"", b"", b"")
            self._run(_NEXT_VALUE)
            skip -= 1
        nonce = self._bytes(_AT_VALUE, 32)
        self._run(_WIPE)
        return nonce

    def _new_key(self, number, secret, digest, entropy):
        """A new key, from the value and what is given here, and a new value.

        Secret and digest have 32 bytes or none.
        """
        memory = self._memory
        run = self._run
        run(_BEGIN_KEY)
        memory[_AT_T_] = number
        at = _AT_T_ + 1  # after the value and that
        if secret:
            memory[at : at + 32] = secret
            memory[at + 32 : at + 64] = digest
            run(_HASH)
        for start in range(0, len(entropy), _BLOCK):
            piece = entropy[start : start + _BLOCK]
            memory[at : at + len(piece)] = piece
            at += len(piece)
            if at >= _AT_BLOCK_END:
                run(_HASH)
                at -= _BLOCK
        memory[at] = 0x80
        if at > _AT_BLOCK_END - 9:
            run(_HASH)
        bits = 8 * (97 + len(secret) + len(digest) + len(entropy))  # the block of the key included
        memory[_AT_BLOCK_END - 3] = bits >> 16
        memory[_AT_BLOCK_END - 2] = bits >> 8 & 255
        memory[_AT_BLOCK_END - 1] = bits & 255
        run(_END_KEY)

    def recover(self, digest, signature):
        """The public key that made a strict signature, or None."""
        self._ready()
        self._given(digest, signature)  # and on to V; its last byte falls on W
        if self._run(_BEGIN_RECOVER):
            return None
        if self._odd() != signature[64] - 27:
            self._run(_FLIP)
        return self._point() if self._sum(self._comb(True)) else None

    def prepare(self, public, once=False):
        """The comb of a public key for verify(), or None if it is not on the curve.

        A comb for one use is valid until the next one or the next recover().
        """
        self._ready()  # its place is needed now
        self._memory[_AT_R << 5 : (_AT_R << 5) + 64] = public
        return None if self._run(_EQUATION) else self._comb(once)

    def verify(self, digest, signature, comb):
        """Whether the key of this comb has made a strict signature, v included."""
        self._ready()
        self._given(digest, signature)
        self._run(_BEGIN_VERIFY)
        return bool(
            self._sum(comb) and not self._run(_UNLIKE_R) and self._odd() == signature[64] - 27
        )

    # -- the machine ------------------------------------------------------------------------

    def _run(self, entry, table=None):
        return self._execute(CODE, entry, self._memory, table or self._base)

    def _given(self, *parts):
        """Write D and the slots that follow."""
        at = _AT_D << 5
        for part in parts:
            self._memory[at : at + len(part)] = part
            at += _SLOT

    def _bytes(self, slot, count):
        slot <<= 5
        return bytes(memoryview(self._memory)[slot : slot + count])

    def _odd(self):
        """The lowest bit of the y that a program has left in S."""
        return self._memory[_AT_S << 5] & 1

    def _point(self):
        """What a program has left in R and S."""
        self._run(_POINT_OUT)
        return self._bytes(_AT_R, 64)

    def _release(self, failed):
        if failed:
            # Begin anew, whatever was disturbed.
            self._base[0] = 0
            self._blinded = False
            raise RuntimeError("disturbed: no signature")

    def _sum(self, comb):
        """D G + E Q by the comb of Q, made affine; 0 if it is infinite."""
        if self._run(_SUM, comb):
            return 1
        # Infinite, or two points met that the faster formulas cannot add
        memory = self._memory
        memory[_COMPLETE] = 1
        finite = self._run(_SUM, comb)
        memory[_COMPLETE] = 0
        return finite

    # -- combs ------------------------------------------------------------------------------

    def _ready(self):
        """Write the constants and make the comb of the base point, once."""
        if not self._base[0]:
            borrowed(_START).begin(self._memory, self._run)
            self._make(_AT_BASE, self._base, _BASE_TEETH)

    def _blind(self, secret):
        """Blind the multiples of the base point anew: at random first, then by doubling.

        Gives 1 if what is kept for it is not what it was.
        """
        if self._blinded:
            return self._run(_BLIND)
        self._ready()
        start = borrowed(_START)
        self._blinded = start.blind(self._memory, self._run, self.public_key, secret)
        return not self._blinded

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
        is set and subtracted if not; the last one is subtracted."""
        comb[1] = (_HALF_BITS + teeth - 1) // teeth
        making = (teeth - 1, teeth - 1, 1 << teeth - 1, first)
        self._memory[_MAKING : _MAKING + 4] = bytes(making)
        self._run(_COMB, comb)
        comb[0] = teeth
