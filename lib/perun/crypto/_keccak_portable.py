"""Keccak-f[1600] and its sponge in plain integers; twin of _keccak_thumb and _keccak_viper.

The steps and their names are those of FIPS 202, section 3.2.
"""

import struct

from perun.compat import const

NAME = "portable"

_RATE = const(136)
_AT = const(200)

_LANES = "<25Q"
_MASK = 0xFFFFFFFFFFFFFFFF

_ROUND_CONSTANTS = (
    0x0000000000000001,
    0x0000000000008082,
    0x800000000000808A,
    0x8000000080008000,
    0x000000000000808B,
    0x0000000080000001,
    0x8000000080008081,
    0x8000000000008009,
    0x000000000000008A,
    0x0000000000000088,
    0x0000000080008009,
    0x000000008000000A,
    0x000000008000808B,
    0x800000000000008B,
    0x8000000000008089,
    0x8000000000008003,
    0x8000000000008002,
    0x8000000000000080,
    0x000000000000800A,
    0x800000008000000A,
    0x8000000080008081,
    0x8000000000008080,
    0x0000000080000001,
    0x8000000080008008,
)

# The walk of rho and pi together, from lane 1 on: (where the lane goes, how far it rotates).
_MOVES = (
    (10, 1),
    (7, 3),
    (11, 6),
    (17, 10),
    (18, 15),
    (3, 21),
    (5, 28),
    (16, 36),
    (8, 45),
    (21, 55),
    (24, 2),
    (4, 14),
    (15, 27),
    (23, 41),
    (19, 56),
    (13, 8),
    (12, 25),
    (2, 43),
    (20, 62),
    (14, 18),
    (22, 39),
    (9, 61),
    (6, 20),
    (1, 44),
)


def absorb(sponge, data, count):
    """XOR `count` bytes of `data` into `sponge`, permuting it whenever a block is full."""
    at = sponge[_AT]
    start = 0
    while start < count:
        length = min(count - start, _RATE - at)
        old = int.from_bytes(sponge[at : at + length], "little")
        new = int.from_bytes(data[start : start + length], "little")
        sponge[at : at + length] = (old ^ new).to_bytes(length, "little")
        start += length
        at += length
        if at == _RATE:
            permute(sponge)
            at = 0
    sponge[_AT] = at


def permute(state):
    """Apply Keccak-f[1600] to the first 200 bytes."""
    lanes = list(struct.unpack_from(_LANES, state))
    for constant in _ROUND_CONSTANTS:
        _theta(lanes)
        moving = lanes[1]
        for target, left in _MOVES:
            moved = (moving << left & _MASK) | moving >> 64 - left
            moving = lanes[target]
            lanes[target] = moved
        _chi(lanes)
        lanes[0] ^= constant
    struct.pack_into(_LANES, state, 0, *lanes)


def _theta(lanes):
    parity = [
        lanes[x] ^ lanes[x + 5] ^ lanes[x + 10] ^ lanes[x + 15] ^ lanes[x + 20] for x in range(5)
    ]
    for x in range(5):
        right = parity[(x + 1) % 5]
        change = parity[(x + 4) % 5] ^ (right << 1 & _MASK) ^ right >> 63
        for lane in range(x, 25, 5):
            lanes[lane] ^= change


def _chi(lanes):
    for row in range(0, 25, 5):
        a, b, c, d, e = lanes[row : row + 5]
        # (b | c) ^ b is "not b, and c" without a complement, which would be negative.
        lanes[row] = a ^ ((b | c) ^ b)
        lanes[row + 1] = b ^ ((c | d) ^ c)
        lanes[row + 2] = c ^ ((d | e) ^ d)
        lanes[row + 3] = d ^ ((e | a) ^ e)
        lanes[row + 4] = e ^ ((a | b) ^ a)
