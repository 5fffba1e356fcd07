"""Records that come by another way than Kafka: cut out of a file or a body, and keyed. Pure.

Their calls' ids are the keys, so the legs of a call stay in one partition, in their order, and the
engine knows repeats.
"""

import json
from collections.abc import Callable, Iterator, Sequence

import msgspec

from stream.calls.call_batch import CallBatch
from stream.core.model.call import RejectReason
from stream.kafka.batch import Partition, RawBatch

_decode_array = msgspec.json.Decoder(list[msgspec.Raw]).decode
_SPACE = " \t\r\n"
Unreadable = tuple[int, RejectReason, str]
"""The index of a record that is no call, and why."""


def records_in(data: bytes) -> list[bytes]:
    """Return the records in `data`, in their order, each as a Kafka record would have it.

    JSON lines, arrays, objects over many lines, CSV lines. What is neither JSON nor a form is a
    record a line, empty lines aside. Never raises.
    """
    text = data.removeprefix(b"\xef\xbb\xbf").strip()
    if text[:1] == b"[":
        try:
            return [bytes(raw) for raw in _decode_array(text)]
        except msgspec.DecodeError:
            return _lines(text)
    if text[:1] == b"{":
        lines = _lines(text)
        if all(line[:1] == b"{" and line[-1:] == b"}" for line in lines):
            return lines
        try:
            return list(_objects(text.decode()))
        except ValueError:  # UnicodeDecodeError and JSONDecodeError are
            return lines
    return _lines(text)


def _lines(text: bytes) -> list[bytes]:
    return [line for line in map(bytes.strip, text.split(b"\n")) if line]


def _objects(text: str) -> Iterator[bytes]:
    """Yield JSON values one behind the other, however they are broken into lines."""
    decoder = json.JSONDecoder()
    at = 0
    while at < len(text):
        _, end = decoder.raw_decode(text, at)
        yield text[at:end].encode()
        while end < len(text) and text[end] in _SPACE:
            end += 1
        at = end


def keyed(
    read: Callable[[RawBatch], CallBatch], topic: str, records: Sequence[bytes]
) -> tuple[list[bytes | None], tuple[Unreadable, ...]]:
    """Return the key of each record (None: it is no call), and the records that are no calls.

    `read` is the stream's decoder; it reads `records` as those of `topic`.
    """
    batch = read(RawBatch.of(records, Partition(topic, 0)))
    keys: list[bytes | None] = [None] * len(records)
    for row, told in zip(batch.rows.tolist(), batch.key_fields, strict=True):
        keys[row] = told.call_id.encode() or None
    found = ((one.origin.offset, one.reason, one.detail) for one in batch.rejected)
    return keys, tuple(sorted(found))


def topics_of(topics: dict[str, str], dialect: str) -> list[str]:
    """Return the topics of `[calls.topics]` in `dialect`, with or without its switch."""
    return [
        topic for topic, spoken in topics.items() if dialect in (spoken, spoken.partition(":")[0])
    ]
