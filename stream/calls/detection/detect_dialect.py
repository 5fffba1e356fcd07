"""Find the dialect of records: each is tried, and what fits is proposed with its reasons. Pure.

A switch that writes no numbers, or events besides calls, is no unknown switch: its operator needs
the words of its decoder. So for records of a known switch that are no calls the answer says what is
missing, and how to add it.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stream.calls.decode_one import NO_CALL, key_fields_of
from stream.calls.detection.draft_mapping import mapping_draft
from stream.calls.detection.preview import Understood, understood
from stream.calls.dialects import KNOWN, fields
from stream.calls.dialects.columns import cells_of
from stream.calls.dialects.dialect import SwitchSettings, schema_number
from stream.calls.dialects.json_form import Members, raw_at
from stream.calls.dialects.threegpp import RECORDS
from stream.core.numbers.number import Kind, parse

TRIED_MAX = 200
"""Records that are looked at: half of them a file's first, a quarter of its middle and its end."""
_PAIRS_MIN = 4
"""With fewer pairs of numbers one id for all may be chance."""
_CALLS_AN_ID = 3
"""One id for so many pairs of numbers is no call's: legs and stages of a call have few."""
_SWITCH = SwitchSettings(time_zone="Z")
_SIGNS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "opensips": (("jsonrpc", "params", "method"), ("method", "params.callid")),
    "freeswitch": (("variables", "callflow"), ("variables", "channel_data")),
    "freeswitch-events": (("Event-Name",),),
    "freepbx": (("calldate", "src"), ("calldate", "dst")),
    "asterisk-cel": (("eventtype", "linkedid"), ("EventName", "LinkedID")),
    "asterisk-ami": (("DestinationContext", "Disposition"), ("Destination", "LastApplication")),
    "asterisk-vsgroup": (("durationsec", "disposition"), ("durationsec", "dst")),
    "asterisk-kafka": (("dcontext", "disposition"), ("src", "dst", "disposition")),
    "kamailio": (("callid", "sip_code"), ("callid", "from_tag"), ("callid", "method")),
    "radius": (("Acct-Status-Type",),),
    "cgrates": (("OriginID", "ToR"), ("OriginID", "RequestType")),
    "kazoo": (
        ("caller_id_number", "call_direction"),
        ("hook_event", "call_id"),
        ("event_name", "callee_id_number"),
    ),
    "teams": (("callerNumber", "calleeNumber", "callType"),),
    "twilio": (("sid", "account_sid", "from"), ("sid", "parent_call_sid"), ("sid", "answered_by")),
    "twilio-events": (("specversion", "data.call_sid"),),
    "ringfence": (("call_id", "caller"), ("call_id", "callee"), ("caller", "callee")),
}
"""Keys by which a switch's JSON is known, whatever else is in it: any line of a dialect's."""
_CAUSE = re.compile(r"[A-Z]{2,20}_[A-Z0-9_]{1,40}\Z|(?:SUCCESS|INTERWORKING)\Z")
_CHANNEL = re.compile(r"(?:SIP|PJSIP|IAX2|DAHDI|Local|SCCP)/\S")
_DISPOSITION = re.compile(r"(?:NO ANSWER|ANSWERED|BUSY|FAILED|CONGESTION)\Z")
_TEXTS: Mapping[str, re.Pattern[bytes]] = {
    "freeswitch-xml": re.compile(
        rb"(?:cdr=)?(?:<\?xml[^>]{0,100}>\s{0,8})?(?:<!DOCTYPE cdr|<cdr[ >])"
    ),
    "asterisk-ami-text": re.compile(rb"Event: [A-Za-z]"),
    "radius": re.compile(
        rb'(?:\[\{"name": ?"|(?:[^\n=]{10,40}\n)?[\t ]{1,8})'
        rb"(?:Acct|NAS|User|Call(?:ed|ing)|Cisco|h323|NET|Acme)-"
    ),
    "ribbon": re.compile(rb"(?:START|STOP|ATTEMPT),[^,\n]{0,40},0x[0-9A-Fa-f]{8,20},"),
    "asterisk-cel": re.compile(
        rb'"?(?:CHAN_(?:START|END)|ANSWER|HANGUP|APP_(?:START|END)|BRIDGE_(?:ENTER|EXIT)|'
        rb'LINKEDID_END)"?,'
    ),
}
"""By which records that are no JSON are known, from their beginning."""
_COLUMNS_MIN = 6
"""Shorter lines hold two such signs by chance."""
OF_COLUMNS = frozenset(
    {
        *("freeswitch-csv", "asterisk-csv", "asterisk-custom"),
        *("cucm", "broadworks", "avaya-ipo", "sansay", "ribbon"),
    }
)
"""Dialects in which nothing but its column says what a field is."""
OF_COMMON_NAMES = frozenset({"teams", "twilio"})
"""Dialects of keys that others' records have too: they are proposed only for their signs."""
OTHER_ORDERS = {
    "freeswitch-csv": "mod_cdr_csv's template `example` has the uuid in column 10 and the hangup "
    "cause in column 9, both from 0: use that template, or describe yours as below",
    "asterisk-csv": "Master.csv has the disposition in column 14, from 0, and cdr_custom's sample "
    "in column 13: use one of them, or describe yours as below",
}
_OTHER_COLUMNS = "the fields are others than this switch writes: describe them as below"


