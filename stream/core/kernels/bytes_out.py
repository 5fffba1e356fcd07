"""Kernels that write pieces of bytes, times and numbers one after the other.

Whole vectors are copied, even where only their first bytes are wanted. The next piece overwrites
the surplus. So both buffers end in `byte_strings.PADDING` spare bytes; this module needs 31.
"""

from typing import Any

import numpy as np

from stream.core.kernels.jit import inlined, intrinsic, ir, types

_QUOTE = np.uint8(ord('"'))


def _copy(width: int) -> Any:
    """Return an intrinsic that copies `width` bytes, unaligned and without a bounds check."""

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
    """Copy a piece to `out[at:]`. Return its end."""
    # The first 32 bytes are copied without a branch: most pieces are no longer.
    copy32(out, at, data, start)
    done = 32
    while done < size:
        copy32(out, at + done, data, start + done)
        done += 32
    return at + size


@inlined
def _two_digits(out: Any, at: Any, number: Any) -> Any:
    """Write a number below 100 with two digits."""
    out[at] = np.uint8(48 + number // 10)
    out[at + 1] = np.uint8(48 + number % 10)


@inlined
def put_time(out: Any, at: Any, at_ms: Any) -> Any:
    """Write milliseconds since the epoch as RFC 3339 in quotation marks. Return its end.

    The text equals that of `core.model.moments.rfc3339_ms`, with the same first and last year.

    Years begin in March here, so that a leap day is the last day of a year (Howard Hinnant,
    "chrono-Compatible Low-Level Date Algorithms", civil_from_days).
    """
    at_ms = min(max(at_ms, np.int64(0)), np.int64(253402300799999))  # `moments._MS_MAX`
    days, milliseconds = at_ms // 86400000, at_ms % 86400000
    days += 719468  # from the first of March of year 0
    era, day_of_era = days // 146097, days % 146097  # 400 years, after which the calendar repeats
    year = (day_of_era - day_of_era // 1460 + day_of_era // 36524 - day_of_era // 146096) // 365
    day = day_of_era - (365 * year + year // 4 - year // 100)
    month = (5 * day + 2) // 153
    day = day - (153 * month + 2) // 5 + 1
    year += era * 400
    month += 3
    if month > 12:
        month -= 12
        year += 1
    seconds, milliseconds = milliseconds // 1000, milliseconds % 1000
    out[at] = _QUOTE
    _two_digits(out, at + 1, year // 100)
    _two_digits(out, at + 3, year % 100)
    out[at + 5] = ord("-")
    _two_digits(out, at + 6, month)
    out[at + 8] = ord("-")
    _two_digits(out, at + 9, day)
    out[at + 11] = ord("T")
    _two_digits(out, at + 12, seconds // 3600)
    out[at + 14] = ord(":")
    _two_digits(out, at + 15, seconds // 60 % 60)
    out[at + 17] = ord(":")
    _two_digits(out, at + 18, seconds % 60)
    out[at + 20] = ord(".")
    out[at + 21] = np.uint8(48 + milliseconds // 100)
    _two_digits(out, at + 22, milliseconds % 100)
    out[at + 24] = ord("Z")
    out[at + 25] = _QUOTE
    return at + 26


@inlined
def put_decimal(out: Any, at: Any, number: Any) -> Any:
    """Write a number of 0 or more. Return its end."""
    size, rest = 1, number
    while rest >= 10:
        rest //= 10
        size += 1
    end = at + size
    rest = number
    for place in range(size):
        out[end - 1 - place] = np.uint8(48 + rest % 10)
        rest //= 10
    return end
