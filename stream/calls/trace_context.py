"""W3C trace contexts in the headers of records: who sent a record may go on with its trace.

Records that the fetcher read have their headers right after their values, as on the wire and
already checked. So a context costs nothing until it is read. What is no context is none: a header
never makes a record a reject.

Formats: W3C Trace Context, 3.2 (`traceparent`) and 3.3 (`tracestate`); Kafka protocol guide,
"Record Batch" (headers of a record).
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.core.model.byte_strings import Texts
from stream.kafka.batch import Headers, RawBatch

HEADERS_MAX = 64
"""So many headers of a record are looked at; ours among thousands is not worth the time."""
STATE_MAX = 512
"""Longest `tracestate` that is carried on, in bytes; the standard asks for that much (3.3.1.5)."""

_PARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_STATE = re.compile(rb"[\x20-\x7e]+")
_KNOWN_FLAGS = 0b11
"""Sampled, and random trace id (Level 2)."""


class TraceContext(NamedTuple):
    """A record's place in a trace: ids in hex, neither of them 0; `state` is b"" for none."""

    trace_id: bytes
    span_id: bytes
    flags: int
    state: bytes

    def headers(self) -> Headers:
        """Return headers for a record that goes on with the trace."""
        parent = b"00-%b-%b-%02x" % (self.trace_id, self.span_id, self.flags)
        named: Headers = [("traceparent", parent)]
        return [*named, ("tracestate", self.state)] if self.state else named


def contexts_of(raw: RawBatch, rows: Iterable[int]) -> list[TraceContext | None]:
    """Return the contexts of the records in `rows`; None where a record has no sound one."""
    return [context_in(headers_of(raw, row)) for row in rows]


def rows_with_headers(raw: RawBatch, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return those of `rows` whose records have headers at all; asked of all at once."""
    values = raw.values
    if raw.headers_follow and isinstance(values, Texts):
        sizes = values.sizes[rows]
        first = values.data[values.starts[rows] + np.maximum(sizes, 0)]
        found: NDArray[np.int64] = rows[(sizes >= 0) & (first != 0)]
        return found
    if not raw.headers:
        return rows[:0]
    return rows[np.fromiter((bool(raw.headers[row]) for row in rows.tolist()), np.bool_, len(rows))]


def context_in(headers: Iterable[tuple[str | bytes, bytes | None]]) -> TraceContext | None:
    """Read the context in headers; None without one, or if it is given twice or malformed."""
    parents: list[bytes] = []
    state = b""
    for name, value in headers:
        if name in ("traceparent", b"traceparent"):
            parents.append(value or b"")
        elif name in ("tracestate", b"tracestate") and value is not None:
            state = value
    if len(parents) != 1:
        return None
    found = _PARENT.fullmatch(parents[0])
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == b"ff" or (version == b"00" and more is not None):
        return None
    if not trace_id.strip(b"0") or not span_id.strip(b"0"):
        return None
    kept = len(state) <= STATE_MAX and _STATE.fullmatch(state)
    return TraceContext(trace_id, span_id, int(flags, 16) & _KNOWN_FLAGS, state if kept else b"")


def headers_of(raw: RawBatch, row: int) -> Iterable[tuple[str | bytes, bytes | None]]:
    """Return the headers of one record; a tombstone's are of no interest."""
    values = raw.values
    if raw.headers_follow and isinstance(values, Texts):
        size = int(values.sizes[row])
        return _on_the_wire(values.data.data, int(values.starts[row]) + size) if size >= 0 else ()
    held: Sequence[Headers] = raw.headers
    return held[row] if held else ()


def _on_the_wire(data: memoryview, at: int) -> Iterator[tuple[bytes, bytes | None]]:
    """Yield headers from `at` on, which were checked to be whole when the record was read."""
    count, at = _varint(data, at)
    for _ in range(min(count, HEADERS_MAX)):
        size, at = _varint(data, at)
        name = data[at : at + size].tobytes()
        size, at = _varint(data, at + size)
        yield name, None if size < 0 else data[at : at + size].tobytes()
        at += max(size, 0)


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """Read a zig-zag varint; return where it ends too."""
    number = shift = 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return (number >> 1) ^ -(number & 1), at
        shift += 7
