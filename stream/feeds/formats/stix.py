"""STIX 2.1: a bundle, or the answer of a TAXII 2.1 server ({"objects": [...]}), once or in a row.

Rows are the numbers of indicators whose pattern is equality on numbers. Rows are also the phone
number objects of OpenCTI and txt2stix (STIX itself has none), referred to by observed-data or not.
`revoked` removes a report. `valid_from` is the time of the report. An indicator that is valid only
later is rejected, and accepted with a version that is fetched then. The identity in
`created_by_ref` is the source; labels and `indicator_types` are tags. Other objects are passed
over. The file is read up to four times. An identity may follow what refers to it, an indicator
counts before the bare object of the same number, and of several versions of one the newest counts.

A pattern means numbers only as equality joined by OR (STIX 2.1, part 9):
`[phone-number:value = '+66812345678']`, `[... = 'a' OR ... = 'b']`, `[...] OR [...]`. Whatever else
it may say (AND, NOT, LIKE, a sequence, a time window) narrows it. To read one number out of it
would list a number that its author did not mean.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count

import msgspec

from stream.core.model.entry import Category
from stream.feeds.formats.json_objects import BROKEN, Document, as_kept, as_text
from stream.feeds.formats.rows import Collector, InputUnreadable, Rows, Wrong

PATHS = frozenset({"phone-number:value", "phone-number:number", "x-phone-number:value"})
"""Paths of numbers: OpenCTI writes `value`, txt2stix `number`."""
_ABOUT_PHONES = re.compile(r"\bphone-?number\b", re.IGNORECASE)
_TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^'\\]|\\.)*')|(?P<path>[A-Za-z][\w-]*:[\w.-]+)|(?P<word>\w+)|(?P<mark>[\[\]()=]))"
)
PATTERN_CHARS_MAX = 65_536
"""Bounds the time of the pattern's parser, which is pure Python."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """The `numbers` of a pattern, if it is `readable`; a pattern of other things has none."""

    numbers: tuple[str, ...]
    readable: bool = True


_UNREADABLE = Meaning((), readable=False)
_OTHER = Meaning(())


def read_pattern(pattern: str) -> Meaning:
    """Return the numbers of a pattern."""
    if not _ABOUT_PHONES.search(pattern):
        return _OTHER
    if len(pattern) > PATTERN_CHARS_MAX:
        return _UNREADABLE
    tokens = _tokens(pattern)
    if tokens is None:
        return _UNREADABLE
    reader = _Reader(tokens)
    numbers = reader.alternatives(reader.observation)
    if numbers is None or not reader.finished:
        return _UNREADABLE
    return Meaning(tuple(dict.fromkeys(numbers)))


_Token = tuple[str, str]


def _tokens(pattern: str) -> list[_Token] | None:
    tokens, at, end = [], 0, len(pattern.rstrip())
    while at < end:
        found = _TOKEN.match(pattern, at)
        if found is None:
            return None
        kind = found.lastgroup or ""
        tokens.append((kind, found[kind]))
        at = found.end()
    return tokens


class _Reader:
    """A parser of the tokens of one pattern. It returns None for other patterns."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._at = 0

    @property
    def finished(self) -> bool:
        return self._at == len(self._tokens)

    def alternatives(self, read: Callable[[], list[str] | None]) -> list[str] | None:
        """Read one or more of `read`, joined by OR."""
        numbers = read()
        while numbers is not None and self._took("word", "OR"):
            more = read()
            numbers = None if more is None else numbers + more
        return numbers

    def observation(self) -> list[str] | None:
        """`[...]`"""
        if not self._took("mark", "["):
            return None
        numbers = self.alternatives(self._comparison)
        return numbers if self._took("mark", "]") else None

    def _comparison(self) -> list[str] | None:
        """`path = 'text'`; alternatives that are no numbers are left out."""
        path = self._next("path")
        if path is None or not self._took("mark", "="):
            return None
        text = self._next("text")
        if text is None:
            return None
        return [re.sub(r"\\(.)", r"\1", text[1:-1])] if path in PATHS else []

    def _took(self, kind: str, text: str) -> bool:
        if not self.finished and self._tokens[self._at] == (kind, text):
            self._at += 1
            return True
        return False

    def _next(self, kind: str) -> str | None:
        if self.finished or self._tokens[self._at][0] != kind:
            return None
        self._at += 1
        return self._tokens[self._at - 1][1]


Pieces = Callable[[], Iterable[bytes]]
"""The file's bytes from its beginning, each time it is called."""

