r"""RADIUS accounting of gateways and SBCs: detail files, and JSON as FreeRADIUS writes it.

    detail    a date, then lines `\tAttribute = value`, and an empty line (rlm_detail, Radiator)
    JSON      {"Attribute": "value"} or {"Attribute": {"type": ..., "value": ...}} (rlm_json,
              rlm_rest, linelog); a list where an attribute is given several times; or
              [{"name": "Attribute", "type": ..., "value": ...}] (output_mode = "array")

Start is the call (RFC 2866), Stop its end with `Acct-Session-Time`; `Failed` is Kamailio's call
that nobody answered. Interim-Update, Accounting-On and -Off are other events.

Numbers are `Calling-Station-Id` and `Called-Station-Id`: digits, or SIP headers (Oracle). Ribbon's
SBC 1000/2000 writes `NET-Calling-Number`. A caller that is not there is withheld.

One id for all legs and both events: Cisco's `h323-conf-id`; Ribbon's `Acct-Multi-Session-Id`; else
`Acct-Session-Id`. The last is unique within the gateway that wrote it, so the gateway's address
precedes it.

Traps: Cisco repeats an attribute's name in its value (`h323-conf-id = "h323-conf-id=..."`), and
puts others into `Cisco-AVPair`. Its clock has a zone by an ambiguous name, and a `*` or `.` before
it if it was never set. A BYE that a SIP proxy accounts may have the numbers exchanged.
"""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any

import msgspec

from stream.calls.dialects import fields
from stream.calls.dialects.dialect import NoCall, Value
from stream.calls.dialects.flat_form import (
    Attributes,
    FlatForm,
    first_text,
    read_member,
    read_object,
    text_of,
)
from stream.core.model.call import RejectReason, Stage

_STATUS = "Acct-Status-Type"
_STAGES: Mapping[str, Stage] = {
    "Start": Stage.ATTEMPT, "1": Stage.ATTEMPT, "Stop": Stage.END, "2": Stage.END,
    "Failed": Stage.END, "15": Stage.END,
}  # fmt: skip
_OTHERS = frozenset((
    "Interim-Update", "Alive", "3", "Accounting-On", "7", "Accounting-Off", "8",
    *("Tunnel-Start", "Tunnel-Stop", "Tunnel-Reject", "9", "10", "11"),
    *("Tunnel-Link-Start", "Tunnel-Link-Stop", "Tunnel-Link-Reject", "12", "13", "14"),
))  # fmt: skip
"""The other values of RFC 2866 and 2867; a vendor's own may be a call, so its record is kept."""
_INVITE = (None, "INVITE", "Invite", "1")
_METHODS = frozenset((
    *("ACK", "BYE", "CANCEL", "INFO", "MESSAGE", "NOTIFY", "OPTIONS", "PRACK", "PUBLISH", "REFER"),
    *("SUBSCRIBE", "UPDATE", "KDMQ"),
))  # fmt: skip
_PAIRS = "Cisco-AVPair"
_CONFERENCE, _ORIGIN, _REMOTE = "h323-conf-id", "h323-call-origin", "h323-remote-address"
_MULTI, _SESSION = "Acct-Multi-Session-Id", "Acct-Session-Id"
_GATEWAY = ("NAS-IP-Address", "NAS-IPv6-Address", "NAS-Identifier")
_SETUP = ("h323-setup-time", "NET-Setup-Time")
_HAPPENED, _RECEIVED = "Event-Timestamp", "Timestamp"
_DELAY, _LENGTH = "Acct-Delay-Time", "Acct-Session-Time"
_MONTHS = {
    name: number
    for number, name in enumerate(
        ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), 1
    )
}
_ESCAPE = re.compile(r"\\([0-7]{3}|.)", re.DOTALL)
_LETTERS = {"n": "\n", "r": "\r", "t": "\t"}
_OFFSET = re.compile(r"([+-])(\d\d):?(\d\d)?")
_CLOCK = re.compile(r"(\d\d):(\d\d):(\d\d)(?:\.(\d{1,6})\d*)?")
_UTC_NAMES = ("UTC", "GMT", "Z")


def _read(value: Value, wanted: frozenset[str]) -> Attributes:
    """Read the wanted attributes of a record in either form."""
    first = bytes(value[:64]).lstrip()[:1]
    if first == b"{":
        return _cleaned(read_object(value, wanted, frozenset((_PAIRS,)), _attribute), wanted)
    if first == b"[":
        return _cleaned(_listed(bytes(value), wanted), wanted)
    return _cleaned(_detail(str(value, "utf-8"), wanted), wanted)


