"""A span for each batch of calls, and its records' trace contexts carried to their decisions.

The loop knows nothing of it: what it calls is wrapped here, and only where traces are on. Names and
attributes follow OpenTelemetry's semantic conventions for messaging. A batch has many creators, so
its span is the root of its own trace and links to theirs. A decision carries its record's own
context on, so its reader goes on in the trace of the call's sender.

A batch that is read again after an aborted transaction has the span of the time that it succeeded.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from stream.calls.call_batch import CallBatch, Outcome
from stream.calls.loop import AcknowledgedBatch
from stream.calls.trace_context import TraceContext, contexts_of, rows_with_headers
from stream.kafka.batch import Headers, RawBatch
from stream.ops.traces import Traces

if TYPE_CHECKING:
    from opentelemetry.trace import Span, SpanContext, Tracer

LINKS_MAX = 128
"""Links of a span, OpenTelemetry's own limit; a larger batch links to its first records'."""
_PLACES_MAX = 128
"""Partitions that a span names, so that it stays small."""

Decode = Callable[[RawBatch], CallBatch]
Decide = Callable[[CallBatch], Outcome]
OnDone = Callable[[AcknowledgedBatch], None]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class _Traced(Outcome):
    """An outcome with its batch's span, and when its steps ended, nanoseconds of the epoch."""

    span: "Span"
    decoded_ns: int
    decided_ns: int
    began_ns: int


def traced(
    traces: Traces, group_id: str, decode: Decode, decide: Decide, on_done: OnDone
) -> tuple[Decode, Decide, OnDone]:
    """Put spans around three steps of the loop; leave them as they are where traces are off."""
    if traces.tracer is None:
        return decode, decide, on_done
    spans = _Spans(traces.tracer, group_id, decode, decide, on_done)
    return spans.decode, spans.decide, spans.done


class _Spans:
    """The loop decodes and decides a batch without a pause, so there is one at a time."""

    def __init__(
        self, tracer: "Tracer", group_id: str, decode: Decode, decide: Decide, on_done: OnDone
    ) -> None:
        # An optional dependency, which is installed where traces are on.
        from opentelemetry import trace
        from opentelemetry.context import Context

        self._tracer = tracer
        self._group_id = group_id
        self._decode = decode
        self._decide = decide
        self._on_done = on_done
        self._api = trace
        # Empty, so that a batch's span has no parent: see the module.
        self._root = Context()
        self._began_ns = self._decoded_ns = 0

    def decode(self, raw: RawBatch) -> CallBatch:
        """Decode, with the time taken."""
        self._began_ns = time.time_ns()
        batch = self._decode(raw)
        self._decoded_ns = time.time_ns()
        return batch

    def decide(self, batch: CallBatch) -> Outcome:
        """Decide; the decisions get their records' contexts, the batch its span."""
        outcome = self._decide(batch)
        decided_ns = time.time_ns()
        span = self._tracer.start_span(
            "process calls",
            context=self._root,
            kind=self._api.SpanKind.CONSUMER,
            attributes={
                "messaging.system": "kafka",
                "messaging.operation.name": "process",
                "messaging.operation.type": "process",
                "messaging.consumer.group.name": self._group_id,
                "messaging.batch.message_count": len(batch.raw),
            },
            start_time=self._began_ns,
        )
        if span.is_recording():
            self._describe(span, batch, outcome)
        kept = {one.name: getattr(outcome, one.name) for one in fields(Outcome)}
        kept["contexts"] = _carried(batch.raw, outcome)
        return _Traced(
            **kept,
            span=span,
            decoded_ns=self._decoded_ns,
            decided_ns=decided_ns,
            began_ns=self._began_ns,
        )

    def done(self, done: AcknowledgedBatch) -> None:
        """Kafka has all that came of a batch: its span ends."""
        outcome = done.outcome
        if isinstance(outcome, _Traced) and outcome.span.is_recording():
            now_ns = time.time_ns()
            kinds = self._api.SpanKind
            within = self._api.set_span_in_context(outcome.span, self._root)
            for name, kind, from_ns, to_ns in (
                ("decode", kinds.INTERNAL, outcome.began_ns, outcome.decoded_ns),
                ("decide", kinds.INTERNAL, outcome.decoded_ns, outcome.decided_ns),
                ("send decisions", kinds.PRODUCER, outcome.decided_ns, now_ns),
            ):
                step = self._tracer.start_span(name, context=within, kind=kind, start_time=from_ns)
                step.end(to_ns)
            outcome.span.end(now_ns)
        self._on_done(done)

    def _describe(self, span: "Span", batch: CallBatch, outcome: Outcome) -> None:
        """Describe the batch in counts and places: no numbers."""
        raw = batch.raw
        topics = {segment.partition.topic for segment in raw.segments}
        if len(topics) == 1:
            span.set_attribute("messaging.destination.name", *topics)
        span.set_attributes(
            {
                "ringfence.calls": len(batch),
                "ringfence.decisions": len(outcome.ids),
                "ringfence.rejected": len(outcome.rejected),
                "ringfence.offsets": [
                    f"{one.partition.topic}/{one.partition.number}:"
                    f"{raw.offsets[one.start]}-{raw.offsets[one.stop - 1]}"
                    for one in raw.segments[:_PLACES_MAX]
                ],
            }
        )
        rows = rows_with_headers(raw, np.arange(len(raw)))[:LINKS_MAX]
        for context in contexts_of(raw, rows.tolist()):
            if context is not None:
                span.add_link(self._linked(context))

    def _linked(self, context: TraceContext) -> "SpanContext":
        api = self._api
        linked: SpanContext = api.SpanContext(
            int(context.trace_id, 16),
            int(context.span_id, 16),
            is_remote=True,
            trace_flags=api.TraceFlags(context.flags),
            trace_state=api.TraceState.from_header([context.state.decode("ascii")]),
        )
        return linked


def _carried(raw: RawBatch, outcome: Outcome) -> Sequence[Headers]:
    """Return the headers that each decision takes over from its record; none where none does."""
    if not len(rows_with_headers(raw, outcome.rows)):
        return ()
    found = contexts_of(raw, outcome.rows.tolist())
    return [() if one is None else one.headers() for one in found] if any(found) else ()
