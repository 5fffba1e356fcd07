"""Decisions in columns to whole Kafka record batches, which aiokafka's producer sends as they are.

Partitions are Kafka's default, by the key's murmur2. So readers in other languages find all
decisions about a number in one partition, as they would had the Java producer written them.

aiokafka's own builder takes 1 us a record, most of it for the headers. Here a kernel writes all
records of a batch, and only the batch's 61 bytes of header are left for Python. The bytes are the
same. What aiokafka asks of a builder is not documented: `Frame` has all of it, and a unit test
compares it with aiokafka's source.

Format: Kafka protocol guide, "Record Batch", magic 2 (KIP-98).
"""

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from aiokafka import codec
from crc32c import crc32c
from numpy.typing import NDArray

from stream.core.model.byte_strings import PADDING, Texts
from stream.kafka.batch import Headers

Ids = NDArray[np.bytes_]
"""S16, in which an id takes 13."""

ID_HEADER = "ce_id"
"""CloudEvents 1.0, Kafka protocol binding: a decision's id."""
ID_SIZE = 13
"""Characters of a decision's id (`core.model.decision`), which stand before it as a length."""

_HEAD = struct.Struct(">qiibIhiqqqhii")
"""Base offset, length, leader epoch, magic, CRC. The CRC covers attributes, last offset delta,
first and last timestamp, producer id and epoch, base sequence, and number of records."""
_LENGTH_FROM = struct.calcsize(">qi")
_CRC_AT = struct.calcsize(">qiib")
_CRC_FROM = struct.calcsize(">qiibI")
_NO_LEADER_EPOCH = -1
_MAGIC = 2
_TRANSACTIONAL = 0x10
_RECORD_OVERHEAD_MAX = 5 + 2 + 5 + 1 + 16 + 5 + 16 + _HEAD.size
"""Bytes of a record besides its value and headers, as if each record were a batch. These are
length; attributes and time; offset; key length and key; value length; id; and a batch's header."""

# The numbers are Kafka's. aiokafka compresses lz4 at level 9, which costs twice as much as zstd and
# packs decisions worse; snappy is cheapest (measured).
_CODECS: dict[str, tuple[int, Callable[[bytes], bytes]]] = {
    "gzip": (1, codec.gzip_encode),
    "snappy": (2, codec.snappy_encode),
    "lz4": (3, codec.lz4_encode),
    "zstd": (4, codec.zstd_encode),
}
# Seed and multiplier of Kafka's murmur2. Another value would put a number's decisions into another
# partition than a Java producer does.
_SEED = np.uint32(0x9747B28C)
_M = np.uint32(0x5BD1E995)
_KEEP = np.array([0, 0xFF, 0xFFFF, 0xFFFFFF], np.uint32)


def partitions_of(keys: Sequence[bytes], count: int) -> NDArray[np.int64]:
    """Return the partition, 0 to `count` - 1, of each of `keys`; int64, one per key."""
    if not keys:
        return np.empty(0, np.int64)
    # Java's hash is signed. Kafka drops the sign bit and does not negate: so does the mask.
    return (murmur2(keys) & np.uint32(0x7FFFFFFF)).astype(np.int64) % count


