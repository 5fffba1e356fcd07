"""MISP: one event or several as JSON, as MISP exports them and PyMISP writes them.

Layout: misp-core-format (github.com/MISP/misp-rfc), types of describeTypes.json. Numbers are
attributes of the types in `TYPES`, of the event or of its objects, except those whose relation says
that they were called. An attribute with `to_ids` false is not for detection and is passed over,
unless the feed says otherwise. A deleted attribute removes its report. Sightings: seen (type 0)
renews a report. A false positive (1) is its organisation's report that the number is legitimate. An
expiration (2) ends the report.
"""

import re
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from stream.feeds.formats.json_objects import BROKEN, Document, as_kept, as_text
from stream.feeds.formats.rows import TAGS_MAX, Collector, InputUnreadable, Rows, Wrong
from stream.feeds.value_parsers import read_time

TYPES = frozenset({"phone-number", "prtn"})
"""Types of numbers; `prtn` is a premium rate number. Not `whois-registrant-phone`: it is the number
of a domain's owner."""
CALLED = frozenset({"to", "to-number", "receiverNumber", "smsc", "recovery-sms"})
"""Relations in MISP's objects (short-message-service, instant-message, ftm-Call, google-account)
whose numbers are victims' or bystanders'."""
CONFIDENCES: Mapping[str, str] = {
    'misp:confidence-level="completely-confident"': "100",
    'misp:confidence-level="usually-confident"': "75",
    'misp:confidence-level="fairly-confident"': "50",
    'misp:confidence-level="rarely-confident"': "25",
    'misp:confidence-level="unconfident"': "0",
}
"""Tags and their values in MISP/misp-taxonomies, misp/machinetag.json."""
ANONYMOUS = "anonymous"
"""Source of an objection without a name. As the reporter it would replace the report."""
EVENT_BYTES_MAX = 64 << 20
"""The largest event. Fetching and decoding hold one at a time; real ones take up to 10 MB."""
EVENT_OBJECTS_MAX = 400_000
"""JSON objects in one event. A typed attribute has some 300 bytes: 120 MB at most."""
_HAS_EVENTS = re.compile(rb'\{\s*"(?:response|Event)"\s*:')

_Flag = bool | int | str | None
_Number = str | int | float | None


class _Tag(msgspec.Struct):
    name: str = ""


class _Organisation(msgspec.Struct):
    name: str | None = None


class _Sighting(msgspec.Struct):
    type: str | int = 0
    date_sighting: _Number = None
    source: str | None = None
    Organisation: _Organisation | None = None


class _Attribute(msgspec.Struct):
    type: str = ""
    value: _Number = None
    category: str | None = None
    to_ids: _Flag = None
    deleted: _Flag = None
    timestamp: _Number = None
    first_seen: _Number = None
    last_seen: _Number = None
    object_relation: str | None = None
    Tag: list[_Tag] | None = None
    Sighting: list[_Sighting] | None = None


class _Object(msgspec.Struct):
    deleted: _Flag = None
    Attribute: list[_Attribute] | None = None


class _Event(msgspec.Struct):
    info: str | None = None
    uuid: str | None = None
    date: str | None = None
    timestamp: _Number = None
    Orgc: _Organisation | None = None
    Org: _Organisation | None = None
    Tag: list[_Tag] | None = None
    Attribute: list[_Attribute] | None = None
    Object: list[_Object] | None = None


class _Wrapped(msgspec.Struct):
    Event: _Event | None = None


_decode_event = msgspec.json.Decoder(_Event).decode
_decode_wrapped = msgspec.json.Decoder(_Wrapped).decode


def read(documents: Iterable[Iterable[bytes]], *, unconfirmed: bool = False) -> Iterator[Rows]:
    """Yield the rows of events; each of `documents` is the bytes of one JSON file.

    `unconfirmed`: attributes that are not for detection are rows too. Raises InputUnreadable for a
    document that is neither an event nor a list of events.
    """
    rows, line = Collector(), 0
    for pieces in documents:
        for raw in _events(Document(pieces, EVENT_BYTES_MAX)):
            event = _decoded(raw)
            for attribute, gone in _attributes(event):
                line += 1
                _add(rows, line, event, attribute, gone=gone, unconfirmed=unconfirmed)
                yield from rows.drain()
    yield from rows.rest()