@dataclass(frozen=True, slots=True)
class DialectProposal:
    """One dialect that fits; `why` in plain words, `settings` what the configuration needs."""

    dialect: str
    calls: int
    records: int
    why: str
    settings: str


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


@dataclass(frozen=True, slots=True)
class Detection:
    """Return the dialects that fit some records, best first. If none fits, return what the records
    are nearly, and a mapping to begin with ("": nothing in them looks like two numbers).

    `looked_at` is the number of records that it was judged by.
    """

    proposals: tuple[DialectProposal, ...]
    near: tuple[NearMiss, ...] = ()
    mapping: str = ""
    looked_at: int = 0


def find(records: Sequence[bytes], region: str) -> Detection:
    """Find the dialect of `records`, what they lack to be in one, or a mapping for them.

    Half of them must be calls, and look so: an id for each, and numbers where numbers belong.
    """
    looked_at = spread(records)
    tried, fitting, doubts = {}, [], {}
    for name, known in KNOWN.items():
        result = understood(known.make(name, _SWITCH), looked_at, region, None)
        tried[name] = result
        if result.calls and result.calls * 2 >= result.records:
            doubt = _doubt(name, looked_at, region)
            marked = sum(has_signs(name, value) for value in looked_at)
            if name in OF_COMMON_NAMES and 2 * marked < len(looked_at):
                continue
            if doubt:
                doubts[name] = doubt
            else:
                fitting.append((_weight(result), name, result))
    fitting.sort(key=lambda each: each[0], reverse=True)
    if fitting:
        proposals = tuple(_proposal(name, result) for _, name, result in fitting)
        return Detection(proposals, looked_at=len(looked_at))
    near = near_misses(looked_at, tried, doubts)
    # A known switch needs another configuration; only another order of columns is to be mapped.
    is_other_order = any(one.dialect in OTHER_ORDERS for one in near)
    mapping = mapping_draft(looked_at, region) if is_other_order or not near else ""
    return Detection((), tuple(near), mapping, len(looked_at))