def _attribute(raw: msgspec.Raw) -> Any:
    """Read a JSON attribute, also `{"value": ...}`; several values are a list."""
    within = fields.members(raw)
    said = read_member(within.get("value", raw))
    return said[0] if isinstance(said, list) and len(said) == 1 else said


class _Named(msgspec.Struct, gc=False):
    """One attribute of rlm_json's `array`."""

    name: str
    value: msgspec.Raw = msgspec.Raw(b"null")


_decode_named = msgspec.json.Decoder(list[_Named]).decode


def _listed(record: bytes, wanted: frozenset[str]) -> dict[str, Any]:
    """Read an array of attributes, each an object with its name."""
    listed, found = _decode_named(record), dict[str, Any]()
    # An attribute with two names would have one for each reader.
    if b"\\u00" in record or record.count(b'"name"') > len(listed):
        _refuse_two_names(record)
    for one in listed:
        if one.name not in wanted:
            continue
        said = read_member(one.value)
        if one.name == _PAIRS:
            found.setdefault(one.name, []).append(said)
        elif one.name in found and found[one.name] != said:
            raise NoCall(RejectReason.DUPLICATE_KEY, f"{one.name} is given twice")
        else:
            found[one.name] = said
    if not found:
        raise NoCall(RejectReason.WRONG_TYPE, "no RADIUS record: none of its attributes is known")
    return found


def _refuse_two_names(record: bytes) -> None:
    def look(pairs: list[tuple[str, Any]]) -> None:
        if len({key for key, _ in pairs}) < len(pairs):
            raise NoCall(RejectReason.DUPLICATE_KEY, "an attribute has a member twice")

    # `len` reads numbers: Python refuses integers of more than 4,300 digits, and none is needed.
    json.loads(record.decode(), object_pairs_hook=look, parse_int=len, parse_float=len)


def _detail(record: str, wanted: frozenset[str]) -> dict[str, Any]:
    """Read the lines of a detail record; the date before them says nothing that they do not."""
    found: dict[str, Any] = {}
    for line in record.split("\n"):
        name, apart, text = line.partition("= ")
        name = name.rstrip(" :+\t").lstrip()
        if not apart or name not in wanted:
            continue
        text = text.strip()
        if not text:
            # Torn, too: an empty text is written `""`.
            continue
        said = _unquoted(name, text)
        if name == _PAIRS:
            found.setdefault(name, []).append(said)
        elif name in found and found[name] != said:
            raise NoCall(RejectReason.DUPLICATE_KEY, f"{name} is given twice")
        else:
            found[name] = said
    if not found:
        text = r"no RADIUS record: it has lines with a tab, a name, ` = ` and a value"
        raise NoCall(RejectReason.WRONG_TYPE, text)
    return found


def _unquoted(name: str, text: str) -> str:
    """Return the text between quotes. Raises NoCall where its end is missing."""
    if text[:1] not in ('"', "'"):
        return text
    if len(text) < 2 or text[-1] != text[0]:
        raise NoCall(RejectReason.WRONG_TYPE, f"{name} has no end: the record is torn")
    inner = text[1:-1]
    return _ESCAPE.sub(_unescaped, inner) if "\\" in inner else inner


def _unescaped(match: re.Match[str]) -> str:
    said = match[1]
    return chr(int(said, 8)) if len(said) == 3 else _LETTERS.get(said, said)


def _cleaned(found: dict[str, Any], wanted: frozenset[str]) -> Attributes:
    """Take Cisco's pairs apart, and attributes' names out of their values."""
    pairs = found.pop(_PAIRS, ())
    for pair in pairs if isinstance(pairs, list) else [pairs]:
        name, apart, text = pair.partition("=") if isinstance(pair, str) else ("", "", "")
        # Others may hold what a caller chose, and are no place for numbers.
        if apart and name in wanted and name.startswith("h323-"):
            found.setdefault(name, text)
    record = {
        name: said.removeprefix(f"{name}=") if isinstance(said, str) else said
        for name, said in found.items()
    }
    if record.get(_ORIGIN) != "answer":
        # Of the leg that goes out it is the address where the call goes to.
        record.pop(_REMOTE, None)
    return record


