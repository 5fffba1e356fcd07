"""How kernels that write bytes put the pieces behind one another.

Whole vectors are copied, also where only their first bytes are wanted: what was copied too much is
overwritten by the next piece. So both buffers end in `texts.PADDING` spare bytes, of which this
needs 31.
"""

from typing import Any

from llvmlite import ir
from numba import types

from stream.core.kernels.jit import inlined, intrinsic


def _copy(width: int) -> Any:
    """An intrinsic that copies `width` bytes, not aligned, within bounds that nothing checks."""

    def copy(context: Any, out: Any, at: Any, data: Any, start: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            to = context.make_array(signature.args[0])(context, builder, arguments[0])
            source = context.make_array(signature.args[2])(context, builder, arguments[2])
            vector = ir.VectorType(ir.IntType(8), width).as_pointer()
            read = builder.bitcast(builder.gep(source.data, [arguments[3]]), vector)
            written = builder.bitcast(builder.gep(to.data, [arguments[1]]), vector)
            builder.store(builder.load(read, align=1), written, align=1)
            return context.get_dummy_value()

        return types.void(out, types.int64, data, types.int64), generate

    return intrinsic(copy)


copy16 = _copy(16)
copy32 = _copy(32)


@inlined
def put(out: Any, at: Any, data: Any, start: Any, size: Any) -> Any:
    """Copy a piece to `out[at:]`; where it ends."""
    copy32(out, at, data, start)
    done = 32
    while done < size:
        copy32(out, at + done, data, start + done)
        done += 32
    return at + size
