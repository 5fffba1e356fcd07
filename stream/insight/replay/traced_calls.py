"""The calls of one number between two moments, with where each came in: for an authority.

Two passes over recorded topics. First the decisions: those about the number are kept by the record
that they decided. Then the records themselves, by their dialects. What is held in memory is
bounded: decisions up to `DECISIONS_MAX`, else the time asked for is too long.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple

import numpy as np
from msgspec import UNSET, Struct
from numpy.typing import NDArray

from stream.calls.call_batch import CallBatch
from stream.calls.decode import decode
from stream.calls.dialects.dialect import Dialect
from stream.calls.settings import DecodeSettings
from stream.calls.trunks import Trunks
from stream.core.model.errors import TracebackRefused
from stream.core.model.moments import rfc3339_ms
from stream.kafka.call_events import Observe
from stream.kafka.decision_history import past_decisions
from stream.kafka.settings import KafkaSettings
from stream.kafka.topic_reader import Progress, past_records

DECISIONS_MAX: Final = 500_000
"""Of one number in the time asked for; about 150 MB."""


class TracedSide(StrEnum):
    """On which side of its calls the number is asked about."""

    CALLER = "caller"
    CALLEE = "callee"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class TraceQuestion:
    """A request for the calls of `number` (E.164) that began from `from_s` until before `until_s`.

    Times are seconds since the epoch. A record counts that was written up to `late_s` after its
    call, or `EARLY_S` before it by a switch whose clock is ahead.
    """

    number: str
    from_s: float
    until_s: float
    late_s: float
    side: TracedSide = TracedSide.CALLER

    @property
    def from_ms(self) -> int:
        """From when on records may be about such a call; milliseconds since the epoch."""
        return max(int((self.from_s - EARLY_S) * 1000), 0)

    @property
    def until_ms(self) -> int:
        """Until when they may be."""
        return int((self.until_s + self.late_s) * 1000)


EARLY_S: Final = 600.0
"""A switch without NTP is minutes ahead, not hours."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """The topics of recorded calls, and the way to read them."""

    kafka: KafkaSettings
    dialects: Mapping[str, Dialect]
    decisions: str
    trunks: Trunks
    record_bytes_max: int


class TracedCall(Struct, frozen=True, kw_only=True):
    """One record of a call, as it is handed out. Times are RFC 3339, UTC.

    `time_of`: `call` where the record says when it began, `record` where only Kafka's time is
    known. `verdict` None: no decision about it is recorded (with emit = "blocks" it was allowed).
    """

    call_reference: str
    time: str
    time_of: str
    caller: str | None
    callee: str | None
    stage: str
    duration_s: float | None
    ingress: str
    ingress_trunk: str | None
    carrier: str | None
    verdict: str | None
    rule: str | None
    decision_id: str | None
    origin: str


class TracedRuling(NamedTuple):
    """The decision about a record."""

    verdict: str
    rule: str
    decision_id: str


@dataclass(slots=True)
class Traced:
    """Progress of a traceback: records read, calls found, and records that could not be read."""

    records: int = 0
    found: int = 0
    unreadable: int = 0
    without_decision: int = 0
    decided: dict[str, TracedRuling] = field(default_factory=dict)


async def traceback(
    asked: TraceQuestion, recorded: Recorded, traced: Traced, observe: Observe, progress: Progress
) -> AsyncGenerator[list[TracedCall], None]:
    """Yield the calls as they are found, a partition's in its own order.

    `traced` is counted up meanwhile. Raises TracebackRefused, TopicMissing, SourceDown.
    """
    span = asked.from_ms, asked.until_ms
    digits = asked.number[1:].encode()
    # Without progress: decisions are a small part of the work.
    told = past_decisions(
        recorded.kafka, recorded.decisions, span, observe, lambda _done, _whole: None, digits
    )
    async with aclosing(told):
        async for decisions in told:
            for one in decisions:
                if asked.number in {one.number, one.caller, one.callee}:
                    said = one.verdict if one.would is UNSET else f"{one.verdict} (simulated)"
                    traced.decided[one.origin] = TracedRuling(said, one.rule, one.decision_id)
            if len(traced.decided) > DECISIONS_MAX:
                text = f"more than {DECISIONS_MAX:,} decisions about the number in that time"
                raise TracebackRefused(f"{text}: ask for a shorter one")
    limits = DecodeSettings(recorded.record_bytes_max, check_callee=True)
    topics = list(recorded.dialects)
    records = past_records(recorded.kafka, topics, *span, observe, progress)
    async with aclosing(records):
        async for raw in records:
            batch = decode(raw, recorded.dialects, recorded.trunks, limits)
            found = _found(batch, asked, recorded.trunks, traced)
            if found:
                yield found


def _found(
    batch: CallBatch, asked: TraceQuestion, trunks: Trunks, traced: Traced
) -> list[TracedCall]:
    """Return the calls of one batch, counted."""
    places = np.flatnonzero(_about(batch, asked)).tolist()
    calls = [_call(batch, place, asked, trunks, traced) for place in places]
    found = [call for call in calls if call is not None]
    traced.records += len(batch.raw)
    traced.unreadable += len(batch.rejected)
    traced.found += len(found)
    return found


def _about(batch: CallBatch, asked: TraceQuestion) -> NDArray[np.bool_]:
    """Return a mask of the batch's calls with the number on the side asked for."""
    wanted = asked.number.encode()
    assert batch.callees is not None, "called numbers are asked for"
    found = np.zeros(len(batch), np.bool_)
    if asked.side is not TracedSide.CALLEE:
        found |= batch.callers.e164 == wanted
    if asked.side is not TracedSide.CALLER:
        found |= batch.callees.e164 == wanted
    return found


def _call(
    batch: CallBatch, index: int, asked: TraceQuestion, trunks: Trunks, traced: Traced
) -> TracedCall | None:
    """Return a call as it is handed out; None: it began outside of the time asked for."""
    row = int(batch.rows[index])
    call = batch.call_of(index)
    started_s = call.started_at_s
    at_s = int(batch.raw.timestamps_ms[row]) / 1000 if started_s is None else started_s
    if not asked.from_s <= at_s < asked.until_s:
        return None
    assert batch.callees is not None, "called numbers are asked for"
    origin = str(batch.raw.origin(row))
    ruled = traced.decided.get(origin)
    traced.without_decision += ruled is None
    return TracedCall(
        call_reference=call.call_id,
        time=rfc3339_ms(round(at_s * 1000)),
        time_of="record" if started_s is None else "call",
        caller=batch.callers.text(index) or None,
        callee=batch.callees.text(index) or None,
        stage=call.stage.value,
        duration_s=call.duration_s,
        ingress=trunks.ingress(call.trunk, call.ingress).value,
        ingress_trunk=call.trunk,
        carrier=call.carrier,
        verdict=ruled and ruled.verdict,
        rule=ruled and ruled.rule,
        decision_id=ruled and ruled.decision_id,
        origin=origin,
    )
