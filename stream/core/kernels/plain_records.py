"""Record batches in plain Python: the columns of their table, and the oracle of the kernels.

A worker without kernels reads through aiokafka (`fetcher.reader_for`). So `frame`, `check`,
`records_max` and `parse` run only in tests, with `kernels.reference_only()`.

A batch is a row of an int64 table with the columns below. Byte offsets count from the start of the
array that holds them. `frame` finds the batches of an answer. The caller then fills in checksums,
drops batches that must not be read and unpacks the others; `check` compares the checksums. `parse`
extracts the records, at most `records_max`.
The format is Kafka's message format v2 (Kafka protocol guide, "Record Batch").
"""

import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

(
    STATUS,  # TAKE, SKIP or a fault
    STRETCH,  # index of the stretch it lies in
    BEGIN,  # bytes of the answer, from the base offset on
    END,
    BODY,  # bytes of its records, in the answer or in the buffer of unpacked batches
    BODY_END,
    BASE,  # the first offset that it may hold
    LAST,  # the last
    COUNT,  # of records, as the batch claims
    ATTRIBUTES,
    FIRST_MS,
    MAX_MS,
    PRODUCER,
    CRC,  # expected
    FOUND_CRC,  # actual, filled in by the caller
    COLUMNS,
) = range(16)

TAKE, SKIP = 0, -1
(CHECKSUM, OFFSETS, SHORT, OLD, UNKNOWN, MARKER, CODEC, PACKED, LARGE, FULL, COUNTED, RECORD,
 ORDER, SURPLUS) = range(1, 15)  # fmt: skip

CODEC_BITS, LOG_APPEND, TRANSACTIONAL, CONTROL = 0x07, 0x08, 0x10, 0x20

HEAD = 61
"""Bytes of a batch before its records."""

CHECKED_FROM = 21
"""Bytes at the start of a batch that its checksum does not cover."""

RECORD_MIN = 7
"""Smallest size of a record in bytes: its length and each of its six parts take one."""

OFFSET_MAX = 2**62
"""Larger ones are refused, so that an offset plus a delta (int32) always fits an int64."""

NEXT, RECORDS, FAULT = 0, 1, 2
"""Columns of `parse`'s result for a stretch: next offset, number of records, faulty row."""

_HEAD = struct.Struct(">qiibIhiqqqhii")


def frame(answer: NDArray[np.uint8], bounds: NDArray[np.int64], table: NDArray[np.int64]) -> int:
    """Fill `table` with the whole batches of an answer. Return how many there are.

    `bounds` int64[stretches, 2]: first byte and end of each stretch. `table` has room for one batch
    per 61 bytes of a stretch, and one more. A batch that cannot be skipped is the last of its
    stretch. A batch that is cut short also ends the stretch and is left out.
    """
    rows = 0
    view = answer.data
    for stretch, (start, stop) in enumerate(bounds.tolist()):
        at, after = start, 0
        while at + CHECKED_FROM <= stop:
            length, magic = struct.unpack_from(">i4xB", view, at + 8)
            end = at + 12 + length
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
            row[[STATUS, STRETCH, BEGIN, END]] = status, stretch, at, at + CHECKED_FROM
            if status != TAKE:
                break
            base, _, _, _, crc, bits, delta, first_ms, max_ms, producer, _, _, count = (
                _HEAD.unpack_from(view, at)
            )
            if not after <= base <= OFFSET_MAX or delta < 0:
                row[STATUS] = OFFSETS
            elif bits & CONTROL:
                row[STATUS] = SKIP
            after = base + delta + 1 if row[STATUS] != OFFSETS else after
            row[END], row[BODY], row[BODY_END] = end, at + HEAD, end
            row[BASE], row[LAST], row[COUNT], row[ATTRIBUTES] = base, after - 1, count, bits
            row[FIRST_MS], row[MAX_MS], row[PRODUCER], row[CRC] = first_ms, max_ms, producer, crc
            at = end
    return rows


def check(table: NDArray[np.int64]) -> None:
    """Mark the batches whose checksum is wrong."""
    table[table[:, FOUND_CRC] != table[:, CRC], STATUS] = CHECKSUM


