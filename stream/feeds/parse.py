"""Parse rows by the same rules for every format, and build columns of the good ones. Pure.

Every row ends as an entry or as a `RejectedRow` with a reason from a closed list.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from stream.core.filters.digests import fingerprints_in
from stream.core.filters.snapshot import COLUMNS
from stream.core.model.entry import Category, Columns
from stream.core.model.free_text import SOURCE_CHARS_MAX
from stream.core.numbers.codes import codes_of
from stream.core.numbers.e164 import words_in
from stream.core.numbers.national import national_reader
from stream.core.numbers.number import Kind, parse_many
from stream.core.numbers.prefix_entries import STRICT, PrefixFault, PrefixRules, read_entries
from stream.feeds.cleaning import SHOWN_CHARS, Cleaned, CleanedRow, CleanedRows, clean_number
from stream.feeds.detection.lookalikes import is_date
from stream.feeds.formats.byte_columns import ByteColumn
from stream.feeds.formats.rows import RejectedRow, Rows, Texts, Wrong
from stream.feeds.value_parsers import (
    MEMO_MAX,
    Dates,
    FieldReader,
    after_number,
    category_words,
    cell_of,
    damage_of,
    read_category,
    read_confidence,
    rejected_row,
    several_in,
    trunk_zero,
    why_no_number,
)
from stream.lists.snapshot.merge import in_order

SOURCES_MAX = 60_000
"""A column holds a source's place in two bytes. The rest of 65,536 is for sources on the list."""
_STARTS = "+0123456789"
FUTURE_SLACK_S = 300
"""Clocks differ: a report's time that is so little ahead of ours is read as now."""


class Adjusted(StrEnum):
    """Adjustments of a row's claim, so that the row can be kept."""

    FUTURE = "future"
    """Reported in the future: read as now."""
    CONFIDENCE = "confidence"
    """More confidence than the feed may claim: its highest."""
    CATEGORY = "category"
    """An unknown category: read as `other`."""


@dataclass(frozen=True, slots=True)
class Defaults:
    """Values of an entry whose row gives none, and limits of what a row may claim.

    `region` reads national numbers. Times are seconds since the epoch; `expires_at_s` 0: never.
    `now_s` is the clock; 0: times are taken as they are, expired and future ones too.

    `expires_after_s` (0: off) is the life of a report whose row names no end, instead of
    `expires_at_s`. It counts from the report. Numbers get new owners, so the age of the complaint
    matters, and fetching a file again must not renew it. `expires_from` "now" counts from `now_s`,
    for feeds whose dates are those of a number's first report. "never" is for lists whose entries
    stay until the list drops them.

    `source` is the name of the feed or of the file. `sources` decides on the source of a report.
    "row": the one that the row names, else `source`. "both": `source/the one of the row`. "feed":
    `source` alone, except for rows that call a number legitimate, which are as in "both".
    `categories` maps the partner's words to ours. `prefixes` says how short a prefix may be.
    `may_remove`: rows may remove reports; else they are rejected.
    """

    source: str
    reported_at_s: int
    region: str | None = None
    category: Category = Category.OTHER
    expires_at_s: int = 0
    confidence: int = 100
    now_s: int = 0
    expires_after_s: int = 0
    expires_from: Literal["report", "now", "never"] = "report"
    confidence_max: int = 100
    future: Literal["clamp", "reject"] = "clamp"
    sources: Literal["row", "feed", "both"] = "row"
    unknown_category: Literal["reject", "other"] = "reject"
    dates: Dates = Dates()  # noqa: RUF009 -- frozen
    categories: Mapping[str, Category] = field(default_factory=dict)
    prefixes: PrefixRules = STRICT
    may_remove: bool = True


@dataclass(frozen=True, slots=True)
class Parsed:
    """The good rows of one chunk as columns of one length, in their order, and the rejected rows.

    `numbers` (S16) are E.164 or prefixes ("+8552390*"), several for a row with a range. `source`
    indexes the parser's `sources`. A row with `removed` removes that source's report of the number;
    its other columns mean nothing. `passed_over` is as in `Rows`. `adjusted` counts kept rows whose
    claims were cut, `cleaned` those whose number was cleaned before it was read.
    """

    numbers: NDArray[np.bytes_]
    reported_at: NDArray[np.uint32]
    expires_at: NDArray[np.uint32]
    category: NDArray[np.uint8]
    confidence: NDArray[np.uint8]
    source: NDArray[np.uint16]
    removed: NDArray[np.bool_]
    rejected: tuple[RejectedRow, ...]
    adjusted: Mapping[Adjusted, int]
    passed_over: int = 0
    cleaned: CleanedRows = field(default_factory=CleanedRows)

    def __len__(self) -> int:
        return len(self.numbers)


