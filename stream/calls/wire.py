"""The wire form of what there are many of: times, and decisions that merely allow."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream.calls.batch import CallBatch


def timestamp(at_ms: int) -> str:
    """RFC 3339 in UTC with milliseconds, from milliseconds since the epoch.

    Clamped to the years that RFC 3339 can write: a switch's clock must not stop a block.
    """
    seconds, milliseconds = divmod(min(max(at_ms, _MS_MIN), _MS_MAX), 1000)
    return f"{_second(seconds)}.{milliseconds:03d}Z"


@lru_cache(maxsize=4096)
def _second(at_s: int) -> str:
    """The part up to the second, which the decisions of a batch mostly share."""
    return datetime.fromtimestamp(at_s, UTC).isoformat()[:19]


_MS_MIN = 0
_MS_MAX = 253_402_300_799_999

# A plain allow is written for each innocent call: the template costs a fifth of building and
# encoding a `Decision`. `called_at` is null in it, as reading it would mean decoding every record.
_ALLOW = (
    b'{"decision_id":"%b","verdict":"allow","simulated":false,"rule":"none","number":%b,'
    b'"role":"caller","call_id":%b,"caller":%b,"callee":%b,"reasons":[],"sip":null,'
    b'"called_at":null,"decided_at":"%b","expires_at":null,"origin":"%b%d"}'
)


def plain_allows(
    batch: CallBatch, indexes: NDArray[np.int64], ids: Sequence[str], now_ms: int
) -> list[bytes]:
    """The decisions that allow the calls `indexes`, of which no list and no rule speaks."""
    encode = msgspec.json.Encoder().encode
    decided_at = timestamp(now_ms).encode()
    raw = batch.raw
    rows = batch.rows[indexes]
    offsets = raw.offsets[rows].tolist()
    prefixes = [
        f"{segment.partition.topic}/{segment.partition.number}/".encode()
        for segment in raw.segments
    ]
    starts = np.array([segment.start for segment in raw.segments])
    segment_of = (np.searchsorted(starts, rows, side="right") - 1).tolist()
    numbers = batch.callers.e164[indexes].tolist()
    callees = batch.callees.e164[indexes].tolist() if batch.callees is not None else None
    values = []
    for position, index in enumerate(indexes.tolist()):
        glance = batch.glances[index]
        number = numbers[position]
        callee = callees[position] if callees is not None else b""
        quoted = b'"%b"' % number if number else b"null"
        values.append(
            _ALLOW
            % (
                ids[position].encode(),
                quoted,
                encode(glance.call_id),
                quoted if number else encode(glance.caller),
                b'"%b"' % callee if callee else encode(glance.callee),
                decided_at,
                prefixes[segment_of[position]],
                offsets[position],
            )
        )
    return values
