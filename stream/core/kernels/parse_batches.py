"""Record batches of a Kafka answer, compiled: `frame` and `parse` of `plain_records`.

Every number is compared with the end of its container before it is used, so that any bytes are
safe. A number is loaded as a word, which may end 8 bytes after the last record. That is less than
the `PADDING` of every buffer.
"""

from typing import Any

import numpy as np

from stream.core.kernels.jit import I64, U8, inlined, kernel, load64, part, reads, types, writes
from stream.core.kernels.memory import prefetch
from stream.core.kernels.plain_records import (
    ATTRIBUTES,
    BASE,
    BEGIN,
    BODY,
    BODY_END,
    CHECKED_FROM,
    CHECKSUM,
    CONTROL,
    COUNT,
    COUNTED,
    CRC,
    END,
    FAULT,
    FIRST_MS,
    FOUND_CRC,
    HEAD,
    LAST,
    LOG_APPEND,
    MAX_MS,
    NEXT,
    OFFSET_MAX,
    OFFSETS,
    OLD,
    ORDER,
    PRODUCER,
    RECORD,
    RECORD_MIN,
    RECORDS,
    SHORT,
    SKIP,
    STATUS,
    STRETCH,
    SURPLUS,
    TAKE,
    UNKNOWN,
)

_INT64_MAX = 2**63 - 1
_BAD = -1  # instead of a place: nothing readable was there


@part
def _big_endian(data: Any, at: Any, size: Any) -> Any:
    """Return the signed number in `size` bytes."""
    word = np.int64(np.int8(data[at]))
    for i in range(1, size):
        word = (word << 8) | np.int64(data[at + i])
    return word


@kernel(I64(reads(U8), reads(I64, 2), writes(I64, 2)), counted=False)
def frame(answer: Any, bounds: Any, table: Any) -> Any:
    """See `plain_records.frame`."""
    rows = np.int64(0)
    for stretch in range(len(bounds)):
        at, stop, after = bounds[stretch, 0], bounds[stretch, 1], 0
        while at + CHECKED_FROM <= stop:
            end = at + 12 + _big_endian(answer, at + 8, 4)
            magic = answer[at + 16]
            status = TAKE
            if magic != 2:
                status = OLD if magic < 2 else UNKNOWN
            elif end < at + HEAD:
                status = SHORT
            elif end > stop:
                break
            row = table[rows]
            rows += 1
            row[:] = 0
            row[STATUS], row[STRETCH], row[BEGIN], row[END] = status, stretch, at, at + CHECKED_FROM
            if status != TAKE:
                break
            base, delta = _big_endian(answer, at, 8), _big_endian(answer, at + 23, 4)
            row[ATTRIBUTES] = _big_endian(answer, at + 21, 2)
            if base < after or base > OFFSET_MAX or delta < 0:
                row[STATUS] = OFFSETS
            else:
                after = base + delta + 1
                if row[ATTRIBUTES] & CONTROL != 0:
                    row[STATUS] = SKIP
            row[END], row[BODY], row[BODY_END] = end, at + HEAD, end
            row[BASE], row[LAST] = base, after - 1
            row[CRC] = _big_endian(answer, at + 17, 4) & 0xFFFFFFFF
            row[FIRST_MS], row[MAX_MS] = (
                _big_endian(answer, at + 27, 8),
                _big_endian(answer, at + 35, 8),
            )
            row[PRODUCER], row[COUNT] = (
                _big_endian(answer, at + 43, 8),
                _big_endian(answer, at + 57, 4),
            )
            at = end
    return rows


@kernel(types.void(writes(I64, 2)), counted=False)
def check(table: Any) -> Any:
    """See `plain_records.check`."""
    for i in range(len(table)):
        row = table[i]
        if row[FOUND_CRC] != row[CRC]:
            row[STATUS] = CHECKSUM