@dataclass(frozen=True, slots=True)
class _ReadNumbers:
    """The numbers of some rows: E.164, b"" for others; the entries of ranges; reasons for the rest.

    All but `e164` are by row. `cleaned` has the kinds of cleaning and the clean text.
    """

    e164: NDArray[np.bytes_]
    ranges: dict[int, tuple[str, ...]]
    wrong: dict[int, Wrong]
    cleaned: dict[int, tuple[tuple[Cleaned, ...], str]]

    def at(self, e164: NDArray[np.bytes_], places: list[int]) -> "_ReadNumbers":
        """Return the same for a longer column, in which these rows have other places."""
        return _ReadNumbers(
            e164,
            {places[row]: entries for row, entries in self.ranges.items()},
            {places[row]: why for row, why in self.wrong.items()},
            {places[row]: kinds for row, kinds in self.cleaned.items()},
        )


class Parser:
    """A parser for the rows of one file. It keeps the sources seen, and the meaning of texts.

    `words` are the words for categories that the file's format defines (`format_words.words_of`).
    """

    def __init__(self, defaults: Defaults, words: Mapping[str, Category] | None = None) -> None:
        self._defaults = defaults
        self._words = category_words(defaults.categories, words or {})
        self._unknown: set[str] = set()  # words read as `other`: `_adjust` counts their rows
        self._sources: dict[str, int] = {defaults.source: 0}
        # Where reports get a life, 0 marks for now the rows that name no end of their own.
        ends = 0 if defaults.expires_after_s else defaults.expires_at_s
        dates = defaults.dates
        self._columns = (
            FieldReader(
                "reported_at",
                np.dtype(np.uint32),
                dates.of("reported_at").reader,
                defaults.reported_at_s,
            ),
            FieldReader("expires_at", np.dtype(np.uint32), dates.of("expires_at").reader, ends),
            FieldReader(
                "category", np.dtype(np.uint8), self._read_category, int(defaults.category)
            ),
            FieldReader("confidence", np.dtype(np.uint8), read_confidence, defaults.confidence),
            FieldReader("source", np.dtype(np.uint16), self._read_source, 0),
        )
        self._tags: dict[tuple[str, ...], int | None] = {}

    @property
    def sources(self) -> tuple[str, ...]:
        """The names that `Parsed.source` indexes."""
        return tuple(self._sources)

    def parse(self, rows: Rows) -> Parsed:
        """Return the meaning of the rows."""
        removed = _removed(rows)
        read = self._numbers(rows.number)
        e164, ranges, wrong = read.e164, read.ranges, read.wrong
        fields: dict[int, Wrong] = {}
        values = {
            column.name: column.values(getattr(rows, column.name), len(rows), fields)
            for column in self._columns
        }
        if rows.tags is not None:
            self._apply_tags(rows.tags, rows.category, values["category"])
        if self._defaults.sources == "feed" and rows.source is not None:
            self._keep_witnesses(rows.source, values)
        self._apply_clock(values, fields, strict=rows.holds_from_then)
        if not self._defaults.may_remove:
            wrong |= dict.fromkeys(np.flatnonzero(removed).tolist(), Wrong.REMOVAL)
        for row, why in fields.items():
            # Of a row that takes a number off, only the number and whose report it is matter.
            if not removed[row] or why is Wrong.BAD_SOURCE:
                wrong.setdefault(row, why)
        kept = np.ones(len(rows), np.bool_)
        kept[list(wrong)] = False  # a dictionary's keys are no index for NumPy
        adjusted = self._adjust(rows, values, kept & ~removed)
        # A row with a range is several entries.
        entries = kept.astype(np.int64)
        for row in ranges.keys() - wrong.keys():
            entries[row] = len(ranges[row])
        # 0 entries for a rejected row: one repeat() drops those and makes room for the ranges.
        listed, ends = np.repeat(e164, entries), np.cumsum(entries)
        for row in ranges.keys() - wrong.keys():
            listed[ends[row] - entries[row] : ends[row]] = ranges[row]
        arrays: dict[str, Any] = {name: np.repeat(array, entries) for name, array in values.items()}
        dates = self._defaults.dates
        rejected = [rejected_row(rows, row, why, dates) for row, why in wrong.items()]
        rejected += rows.unreadable
        rejected.sort(key=lambda row: row.line)
        return Parsed(
            numbers=listed,
            **arrays,
            removed=np.repeat(removed, entries),
            rejected=tuple(rejected),
            adjusted=adjusted,
            passed_over=rows.passed_over,
            cleaned=_cleaned(rows, read),
        )

    def _numbers(self, column: Texts) -> _ReadNumbers:
        # A column of bytes has no Python object for each row: E.164 is copied by NumPy, and only
        # the other rows become texts, for the way below. A million rows take 0.6 s instead of 9.
        if isinstance(column, ByteColumn):
            e164 = words_in(column.texts).view("S16").ravel()
            others = np.flatnonzero(e164 == b"")
            read = self._numbers(list(column.at(others)))
            e164[others] = read.e164
            return read.at(e164, others.tolist())
        # Nearly all are "+" and digits; the others are looked at one by one.
        odd = [
            row
            for row, text in enumerate(column)
            if not (text and text[0] in _STARTS and text[1:].isdigit() and text.isascii())
        ]
        texts = list(column)
        cleaned: dict[int, tuple[tuple[Cleaned, ...], str]] = {}
        for row in odd:
            texts[row], kinds = clean_number(texts[row] or "")
            if kinds:
                cleaned[row] = kinds, texts[row] or ""
        whole = list(texts)
        quick = national_reader(self._defaults.region or "")
        if quick is not None:
            texts = [quick(text or "") or text for text in texts]
        numbers = parse_many(texts, lambda _: self._defaults.region)
        wrong: dict[int, Wrong] = {
            row: why_no_number(
                texts[row] or "", Kind(int(numbers.kinds[row])), self._defaults.region
            )
            for row in np.flatnonzero(numbers.kinds != Kind.E164).tolist()
        }
        if zero := trunk_zero(self._defaults.region):
            for row in _without_zero(whole, numbers.e164, zero):
                kinds, text = cleaned.get(row, ((), whole[row] or ""))
                cleaned[row] = (*kinds, Cleaned.LOST_ZERO), text
        ranges: dict[int, tuple[str, ...]] = {}
        for row in odd:
            self._look_at(row, texts[row] or "", wrong, ranges)
        return _ReadNumbers(numbers.e164, ranges, wrong, cleaned)

    def _look_at(
        self, row: int, text: str, wrong: dict[int, Wrong], ranges: dict[int, tuple[str, ...]]
    ) -> None:
        """Refuse an unusual text that was read as more, or less, than it says; find ranges."""
        # Digits after a decimal point were read as part of a longer number, and of an
        # extension only the number before it.
        if (damage := damage_of(text) or after_number(text)) is not None:
            wrong[row] = damage
        elif (several := several_in(text, self._defaults.region)) is not None:
            if isinstance(several, Wrong):
                wrong[row] = several
            else:
                ranges[row] = several
                wrong.pop(row, None)
        elif is_date(text):
            # 20/11/2569 is a possible number of Bangkok, once its strokes are gone.
            wrong[row] = Wrong.DATE
        elif row in wrong:
            read = read_entries(text, self._defaults.region, self._defaults.prefixes)
            if isinstance(read, PrefixFault):
                wrong[row] = Wrong[read.name]
            elif read is not None:
                ranges[row] = read
                del wrong[row]

    def _apply_tags(
        self, tags: Sequence[Sequence[str]], texts: Texts | None, category: NDArray[np.uint8]
    ) -> None:
        """Set the category of rows that have none of their own and a tag that names one."""
        for row, words in enumerate(tags):
            if not words or (texts is not None and texts[row]):
                continue
            key = tuple(words)
            if key not in self._tags:
                if len(self._tags) > MEMO_MAX:
                    self._tags.clear()
                read = [read_category(word, self._words) for word in key]
                self._tags[key] = next((one for one in read if not isinstance(one, Wrong)), None)
            found = self._tags[key]
            if found is not None:
                category[row] = found

    def _keep_witnesses(self, texts: Texts, values: dict[str, NDArray[Any]]) -> None:
        """Give an objection ("legitimate") the source `feed/reporter`, apart from the feed's own.

        One source has one report of a number: the feed's own would be replaced by the objection.
        """
        for row in np.flatnonzero(values["category"] == Category.LEGITIMATE).tolist():
            if bare := (texts[row] or "").strip():
                read = self._index_of(f"{self._defaults.source}/{bare}")
                values["source"][row] = 0 if isinstance(read, Wrong) else read

    def _apply_clock(
        self, values: dict[str, NDArray[Any]], wrong: dict[int, Wrong], *, strict: bool
    ) -> None:
        """Set the end of reports that name none; reject what is over, or not yet valid."""
        settings, reported, expires = self._defaults, values["reported_at"], values["expires_at"]
        if settings.expires_after_s and settings.expires_from != "never":
            since = np.minimum(reported, settings.now_s) if settings.now_s else reported
            if settings.expires_from == "now":
                since = np.full_like(reported, settings.now_s or settings.reported_at_s)
            ends = np.minimum(since.astype(np.int64) + settings.expires_after_s, 2**32 - 1)
            values["expires_at"] = expires = np.where(expires == 0, ends, expires).astype(np.uint32)
        if not settings.now_s:
            return
        if strict or settings.future == "reject":
            for row in np.flatnonzero(reported > settings.now_s + FUTURE_SLACK_S).tolist():
                wrong.setdefault(row, Wrong.FUTURE)
        for row in np.flatnonzero((expires != 0) & (expires <= settings.now_s)).tolist():
            wrong.setdefault(row, Wrong.EXPIRED)

    def _adjust(
        self, rows: Rows, values: dict[str, NDArray[Any]], kept: NDArray[np.bool_]
    ) -> Counter[Adjusted]:
        """Cut claims to what the feed may claim; count the `kept` rows that were cut."""
        settings, adjusted = self._defaults, Counter[Adjusted]()
        confidence, reported = values["confidence"], values["reported_at"]
        over = confidence > settings.confidence_max
        adjusted[Adjusted.CONFIDENCE] = int((over & kept).sum())
        confidence[over] = settings.confidence_max
        if settings.now_s:
            ahead = reported > settings.now_s + FUTURE_SLACK_S
            adjusted[Adjusted.FUTURE] = int((ahead & kept).sum())
            np.minimum(reported, settings.now_s, out=reported)
        if self._unknown and rows.category is not None:
            adjusted[Adjusted.CATEGORY] = sum(
                bool(kept[row]) and (text or "").strip() in self._unknown
                for row, text in enumerate(rows.category)
            )
        return +adjusted

    def _read_category(self, text: str) -> int | Wrong:
        read = read_category(text, self._words)
        if isinstance(read, Wrong) and self._defaults.unknown_category == "other":
            self._unknown.add(text)
            return int(Category.OTHER)
        return read

    def _read_source(self, text: str) -> int | Wrong:
        settings = self._defaults
        if settings.sources == "feed":
            return 0
        return self._index_of(f"{settings.source}/{text}" if settings.sources == "both" else text)

    def _index_of(self, name: str) -> int | Wrong:
        known = self._sources.get(name)
        if known is not None:
            return known
        if len(name) > SOURCE_CHARS_MAX or not name.isprintable():
            return Wrong.BAD_SOURCE
        if len(self._sources) == SOURCES_MAX:
            return Wrong.BAD_SOURCE
        return self._sources.setdefault(name, len(self._sources))


