"""How kernels are compiled, and the few machine words that Numba has no name for.

Every kernel has its types written beside it, so that it is compiled (or read from the cache) when
its module is imported and never while calls wait.
"""

from collections.abc import Callable
from typing import Any

import numba
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

U8, U16, U32, U64, I64 = types.uint8, types.uint16, types.uint32, types.uint64, types.int64


def reads(item: Any, dimensions: int = 1) -> Any:
    """The type of an array that the kernel only reads: also maps of files and bytes objects."""
    return types.Array(item, dimensions, "C", readonly=True)


def writes(item: Any, dimensions: int = 1) -> Any:
    """The type of an array that the kernel fills."""
    return types.Array(item, dimensions, "C")


def kernel(*signatures: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function for `signatures`, from the cache where it was compiled before."""
    return numba.njit(list(signatures), cache=True, nogil=True, error_model="numpy")


def inlined(function: Callable[..., Any]) -> Any:
    """A function for kernels alone, which becomes part of each that calls it."""
    return numba.njit(inline="always", error_model="numpy")(function)


@intrinsic
def load64(context: Any, data: Any, index: Any) -> Any:
    """The 8 bytes of `data` (uint8[]) from `index` on as a little-endian word; not aligned.

    Nothing checks the bounds: buffers end in `texts.PADDING` spare bytes for this.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        place = builder.gep(array.data, [arguments[1]])
        word = builder.load(builder.bitcast(place, ir.IntType(64).as_pointer()))
        word.align = 1
        return word

    return types.uint64(data, types.int64), generate


@intrinsic
def trailing_zeros(context: Any, word: Any) -> Any:
    """How many zero bits are below the lowest set bit of a uint64; 64 for 0."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), generate
