"""Memory access by address and 128-bit products, for kernels that probe many lists."""

from typing import Any

from stream.core.kernels.jit import intrinsic, ir, types

_BYTES = ir.IntType(8).as_pointer()


def _read(bits: int) -> Any:
    """Return an intrinsic that reads `bits` bits at an address as a uint64, unaligned."""

    @intrinsic
    def read(context: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            place = builder.inttoptr(arguments[0], ir.IntType(bits).as_pointer())
            word = builder.load(place)
            word.align = 1
            return word if bits == 64 else builder.zext(word, ir.IntType(64))

        return types.uint64(types.int64), generate

    return read


read8, read16, read32, read64 = _read(8), _read(16), _read(32), _read(64)
"""Read little-endian words at an address. The caller keeps the array alive."""


@intrinsic
def prefetch(context: Any, address: Any) -> Any:
    """Prefetch the cache line at `address`, which is read soon. It never faults."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        number = ir.IntType(32)
        asked = builder.module.declare_intrinsic(
            "llvm.prefetch.p0i8",
            (),
            ir.FunctionType(ir.VoidType(), [_BYTES, number, number, number]),
        )
        place = builder.inttoptr(arguments[0], _BYTES)
        # LLVM's arguments: for a read (0), again soon (3), as data (1).
        builder.call(asked, [place, number(0), number(3), number(1)])
        return context.get_dummy_value()

    return types.none(types.int64), generate


@intrinsic
def multiply_high(context: Any, one: Any, other: Any) -> Any:
    """Return the upper 64 bits of the product of two uint64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        wide = ir.IntType(128)
        product = builder.mul(*(builder.zext(argument, wide) for argument in arguments))
        return builder.trunc(builder.lshr(product, wide(64)), ir.IntType(64))

    return types.uint64(types.uint64, types.uint64), generate