def records_max(table: NDArray[np.int64]) -> int:
    """Return the most records there can be: each batch's count, if its bytes are enough."""
    fit = np.minimum((table[:, BODY_END] - table[:, BODY]) // RECORD_MIN, table[:, COUNT])
    return int(np.maximum(fit[table[:, STATUS] == TAKE], 0).sum())


class Malformed(Exception):
    """A batch that cannot be read because of `fault`."""

    def __init__(self, fault: int) -> None:
        super().__init__(fault)
        self.fault = fault


class RecordPlace(NamedTuple):
    """Places of a record's value and key (size -1: none), its offset and its time."""

    start: int
    size: int
    offset: int
    time_ms: int
    key: int
    key_size: int


def parse(
    data: NDArray[np.uint8],
    table: NDArray[np.int64],
    starts: NDArray[np.int64],
    sizes: NDArray[np.int64],
    offsets: NDArray[np.int64],
    times_ms: NDArray[np.int64],
    ends: NDArray[np.int64],
) -> int:
    """Extract the records of the batches. Return how many there are.

    The bodies of `table` lie in `data`. Each stretch is read to its first fault, which `table` may
    already have; a new fault is noted there. `starts`, `sizes` (-1: no value), `offsets` and
    `times_ms` have room for `records_max`. `ends` int64[stretches, 3] holds NEXT, RECORDS and
    FAULT. NEXT is given: the first offset wanted; records below it are left out.
    """
    n = 0
    ends[:, RECORDS], ends[:, FAULT] = 0, -1
    for index, row in enumerate(table):
        end = ends[row[STRETCH]]
        if end[FAULT] >= 0:
            continue
        if row[STATUS] == TAKE:
            try:
                found = list(records(data, row.tolist()))
            except Malformed as malformed:
                row[STATUS] = malformed.fault
            else:
                for record in found:
                    if record.offset >= end[NEXT]:
                        starts[n], sizes[n], offsets[n], times_ms[n] = record[:4]
                        end[RECORDS] += 1
                        n += 1
        if row[STATUS] > 0:
            end[FAULT] = index
        else:
            end[NEXT] = max(end[NEXT], row[LAST] + 1)
    return n


def records(data: NDArray[np.uint8], row: Sequence[int]) -> Iterator[RecordPlace]:
    """Yield the records of a batch, a row of the table. May raise Malformed after some of them."""
    at, stop, last = row[BODY], row[BODY_END], -1
    if not 0 <= row[COUNT] <= (stop - at) // RECORD_MIN:
        raise Malformed(COUNTED)
    for _ in range(row[COUNT]):
        size, at = _varint(data, at, stop)
        end = at + size
        if not at < end <= stop or data[at] >= 0x80:  # no attribute of a record is in use
            raise Malformed(RECORD)
        later_ms, at = _varint(data, at + 1, end, 10)
        delta, at = _varint(data, at, end)
        key, key_size = _text(data, at, end)
        start, size = _text(data, key + max(key_size, 0), end)
        headers, at = _varint(data, start + max(size, 0), end)
        if headers < 0:
            raise Malformed(RECORD)
        for _ in range(headers):
            name, length = _text(data, at, end)
            if length < 0:
                raise Malformed(RECORD)
            value, length = _text(data, name + length, end)
            at = value + max(length, 0)
        if at != end:
            raise Malformed(RECORD)
        if not last < delta <= row[LAST] - row[BASE]:
            raise Malformed(ORDER)
        last = delta
        time_ms = row[FIRST_MS] + later_ms
        if row[ATTRIBUTES] & LOG_APPEND:
            time_ms = row[MAX_MS]
        # Java's longs wrap around, and so do the kernel's.
        time_ms = (time_ms + 2**63) % 2**64 - 2**63
        yield RecordPlace(start, size, row[BASE] + delta, time_ms, key, key_size)
    if at != stop:
        raise Malformed(SURPLUS)


def _text(data: NDArray[np.uint8], at: int, end: int) -> tuple[int, int]:
    """Return the start and size (-1: none) of the text whose size stands at `at`."""
    size, at = _varint(data, at, end)
    if at + size > end:
        raise Malformed(RECORD)
    return at, max(size, -1)


def _varint(data: NDArray[np.uint8], at: int, end: int, bytes_max: int = 5) -> tuple[int, int]:
    """Return a zigzag number of at most `bytes_max` bytes before `end`, and its end."""
    raw = 0
    for shift in range(0, 7 * bytes_max, 7):
        if at >= end:
            break
        byte = int(data[at])
        at += 1
        raw |= (byte & 0x7F) << shift
        if byte < 0x80:
            if raw >> 64:
                break
            return raw >> 1 ^ -(raw & 1), at
    raise Malformed(RECORD)
