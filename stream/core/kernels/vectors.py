"""Operations on 64 bytes at a time, for kernels; the result has a bit for each byte.

They are LLVM vectors, so that LLVM chooses the instructions: one compare with AVX-512, two with
AVX2, four with SSE2 or NEON. There is no bounds check: buffers end in `byte_strings.PADDING` bytes.
"""

from collections.abc import Sequence
from typing import Any

from stream.core.kernels.jit import intrinsic, ir, types

_BLOCK = ir.VectorType(ir.IntType(8), 64)
_BITS = ir.IntType(64)


def _block(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
    """Return the 64 bytes of `array` from `index` on."""
    data = context.make_array(kind)(context, builder, array).data
    block = builder.load(builder.bitcast(builder.gep(data, [index]), _BLOCK.as_pointer()))
    block.align = 1  # else LLVM may take an instruction that faults at an odd address
    return block


def _all_of(byte: str) -> Any:
    return ir.Constant(_BLOCK, [ord(byte)] * 64)


@intrinsic
def unusual64(context: Any, data: Any, index: Any) -> Any:
    r"""Find the bytes that are not plain JSON string text: `"`, `\`, controls, non-ASCII."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Sequence[Any]) -> Any:
        block = _block(context, builder, signature.args[0], *arguments)
        # A signed comparison: bytes from 128 on are below the space, like control characters.
        low = builder.icmp_signed("<", block, _all_of(" "))
        quote = builder.icmp_unsigned("==", block, _all_of('"'))
        escape = builder.icmp_unsigned("==", block, _all_of("\\"))
        return builder.bitcast(builder.or_(builder.or_(low, quote), escape), _BITS)

    return types.uint64(data, types.int64), generate


@intrinsic
def equal64(context: Any, data: Any, index: Any, byte: Any) -> Any:
    """Find the bytes that equal `byte`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Sequence[Any]) -> Any:
        block = _block(context, builder, signature.args[0], *arguments[:2])
        one = builder.trunc(arguments[2], ir.IntType(8))
        place = ir.Constant(ir.IntType(32), 0)
        first = builder.insert_element(ir.Constant(_BLOCK, ir.Undefined), one, place)
        every = ir.Constant(ir.VectorType(ir.IntType(32), 64), [0] * 64)
        all_of = builder.shuffle_vector(first, ir.Constant(_BLOCK, ir.Undefined), every)
        return builder.bitcast(builder.icmp_unsigned("==", block, all_of), _BITS)

    return types.uint64(data, types.int64, types.int64), generate


@intrinsic
def differing64(context: Any, data: Any, index: Any, other: Any, place: Any) -> Any:
    """Find the bytes of `data` from `index` that differ from `other` from `place`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Sequence[Any]) -> Any:
        kinds = signature.args
        one = _block(context, builder, kinds[0], *arguments[:2])
        two = _block(context, builder, kinds[2], *arguments[2:])
        return builder.bitcast(builder.icmp_unsigned("!=", one, two), _BITS)

    return types.uint64(data, types.int64, other, types.int64), generate


@intrinsic
def item(context: Any, data: Any, index: Any) -> Any:
    """Return `data[index]` without the test for an index that counts from the end."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Sequence[Any]) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        return builder.load(builder.gep(array.data, [arguments[1]]))

    return data.dtype(data, types.int64), generate


@intrinsic
def guessed(context: Any, number: Any) -> Any:
    """Return the same int64; the compiler does not know that it is the same.

    It is for a guess that a comparison then confirms: the processor goes on with the guess during
    the comparison. Both values are equal, so the compiler could use the compared one instead, and
    the processor would wait for it.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Sequence[Any]) -> Any:
        word = ir.IntType(64)
        same = ir.InlineAsm(ir.FunctionType(word, [word]), "", "=r,0", side_effect=False)
        return builder.call(same, [arguments[0]])

    return types.int64(types.int64), generate