def spread(records: Sequence[bytes]) -> Sequence[bytes]:
    """Return at most `TRIED_MAX` of `records`, in their order: of the start, middle and end."""
    if len(records) <= TRIED_MAX:
        return records
    half, quarter = TRIED_MAX // 2, TRIED_MAX // 4
    middle = max(half, len(records) // 2 - quarter // 2)
    middle = min(middle, len(records) - 2 * quarter)
    return [*records[:half], *records[middle : middle + quarter], *records[-quarter:]]


def likely(records: Sequence[bytes], region: str) -> str | None:
    """Return the dialect that `records` seem to be in, calls or not; None: no known one."""
    framed = sum(schema_number(value) is not None for value in records)
    if framed and 2 * framed >= len(records):
        return "registry:<dialect>, the wire format of a schema registry"
    found = find(records, region)
    if found.proposals:
        return found.proposals[0].dialect
    return found.near[0].dialect if found.near else None


def _doubt(name: str, records: Sequence[bytes], region: str) -> str:
    """Why records that a dialect takes for calls are none; "": they are.

    In CSV a column has no name: ids that come again with other numbers, or numbers
    that are none, are another order of columns.
    """
    dialect = KNOWN[name].make(name, _SWITCH)
    key_fields = []
    for value in records:
        try:
            key_fields.append(key_fields_of(dialect, value))
        except NO_CALL:
            continue
    pairs = {(call_fields.caller, call_fields.callee) for call_fields in key_fields}
    ids = {call_fields.call_id for call_fields in key_fields}
    if len(pairs) >= _PAIRS_MIN and _CALLS_AN_ID * len(ids) <= len(pairs):
        return (
            f"{len(key_fields):,} calls between {len(pairs):,} pairs of numbers have {len(ids)} ids"
        )
    if name in OF_COLUMNS:
        for what in ("caller", "callee"):
            texts = [getattr(call_fields, what) for call_fields in key_fields]
            if 2 * sum(_may_be_party(text, region) for text in texts) < len(texts):
                return f"the value in the place of the {what} is no number"
    return ""


def _may_be_party(text: str | None, region: str) -> bool:
    """Return whether a text is a number, an extension, or a number that is withheld."""
    return text is None or parse(text, region).kind not in {Kind.INVALID, Kind.ALPHANUMERIC}


def _weight(result: Understood) -> tuple[float, int]:
    """Calls first, then how much else is understood."""
    return result.calls / result.records, result.fields_read


def _proposal(name: str, result: Understood) -> DialectProposal:
    places = [
        f"{field} at {result.columns[field].place}"
        for field in ("call_id", "caller", "callee")
        if result.columns[field].place
    ]
    others = [field for field in ("started_at", "duration_s", "trunk")
              if field in result.columns and result.columns[field].read]  # fmt: skip
    why = f"{result.calls} of {result.records} records are calls: {', '.join(places)}"
    if others:
        why += f"; {', '.join(others)} too"
    return DialectProposal(name, result.calls, result.records, why, settings_for(name))


def settings_for(name: str) -> str:
    """Return what the configuration needs for a dialect."""
    if not KNOWN[name].local_times:
        return f'[calls.topics]\n"calls.{name}" = "{name}"\n'
    return (
        f'[calls.topics]\n"calls.{name}" = "{name}:NAME"\n\n'
        '[switches.NAME]\ntime_zone = "Asia/Bangkok"   # -> the switch\'s; its times do not say\n'
    )


def has_signs(name: str, value: bytes) -> bool:
    """Return whether a record has what a switch's records are known by."""
    if value[:1] == b"{":
        try:
            record = fields.members(value)
            if name == "3gpp":
                return any(key in RECORDS for key in record)
            return any(_has(record, keys) for keys in _SIGNS.get(name, ()))
        except NO_CALL:
            return False
    if name in _TEXTS:
        return _TEXTS[name].match(value) is not None
    if name not in {"freeswitch-csv", "asterisk-csv"}:
        return False
    cells = _cells(value)
    if len(cells) < _COLUMNS_MIN:
        return False
    if name == "freeswitch-csv":
        return _any(fields.UUID, cells) and _any(_CAUSE, cells)
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
    """Return the switches whose signs at least half of `records` have, the likeliest first.

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
    # Of one vendor's forms the more special comes first among the signs.
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
