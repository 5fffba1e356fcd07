"""Fields of charging records (TS 32.298), assembled from the parts that the scan found. Compiled.

An exchange writes a number without its `+`, next to the number's type, and a call's id in two
members. So the fields of a batch with such records are written to a separate buffer. There they
lie like the fields of other dialects in their records. `dialects.threegpp` is the rule for one
record at a time; unusual records are left to it.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.core.kernels.bytes_out import put
from stream.core.kernels.e164_text import uri_number
from stream.core.kernels.jit import I64, U8, kernel, load64, part, reads, types, writes
from stream.core.kernels.json_fields import FOUND, FoundFields, forget
from stream.core.kernels.json_parts import Data
from stream.core.kernels.vectors import item

ROW_BYTES_MAX = 3
"""Bytes written for a record besides the parts found in it: two `+` and a slash."""

_ID, _CALLER, _CALLEE = 0, 1, 2
_PLUS, _SLASH, _ONE = b"+/1"
_WORD6 = np.uint64(0xFFFFFFFFFFFF)
_INVITE = np.uint64(int.from_bytes(b"INVITE", "little"))
_WORD5 = np.uint64(0xFFFFFFFFFF)
_INTER = np.uint64(int.from_bytes(b"internat", "little"))
_IONAL = np.uint64(int.from_bytes(b"ional", "little"))


class PartRows(NamedTuple):
    """Rows of `dialects.dialect.PARTS` in the columns that the scan filled, in that order."""

    method: int
    reference: int
    exchange: int
    caller_type: int
    callee_type: int
    caller_served: int
    callee_served: int
    caller_uri: int
    callee_uri: int
    unusual: int


_named_alike: Any = types.NamedUniTuple
_ROWS = _named_alike(I64, len(PartRows._fields), PartRows)
NO_PARTS = PartRows(*[-1] * len(PartRows._fields))
"""Value for records of other dialects: their fields are copied unchanged."""


@part
def _has(found: FoundFields, field: int, row: int) -> bool:
    there: bool = found.sizes[field, row] > 0
    return there


@part
def _is_invite(data: Data, found: FoundFields, field: int, row: int) -> bool:
    if found.sizes[field, row] < 0:
        return True
    word = load64(data, found.starts[field, row]) & _WORD6
    invite: bool = found.sizes[field, row] == 6 and word == _INVITE
    return invite


@part
def _is_international(data: Data, found: FoundFields, field: int, row: int) -> bool:
    """Report whether a type of number is `international` or 1 (TS 24.008)."""
    start, size = found.starts[field, row], found.sizes[field, row]
    if size == 1:
        one: bool = item(data, start) == _ONE
        return one
    low, high = load64(data, start), load64(data, start + 8) & _WORD5
    said: bool = size == 13 and low == _INTER and high == _IONAL
    return said


@part
def _all_digits(data: Data, start: int, size: int) -> bool:
    digits = 0
    for place in range(start, start + size):
        digits += 48 <= item(data, place) <= 57
    return digits == size


@part
def _copied(
    data: Data, source: int, row: int, to: int, found: FoundFields, out: Data, at: int
) -> int:
    """Copy field `source` of a record to `out[at:]` as field `to`. Return its end."""
    start, size = found.starts[source, row], found.sizes[source, row]
    found.starts[to, row], found.sizes[to, row] = at, size
    end: int = put(out, at, data, start, size) if size > 0 else at
    return end


@part
def _number(
    data: Data, source: int, row: int, to: int, plus: bool, found: FoundFields, out: Data, at: int
) -> int:
    """Write a number, with a `+` if `plus` is set and all its bytes are digits. Return its end."""
    start, size = found.starts[source, row], found.sizes[source, row]
    signed = np.int64(plus and _all_digits(data, start, size))
    out[at] = _PLUS
    end: int = put(out, at + signed, data, start, size)
    found.starts[to, row], found.sizes[to, row] = at, size + signed
    return end


@part
def _call_id(data: Data, row: int, rows: PartRows, found: FoundFields, out: Data, at: int) -> int:
    """Write the network's reference, else the exchange and its own reference. Return its end.

    Without any reference, return `at`.
    """
    if _has(found, _ID, row):
        copied: int = _copied(data, _ID, row, _ID, found, out, at)
        return copied
    if not _has(found, rows.reference, row):
        return at
    begin = at
    if _has(found, rows.exchange, row):
        start, size = found.starts[rows.exchange, row], found.sizes[rows.exchange, row]
        at = put(out, at, data, start, size)
        out[at] = _SLASH
        at += 1
    start, size = found.starts[rows.reference, row], found.sizes[rows.reference, row]
    at = put(out, at, data, start, size)
    found.starts[_ID, row], found.sizes[_ID, row] = begin, at - begin
    return at


@part
def _names_number(data: Data, found: FoundFields, field: int, row: int) -> bool:
    """Report whether a URI certainly has a number; then no other number of the caller counts."""
    start = found.starts[field, row]
    end = start + found.sizes[field, row]
    at = uri_number(data, start, end) if end > start else -1
    sure: bool = at >= 0 and at + 1 < end and item(data, at) == _PLUS
    return sure and 48 <= item(data, at + 1) <= 57


@part
def _parties(data: Data, row: int, rows: PartRows, found: FoundFields, out: Data, at: int) -> int:
    """Write caller and callee. Return their end, or -1 if they are unusual."""
    end: int
    if _has(found, rows.callee_uri, row):
        if not _names_number(data, found, rows.caller_uri, row):
            return -1
        at = _copied(data, rows.caller_uri, row, _CALLER, found, out, at)
        end = _copied(data, rows.callee_uri, row, _CALLEE, found, out, at)
        return end
    if _has(found, _CALLER, row):
        plus = _is_international(data, found, rows.caller_type, row)
        at = _number(data, _CALLER, row, _CALLER, plus, found, out, at)
    elif _has(found, rows.caller_served, row):
        at = _number(data, rows.caller_served, row, _CALLER, True, found, out, at)
    else:
        # Set the place too: an empty text may lie where the buffer has no byte.
        found.starts[_CALLER, row], found.sizes[_CALLER, row] = at, -1
    if _has(found, rows.callee_served, row):
        end = _number(data, rows.callee_served, row, _CALLEE, True, found, out, at)
    elif _has(found, _CALLEE, row):
        plus = _is_international(data, found, rows.callee_type, row)
        end = _number(data, _CALLEE, row, _CALLEE, plus, found, out, at)
    else:
        end = -1
    return end


@part
def _together(data: Data, row: int, rows: PartRows, found: FoundFields, out: Data, at: int) -> int:
    """Write id and parties of a record. Return their end, or -1 if they are unusual."""
    if found.sizes[rows.unusual, row] >= 0 or not _is_invite(data, found, rows.method, row):
        return -1
    end = _call_id(data, row, rows, found, out, at)
    return _parties(data, row, rows, found, out, end) if end > at else -1


@part
def _bytes_found(found: FoundFields, row: int) -> int:
    total = 0
    for field in range(found.sizes.shape[0]):
        total += max(found.sizes[field, row], 0)
    return total


@kernel(I64(reads(U8), FOUND, I64, I64, I64, _ROWS, writes(U8), I64), counted=False)
def write_fields(
    data: Data,
    found: FoundFields,
    first: int,
    last: int,
    width: int,
    rows: PartRows,
    out: NDArray[np.uint8],
    at: int,
) -> int:
    """Write the fields of the records `first` to `last` to `out[at:]`. Return their end.

    `found` then gives their places in `out`: `width` fields, then the rows of parts. A record with
    unusual parts becomes odd. `out` needs room for all parts, for `ROW_BYTES_MAX` bytes a record
    and for `byte_strings.PADDING` more; without it, records become odd.
    """
    for row in range(first, last):
        good = found.odd[row] == 0 and at + _bytes_found(found, row) + 67 <= len(out)
        done = 0
        if good and rows.method >= 0:
            end = _together(data, row, rows, found, out, at)
            good = end >= 0
            at = max(at, end)
            done = _CALLEE + 1
        if good:
            for field in range(done, width):
                at = _copied(data, field, row, field, found, out, at)
        else:
            forget(found, row)
            found.odd[row] = 1
    return at
