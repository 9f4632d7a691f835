"""The inverse for ARMv6-M: Bernstein and Yang's division steps, as in viper.py.

Numbers are 19 pieces of 14 bits in two's complement, the last one with the sign, in half words on
the stack: f, g, d, e and the modulus. Fourteen steps make a matrix (fu fv; gu gv) whose rows have
a sum of at most 2^14, so that a sum of products with pieces and with the modulus fits 32 bits.
"""

from __future__ import annotations

from kernels.machine import SLOT, SLOTS
from kernels.programs import N, P
from kernels.thumb_assembler import Program

PIECE = 14
PIECES = 19
STEPS = 590
_SIZE = 40  # bytes of a number
_F, _G, _D, _E, _M = range(4, 4 + 5 * _SIZE, _SIZE)
_INVERSE, _DELTA, _BATCHES, _END = range(_M + _SIZE, _M + _SIZE + 16, 4)
_FRAME = _END + 4
_UP = 32 - PIECE


def write(emit: Program, memory: int) -> None:
    """What INVERT does: A = 1 / A. It has a frame of its own below the kernel's, where the
    memory's address stands at this offset."""
    _enter(emit, memory + _FRAME)
    _steps(emit)
    _apply(emit)
    _finish(emit, memory + _FRAME)


def _load(emit: Program, register: str, value: int) -> None:
    """A number of at most 16 bits."""
    emit(f"mov {register}, #{value >> 8}\nlsl {register}, {register}, #8")
    emit(f"add {register}, #{value & 255}")


def _enter(emit: Program, memory: int) -> None:
    emit(f"""
    invert:                     @ r7 is the memory, r0 the slot 0 of it for P and 1 for N
        sub sp, #{_FRAME}
        mov r2, r7
        add r2, #{SLOTS["P"] * SLOT}
    """)
    _load(emit, "r3", pow(P, -1, 1 << PIECE))
    emit(f"cmp r0, r7\nbeq modulus\nadd r2, #{(SLOTS['N'] - SLOTS['P']) * SLOT}")
    _load(emit, "r3", pow(N, -1, 1 << PIECE))
    emit(f"""
    modulus:
        str r3, [sp, #{_INVERSE}]
        add r1, sp, #{_M}
        bl unpack
        add r1, sp, #{_M}
        add r3, sp, #{_F}
        mov r5, #{_SIZE // 4}
    begin:                      @ f = the modulus, d = 0, e = 0
        ldm r1!, {{r4}}
        str r4, [r3, #0]
        mov r4, #0
        mov r6, #{_D - _F}
        str r4, [r3, r6]
        mov r6, #{_E - _F}
        str r4, [r3, r6]
        add r3, #4
        sub r5, #1
        bne begin
        mov r4, #1
        add r3, sp, #{_E}
        strh r4, [r3, #0]
        ldr r2, [sp, #{memory}]
    """)
    _load(emit, "r1", SLOTS["A"] * SLOT)
    emit(f"""
        add r2, r2, r1
        add r1, sp, #{_G}
        bl unpack
        mov r0, #0
        mvn r0, r0
        str r0, [sp, #{_DELTA}]
        mov r0, #{-(-STEPS // PIECE)}
        str r0, [sp, #{_BATCHES}]
        b batch
    unpack:                     @ 32 bytes at r2, as pieces at r1
        mov r3, #0
        mov r4, #0
        mov r7, #{PIECES}
    unpack_piece:
        cmp r4, #{PIECE}
        bcs unpack_more
        ldrh r5, [r2, #0]
        add r2, #2
        lsl r5, r4
        orr r3, r5
        add r4, #16
    unpack_more:
        lsl r5, r3, #{_UP}
        lsr r5, r5, #{_UP}
        strh r5, [r1, #0]
        add r1, #2
        lsr r3, r3, #{PIECE}
        sub r4, #{PIECE}
        sub r7, #1
        bne unpack_piece
        sub r1, #2              @ four bits are left for the last one
        lsl r5, r5, #28
        lsr r5, r5, #28
        strh r5, [r1, #0]
        bx lr
    """)


def _steps(emit: Program) -> None:
    """f in r0, g in r1, the matrix in r2-r5, delta in r8.

    r6, then r10 is -1 if g is odd and delta negative: f becomes g, g becomes g - f. r7 is what f
    is multiplied by before it is added to g: 1, -1 or, where g is even, 0.
    """
    emit(f"""
    batch:
        ldr r6, [sp, #{_DELTA}]
        mov r8, r6
        mov r6, #{PIECE}
        mov r9, r6
        add r2, sp, #{_F}
        ldrh r0, [r2, #0]
        add r2, sp, #{_G}
        ldrh r1, [r2, #0]
        mov r2, #1
        mov r3, #0
        mov r4, #0
        mov r5, #1
    step:
        mov r6, r8
        asr r6, r6, #31
        lsl r7, r1, #31
        asr r7, r7, #31
        and r6, r7
        mov r10, r6
        mov r7, r8
        eor r7, r6
        sub r7, #1
        mov r8, r7
        lsl r7, r1, #31
        lsr r7, r7, #31
        orr r7, r6
        mov r6, r0
        mul r6, r7
        add r1, r1, r6
        mov r6, r2
        mul r6, r7
        add r4, r4, r6
        mov r6, r3
        mul r6, r7
        add r5, r5, r6
        mov r7, r10
        mov r6, r1
        mul r6, r7
        sub r0, r0, r6
        mov r6, r4
        mul r6, r7
        sub r2, r2, r6
        mov r6, r5
        mul r6, r7
        sub r3, r3, r6
        asr r1, r1, #1
        lsl r2, r2, #1
        lsl r3, r3, #1
        mov r6, r9
        sub r6, #1
        mov r9, r6
        bne step
        mov r6, r8
        str r6, [sp, #{_DELTA}]
        mov r8, r2
        mov r9, r3
        mov r10, r4
        mov r11, r5
    """)


