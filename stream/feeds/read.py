"""Reading one version of a feed: from its file to reports, tombstones, and all that was found.

Blocks, and takes memory in proportion to the file: it runs in a process or a thread of its own.
"""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from stream.core.filters.bloom import read_filter
from stream.core.model.entry import Columns
from stream.core.model.errors import FilterTooCoarse
from stream.feeds.column_builder import Gathered
from stream.feeds.detection.column_names import names_call_records, says, says_at
from stream.feeds.detection.table_head import keys_in, names_in
from stream.feeds.diff import REMOVED
from stream.feeds.feed import Feed
from stream.feeds.formats.rows import InputUnreadable, Wrong
from stream.feeds.gate import NEVER_LIVE, GateReason
from stream.feeds.lookalikes import Tally, sampled
from stream.feeds.open import Rejects, has_rows, lines_of, read_bare, read_rows, words_of
from stream.feeds.parse import Parsed, Parser
from stream.feeds.read_snapshot import Published, read_published
from stream.feeds.row_checks import TOO_WIDE, Bounds, look, look_at_rejected, looks_of
from stream.lists.snapshot.build import check_measured
from stream.lists.snapshot.merge import empty_columns

_HEAD_LINES = 100
"""Of a table, in which its header is."""


@dataclass(slots=True)
class VersionRead:
    """What a file says. `columns` has the reports that may go live, and tombstones (`REMOVED`).

    `unreadable` says why the file is not what its feed says, "" where it is; `too_coarse` says the
    same where that is its filter's false positives. `bad` rows were
    rejected for what they are, `expired` for being over; `found` counts rows by the reasons of the
    gate, `dropped` those of them that are left out; `looks` says what the numbers look like that
    are none. `bare`: the version is a filter without
    entries. `filter_data` and `late` are as in `feed_snapshot.Published`.
    """

    columns: Columns = field(default_factory=empty_columns)
    unreadable: str = ""
    too_coarse: str = ""
    good: int = 0
    passed_over: int = 0
    rejected: Counter[Wrong] = field(default_factory=Counter)
    adjusted: Counter[str] = field(default_factory=Counter)
    found: Counter[GateReason] = field(default_factory=Counter)
    dropped: Counter[GateReason] = field(default_factory=Counter)
    looks: dict[GateReason, str] = field(default_factory=dict)
    bare: bool = False
    filter_data: bytes = field(default=b"", repr=False)
    late: frozenset[int] = frozenset()

    @property
    def hashed(self) -> bool:
        """Whether it lists numbers by their hashes alone, so that nobody here saw them."""
        listed = self.columns.category != np.uint8(REMOVED)
        return self.bare or bool(((self.columns.number == 0) & listed).any())

    @property
    def expired(self) -> int:
        """Rows that are over already."""
        return self.rejected[Wrong.EXPIRED]

    @property
    def bad(self) -> int:
        """Rows that mean nothing; not those that the gate has a reason of its own for."""
        # A published list has prefixes that are too short among its good rows, not the rejected.
        too_wide = sum(n for wrong, n in self.rejected.items() if wrong.label in TOO_WIDE)
        return self.rejected.total() - self.expired - too_wide


def read_version(
    feed: Feed,
    path: Path,
    rejects: Path,
    key: bytes,
    bounds: Bounds,
    now_s: int,
    *,
    released: bool = False,
) -> VersionRead:
    """The version in the file `path`; its rejected rows go into the file `rejects`.

    `released`: a person let it in, so rows that the feed may not bring are kept, but for those of
    `NEVER_LIVE`. A file that is cut or damaged on the way gives nothing.
    """
    if feed.format == "snapshot":
        return _read_published(feed, path, rejects, key, bounds, now_s, released=released)
    if not has_rows(feed.format):
        return _read_bare(feed, path, key)
    read = VersionRead()
    parser = Parser(feed.defaults(now_s), words_of(feed.format))
    gathered, tally = Gathered(key), Tally()
    try:
        with Rejects(rejects).open() as kept:
            for rows in read_rows(path, feed.format, feed.header or None, _nobody, feed.options):
                parsed = parser.parse(rows)
                sampled(rows.number, tally)
                kept.add(parsed.rejected)
                read.found += look_at_rejected(parsed.rejected, bounds.emergency, feed.region)
                read.adjusted.update({str(name): n for name, n in parsed.adjusted.items()})
                read.passed_over += parsed.passed_over
                read.good += len(parsed)
                let = _let_through(parsed, parser.sources, bounds, now_s, read, released)
                category = np.where(let.removed, np.uint8(REMOVED), let.category)
                gathered.add(let, category)
            read.rejected = Counter(kept.counts)
        read.looks = _looks(feed, path, tally)
    except InputUnreadable as error:
        return _unreadable(path, error)
    read.columns = gathered.columns(parser.sources)
    return read


