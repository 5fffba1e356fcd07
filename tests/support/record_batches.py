"""Kafka record batches made by hand, odd ones too, and aiokafka's own reading of them."""

import struct
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from aiokafka import TopicPartition
from aiokafka.codec import gzip_encode, lz4_encode, snappy_encode, zstd_encode
from aiokafka.consumer.fetcher import READ_COMMITTED, PartitionRecords
from aiokafka.record.memory_records import MemoryRecords
from crc32c import crc32c
from numpy.typing import NDArray

from stream.core.model.byte_strings import PADDING

NONE, GZIP, SNAPPY, LZ4, ZSTD = range(5)
LOG_APPEND, TRANSACTIONAL, CONTROL = 0x08, 0x10, 0x20
ABORT, COMMIT = 0, 1

_PACK = (bytes, lambda x: gzip_encode(x, 1), snappy_encode, lz4_encode, zstd_encode)
_COVERED = struct.Struct(">hiqqqhii")


class Row(NamedTuple):
    """A record; `delta` is its offset's and `later_ms` its time's distance from the batch's."""

    delta: int
    value: bytes | None
    key: bytes | None = None
    headers: Sequence[tuple[str, bytes | None]] = ()
    later_ms: int = 0


class Read(NamedTuple):
    """A reader's result for a stretch; `wrong` if it stopped before the end, `error` aiokafka's."""

    rows: list[tuple[int, int, bytes | None]]
    next_offset: int
    wrong: bool
    error: str = ""


def varint(number: int) -> bytes:
    """Zigzag, seven bits a byte."""
    raw = (number << 1) ^ (number >> 63)
    out = bytearray()
    while raw > 0x7F:
        out.append(raw & 0x7F | 0x80)
        raw >>= 7
    return bytes((*out, raw))


def text(content: bytes | None) -> bytes:
    """A size and so many bytes."""
    return varint(-1) if content is None else varint(len(content)) + content


def record(row: Row) -> bytes:
    """A record as it lies in a batch."""
    headers = b"".join(text(name.encode()) + text(value) for name, value in row.headers)
    body = b"\0" + varint(row.later_ms) + varint(row.delta) + text(row.key) + text(row.value)
    body += varint(len(row.headers)) + headers
    return varint(len(body)) + body


def sealed(batch: bytes, base: int | None = None) -> bytes:
    """The same batch with the length and the checksum that it should have."""
    base_offset = batch[:8] if base is None else struct.pack(">q", base)
    length = struct.pack(">i", len(batch) - 12)
    return base_offset + length + batch[12:17] + struct.pack(">I", crc32c(batch[21:])) + batch[21:]


def batch(
    base: int,
    rows: Sequence[Row],
    bits: int = 0,
    producer: int = -1,
    last: int | None = None,
    times_ms: tuple[int, int] = (1_700_000_000_000, 1_700_000_000_999),
    body: bytes | None = None,
    count: int | None = None,
) -> bytes:
    """A batch; `bits` are its attributes with the codec, `body` stands for other packed records."""
    if not rows:  # compaction leaves such, and says that they are not compressed
        bits &= ~7
    last = max((row.delta for row in rows), default=0) if last is None else last
    packed = _PACK[bits & 7](b"".join(map(record, rows))) if body is None else body
    first_ms, max_ms = times_ms
    covered = _COVERED.pack(
        bits, last, first_ms, max_ms, producer, 0, 0, len(rows) if count is None else count
    )
    return sealed(struct.pack(">qiibI", base, 0, 0, 2, 0) + covered + packed)


def marker(base: int, producer: int, kind: int) -> bytes:
    """The control batch that ends a transaction."""
    row = Row(0, struct.pack(">hi", 0, 0), struct.pack(">hh", 0, kind))
    return batch(base, [row], TRANSACTIONAL | CONTROL, producer)


def padded(content: bytes) -> NDArray[np.uint8]:
    """An answer that holds only this, with what must be readable behind it."""
    return np.frombuffer(content + bytes(PADDING), np.uint8)


def by_aiokafka(content: bytes, offset: int, aborted: Sequence[tuple[int, int]] = ()) -> Read:
    """Return the records that aiokafka's consumer reads from batches; its errors are `wrong`."""
    rows = []
    partition = TopicPartition("t", 0)
    try:
        reader = PartitionRecords(
            partition,
            MemoryRecords(content),
            list(aborted),
            offset,
            None,
            None,
            True,
            READ_COMMITTED,
        )
        for found in reader:  # what came before an error counts
            rows += [(found.offset, found.timestamp, found.value)]
    except Exception as error:  # noqa: BLE001 - cramjam's, aiokafka's and Python's own
        return Read(rows, -1, wrong=True, error=repr(error))
    return Read(rows, reader.next_fetch_offset, wrong=False)