def _check(record: Attributes) -> None:
    """Refuse what is neither begin nor end of a call."""
    status = text_of(record.get(_STATUS))
    if status is None:
        text = f"{_STATUS} missing: this is no accounting record, or half of one"
        raise NoCall(RejectReason.MISSING_FIELD, text)
    if status not in _STAGES:
        text = f"{_STATUS} is not Start or Stop: a call counts by those two"
        other = status in _OTHERS
        raise NoCall(RejectReason.OTHER_EVENT if other else RejectReason.WRONG_TYPE, text)
    # At a call's end the request is the BYE, whose caller may be the one who was called.
    method = text_of(record.get("Sip-Method"))
    if method not in _INVITE:
        text = "Sip-Method is not INVITE: only an INVITE says who calls whom"
        other = method.upper() in _METHODS or method.isdecimal()
        raise NoCall(RejectReason.OTHER_EVENT if other else RejectReason.WRONG_TYPE, text)


def _stage(record: Attributes) -> Stage:
    return _STAGES.get(text_of(record.get(_STATUS)) or "", Stage.END)


def _call_id(record: Attributes) -> str | None:
    conference = text_of(record.get(_CONFERENCE))
    if conference is not None and conference.strip():
        return conference.replace(" ", "")
    multi, session = text_of(record.get(_MULTI)), text_of(record.get(_SESSION))
    gateway, own = first_text(record, _GATEWAY), multi or session
    return f"{gateway}/{own}" if gateway and own else own


def _started(record: Attributes, zone: tzinfo | None) -> float | None:
    """Return the setup's time, else the event's less the duration, which a Stop has."""
    for name in (*_SETUP, _HAPPENED, _RECEIVED):
        moment = _moment(record.get(name), zone)
        if moment is None:
            continue
        earlier = () if name in _SETUP else (_LENGTH,) if name == _HAPPENED else (_LENGTH, _DELAY)
        return moment - sum(fields.duration_s(record.get(one)) or 0 for one in earlier)
    return None


def _moment(said: Any, zone: tzinfo | None) -> float | None:
    """Read an epoch, ISO 8601, `15:02:03.123 ICT Wed Nov 25 2026`, `Nov 25 2026 15:02:03 +07`.

    A zone's name means many zones but for UTC, so another one is the switch's.
    """
    moment = fields.moment_s(said, zone)
    if moment is not None or not isinstance(said, str) or len(said) > 64:
        return moment
    day, clock, away = {}, None, zone
    for part in said.lstrip("*. ").split():
        month = _MONTHS.get(part[:3].lower())
        if _CLOCK.fullmatch(part):
            clock = _CLOCK.fullmatch(part)
        elif month is not None and len(part) == 3:
            day["month"] = month
        elif part.isdecimal():
            day["year" if len(part) == 4 else "day"] = int(part)
        elif part in _UTC_NAMES:
            away = UTC
        elif offset := _OFFSET.fullmatch(part):
            away = _offset(offset)
    if clock is None or len(day) < 3 or away is None:
        return None
    hour, minute, second, fraction = clock.groups()
    try:
        moment_of = datetime(
            day["year"], day["month"], day["day"], int(hour), int(minute), int(second),
            int((fraction or "0").ljust(6, "0")), away,
        )  # fmt: skip
        return moment_of.timestamp()
    except (ValueError, OverflowError):
        return None


def _offset(match: re.Match[str]) -> tzinfo | None:
    sign, hours, minutes = match.groups()
    away = timedelta(hours=int(hours), minutes=int(minutes or 0))
    return None if away >= timedelta(days=1) else timezone(-away if sign == "-" else away)


RADIUS = FlatForm(
    read=_read,
    call_id=(_CONFERENCE, _MULTI, _SESSION),
    caller=("Calling-Station-Id", "NET-Calling-Number"),
    callee=("Called-Station-Id", "NET-Called-Number"),
    started_at=(*_SETUP, _HAPPENED, _RECEIVED),
    duration_s=(_LENGTH,),
    trunk=(
        "Acme-Originating-Trunk-Group", "Acme-Session-Ingress-Realm", "NET-Ingress-Signaling-Group",
        _REMOTE, *_GATEWAY,
    ),
    also=(_STATUS, "Sip-Method", _PAIRS, _ORIGIN, _DELAY),
    check=_check,
    stage=_stage,
    started=_started,
    call_id_of=_call_id,
    withheld=True,
    missing={
        "call_id": "each accounting record has an Acct-Session-Id",
        "callee": "make the gateway send it",
    },
)  # fmt: skip