def _looks(feed: Feed, path: Path, tally: Tally) -> dict[GateReason, str]:
    """What the column that the feed reads looks like, by its texts, its name, and those beside it.

    The names are those of the file, not of the feed's file: a place from 1 has one too.
    """
    place = feed.options.columns.get("number", "")
    names: tuple[str, ...] = ()
    if feed.format in {"csv", "jsonl"} and not feed.header:
        lines = list(next(lines_of(path, feed.options.encoding), [])[:_HEAD_LINES])
        names = keys_in(lines) if feed.format == "jsonl" else names_in(lines)
    are_calls = names_call_records(names)
    if feed.format == "jsonl":
        return looks_of(tally, str(place), says_at(str(place)), are_calls=are_calls)
    name = place if isinstance(place, str) else dict(enumerate(names, 1)).get(place, "")
    return looks_of(tally, name, says(name), are_calls=are_calls)


def _read_bare(feed: Feed, path: Path, key: bytes) -> VersionRead:
    samples = np.array([text.encode() for text in feed.samples], "S16")
    try:
        data = read_bare(path, key, samples if len(samples) else None)
        return _as_bare(feed, data, key)
    except InputUnreadable as error:
        return _unreadable(path, error)


def _as_bare(feed: Feed, data: bytes, key: bytes) -> VersionRead:
    """A filter without entries, if its false positives are within the feed's limit."""
    held = read_filter(data)
    try:
        check_measured(held, key, feed.gate.filter_error_rate_max)
    except FilterTooCoarse as error:
        return VersionRead(unreadable=str(error), too_coarse=str(error))
    return VersionRead(good=held.count, bare=True, filter_data=data)


def _unreadable(path: Path, error: InputUnreadable) -> VersionRead:
    why = str(error).removeprefix(f"{path}: ")
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, FilterTooCoarse):
        cause = cause.__cause__
    return VersionRead(unreadable=why, too_coarse=why if cause is not None else "")


def _read_published(
    feed: Feed, path: Path, rejects: Path, key: bytes, bounds: Bounds, now_s: int, *, released: bool
) -> VersionRead:
    try:
        made = read_published(feed, path, key, bounds, now_s, released=released)
        with Rejects(rejects).open() as kept:
            kept.add(made.rejected)
        if made.bare:
            return _as_bare(feed, made.filter_data, key)
    except InputUnreadable as error:
        return _unreadable(path, error)
    return _as_read(made, Counter(kept.counts))


def _as_read(made: Published, rejected: Counter[Wrong]) -> VersionRead:
    return VersionRead(
        columns=made.columns,
        good=len(made.columns) + made.dropped.total(),
        rejected=rejected,
        adjusted=+made.adjusted,
        found=made.found,
        dropped=made.dropped,
        filter_data=made.filter_data,
        late=made.late,
    )


def _let_through(
    parsed: Parsed,
    sources: tuple[str, ...],
    bounds: Bounds,
    now_s: int,
    read: VersionRead,
    released: bool,
) -> Parsed:
    """The rows that may go live; the others are counted."""
    masks = look(parsed.numbers, parsed.source, sources, bounds, now_s)
    kept = np.ones(len(parsed), np.bool_)
    for reason, found in masks.items():
        mask = found & ~parsed.removed  # a tombstone brings nothing
        read.found[reason] += int(mask.sum())
        if not released or reason in NEVER_LIVE:
            kept &= ~mask
            read.dropped[reason] += int(mask.sum())
    if kept.all():
        return parsed
    names = ("numbers", "reported_at", "expires_at", "category", "confidence", "source", "removed")
    columns = {name: getattr(parsed, name)[kept] for name in names}
    return Parsed(**columns, rejected=(), adjusted={})


def _nobody(_done: int, _whole: int) -> None:
    """Nobody watches."""
