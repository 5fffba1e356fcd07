"""Platforms that rate and route calls: CGRateS and Kazoo.

CGRateS: CDRs as its exporters write them to Kafka, HTTP and files. Source: cgrates/cgrates
`engine/cdr.go`, `ees` (kafkajsonMap's samples). `Account` is the rated party, which is the caller
where CGRateS rates callers. `Usage` is in nanoseconds, or text such as `1m5s`.

Traps: each rating run (`RunID`) exports the call again, with the same `OriginID`. `ToR` says
whether it was a call at all, or an SMS or data.

Kazoo: CDRs of Crossbar and CouchDB, and webhooks `channel_create` and `channel_destroy`. Source:
2600hz/kazoo `applications/crossbar/doc/cdrs.md`, `applications/webhooks`. A `timestamp` is in
Gregorian seconds (from the year 0), FreeSWITCH's own in microseconds. A CDR's is that of the
hang-up, so the call began its duration earlier.

Traps: each leg has a record, and `interaction_id` is the same for all. `to` and `request` are
`user@realm`. In an inbound leg, `callee_id_number` is the phone that answered, or empty.
"""

import re
from datetime import tzinfo

from stream.calls.dialects import fields
from stream.calls.dialects.dialect import NoCall, Only
from stream.calls.dialects.flat_form import Attributes, FlatForm, first_text, read_object
from stream.calls.dialects.json_form import JsonForm, paths
from stream.core.model.call import RejectReason, Stage

_NS = 1e9
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_SPAN = re.compile(r"(\d{1,12}(?:\.\d{1,12})?)(h|ms|m|s|us|µs|ns)")
_SPANS_MAX = 8


def _usage_s(said: object) -> float | None:
    """Return seconds of nanoseconds, or of a text like `1h2m3.5s`."""
    if isinstance(said, str):
        parts = _SPAN.findall(said[:64]) if said[-1:] in ("s", "m", "h") else []
        if parts and len(parts) <= _SPANS_MAX:
            return sum(float(amount) * _UNITS[unit] for amount, unit in parts)
    seconds = fields.duration_s(said)
    return None if seconds is None else seconds / _NS


_EXPORTED = "name it among the exporter's fields"
CGRATES = JsonForm(
    call_id=paths("OriginID", "CGRID"),
    caller=paths("Account", "Subject"),
    callee=paths("Destination"),
    started_at=paths("SetupTime", "AnswerTime"),
    duration_s=paths("Usage"),
    duration=_usage_s,
    trunk=paths("OriginHost"),
    only=Only(
        ("ToR",),
        ("*voice",),
        may_be_absent=True,
        otherwise="an SMS or data is no call: export only *voice",
    ),
    missing={"call_id": _EXPORTED, "caller": _EXPORTED, "callee": _EXPORTED},
)

_GREGORIAN_S = 62_167_219_200
"""Seconds from the year 0 to 1970."""
_EVENT = ("hook_event", "event_name", "Event-Name")
_BEGINS = ("channel_create", "CHANNEL_CREATE")
_ENDS = ("channel_destroy", "CHANNEL_DESTROY", "CHANNEL_HANGUP_COMPLETE", "CDR", "cdr")
_TIMES = ("timestamp", "Timestamp")
_LENGTHS = ("duration_seconds", "Duration-Seconds")


def _check_kazoo(record: Attributes) -> None:
    event = first_text(record, _EVENT)
    if event is not None and event not in (*_BEGINS, *_ENDS):
        text = "hook_event is another: make webhooks of channel_create and channel_destroy alone"
        raise NoCall(RejectReason.OTHER_EVENT, text)


def _kazoo_stage(record: Attributes) -> Stage:
    return Stage.ATTEMPT if first_text(record, _EVENT) in _BEGINS else Stage.END


def _kazoo_started(record: Attributes, zone: tzinfo | None) -> float | None:
    said = next((record[name] for name in _TIMES if record.get(name) is not None), None)
    seconds = fields.number(said)
    if seconds is not None and fields.EARLIEST_S <= seconds - _GREGORIAN_S < fields.LATEST_S:
        moment: float | None = seconds - _GREGORIAN_S
    else:
        moment = fields.moment_s(said, zone)
    if moment is None or _kazoo_stage(record) is Stage.ATTEMPT:
        return moment
    spans = (fields.duration_s(record.get(name)) for name in _LENGTHS)
    return moment - next((span for span in spans if span is not None), 0)


_KAZOO_HELP = "a CDR of Crossbar and a webhook of a channel have it"
KAZOO = FlatForm(
    read=read_object,
    call_id=("interaction_id", "Call-Interaction-ID", "call_id", "Call-ID"),
    caller=("caller_id_number", "Caller-ID-Number", "from", "From"),
    callee=("callee_id_number", "Callee-ID-Number", "request", "Request", "to", "To"),
    started_at=_TIMES,
    duration_s=_LENGTHS,
    also=_EVENT,
    check=_check_kazoo,
    stage=_kazoo_stage,
    started=_kazoo_started,
    missing={"call_id": _KAZOO_HELP, "caller": _KAZOO_HELP, "callee": _KAZOO_HELP},
)
