"""Numba's names for the modules of kernels: from the compiler, or for kernels that are linked.

With a linked file of machine code (`linked`), neither Numba nor LLVM is imported. Decorators then
return the function of that file, and types and intrinsics are stubs. Else all is from `compiler`.
"""

from collections.abc import Callable
from typing import Any

from stream.core.kernels import linked

__all__ = [
    "I64",
    "U8",
    "U16",
    "U32",
    "U64",
    "byte_swap",
    "inlined",
    "intrinsic",
    "ir",
    "kernel",
    "load64",
    "part",
    "reads",
    "trailing_zeros",
    "types",
    "writes",
]

I64: Any
U8: Any
U16: Any
U32: Any
U64: Any
types: Any
ir: Any
kernel: Callable[..., Callable[[Callable[..., Any]], Any]]
inlined: Callable[[Callable[..., Any]], Any]
part: Callable[[Callable[..., Any]], Any]
intrinsic: Callable[[Callable[..., Any]], Any]
reads: Any
writes: Any
load64: Any
trailing_zeros: Any
byte_swap: Any

if linked.in_use():
    I64 = U8 = U16 = U32 = U64 = types = ir = reads = writes = linked.NOTHING
    load64 = trailing_zeros = byte_swap = linked.NOTHING
    kernel = linked.kernel
    inlined = part = intrinsic = linked.unchanged
else:
    from llvmlite import ir
    from numba import types

    from stream.core.kernels.compiler import (
        I64,
        U8,
        U16,
        U32,
        U64,
        byte_swap,
        inlined,
        intrinsic,
        kernel,
        load64,
        part,
        reads,
        trailing_zeros,
        writes,
    )
