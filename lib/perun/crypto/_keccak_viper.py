"""Keccak-f[1600] and its sponge in viper; twin of _keccak_portable.

Viper integers have 32 bits on the boards and 64 on x86-64, so a lane of 64 bits is handled as two
words. The sponge is the byte string of FIPS 202 (little endian, lane x, y at 8 * (x + 5 * y));
read as words, lane i has its low half at 2 * i and its high half at 2 * i + 1.

A round reads one buffer and writes the other, row by row: theta, rho and pi are applied when a
lane is fetched, chi and iota when a row is stored.

The work buffer is shared: two threads must not hash at the same time.
"""

import micropython

NAME = "viper"


def _round_constants():
    """The constants of the 24 rounds, as words.

    FIPS 202, algorithms 5 and 6: bit 2^j - 1 of a constant is the next bit of an LFSR.
    """
    constants = bytearray(192)
    register = 1
    for at in range(0, 192, 8):
        for j in range(7):
            if register & 1:
                bit = (1 << j) - 1
                constants[at + (bit >> 3)] |= 1 << (bit & 7)
            register <<= 1
            if register & 0x100:
                register ^= 0x171
    return constants


def _fetch_table():
    """How the 25 lanes are fetched, in the order in which they are stored.

    Five bytes a lane: the words of the old state that become the low and the high half, the
    words of theta for them, and the rotation that is left. (A rotation by 32 or more swaps the
    halves and rotates by 32 less.) FIPS 202, algorithms 2 and 3.
    """
    table = bytearray(125)
    x = y = amount = 0
    for t in range(25):
        swap = amount >> 5
        at = 5 * (y + 5 * ((2 * x + 3 * y) % 5))  # pi moves lane x, y to y, 2x + 3y
        table[at] = 2 * (x + 5 * y) + swap
        table[at + 1] = 2 * (x + 5 * y) + 1 - swap
        table[at + 2] = 2 * x + swap
        table[at + 3] = 2 * x + 1 - swap
        table[at + 4] = amount & 31
        x, y = (y, (2 * x + 3 * y) % 5) if t else (1, 0)
        amount = (t + 1) * (t + 2) // 2 % 64
    return table


# Buffers of their own are aligned in memory, as words must be; a bytes literal need not be.
_CONSTANTS = _round_constants()
_FETCH = _fetch_table()
_WORK = bytearray(240)  # the other state and the ten words of theta

del _round_constants, _fetch_table  # their work is done: the RAM is free again


