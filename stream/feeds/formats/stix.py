"""STIX 2.1: a bundle, or what a TAXII 2.1 server answers ({"objects": [...]}), once or in a row.

Rows are the numbers of indicators whose pattern is equality on numbers (`patterns.py`), and the
phone number objects that OpenCTI and txt2stix write (STIX itself has none), also by way of the
observed-data that names them. `revoked` takes a report off. `valid_from` is when it was reported;
what is valid only later is rejected, and comes in with a version that is fetched then.
Whose report it is says the identity of `created_by_ref`; labels and `indicator_types` are tags.
Objects of other kinds are passed over. The file is walked up to three times: an identity may stand
after what refers to it, and an indicator counts before the bare object of the same number.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count

import msgspec

from stream.core.model.entry import Category
from stream.feeds.formats.collect import Collector
from stream.feeds.formats.json_objects import BROKEN, Document, as_kept, as_text
from stream.feeds.formats.patterns import read_pattern
from stream.feeds.formats.rows import InputUnreadable, Rows, Wrong

Pieces = Callable[[], Iterable[bytes]]
"""The file's bytes from its beginning, each time it is called."""

WORDS: Mapping[str, Category] = {"benign": Category.LEGITIMATE}
"""Of the indicator types only this one says what a number is; labels are the feed's to map."""
OBJECT_BYTES_MAX = 1 << 20
"""Objects are decoded one by one, so this bounds memory. Real ones take some KB."""
REMEMBERED_BYTES_MAX = 64 << 20
"""Of identities and observed-data, which other objects refer to: some 100,000 of them."""
NUMBERS = frozenset({"phone-number", "x-phone-number"})

_Value = str | int | float | None


class _Kind(msgspec.Struct):
    type: str = ""


class _Indicator(msgspec.Struct):
    pattern: str = ""
    pattern_type: str = "stix"
    confidence: _Value = None
    x_opencti_score: _Value = None
    valid_from: str | None = None
    valid_until: str | None = None
    revoked: bool | None = None
    created_by_ref: str | None = None
    labels: list[str] | None = None
    indicator_types: list[str] | None = None


class _Number(msgspec.Struct):
    id: str = ""
    value: _Value = None
    number: _Value = None
    confidence: _Value = None
    x_opencti_score: _Value = None
    created_by_ref: str | None = None
    x_opencti_created_by_ref: str | None = None
    labels: list[str] | None = None
    x_opencti_labels: list[str] | None = None


class _Identity(msgspec.Struct):
    id: str
    name: str


class _Observed(msgspec.Struct):
    object_refs: list[str] | None = None
    last_observed: str | None = None
    confidence: _Value = None
    revoked: bool | None = None
    created_by_ref: str | None = None
    labels: list[str] | None = None


_decode_kind = msgspec.json.Decoder(_Kind).decode
_decode_indicator = msgspec.json.Decoder(_Indicator).decode
_decode_number = msgspec.json.Decoder(_Number).decode
_decode_identity = msgspec.json.Decoder(_Identity).decode
_decode_observed = msgspec.json.Decoder(_Observed).decode


@dataclass(slots=True)
class _Known:
    """Findings of the first pass."""

    names: dict[str, str] = field(default_factory=dict)
    observed: dict[str, _Observed] = field(default_factory=dict)
    numbers: int = 0
    size: int = 0


def read(pieces: Pieces) -> Iterator[Rows]:
    """Yield the rows of a bundle or of an envelope. Raises InputUnreadable if it is none."""
    rows, known = Collector(holds_from_then=True), _Known()
    for line, kind, raw in _objects(pieces):
        _remember(known, kind, raw)
        if kind is None:
            rows.reject(line, Wrong.UNREADABLE, "not a STIX object", as_kept(raw))
            yield from rows.drain()
    for line, kind, raw in _objects(pieces) if known.numbers else ():
        if kind in NUMBERS:
            _add_number(rows, line, raw, known)
            yield from rows.drain()
    for line, kind, raw in _objects(pieces):
        if kind == "indicator":
            _add_indicator(rows, line, raw, known)
            yield from rows.drain()
    yield from rows.rest()


def _objects(pieces: Pieces) -> Iterator[tuple[int, str | None, bytes]]:
    """Yield the objects of all documents of a file: which one it is, its type, and itself."""
    document = Document(pieces(), OBJECT_BYTES_MAX)
    lines, seen = count(1), False
    while first := document.peek():
        if first != b"{":
            raise InputUnreadable("not STIX 2.1: a bundle or TAXII's envelope begins with {")
        for key in document.members():
            if key != "objects" or document.peek() != b"[":
                document.value()
                continue
            seen = True
            for raw in document.elements():
                line = next(lines)
                try:
                    yield line, _decode_kind(raw).type, raw
                except BROKEN:
                    yield line, None, raw
        # An empty bundle and the last page of an empty collection have no `objects` at all.
        seen = True
    if not seen:
        raise InputUnreadable("the file is empty")


def _remember(known: _Known, kind: str | None, raw: bytes) -> None:
    try:
        if kind == "identity":
            identity = _decode_identity(raw)
            known.names[identity.id] = identity.name
        elif kind == "observed-data":
            observed = _decode_observed(raw)
            for ref in observed.object_refs or ():
                if ref.partition("--")[0] in NUMBERS:
                    known.observed[ref] = observed
    except BROKEN:
        return  # what refers to it has no name or time then; it is no row itself
    known.numbers += kind in NUMBERS
    known.size += len(raw) if kind in {"identity", "observed-data"} else 0
    if known.size > REMEMBERED_BYTES_MAX:
        raise InputUnreadable(
            f"more than {REMEMBERED_BYTES_MAX >> 20} MB of identities and observed-data: refused"
        )


def _add_number(rows: Collector, line: int, raw: bytes, known: _Known) -> None:
    try:
        found = _decode_number(raw)
    except BROKEN as error:
        rows.reject(line, Wrong.UNREADABLE, str(error), as_kept(raw))
        return
    seen = known.observed.get(found.id, _Observed())
    by = seen.created_by_ref or found.x_opencti_created_by_ref or found.created_by_ref
    worth = [seen.confidence, found.confidence, found.x_opencti_score]
    rows.add(
        line,
        as_kept(raw),
        as_text(found.value if found.value is not None else found.number),
        source=known.names.get(by or ""),
        reported_at=seen.last_observed,
        confidence=next((as_text(one) for one in worth if one is not None), None),
        tags=(*(seen.labels or ()), *(found.labels or ()), *(found.x_opencti_labels or ())),
        removed=bool(seen.revoked),
    )


def _add_indicator(rows: Collector, line: int, raw: bytes, known: _Known) -> None:
    try:
        found = _decode_indicator(raw)
    except BROKEN as error:
        rows.reject(line, Wrong.UNREADABLE, str(error), as_kept(raw))
        return
    if found.pattern_type != "stix":
        return
    meaning = read_pattern(found.pattern)
    if not meaning.readable:
        rows.reject(line, Wrong.PATTERN, found.pattern[:200], as_kept(raw))
    worth = found.confidence if found.confidence is not None else found.x_opencti_score
    original = as_kept(raw)
    for number in meaning.numbers:
        rows.add(
            line,
            original,
            number,
            source=known.names.get(found.created_by_ref or ""),
            reported_at=found.valid_from,
            expires_at=found.valid_until,
            confidence=as_text(worth),
            tags=(*(found.indicator_types or ()), *(found.labels or ())),
            removed=bool(found.revoked),
        )
