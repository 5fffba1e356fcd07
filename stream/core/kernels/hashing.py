"""SHA-512 (FIPS 180-4) of many numbers after one prefix, eight at a time in vector registers.

Each number gets the digest that hashlib gives it. Eight lanes of 64 bits are one AVX-512 register.
State, schedule and temporaries fit into the 32 of them; on other machines LLVM splits them.
"""

from functools import reduce
from math import isqrt
from typing import Any

import numpy as np

from stream.core.kernels.jit import (
    U8,
    U64,
    byte_swap,
    inlined,
    intrinsic,
    ir,
    kernel,
    load64,
    reads,
    trailing_zeros,
    types,
    writes,
)

LANES = 8
NUMBER_BYTES = 16
BLOCK_BYTES = 128

_PRIMES = [n for n in range(2, 410) if all(n % d for d in range(2, isqrt(n) + 1))]
_WORD = (1 << 64) - 1


def _cube_root(n: int) -> int:
    """Return the largest integer whose cube is at most `n`."""
    root = 1 << -(-n.bit_length() // 3)
    while (better := (2 * root + n // (root * root)) // 3) < root:
        root = better
    return root


# Fractions of the primes' square and cube roots, as the standard derives its constants (4.2.3,
# 5.3.5). This is shorter than 88 literals, and tests compare the digests with hashlib's.
START = np.array([isqrt(p << 128) & _WORD for p in _PRIMES[:8]], np.uint64)
_ROUND = [_cube_root(p << 192) & _WORD for p in _PRIMES[:80]]


@intrinsic
def compress(context: Any, state: Any, words: Any, first: Any) -> Any:
    """Compress one block per lane: `words[first : first + 16]` into `state` (uint64[8, LANES]).

    `words` is uint64[.., LANES], the message's big-endian words as numbers.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        lane = ir.IntType(64)
        vector = ir.VectorType(lane, LANES)
        # A funnel shift of a value with itself is a rotation: one instruction with AVX-512.
        rotate = builder.module.declare_intrinsic(
            f"llvm.fshr.v{LANES}i64", (), ir.FunctionType(vector, [vector] * 3)
        )

        def array(index: int) -> Any:
            made = context.make_array(signature.args[index])(context, builder, arguments[index])
            return builder.bitcast(made.data, vector.as_pointer())

        def mixed(value: Any, *right: int) -> Any:
            """Return the XOR of `value` rotated by each of `right`; a negative one only shifts."""
            total = None
            for by in right:
                places = ir.Constant(vector, [abs(by)] * LANES)
                part = (
                    builder.lshr(value, places)
                    if by < 0
                    else builder.call(rotate, [value, value, places])
                )
                total = part if total is None else builder.xor(total, part)
            return total

        def plus(*values: Any) -> Any:
            return reduce(builder.add, values)

        # Unrolled over all 80 rounds: word indexes are then constants, and words stay in the CPU.
        places = [builder.gep(array(0), [lane(i)]) for i in range(8)]
        block = builder.gep(array(1), [arguments[2]])
        before = [builder.load(place, align=8) for place in places]
        w = [builder.load(builder.gep(block, [lane(i)]), align=8) for i in range(16)]
        a, b, c, d, e, f, g, h = before
        for number, added in enumerate(_ROUND):
            at = number % 16
            if number >= 16:
                old, new = w[(at + 1) % 16], w[(at + 14) % 16]
                w[at] = plus(w[at], mixed(old, 1, 8, -7), w[(at + 9) % 16], mixed(new, 19, 61, -6))
            choice = builder.xor(g, builder.and_(e, builder.xor(f, g)))
            constant = ir.Constant(vector, [added] * LANES)
            one = plus(h, constant, w[at], choice, mixed(e, 14, 18, 41))
            majority = builder.or_(builder.and_(a, b), builder.and_(c, builder.or_(a, b)))
            two = plus(majority, mixed(a, 28, 34, 39))
            a, b, c, d, e, f, g, h = plus(one, two), a, b, c, plus(d, one), e, f, g
        for place, old, new in zip(places, before, (a, b, c, d, e, f, g, h), strict=True):
            builder.store(builder.add(old, new), place, align=8)
        return context.get_dummy_value()

    return types.none(state, words, types.int64), generate


@inlined
def place_number(
    words: Any, lane: int, numbers: Any, at: int, last_word: Any, prefix_bytes: int
) -> Any:
    """Write number `at` and the padding after the prefix. Return whether it needs a second block.

    `words` (uint64[32, LANES]) holds the prefix's last words, followed by zeros. `last_word` is the
    very last of them, which may be incomplete.
    """
    tail = prefix_bytes % BLOCK_BYTES
    first = byte_swap(load64(numbers, at * NUMBER_BYTES))
    second = byte_swap(load64(numbers, at * NUMBER_BYTES + 8))
    third = fourth = U64(0)
    size = (
        16 - (trailing_zeros(second) >> 3) if second != U64(0) else 8 - (trailing_zeros(first) >> 3)
    )
    # The standard's padding: one bit after the message, its length in bits at the block's end.
    stop = U64(0x80) << U64(56 - 8 * (size & 7))
    if size < 8:
        first |= stop
    elif size < 16:
        second |= stop
    else:
        third |= stop
    # The prefix may end inside a word: then the number is shifted by the bytes in that word.
    word, shift = tail >> 3, U64(8 * (tail & 7))
    if shift != U64(0):  # a shift by 64 is undefined in LLVM
        back = U64(64) - shift
        fourth = third << back
        third = (third >> shift) | (second << back)
        second = (second >> shift) | (first << back)
        first >>= shift
    words[word, lane] = last_word | first
    words[word + 1, lane] = second
    words[word + 2, lane] = third
    words[word + 3, lane] = fourth
    needs_second = tail + size + 17 > BLOCK_BYTES
    words[31 if needs_second else 15, lane] = U64(8 * (prefix_bytes + size))
    return needs_second


@inlined
def begin(prefix: Any, start: Any, words: Any, state: Any) -> Any:
    """Compress the whole blocks of `prefix`; leave its tail in `words`. Return the last word."""
    blocks = len(prefix) // BLOCK_BYTES
    for lane in range(LANES):
        for i in range(8):
            state[i, lane] = start[i]
    for block in range(blocks + 1):
        words[:] = U64(0)
        for i in range(block * BLOCK_BYTES, min(len(prefix), (block + 1) * BLOCK_BYTES)):
            inside = i % BLOCK_BYTES
            byte = U64(prefix[i]) << U64(56 - 8 * (inside & 7))
            for lane in range(LANES):
                words[inside >> 3, lane] |= byte
        if block < blocks:
            compress(state, words, 0)
    return words[(len(prefix) % BLOCK_BYTES) >> 3, 0]


@kernel(types.void(reads(U8), reads(U8), reads(U64), writes(U64)))
def sha512_numbers(numbers: Any, prefix: Any, start: Any, out: Any) -> None:
    """Write the digests of `prefix` and each of `numbers`, as hashlib's bytes.

    `numbers` uint8[16 n]: texts of at most 16 bytes, padded with zeros (S16). `start` is `START`.
    The bytes of `out` uint64[8 n] become the digests, one after the other.
    """
    count = len(numbers) // NUMBER_BYTES
    words, begun = np.zeros((32, LANES), np.uint64), np.zeros((8, LANES), np.uint64)
    state, later = np.zeros((8, LANES), np.uint64), np.zeros(LANES, np.bool_)
    last_word = begin(prefix, start, words, begun)
    for base in range(0, count, LANES):
        any_later = False
        for lane in range(LANES):
            at = min(base + lane, count - 1)  # spare lanes repeat the last number
            later[lane] = place_number(words, lane, numbers, at, last_word, len(prefix))
            any_later |= later[lane]
        state[:] = begun
        compress(state, words, 0)
        # Before the second block: it changes the state of every number, also of the finished ones.
        for lane in range(min(LANES, count - base)):
            if not later[lane]:
                for i in range(8):
                    out[(base + lane) * 8 + i] = byte_swap(state[i, lane])
        if any_later:
            compress(state, words, 16)
            for lane in range(min(LANES, count - base)):
                if later[lane]:
                    for i in range(8):
                        out[(base + lane) * 8 + i] = byte_swap(state[i, lane])
