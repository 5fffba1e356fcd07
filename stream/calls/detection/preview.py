"""Records as a dialect understands them, field by field, and what it does not and why. Pure."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stream.calls.call_batch import SIGNED
from stream.calls.decode_one import NO_CALL, key_fields_of, reason_of, refuse_unsound
from stream.calls.dialects import fields
from stream.calls.dialects.dialect import Dialect, RecordField, Transcoded, whole
from stream.calls.dialects.mapping_settings import OPTIONAL
from stream.core.model.call import Call, RejectReason
from stream.core.model.moments import read_rfc3339, rfc3339
from stream.core.numbers.caller_readings import read_caller
from stream.core.numbers.number import Kind, Number, parse
from stream.core.numbers.spelling import in_utf8

DAY_S = 86_400
"""Times further in the future are a clock or a zone that is wrong: no zone is further away."""
OLD_S = 366 * DAY_S
"""An older call is hardly what a switch writes now."""
_RAW_MAX = 60
"""Characters of an example, so that a table fits a terminal."""
_NUMBERS = {
    Kind.INVALID: "no number can be read in it",
    Kind.ALPHANUMERIC: "a name; no list holds it",
    Kind.ANONYMOUS: "withheld",
    Kind.DISGUISED: "no number as written; lists are asked for the one that others read in it",
}


@dataclass(slots=True)
class ColumnPreview:
    """One field over all records: where it stood first, how often it was read, one example.

    `remarks` counts what was not understood, or is worth a look, in plain words.
    """

    place: str = ""
    read: int = 0
    raw: str = ""
    value: str = ""
    remarks: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class Understood:
    """The result for some records: reasons of rejects, and the first record of each, from 1."""

    records: int = 0
    calls: int = 0
    columns: dict[str, ColumnPreview] = field(default_factory=dict)
    rejected: Counter[str] = field(default_factory=Counter)
    first: dict[str, int] = field(default_factory=dict)

    @property
    def other_events(self) -> int:
        """Number of the switch's records that are of something else, as it says itself."""
        return sum(count for reason, count in self.rejected.items() if is_other_event(reason))

    @property
    def fields_read(self) -> int:
        """Number of optional values that were read in all."""
        return sum(self.columns[name].read for name in OPTIONAL if name in self.columns)


def is_other_event(reason: str) -> bool:
    """Return whether `reason` is of a record that is no call on purpose."""
    return reason.partition(":")[0] == RejectReason.OTHER_EVENT


def understood(
    dialect: Dialect, records: Sequence[bytes], region: str, now_s: float | None
) -> Understood:
    """Read `records` with `dialect`; numbers are read in `region`.

    `now_s` is the time, against which calls of the far past and the future are found; None: they
    are not looked at.
    """
    told = Understood()
    coded, inner = (dialect, dialect.inner) if isinstance(dialect, Transcoded) else (None, dialect)
    for number, value in enumerate(records, 1):
        told.records += 1
        try:
            text = value if coded is None else coded.text(value)
            call_fields = key_fields_of(inner, text)
            refuse_unsound(text, inner.json_keys)
        except NO_CALL as error:
            reason = ": ".join(reason_of(error))
            told.rejected[reason] += 1
            told.first.setdefault(reason, number)
            continue
        told.calls += 1
        text = in_utf8(text)
        call = whole(call_fields, inner.details(text))
        signed = {name: getattr(call_fields, name) for name in SIGNED}
        _add(told.columns, call, signed, inner.found(text), region, now_s)
    return told


def _add(
    columns: dict[str, ColumnPreview],
    call: Call,
    signed: Mapping[str, str | None],
    found: Mapping[str, RecordField],
    region: str,
    now_s: float | None,
) -> None:
    values: Mapping[str, Any] = {
        "call_id": call.call_id, "caller": call.caller, "callee": call.callee,
        "started_at": call.started_at_s, "stage": str(call.stage), "trunk": call.trunk,
        "duration_s": call.duration_s, "carrier": call.carrier,
        **signed,
    }  # fmt: skip
    for name, read in values.items():
        there = found.get(name)
        if read is None and (there is None or (name in SIGNED and there.raw is None)):
            continue  # few switches have signatures: their absence is no finding
        column = columns.setdefault(name, ColumnPreview())
        column.place = column.place or (there.place if there else "")
        if read is not None:
            column.read += 1
            if not column.value:
                column.raw = _shown(there.raw if there else None)
                column.value = _written(name, read, region)
        raw = there.raw if there else None
        if remark := _remark(name, raw, read, call, region, now_s):
            column.remarks[remark] += 1


def _shown(raw: Any) -> str:
    text = raw if isinstance(raw, str) else "" if raw is None else str(raw)
    return text if len(text) <= _RAW_MAX else f"{text[: _RAW_MAX - 3]}..."


def _written(name: str, read: Any, region: str) -> str:
    if name in ("caller", "callee"):
        return _read(name)(read, region).text
    if name == "started_at":
        return str(rfc3339(int(read)))
    return f"{read:g}" if isinstance(read, float) else str(read)


def _read(name: str) -> Callable[[str | None, str | None], Number]:
    """Return how the engine reads it: a caller may hide a number, a callee has nothing to hide."""
    return read_caller if name == "caller" else parse


def _remark(name: str, raw: Any, read: Any, call: Call, region: str, now_s: float | None) -> str:
    if name in ("caller", "callee"):
        text = call.caller if name == "caller" else call.callee
        return _NUMBERS.get(_read(name)(text, region).kind, "")
    if read is None and raw in (None, ""):
        return "not in the record"
    if name == "started_at":
        return _about_time(raw, read, now_s)
    return "not understood" if read is None else ""


def _about_time(raw: Any, read: float | None, now_s: float | None) -> str:
    if read is not None:
        if now_s is not None and read > now_s + DAY_S:
            return "in the future: look at the switch's clock and at time_zone"
        if now_s is not None and read < now_s - OLD_S:
            return "more than a year ago: look at the switch's clock"
        return ""
    seconds = fields.number(raw)
    if seconds == 0:
        return "0 means none"
    if seconds is not None:
        return "not between 2000 and 2100: look at the switch's clock"
    if read_rfc3339(str(raw)) is None:
        return "no time that is known: ISO 8601 or an epoch"
    if read_rfc3339(str(raw), zone=None) is None:
        return "a local time: say its time_zone in [switches.NAME], and name the switch"
    return "not between 2000 and 2100: look at the switch's clock"