def murmur2(keys: Sequence[bytes]) -> NDArray[np.uint32]:
    """Return Kafka's 32-bit murmur2 of each of `keys`; uint32, one per key.

    Bit for bit `org.apache.kafka.common.utils.Utils.murmur2`.
    """
    lengths = np.fromiter(map(len, keys), np.int64, len(keys))
    width = (int(lengths.max()) // 4 + 1) * 4  # one word more than is full, so a tail always exists
    words = np.array(keys, f"S{width}").view("<u4").reshape(len(keys), width // 4)
    full, rest = lengths // 4, lengths % 4
    state = _SEED ^ lengths.astype(np.uint32)
    for column in range(width // 4 - 1):
        mixed = words[:, column] * _M
        mixed = (mixed ^ (mixed >> np.uint32(24))) * _M
        state = np.where(column < full, (state * _M) ^ mixed, state)
    tail = words[np.arange(len(keys)), full] & _KEEP[rest]
    state = np.where(rest > 0, (state ^ tail) * _M, state)
    state = (state ^ (state >> np.uint32(13))) * _M
    return state ^ (state >> np.uint32(15))


@dataclass(slots=True)
class Frame:
    """One record batch, instead of an `aiokafka.producer.message_accumulator.BatchBuilder`.

    `whole` begins with room for the header; the records, `records` of them, all with the timestamp
    `at_ms`, follow. `compression` is None or a key of Kafka's codecs.
    """

    whole: memoryview
    records: int
    at_ms: int
    compression: str | None
    transactional: bool
    _producer: tuple[int, int, int] = (-1, -1, 0)
    _built: bytes | memoryview | None = None

    def record_count(self) -> int:
        """Return the number of records."""
        return self.records

    def size(self) -> int:
        """Return its bytes, header included, before compression."""
        return len(self.whole)

    def closed(self) -> bool:
        """Return that it takes no further record."""
        return True

    def close(self) -> None:
        """Do nothing: it is closed."""

    def append(self, **record: object) -> None:
        """Say, as a full builder does, that `record` has no place here."""

    def _set_producer_state(self, producer_id: int, epoch: int, sequence: int) -> None:
        assert self._built is None, "the header is written already"
        self._producer = (producer_id, epoch, sequence)

    def _build(self) -> bytes | memoryview:
        """Return the batch as it goes on the wire; the same at every call."""
        if self._built is None:
            self._built = self._finished()
        return self._built

    def _finished(self) -> bytes | memoryview:
        attributes = _TRANSACTIONAL if self.transactional else 0
        if self.compression is not None:
            number, encode = _CODECS[self.compression]
            body = bytes(self.whole[_HEAD.size :])
            packed = encode(body)
            # A few small decisions can grow. They go as they are, as aiokafka's builder sends them.
            if len(packed) < len(body):
                attributes |= number
                self.whole = memoryview(bytearray(_HEAD.size) + packed)
        whole = self.whole
        _HEAD.pack_into(
            whole,
            0,
            0,
            len(whole) - _LENGTH_FROM,
            _NO_LEADER_EPOCH,
            _MAGIC,
            0,
            attributes,
            self.records - 1,
            self.at_ms,
            self.at_ms,
            *self._producer,
            self.records,
        )
        # Last: it covers all that follows it, the producer's sequence too.
        struct.pack_into(">I", whole, _CRC_AT, crc32c(whole[_CRC_FROM:]))
        return whole


@dataclass(frozen=True, slots=True)
class BatchEncoder:
    """Turns decisions into batches: `headers` are those of every record, `bytes_max` bounds one
    batch before compression, unless it is a single record.
    """

    headers: Headers
    bytes_max: int
    compression: str | None
    transactional: bool
    _head: NDArray[np.uint8] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_head", np.frombuffer(_on_the_wire(self.headers), np.uint8))

    def frames(
        self,
        ids: Ids,
        keys: NDArray[np.bytes_],
        values: Texts,
        partitions: int,
        keyless: int,
        at_ms: int,
    ) -> Iterator[tuple[int, Frame]]:
        """Yield the batches that hold all records, each with its partition, partitions ascending.

        One record for each of `ids`, `keys` (S16, b"" for none) and `values`: the id becomes the
        last header, `ce_id`. Records of one partition keep their order; those without a key go to
        partition `keyless`. Compiled kernels must be in use.
        """
        from stream.core.kernels.frame_records import frame_records, split_by_partition

        count = len(ids)
        key_bytes = _rows_of(keys)
        chosen, order = np.empty((2, count), np.int64)
        ends = np.empty(partitions, np.int64)
        split_by_partition(key_bytes, partitions, keyless, chosen, order, ends)
        # One buffer for all batches: each frame is a view of its part, and lives until it is sent.
        # Kernels write whole vectors, hence the padding.
        bound = int(values.sizes.sum()) + count * (len(self._head) + _RECORD_OVERHEAD_MAX)
        out = np.empty(bound + PADDING, np.uint8)
        whole = memoryview(out.data)
        identifiers = _rows_of(ids)
        place, end, reached = 0, np.zeros(1, np.int64), 0
        for partition, last in enumerate(ends.tolist()):
            while place < last:
                begun = reached
                following = frame_records(
                    order,
                    place,
                    last,
                    self.bytes_max - _HEAD.size,
                    key_bytes,
                    identifiers,
                    values.data,
                    values.starts,
                    values.sizes,
                    self._head,
                    begun + _HEAD.size,
                    out,
                    end,
                )
                reached = int(end[0])
                yield (
                    partition,
                    Frame(
                        whole[begun:reached],
                        following - place,
                        at_ms,
                        self.compression,
                        self.transactional,
                    ),
                )
                place = following


def _rows_of(texts: NDArray[np.bytes_]) -> NDArray[np.uint8]:
    """Return uint8[n, 16]: the bytes of S16 texts, without a copy where they are that."""
    return np.ascontiguousarray(texts, "S16").view(np.uint8).reshape(-1, 16)


def _on_the_wire(headers: Headers) -> bytes:
    """Write the headers of a record up to the value of the last, `ce_id`, and `PADDING`."""
    pieces = [_varint(len(headers) + 1)]
    for name, value in headers:
        pieces += [_varint(len(name)), name.encode("ascii"), _varint(len(value)), value]
    pieces += [_varint(len(ID_HEADER)), ID_HEADER.encode("ascii"), _varint(ID_SIZE)]
    return b"".join([*pieces, bytes(PADDING)])


def _varint(number: int) -> bytes:
    """Write a length as Kafka does: zig-zag, seven bits a byte, the lowest first."""
    assert number >= 0, "a length"
    rest, out = number << 1, bytearray()
    while rest >= 128:
        out.append(rest & 127 | 128)
        rest >>= 7
    out.append(rest)
    return bytes(out)