WORDS: Mapping[str, Category] = {"benign": Category.LEGITIMATE}
"""The only indicator type that names a category. The feed maps labels."""
OBJECT_BYTES_MAX = 1 << 20
"""The largest object: they are decoded one by one. Real ones have some KB."""
REMEMBERED_BYTES_MAX = 64 << 20
"""Bytes of identities and observed-data, which other objects refer to: some 100,000 of them."""
NUMBERS = frozenset({"phone-number", "x-phone-number"})

_Value = str | int | float | None


class _Kind(msgspec.Struct):
    type: str = ""


class _Version(msgspec.Struct):
    id: str | None = None
    modified: str | None = None


class _Indicator(msgspec.Struct):
    id: _Value = None
    modified: _Value = None
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
    score: _Value = None
    x_opencti_score: _Value = None
    created_by_ref: str | None = None
    x_opencti_created_by_ref: str | None = None
    labels: list[str] | None = None
    x_opencti_labels: list[str] | None = None


class _Identity(msgspec.Struct):
    id: str
    name: str


class _Observed(msgspec.Struct):
    id: str = ""
    modified: str | None = None
    object_refs: list[str] | None = None
    last_observed: str | None = None
    confidence: _Value = None
    revoked: bool | None = None
    created_by_ref: str | None = None
    labels: list[str] | None = None


_decode_kind = msgspec.json.Decoder(_Kind).decode
_decode_version = msgspec.json.Decoder(_Version).decode
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
    ids: set[int] = field(default_factory=set)
    """Hashes of the indicators' ids: 60 bytes for each."""
    newest: dict[str, str] = field(default_factory=dict)
    """The last `modified` of the indicators that the file has several versions of."""


def read(pieces: Pieces) -> Iterator[Rows]:
    """Yield the rows of a bundle or an envelope. Raises InputUnreadable for other documents."""
    rows, known = Collector(holds_from_then=True), _Known()
    for line, kind, raw in _objects(pieces):
        _remember(known, kind, raw)
        if kind is None:
            rows.reject(line, Wrong.UNREADABLE, "not a STIX object", as_kept(raw))
            yield from rows.drain()
    for _, kind, raw in _objects(pieces) if known.newest else ():
        if kind == "indicator":
            _compare(known, raw)
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
    """Yield all objects of a file: its count, its type (None: unreadable), and its bytes."""
    document = Document(pieces(), OBJECT_BYTES_MAX)
    lines, seen = count(1), False
    while first := document.peek():
        if first != b"{":
            raise InputUnreadable("not STIX 2.1: a bundle or TAXII's envelope begins with {")
        for objects in document.array_of("objects"):
            for raw in objects:
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
                    known.observed[ref] = _surer(known.observed.get(ref), observed)
        elif kind == "indicator" and (one := _decode_version(raw).id):
            if hash(one) in known.ids:
                known.newest[one] = ""
            known.ids.add(hash(one))
    except BROKEN:
        return  # what refers to it has no name or time then; it is no row itself
    known.numbers += kind in NUMBERS
    known.size += len(raw) if kind in {"identity", "observed-data"} else 0
    if known.size > REMEMBERED_BYTES_MAX:
        raise InputUnreadable(
            f"more than {REMEMBERED_BYTES_MAX >> 20} MB of identities and observed-data: refused"
        )


def _surer(one: _Observed | None, other: _Observed) -> _Observed:
    """Return the observation that counts: the newer version, else one that is not revoked."""
    if one is None:
        return other
    if one.id == other.id:
        return max(one, other, key=lambda seen: _time(seen.modified))
    return max(one, other, key=lambda seen: (not seen.revoked, _time(seen.last_observed)))


def _compare(known: _Known, raw: bytes) -> None:
    with suppress(*BROKEN):  # such a row is rejected later
        found = _decode_version(raw)
        if found.id in known.newest:
            known.newest[found.id] = max(known.newest[found.id], _time(found.modified))


def _time(modified: object) -> str:
    """Return a time as a text that sorts: in STIX all are in UTC, some with fractions."""
    return str(modified or "").removesuffix("Z")


def _add_number(rows: Collector, line: int, raw: bytes, known: _Known) -> None:
    try:
        found = _decode_number(raw)
    except BROKEN as error:
        rows.reject(line, Wrong.UNREADABLE, str(error), as_kept(raw))
        return
    seen = known.observed.get(found.id, _Observed())
    by = seen.created_by_ref or found.x_opencti_created_by_ref or found.created_by_ref
    # OpenCTI itself writes `score`, its client the longer name.
    worth = [seen.confidence, found.confidence, found.score, found.x_opencti_score]
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
    if known.newest.get(str(found.id), "") > _time(found.modified):
        rows.pass_over()  # an older version: a newer one may revoke it, or mean another number
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
