"""Record batches as Kafka answers a fetch, turned into columns: what every byte of a call costs.

The bytes are Kafka's message format v2 (Kafka protocol guide, "Record Batch"; KIP-98); what is
older is named and left to aiokafka. Values are not copied: they lie in the answer, or, once a batch
is compressed, in the caller's `Room`. The bytes are not trusted. A batch is taken whole or not at
all, and only if its checksum, its lengths and its offsets are right.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypedDict

import numpy as np
from crc32c import crc32c
from numpy.typing import NDArray

from stream.core import kernels
from stream.core.kernels import plain_records as plain
from stream.core.model.byte_strings import PADDING, Texts
from stream.kafka.fetch.decompress import Room, unpack

__all__ = ["Corrupt", "OldFormat", "Records", "Room", "Stretch", "TooLarge", "read_records"]

_ABORT = 0  # a control record's type where a transaction was aborted (KIP-98)

_WHAT = {
    plain.CHECKSUM: "its checksum is wrong",
    plain.OFFSETS: "its offsets cannot be right",
    plain.SHORT: "it is shorter than a batch's head",
    plain.UNKNOWN: "its format is unknown",
    plain.MARKER: "the marker of a transaction's end cannot be read",
    plain.CODEC: "its compression is unknown",
    plain.PACKED: "it cannot be unpacked",
    plain.COUNTED: "it cannot have as many records as it says",
    plain.RECORD: "one of its records is malformed",
    plain.ORDER: "its records' offsets do not ascend within its own",
    plain.SURPLUS: "bytes follow its last record",
}
# Of these not even the offsets can be believed.
_UNSURE = frozenset({plain.CHECKSUM, plain.OFFSETS, plain.SHORT, plain.UNKNOWN})


class Stretch(NamedTuple):
    """Bytes `start` to `stop` of an answer: one partition's batches, the last perhaps cut short.

    `offset` is the first that is wanted. `aborted` are the transactions that the answer lists as
    aborted, each (producer id, first offset), in any order; empty for read_uncommitted.
    """

    start: int
    stop: int
    offset: int
    aborted: Sequence[tuple[int, int]] = ()


class Corrupt(NamedTuple):
    """The batch that begins at `offset` cannot be right; `what` says why.

    `beyond` is where reading could go on: the next offset that is certain not to be in the batch.
    It is `offset + 1` if nothing after it is certain (a fetch there returns the same batch again).
    """

    offset: int
    what: str
    beyond: int


class OldFormat(NamedTuple):
    """From `offset` on the broker sent message format `magic`, 0 or 1, of before Kafka 0.11."""

    offset: int
    magic: int


class TooLarge(NamedTuple):
    """The batch at `offset` unpacks to more than the `bytes` that the room may have.

    `beyond` is the offset after it.
    """

    offset: int
    bytes: int
    beyond: int


Fault = Corrupt | OldFormat | TooLarge


@dataclass(frozen=True, slots=True, eq=False)
class Records:
    """The records of an answer, stretch after stretch, each in the order of its offsets.

    `values` are None where a record has none (a tombstone), and live as long as the answer's buffer
    and the room. `offsets` int64; `timestamps_ms` int64, milliseconds since the epoch, -1 for none,
    the broker's own where the topic has log-append time. These have one item per stretch. `counts`:
    how many records. `next_offsets`: the next offset to fetch, past control batches, aborted ones
    and holes that compaction left; not below the requested offset. `faults`: why reading stopped
    before the end; the records before it are there and `next_offsets` stays at it. `rest`: the part
    not read since the room was full, None if all was read. Give it to `read_records` again once
    these records are done with.
    """

    values: Texts
    offsets: NDArray[np.int64]
    timestamps_ms: NDArray[np.int64]
    counts: Sequence[int]
    next_offsets: Sequence[int]
    faults: Sequence[Fault | None]
    rest: Sequence[Stretch | None]


class _Stops(TypedDict):
    faults: list[Fault | None]
    rest: list[Stretch | None]


def read_records(answer: NDArray[np.uint8], stretches: Sequence[Stretch], room: Room) -> Records:
    """Read all whole batches of `stretches`, checked; leave one that is cut short at the end.

    `answer` has `PADDING` readable bytes after the last stretch. `room` is cleared, and filled
    where a batch is compressed, so the records of the call before are gone then.
    """
    assert all(0 <= s.start <= s.stop <= len(answer) - PADDING for s in stretches)
    room.clear()
    table = _framed(answer, stretches)
    for index, stretch in enumerate(stretches):
        if stretch.aborted:
            rows = np.flatnonzero(table[:, plain.STRETCH] == index)
            _skip_aborted(answer, table, rows, stretch.aborted)
    if np.bitwise_or.reduce(table[:, plain.ATTRIBUTES]) & plain.CODEC_BITS:
        _unpack_all(answer, table, room)
        data = room.data
    else:
        table[:, plain.FOUND_CRC] = _checksums(answer, table)
        _steps().check(table)
        data = answer
    ends = np.array([(stretch.offset, 0, -1) for stretch in stretches], np.int64).reshape(-1, 3)
    columns = np.empty((4, _steps().records_max(table)), np.int64)
    starts, sizes, offsets, times_ms = columns
    n = _steps().parse(data, table, starts, sizes, offsets, times_ms, ends)
    return Records(
        values=Texts(data, starts[:n], sizes[:n]),
        offsets=offsets[:n],
        timestamps_ms=times_ms[:n],
        counts=ends[:, plain.RECORDS].tolist(),
        next_offsets=ends[:, plain.NEXT].tolist(),
        **_stops(answer, table, ends, stretches, room),
    )


def _steps() -> Any:
    """`frame`, `check`, `records_max` and `parse`: compiled; in tests also in plain Python."""
    if kernels.compiled():
        from stream.core.kernels import parse_batches

        return parse_batches
    return plain


def _framed(answer: NDArray[np.uint8], stretches: Sequence[Stretch]) -> NDArray[np.int64]:
    """Find the answer's batches; return their table."""
    bounds = np.array([(s.start, s.stop) for s in stretches], np.int64).reshape(-1, 2)
    batches_max = sum((s.stop - s.start) // plain.HEAD + 1 for s in stretches)
    table = np.empty((batches_max, plain.COLUMNS), np.int64)
    return table[: _steps().frame(answer, bounds, table)]


def _checksums(answer: NDArray[np.uint8], table: NDArray[np.int64]) -> list[int]:
    """Compute the checksums of the batches."""
    # In Python, a call a batch and not a record: crc32c has the processor's instruction for it.
    view = answer.data
    places = table[:, plain.BEGIN : plain.END + 1].tolist()
    return [crc32c(view[begin + plain.CHECKED_FROM : end]) for begin, end in places]


def _skip_aborted(
    answer: NDArray[np.uint8],
    table: NDArray[np.int64],
    rows: NDArray[np.int64],
    aborted: Sequence[tuple[int, int]],
) -> list[tuple[int, int]]:
    """Mark the batches of aborted transactions; return what of `aborted` counts after them.

    As in Kafka's own client, a transaction is open from the offset in the list to its producer's
    next abort marker. Records that the producer wrote in between are not read.
    """
    coming = sorted(aborted, key=lambda transaction: -transaction[1])
    opened = set[int]()
    for row in rows.tolist():
        status, bits = table[row, plain.STATUS], table[row, plain.ATTRIBUTES]
        if status > 0:  # reading ends here, so nothing after it is looked at
            break
        while coming and coming[-1][1] <= table[row, plain.LAST]:
            opened.add(coming.pop()[0])
        producer = int(table[row, plain.PRODUCER])
        if producer not in opened:
            continue
        if bits & plain.CONTROL:
            try:
                if _is_abort(answer, table[row].tolist()):
                    opened.discard(producer)
            except plain.Malformed:
                table[row, plain.STATUS] = plain.MARKER
                break
        elif bits & plain.TRANSACTIONAL:
            table[row, plain.STATUS] = plain.SKIP
    # What is open now counts from the start for a reader that goes on after these rows.
    return [*((producer, 0) for producer in opened), *coming]


def _is_abort(answer: NDArray[np.uint8], row: Sequence[int]) -> bool:
    """Return whether a control batch says that its producer's transaction was aborted."""
    for record in plain.records(answer, row):
        # The key: version and type, int16 each.
        key = answer[record.key : record.key + max(record.key_size, 0)].tobytes()
        if len(key) < 4:
            raise plain.Malformed(plain.MARKER)
        return int.from_bytes(key[2:4], "big") == _ABORT
    return False


def _unpack_all(answer: NDArray[np.uint8], table: NDArray[np.int64], room: Room) -> None:
    """Put the records of the batches that are to be read into the room, until it is full.

    Checksums are looked at here: of what is read later they are not needed now.
    """
    view, broken = answer.data, -1
    rows = table.tolist()  # in a list a number is had five times as fast as in the table
    for row in rows:
        if row[plain.STRETCH] == broken:
            continue
        begin, end = row[plain.BEGIN], row[plain.END]
        if row[plain.STATUS] == plain.TAKE and room.full:
            row[plain.STATUS] = plain.FULL
        elif crc32c(view[begin + plain.CHECKED_FROM : end]) != row[plain.CRC]:
            row[plain.STATUS] = plain.CHECKSUM
        elif row[plain.STATUS] == plain.TAKE:
            packed = answer[row[plain.BODY] : row[plain.BODY_END]]
            row[plain.BODY] = room.used
            row[plain.STATUS] = unpack(row[plain.ATTRIBUTES] & plain.CODEC_BITS, packed, room)
            row[plain.BODY_END] = room.used
        if row[plain.STATUS] > 0:
            broken = row[plain.STRETCH]
    table[:] = rows


def _stops(
    answer: NDArray[np.uint8],
    table: NDArray[np.int64],
    ends: NDArray[np.int64],
    stretches: Sequence[Stretch],
    room: Room,
) -> _Stops:
    """Return where and why stretches were not read to their end."""
    faults: list[Fault | None] = [None] * len(stretches)
    rest: list[Stretch | None] = [None] * len(stretches)
    for index, stretch in enumerate(stretches):
        row = int(ends[index, plain.FAULT])
        if row < 0:
            continue
        offset = int(ends[index, plain.NEXT])
        status, begin = int(table[row, plain.STATUS]), int(table[row, plain.BEGIN])
        if status == plain.FULL:
            before = np.flatnonzero(table[:row, plain.STRETCH] == index)
            aborted = _skip_aborted(answer, table, before, stretch.aborted)
            rest[index] = Stretch(begin, stretch.stop, offset, aborted)
        elif status == plain.OLD:
            faults[index] = OldFormat(offset, int(answer[begin + 16]))
        elif status == plain.LARGE:
            faults[index] = TooLarge(offset, room.bytes_max, int(table[row, plain.LAST]) + 1)
        else:
            faults[index] = Corrupt(offset, _WHAT[status], _beyond(answer, table, row, offset))
    return {"faults": faults, "rest": rest}


def _beyond(answer: NDArray[np.uint8], table: NDArray[np.int64], row: int, offset: int) -> int:
    """Return the offset after the batch in `row`, by its own word or else the next one's."""
    if table[row, plain.STATUS] not in _UNSURE:
        return max(int(table[row, plain.LAST]), offset) + 1
    # Its own offsets are not certain. Those of the next batch are, if that one is whole.
    behind = table[row + 1 : row + 2]
    if (
        len(behind)
        and behind[0, plain.STRETCH] == table[row, plain.STRETCH]
        and behind[0, plain.STATUS] not in _UNSURE
        and _checksums(answer, behind) == [behind[0, plain.CRC]]
    ):
        return max(int(behind[0, plain.BASE]), offset + 1)
    return offset + 1
