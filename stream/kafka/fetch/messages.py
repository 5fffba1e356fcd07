"""A fetch and its answer as bytes: Kafka protocol guide, "Fetch API" (key 1), version 11.

Version 11 (Kafka 2.3 and newer) is the last before the compact encodings, has zstd, and is what
aiokafka speaks. No fetch sessions: every request names what it wants. Of an answer nothing is
believed: every length is checked against the bytes that are there.
"""

import struct
from collections.abc import Mapping
from typing import NamedTuple

from stream.kafka.batch import Partition

FETCH, VERSION = 1, 11
PREFIX = 4
"""Bytes of the length in front of a message, which counts what follows."""

# Fields in the guide's order and words.
_REQUEST = struct.Struct(">hhi")  # api key, api version, correlation id
# replica id, max wait, min bytes, max bytes, isolation level, session id, session epoch
_LIMITS = struct.Struct(">iiiibii")
# partition, current leader epoch, fetch offset, log start offset, partition max bytes
_WANTED = struct.Struct(">iiqqi")
_HEAD = struct.Struct(">iihii")  # correlation id, throttle time, error, session id, topics
# partition, error, high watermark, last stable offset, log start offset, aborted transactions
_PART = struct.Struct(">ihqqqi")
_LEFT = struct.Struct(">ii")  # preferred read replica, bytes of records
_INT, _SHORT = struct.Struct(">i"), struct.Struct(">h")
_ABORTED = struct.Struct(">qq")  # producer id, first offset
_READ_COMMITTED = 1
_ANY_REPLICA, _NO_SESSION, _NO_EPOCH, _UNKNOWN = -1, 0, -1, -1


class Garbled(Exception):
    """A broker sent something that is no answer to what it was asked."""


class FetchSizes(NamedTuple):
    """The most that a broker answers with, in bytes and of a partition, and its longest wait.

    One batch that is larger still comes, alone: a consumer would else never get past it.
    """

    answer_bytes: int
    partition_bytes: int
    wait_ms: int


class AnswerPart(NamedTuple):
    """One partition's part of an answer: bytes `start` to `stop` of it are record batches.

    `error` is Kafka's code, 0 for none; `aborted` (producer id, first offset) of transactions.
    """

    partition: Partition
    error: int
    high_water: int
    aborted: tuple[tuple[int, int], ...]
    start: int
    stop: int


class FetchAnswer(NamedTuple):
    """A whole answer, or as much of it as came.

    `error` is of the whole request; for `throttle_ms` the broker wants to be left alone.
    """

    correlation: int
    throttle_ms: int
    error: int
    parts: list[AnswerPart]

    def oversized(self, bytes_max: int) -> AnswerPart | None:
        """Return the part that makes an answer too large of which only the head was received."""
        return next((part for part in self.parts if part.stop - part.start > bytes_max), None)


def fetch_request(
    correlation: int, client_id: str, wanted: Mapping[Partition, int], sizes: FetchSizes
) -> bytes:
    """Return a fetch of committed records of `wanted` (partition -> offset), with its prefix.

    The order counts: a broker fills its answer in the order in which it was asked.
    """
    name = client_id.encode()
    parts = [
        _REQUEST.pack(FETCH, VERSION, correlation),
        _text(name),
        _LIMITS.pack(
            _ANY_REPLICA,
            sizes.wait_ms,
            1,  # byte at least: the broker answers as soon as a record is there
            sizes.answer_bytes,
            _READ_COMMITTED,
            _NO_SESSION,
            _NO_EPOCH,
        ),
    ]
    topics: dict[str, list[bytes]] = {}
    for (topic, number), offset in wanted.items():
        row = _WANTED.pack(number, _UNKNOWN, offset, _UNKNOWN, sizes.partition_bytes)
        topics.setdefault(topic, []).append(row)
    parts.append(_INT.pack(len(topics)))
    for topic, rows in topics.items():
        parts += [_text(topic.encode()), _INT.pack(len(rows)), *rows]
    # No partitions to forget in a session, and no rack: read from the leader (not KIP-392).
    parts += [_INT.pack(0), _text(b"")]
    message = b"".join(parts)
    return _INT.pack(len(message)) + message


def fetch_answer(data: bytes | bytearray | memoryview, size: int) -> FetchAnswer:
    """Read the answer of `size` bytes (with its prefix) that begins `data`. Raises Garbled.

    Where `data` holds less than that, the last part is the first that is not wholly there.
    """
    try:
        return _answer(data, size)
    except struct.error as error:
        raise Garbled(f"an answer ends in the middle of a field: {error}") from error
    except UnicodeDecodeError as error:
        raise Garbled(f"an answer names a topic that is no text: {error}") from error


def _answer(data: bytes | bytearray | memoryview, size: int) -> FetchAnswer:
    correlation, throttle_ms, error, _, topics = _HEAD.unpack_from(data, PREFIX)
    at = PREFIX + _HEAD.size
    parts: list[AnswerPart] = []
    for _ in range(topics):
        topic, at = _name(data, at)
        (partitions,) = _INT.unpack_from(data, at)
        at += _INT.size
        for _ in range(partitions):
            part, at = _part(data, at, topic)
            if part.stop > size:
                raise Garbled(f"records of {topic}/{part.partition.number} go beyond their answer")
            parts.append(part)
            if part.stop > len(data):
                return FetchAnswer(correlation, throttle_ms, error, parts)
    if at != size:
        raise Garbled(f"an answer of {size} bytes ends after {at}")
    return FetchAnswer(correlation, throttle_ms, error, parts)


def _part(data: bytes | bytearray | memoryview, at: int, topic: str) -> tuple[AnswerPart, int]:
    number, error, high_water, _, _, aborts = _PART.unpack_from(data, at)
    at += _PART.size
    aborted: tuple[tuple[int, int], ...] = ()
    if aborts > 0:  # -1: there are none
        # Compared before anything is made of it: the count may say two thousand million.
        end = at + aborts * _ABORTED.size
        if end > len(data):
            raise Garbled(f"an answer lists {aborts} transactions, more than it has bytes for")
        aborted = tuple(_ABORTED.iter_unpack(data[at:end]))
        at = end
    _, length = _LEFT.unpack_from(data, at)  # the replica that it prefers is passed over
    start = at + _LEFT.size
    stop = start + length if length > 0 else start
    return AnswerPart(Partition(topic, number), error, high_water, aborted, start, stop), stop


def _name(data: bytes | bytearray | memoryview, at: int) -> tuple[str, int]:
    (length,) = _SHORT.unpack_from(data, at)
    start = at + _SHORT.size
    stop = start + length
    if length < 0 or stop > len(data):
        raise Garbled(f"an answer names a topic of {length} bytes")
    return str(data[start:stop], "utf-8"), stop


def _text(data: bytes) -> bytes:
    return _SHORT.pack(len(data)) + data