def _without_zero(texts: Texts, e164: NDArray[np.bytes_], code: bytes) -> Iterator[int]:
    """Yield the rows whose text is a national number but for its leading zero."""
    for row, text in enumerate(texts):
        if not text or text[0] not in "123456789" or not text.isascii():
            continue
        if e164[row] == code + text.encode():
            yield row


def _cleaned(rows: Rows, read: _ReadNumbers) -> CleanedRows:
    """Count the cleaned rows that are kept. A rejected row names its text as it came."""
    found = CleanedRows()
    for row, (kinds, text) in read.cleaned.items():
        if row not in read.wrong:
            before, number = rows.number[row] or "", read.e164[row].decode() or text
            cell = cell_of(rows, row, "number")
            found.add(
                kinds, CleanedRow(rows.lines[row], before[:SHOWN_CHARS], number[:SHOWN_CHARS], cell)
            )
    return found


def _removed(rows: Rows) -> NDArray[np.bool_]:
    if rows.removed is None:
        return np.zeros(len(rows), np.bool_)
    return np.array(rows.removed, np.bool_)


class ColumnBuilder:
    """Builds the columns of one file. Fingerprints are those of the circle with `key`."""

    def __init__(self, key: bytes) -> None:
        self.rows = 0
        self._key = key
        self._parts: dict[str, list[NDArray[Any]]] = {column.name: [] for column in COLUMNS}

    def add(self, parsed: Parsed, category: NDArray[np.uint8] | None = None) -> None:
        """Add rows; `category` replaces their own."""
        if not len(parsed):
            return
        self.rows += len(parsed)
        made: dict[str, NDArray[Any]] = {
            "fingerprint": fingerprints_in(parsed.numbers, self._key),
            "number": codes_of(parsed.numbers),
            "category": parsed.category if category is None else category,
        }
        for name, part in self._parts.items():
            part.append(made[name] if name in made else getattr(parsed, name))

    def columns(self, sources: tuple[str, ...], weak: int | None = None) -> Columns:
        """Return all rows in order, once; `sources` are the parser's.

        Of a (number, source) given twice the last row counts, of category `weak` only where no
        other does. Raises SnapshotUnreadable for more sources than a list can have.
        """
        arrays: dict[str, NDArray[Any]] = {}
        for column in COLUMNS:
            parts = self._parts.pop(column.name)
            arrays[column.name] = np.concatenate(parts) if parts else np.empty(0, column.dtype)
        is_weak = arrays["category"] == weak
        if weak is not None and is_weak.any():
            order = np.argsort(~is_weak, kind="stable")
            arrays = {name: values[order] for name, values in arrays.items()}
        return in_order(arrays, sources)