def _events(document: Document) -> Iterator[bytes]:
    """Yield the bytes of each event."""
    first = document.peek()
    if first == b"[":
        yield from document.elements()
    elif first == b"{" and document.begins_with(_HAS_EVENTS):
        for key in document.members():
            if key == "response" and document.peek() == b"[":
                yield from document.elements()
            elif key in {"response", "Event"}:
                yield document.value()
            else:
                document.value()
    elif first == b"{":
        yield document.value()
    else:
        raise InputUnreadable("not a MISP event: it is a JSON object, or an array of them")
    document.end()


def _decoded(raw: bytes) -> _Event:
    # Counted in the bytes: once they are objects it is too late.
    if raw.count(b"{") > EVENT_OBJECTS_MAX:
        raise InputUnreadable(f"an event of more than {EVENT_OBJECTS_MAX} objects: refused")
    try:
        event = _decode_wrapped(raw).Event or _decode_event(raw)
    except BROKEN as error:
        raise InputUnreadable(f"not a MISP event: {error}") from error
    if event.Attribute is None and event.Object is None and event.info is None:
        raise InputUnreadable(
            "not a MISP event: it has neither Attribute nor Object, which its export must include"
        )
    return event


def _attributes(event: _Event) -> Iterator[tuple[_Attribute, bool]]:
    """Yield the attributes that are numbers, and whether their object was deleted."""
    for attribute in event.Attribute or ():
        if attribute.type in TYPES:
            yield attribute, False
    for held in event.Object or ():
        for attribute in held.Attribute or ():
            if attribute.type in TYPES and attribute.object_relation not in CALLED:
                yield attribute, _true(held.deleted)


def _add(
    rows: Collector,
    line: int,
    event: _Event,
    attribute: _Attribute,
    *,
    gone: bool,
    unconfirmed: bool,
) -> None:
    gone = gone or _true(attribute.deleted)
    if not (gone or unconfirmed or _true(attribute.to_ids)):
        rows.pass_over()
        return
    original = as_kept(msgspec.json.encode(attribute))
    # The attribute's first: the first tag that names a category counts.
    held = (*(attribute.Tag or ())[:TAGS_MAX], *(event.Tag or ())[:TAGS_MAX])
    tags = [tag.name for tag in held]
    reported, ends = _times(event, attribute)
    number = as_text(attribute.value)
    organisation = event.Orgc or event.Org or _Organisation()
    rows.add(
        line,
        original,
        number,
        source=organisation.name,
        reported_at=reported,
        expires_at=ends,
        confidence=next((CONFIDENCES[tag] for tag in tags if tag in CONFIDENCES), None),
        tags=[*tags[: TAGS_MAX - 1], attribute.category or ""],
        removed=gone,
    )
    for sighting in attribute.Sighting or () if not gone else ():
        if str(sighting.type) == "1":
            by = sighting.Organisation.name if sighting.Organisation else None
            rows.add(
                line,
                original,
                number,
                category="legitimate",
                source=by or sighting.source or ANONYMOUS,
                reported_at=as_text(sighting.date_sighting),
            )


def _times(event: _Event, attribute: _Attribute) -> tuple[str | None, str | None]:
    """Return the times of the last report and of its end (None: unknown)."""
    # As MISP's decaying models: when it was first seen makes no report of today an old one.
    said = (attribute.last_seen, attribute.timestamp, attribute.first_seen, event.timestamp)
    reported = next((as_text(time) for time in said if time), event.date)
    seen: dict[str, list[int]] = {"0": [], "2": []}
    for sighting in attribute.Sighting or ():
        date = as_text(sighting.date_sighting) or ""
        if date.isascii() and date.isdigit() and str(sighting.type) in seen:
            seen[str(sighting.type)].append(int(date[:12]))
    if seen["0"]:
        last = max(seen["0"])
        reported = _later(reported, last)
    return reported, str(min(seen["2"])) if seen["2"] else None


def _later(text: str | None, seconds: int) -> str:
    """Return the later of two times. An unreadable time is kept: its row must be rejected."""
    read = read_time(text.strip()) if text else 0
    return text or "" if isinstance(read, Wrong) or read > seconds else str(seconds)


def _true(flag: _Flag) -> bool:
    return flag not in {None, False, "", "0", "false", "False"}
