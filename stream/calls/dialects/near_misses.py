"""Records of a known switch that are no calls as they are: what is missing, what mends it. Pure.

A switch that writes no numbers, or events besides calls, is no unknown switch: what its decoder
says of its records is what an operator has to read.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stream.calls.dialects import fields
from stream.calls.dialects.csv_lines import cells_of
from stream.calls.dialects.paths import Members, raw_at
from stream.calls.dialects.preview import NO_CALL, Understood
from stream.calls.dialects.threegpp import RECORDS

_SIGNS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "opensips": (("jsonrpc", "params", "method"), ("method", "params.callid")),
    "freeswitch": (("variables", "callflow"), ("variables", "channel_data")),
    "freeswitch-events": (("Event-Name",),),
    "asterisk-ami": (("DestinationContext", "Disposition"), ("Destination", "LastApplication")),
    "asterisk-vsgroup": (("durationsec", "disposition"), ("durationsec", "dst")),
    "asterisk-kafka": (("dcontext", "disposition"), ("src", "dst", "disposition")),
    "kamailio": (("callid", "sip_code"), ("callid", "from_tag"), ("callid", "method")),
    "ringfence": (("call_id", "caller"), ("call_id", "callee"), ("caller", "callee")),
}
"""Keys by which a switch's JSON is known, whatever else is in it: any line of a dialect's."""
UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")
_CAUSE = re.compile(r"[A-Z]{2,20}_[A-Z0-9_]{1,40}\Z|(?:SUCCESS|INTERWORKING)\Z")
_CHANNEL = re.compile(r"(?:SIP|PJSIP|IAX2|DAHDI|Local|SCCP)/\S")
_DISPOSITION = re.compile(r"(?:NO ANSWER|ANSWERED|BUSY|FAILED|CONGESTION)\Z")
_COLUMNS_MIN = 6
OF_COLUMNS = frozenset({"freeswitch-csv", "asterisk-csv", "asterisk-custom"})
"""Dialects in which nothing but its column says what a field is."""
OTHER_ORDERS = {
    "freeswitch-csv": "mod_cdr_csv's template `example` has the uuid in column 10 and the hangup "
    "cause in column 9, both from 0: use that template, or describe yours as below",
    "asterisk-csv": "Master.csv has the disposition in column 14, from 0, and cdr_custom's sample "
    "in column 13: use one of them, or describe yours as below",
}


_OTHER_COLUMNS = "the fields are others than this switch writes: describe them as below"


@dataclass(frozen=True, slots=True)
class NearMiss:
    """A switch whose records these are, though most are no calls.

    Of `records` that were looked at, `marked` have its signs and `calls` are calls. `reasons` says
    what its decoder misses, and what to do, most frequent first, with their counts.
    """

    dialect: str
    records: int
    marked: int
    calls: int
    reasons: tuple[tuple[str, int], ...]


def has_signs(name: str, value: bytes) -> bool:
    """Whether a record has what a switch's records are known by."""
    if value[:1] == b"{":
        try:
            record = fields.members(value)
            if name == "3gpp":
                return any(key in RECORDS for key in record)
            return any(_has(record, keys) for keys in _SIGNS.get(name, ()))
        except NO_CALL:
            return False
    if name not in {"freeswitch-csv", "asterisk-csv"}:
        return False
    cells = _cells(value)
    if len(cells) < _COLUMNS_MIN:
        return False
    if name == "freeswitch-csv":
        return _any(UUID, cells) and _any(_CAUSE, cells)
    return _any(_CHANNEL, cells) and _any(_DISPOSITION, cells)


def _has(record: Members, keys: Sequence[str]) -> bool:
    return all(raw_at(record, key.split(".")) is not None for key in keys)


def _any(pattern: re.Pattern[str], cells: Sequence[str]) -> bool:
    return any(pattern.match(cell) is not None for cell in cells)


def _cells(value: bytes) -> list[str]:
    try:
        return cells_of(value, ",")
    except NO_CALL:
        return []


def near_misses(
    records: Sequence[bytes], tried: Mapping[str, Understood], doubts: Mapping[str, str]
) -> list[NearMiss]:
    """The switches whose signs at least half of `records` have, the likeliest first.

    `tried` has what each dialect made of them, `doubts` why what it took for calls are none.
    """
    found = []
    for name, result in tried.items():
        marked = sum(has_signs(name, value) for value in records)
        if marked and 2 * marked >= len(records):
            reasons = _reasons(name, result)
            if name in doubts:
                text = f"{doubts[name]}: {OTHER_ORDERS.get(name, _OTHER_COLUMNS)}"
                reasons = ((text, result.calls), *reasons)
            found.append(NearMiss(name, len(records), marked, result.calls, reasons))
    # Of one vendor's forms the more special stands first among the signs.
    order = [*_SIGNS, *tried]
    found.sort(key=lambda near: (-near.calls, -near.marked, order.index(near.dialect)))
    return found


def _reasons(name: str, result: Understood) -> tuple[tuple[str, int], ...]:
    """Why records were rejected, in the decoder's words; of another order of columns in ours."""
    told: Counter[str] = Counter()
    for reason, count in result.rejected.items():
        is_order = "columns where at least" in reason or "another order of columns" in reason
        told[OTHER_ORDERS.get(name, reason) if is_order else reason] += count
    return tuple(told.most_common(3))