@micropython.viper
def permute(a: ptr32):
    """Apply Keccak-f[1600] to the 200 bytes of the state."""
    # Viper keeps only its first locals in registers: the hot pointers are named first.
    fetch = ptr8(_FETCH)
    theta = ptr32(int(ptr8(_WORK)) + 200)
    b = ptr32(_WORK)
    constants = ptr32(_CONSTANTS)
    rounds = 24
    while rounds:
        # Only words fresh from memory are shifted right: where viper integers have 64 bits, a
        # left shift leaves rubbish above bit 31, which goes when the word is stored.
        l0 = uint(a[0] ^ a[10] ^ a[20] ^ a[30] ^ a[40])
        h0 = uint(a[1] ^ a[11] ^ a[21] ^ a[31] ^ a[41])
        l1 = uint(a[2] ^ a[12] ^ a[22] ^ a[32] ^ a[42])
        h1 = uint(a[3] ^ a[13] ^ a[23] ^ a[33] ^ a[43])
        l2 = uint(a[4] ^ a[14] ^ a[24] ^ a[34] ^ a[44])
        h2 = uint(a[5] ^ a[15] ^ a[25] ^ a[35] ^ a[45])
        l3 = uint(a[6] ^ a[16] ^ a[26] ^ a[36] ^ a[46])
        h3 = uint(a[7] ^ a[17] ^ a[27] ^ a[37] ^ a[47])
        l4 = uint(a[8] ^ a[18] ^ a[28] ^ a[38] ^ a[48])
        h4 = uint(a[9] ^ a[19] ^ a[29] ^ a[39] ^ a[49])
        theta[0] = l4 ^ (l1 << 1) ^ (h1 >> 31)
        theta[1] = h4 ^ (h1 << 1) ^ (l1 >> 31)
        theta[2] = l0 ^ (l2 << 1) ^ (h2 >> 31)
        theta[3] = h0 ^ (h2 << 1) ^ (l2 >> 31)
        theta[4] = l1 ^ (l3 << 1) ^ (h3 >> 31)
        theta[5] = h1 ^ (h3 << 1) ^ (l3 >> 31)
        theta[6] = l2 ^ (l4 << 1) ^ (h4 >> 31)
        theta[7] = h2 ^ (h4 << 1) ^ (l4 >> 31)
        theta[8] = l3 ^ (l0 << 1) ^ (h0 >> 31)
        theta[9] = h3 ^ (h0 << 1) ^ (l0 >> 31)
        rows = 5
        while rows:
            # A shift by 32 is not the same everywhere, so right shifts go in two steps.
            low = uint(a[fetch[0]] ^ theta[fetch[2]])
            high = uint(a[fetch[1]] ^ theta[fetch[3]])
            left = fetch[4]
            l0 = (low << left) | ((high >> 1) >> (31 - left))
            h0 = (high << left) | ((low >> 1) >> (31 - left))
            low = uint(a[fetch[5]] ^ theta[fetch[7]])
            high = uint(a[fetch[6]] ^ theta[fetch[8]])
            left = fetch[9]
            l1 = (low << left) | ((high >> 1) >> (31 - left))
            h1 = (high << left) | ((low >> 1) >> (31 - left))
            low = uint(a[fetch[10]] ^ theta[fetch[12]])
            high = uint(a[fetch[11]] ^ theta[fetch[13]])
            left = fetch[14]
            l2 = (low << left) | ((high >> 1) >> (31 - left))
            h2 = (high << left) | ((low >> 1) >> (31 - left))
            low = uint(a[fetch[15]] ^ theta[fetch[17]])
            high = uint(a[fetch[16]] ^ theta[fetch[18]])
            left = fetch[19]
            l3 = (low << left) | ((high >> 1) >> (31 - left))
            h3 = (high << left) | ((low >> 1) >> (31 - left))
            low = uint(a[fetch[20]] ^ theta[fetch[22]])
            high = uint(a[fetch[21]] ^ theta[fetch[23]])
            left = fetch[24]
            l4 = (low << left) | ((high >> 1) >> (31 - left))
            h4 = (high << left) | ((low >> 1) >> (31 - left))
            b[0] = int(l0 ^ (~l1 & l2))
            b[1] = int(h0 ^ (~h1 & h2))
            b[2] = int(l1 ^ (~l2 & l3))
            b[3] = int(h1 ^ (~h2 & h3))
            b[4] = int(l2 ^ (~l3 & l4))
            b[5] = int(h2 ^ (~h3 & h4))
            b[6] = int(l3 ^ (~l4 & l0))
            b[7] = int(h3 ^ (~h4 & h0))
            b[8] = int(l4 ^ (~l0 & l1))
            b[9] = int(h4 ^ (~h0 & h1))
            b = ptr32(int(b) + 40)
            fetch = ptr8(int(fetch) + 25)
            rows -= 1
        fetch = ptr8(int(fetch) - 125)
        swap = int(b) - 200
        b = a
        a = ptr32(swap)
        a[0] = a[0] ^ constants[0]
        a[1] = a[1] ^ constants[1]
        constants = ptr32(int(constants) + 8)
        rounds -= 1


@micropython.viper
def absorb(sponge, data: ptr8, count: int):
    """XOR `count` bytes of `data` into `sponge`, permuting it whenever a block is full."""
    state = ptr8(sponge)
    at = int(state[200])
    i = 0
    while count:
        state[at] = state[at] ^ data[i]
        count -= 1
        i += 1
        at += 1
        if at == 136:
            permute(sponge)
            at = 0
    state[200] = at
