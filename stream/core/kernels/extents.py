"""How far a stretch of record batches reaches, from their headers alone.

The next fetch goes out before the last answer is worked on, so it has to be known where that
answer ends. Nothing is checked here: who reads the batches does, and finds out if this was wrong.
"""

from typing import Any

from numba import types

from stream.core.kernels.jit import I64, U8, inlined, kernel, reads

_LENGTH_AT, _MAGIC_AT, _LAST_DELTA_AT, _HEADER_BYTES = 8, 16, 23, 61
_UNCOUNTED = 12  # bytes in front of what a batch's length counts


@inlined
def _big_endian(data: Any, at: Any, size: Any) -> Any:
    value = types.int64(0)
    for place in range(at, at + size):
        value = (value << 8) | types.int64(data[place])
    return value


@kernel(I64(reads(U8), I64, I64, I64))
def reaches(data: Any, start: Any, stop: Any, offset: Any) -> Any:
    """The offset after the last whole batch in `data[start:stop]`, at least `offset`.

    Stops at the first header that cannot be one of message format v2.
    """
    at = start
    beyond = offset
    while at + _HEADER_BYTES <= stop:
        length = _big_endian(data, at + _LENGTH_AT, 4) + _UNCOUNTED
        if length < _HEADER_BYTES or length > stop - at or data[at + _MAGIC_AT] != 2:
            break
        first = _big_endian(data, at, 8)
        after = first + _big_endian(data, at + _LAST_DELTA_AT, 4) + 1
        if first < 0 or after <= first:
            break
        beyond = max(beyond, after)
        at += length
    return beyond