@kernel(I64(writes(I64, 2)), counted=False)
def records_max(table: Any) -> Any:
    """See `plain_records.records_max`."""
    total = np.int64(0)
    for i in range(len(table)):
        row = table[i]
        if row[STATUS] == TAKE:
            total += max(min((row[BODY_END] - row[BODY]) // RECORD_MIN, row[COUNT]), 0)
    return total


@part
def _long_number(data: Any, at: Any, end: Any, bytes_max: Any) -> Any:
    """Read a number of any length. Return its bits as sent, and its end."""
    stop = min(end, at + bytes_max)
    raw, after, shift = np.int64(0), np.int64(_BAD), np.int64(0)
    for place in range(at, stop):
        byte = np.int64(data[np.uint64(place)])
        raw |= (byte & 0x7F) << shift
        if byte < 0x80:
            # Only one bit of the tenth byte counts.
            if shift < 63 or byte < 2:
                after = np.int64(place + 1)
            break
        shift += 7
    return raw, after


@inlined
def _varint(data: Any, at: Any, end: Any, bytes_max: Any) -> Any:
    """Read a zigzag number. Return it and its end, or _BAD if it does not end before `end`.

    Numbers of up to three bytes, nearly all, are read from one word: twice as fast.
    """
    # Seven bits a byte, lowest first; the high bit means that another byte follows. Each mask puts
    # the bits of one byte after those of the last.
    word = np.int64(load64(data, at))
    if word & 0x80 == 0:
        raw, after = word & 0x7F, at + 1
    elif word & 0x8000 == 0:
        raw, after = (word & 0x7F) | ((word >> 1) & 0x3F80), at + 2
    elif word & 0x800000 == 0:
        raw, after = (word & 0x7F) | ((word >> 1) & 0x3F80) | ((word >> 2) & 0x1FC000), at + 3
    else:
        raw, after = _long_number(data, at, end, bytes_max)
    if after > end:
        after = np.int64(_BAD)
    # Zigzag: the lowest bit is the sign. The mask makes the shift unsigned.
    return ((raw >> 1) & _INT64_MAX) ^ -(raw & 1), after


@inlined
def _text(data: Any, at: Any, end: Any) -> Any:
    """Return a text's size (-1: none) and its start, or _BAD if the text does not fit."""
    size, at = _varint(data, at, end, 5)
    if at + size > end:
        at = np.int64(_BAD)
    return max(size, np.int64(-1)), at


@part
def _after_headers(data: Any, at: Any, end: Any) -> Any:
    """Return the end of a record's headers, or _BAD; `at` is the place of their count."""
    left, at = _varint(data, at, end, 5)
    if at != _BAD and left < 0:
        at = np.int64(_BAD)
    while at != _BAD and left > 0:
        left -= 1
        size, at = _text(data, at, end)
        if size < 0:
            at = np.int64(_BAD)
        if at != _BAD:
            size, at = _text(data, at + size, end)
            if at != _BAD:
                at += max(size, 0)
    return at


_COLUMN = writes(I64)


@kernel(
    I64(reads(U8), writes(I64, 2), _COLUMN, _COLUMN, _COLUMN, _COLUMN, writes(I64, 2)),
    counted=False,
)
def parse(
    data: Any, table: Any, starts: Any, sizes: Any, offsets: Any, times_ms: Any, ends: Any
) -> Any:
    """See `plain_records.parse`."""
    n, memory = np.int64(0), np.int64(data.ctypes.data)
    for stretch in range(len(ends)):
        ends[stretch, RECORDS], ends[stretch, FAULT] = 0, -1
    for index in range(len(table)):
        row = table[index]
        result = ends[row[STRETCH]]
        if result[FAULT] >= 0:
            continue
        if row[STATUS] == TAKE:
            at, stop, count = row[BODY], row[BODY_END], row[COUNT]
            base, wanted = row[BASE], result[NEXT]
            span, first_ms, kept = row[LAST] - base, row[FIRST_MS], np.int64(-1)
            if row[ATTRIBUTES] & LOG_APPEND != 0:
                first_ms, kept = row[MAX_MS], np.int64(0)
            fault = TAKE
            if count < 0 or count > (stop - at) // RECORD_MIN:
                count, fault = 0, COUNTED
            # All or nothing: after a fault, `n` goes back to the start of the batch.
            before, last = n, np.int64(-1)
            for _ in range(count):
                fault = RECORD
                size, at = _varint(data, at, stop, 5)
                end = at + size
                if at == _BAD or size <= 0 or end > stop or data[np.uint64(at)] >= 0x80:
                    break
                # Prefetch the record after the next three, if they have this one's size. Its size
                # must be in the cache before the record after it can be found (19 ns to 12 ns).
                prefetch(memory + end + 3 * size)
                later_ms, at = _varint(data, at + 1, end, 10)
                if at == _BAD:
                    break
                delta, at = _varint(data, at, end, 5)
                if at == _BAD:
                    break
                size, at = _text(data, at, end)
                if at == _BAD:
                    break
                size, start = _text(data, at + max(size, 0), end)
                if start == _BAD:
                    break
                at = start + max(size, 0)
                # Usually there are no headers: a single 0.
                bare = at + 1 == end and data[np.uint64(at)] == 0
                if not bare and _after_headers(data, at, end) != end:
                    break
                if delta <= last or delta > span:
                    fault = ORDER
                    break
                fault, at, last = TAKE, end, delta
                if base + delta >= wanted:
                    i = np.uint64(n)  # with a signed index, Numba tests for one below 0
                    starts[i], sizes[i], offsets[i] = start, size, base + delta
                    times_ms[i] = first_ms + (later_ms & kept)
                    n += 1
            if fault == TAKE and at != stop:
                fault = SURPLUS
            row[STATUS] = fault
            if fault != TAKE:
                n = before
            result[RECORDS] += n - before
        if row[STATUS] > 0:
            result[FAULT] = index
        else:
            result[NEXT] = max(result[NEXT], row[LAST] + 1)
    return n


@kernel(I64(reads(U8), I64, I64, I64), counted=False)
def reaches(data: Any, start: Any, stop: Any, offset: Any) -> Any:
    """Return the offset after the last whole batch in `data[start:stop]`, at least `offset`.

    It reads only the batch headers, up to the first that cannot be message format v2. The next
    fetch starts before this answer is parsed, so its offset must be known at once. `frame` and
    `parse` find a wrong header later; that fetch is then discarded.
    """
    at, beyond = start, offset
    while at + HEAD <= stop:
        size = 12 + _big_endian(data, at + 8, 4)
        if size < HEAD or size > stop - at or data[at + 16] != 2:
            break
        first = _big_endian(data, at, 8)
        after = first + _big_endian(data, at + 23, 4) + 1
        if first < 0 or after <= first:
            break
        beyond = max(beyond, after)
        at += size
    return beyond