def _apply(emit: Program) -> None:
    """(f, g), where the division by 2^14 is exact, then (d, e), to which so many times the
    modulus (r12, lr) are added that it is, and that they stay between -2 and 1 times it."""
    emit(f"""
        mov r0, #0
        mov r12, r0
        mov lr, r0
        add r0, sp, #{_F}
    pair:
        sub r0, #2              @ what is divided goes one piece down; the first is dropped
        add r1, sp, #{_M}
        mov r2, r0
        add r2, #{2 * PIECES}
        str r2, [sp, #{_END}]
        mov r2, #0
        mov r3, #0
    piece:
        ldrh r4, [r0, #2]
        ldrh r5, [r0, #{_SIZE + 2}]
        ldrh r6, [r1, #0]
        add r1, #2
        sxth r4, r4
        sxth r5, r5
        mov r7, r8
        mul r7, r4
        add r2, r2, r7
        mov r7, r9
        mul r7, r5
        add r2, r2, r7
        mov r7, r12
        mul r7, r6
        add r2, r2, r7
        mov r7, r10
        mul r7, r4
        add r3, r3, r7
        mov r7, r11
        mul r7, r5
        add r3, r3, r7
        mov r7, lr
        mul r7, r6
        add r3, r3, r7
        lsl r7, r2, #{_UP}
        lsr r7, r7, #{_UP}
        strh r7, [r0, #0]
        lsl r7, r3, #{_UP}
        lsr r7, r7, #{_UP}
        strh r7, [r0, #{_SIZE}]
        asr r2, r2, #{PIECE}
        asr r3, r3, #{PIECE}
        add r0, #2
        ldr r7, [sp, #{_END}]
        cmp r0, r7
        bne piece
        strh r2, [r0, #0]
        strh r3, [r0, #{_SIZE}]
        add r1, sp, #{_D}
        cmp r0, r1
        bcs applied
        ldrh r4, [r1, #{2 * PIECES - 2}]
        sxth r4, r4
        asr r4, r4, #31
        mov r0, r1
        add r0, #{_SIZE}
        ldrh r5, [r0, #{2 * PIECES - 2}]
        sxth r5, r5
        asr r5, r5, #31
        mov r2, r8
        and r2, r4
        mov r3, r9
        and r3, r5
        add r2, r2, r3
        mov r3, r10
        and r3, r4
        mov r4, r11
        and r4, r5
        add r3, r3, r4
        ldrh r4, [r1, #0]
        ldrh r5, [r0, #0]
        ldr r0, [sp, #{_INVERSE}]
    """)
    for total, first, second, result in (("r2", "r8", "r9", "r12"), ("r3", "r10", "r11", "lr")):
        emit(f"""
            mov r6, {first}
            mul r6, r4
            mov r7, {second}
            mul r7, r5
            add r6, r6, r7
            mul r6, r0
            add r6, r6, {total}
            lsl r6, r6, #{_UP}
            lsr r6, r6, #{_UP}
            sub {total}, {total}, r6
            mov {result}, {total}
        """)
    emit(f"""
        mov r0, r1
        b pair
    applied:
        ldr r0, [sp, #{_BATCHES}]
        sub r0, #1
        str r0, [sp, #{_BATCHES}]
        bne batch
    """)


def _finish(emit: Program, memory: int) -> None:
    """f is 1 or -1, and d, with its sign, the inverse: brought to 0 ... modulus - 1."""
    emit(f"""
        add r0, sp, #{_F}
        ldrh r4, [r0, #{2 * PIECES - 2}]
        sxth r4, r4
        asr r4, r4, #31         @ -1 to change the sign
        add r0, sp, #{_D}
        ldrh r3, [r0, #{2 * PIECES - 2}]
        sxth r3, r3
        asr r3, r3, #31         @ -1 to add the modulus
        mov r7, #2
    normalize:
        add r0, sp, #{_D}
        add r1, sp, #{_M}
        mov r2, #0
        mov r12, r7
        mov r7, #{PIECES}
    normalize_piece:
        ldrh r5, [r0, #0]
        sxth r5, r5
        ldrh r6, [r1, #0]
        and r6, r3
        add r5, r5, r6
        eor r5, r4
        sub r5, r5, r4
        add r2, r2, r5
        lsl r5, r2, #{_UP}
        lsr r5, r5, #{_UP}
        strh r5, [r0, #0]
        asr r2, r2, #{PIECE}
        add r0, #2
        add r1, #2
        sub r7, #1
        bne normalize_piece
        mov r3, r2
        mov r4, #0
        mov r7, r12
        sub r7, #1
        bne normalize
        add r0, sp, #{_D}
        ldr r1, [sp, #{memory}]
    """)
    _load(emit, "r2", SLOTS["A"] * SLOT)
    emit(f"""
        add r1, r1, r2
        mov r2, #0
        mov r3, #0
        mov r7, #16
    pack:
        ldrh r4, [r0, #0]
        add r0, #2
        lsl r4, r3
        orr r2, r4
        add r3, #{PIECE}
        cmp r3, #16
        bcc pack
        strh r2, [r1, #0]
        add r1, #2
        lsr r2, r2, #16
        sub r3, #16
        sub r7, #1
        bne pack
        mov r0, sp
        mov r1, #0
        mov r2, #{_FRAME // 4}
    invert_wipe:                @ nothing secret stays on the stack
        stm r0!, {{r1}}
        sub r2, #1
        bne invert_wipe
        add sp, #{_FRAME}
        b next
    """)
