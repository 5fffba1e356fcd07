"""Read a version of a feed: parse the rows of its file, and check each of them.

A bare filter has no rows; `published.py` reads a list that its owner publishes. Blocks, and takes
memory in proportion to the file.
"""

from collections import Counter
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stream.core.filters.bloom import check_members, read_filter
from stream.core.model.errors import FilterTooCoarse, FilterUnreadable
from stream.feeds.detection.header_names import foreign_kind, number_name
from stream.feeds.detection.lookalikes import ColumnTally, sampled
from stream.feeds.diff import REMOVED
from stream.feeds.feed import Feed
from stream.feeds.formats.format_words import words_of
from stream.feeds.formats.rows import InputUnreadable
from stream.feeds.gate import GateReason
from stream.feeds.open import has_rows, lines_of, read_header, read_rows
from stream.feeds.parse import ColumnBuilder, Parsed, Parser
from stream.feeds.published import PublishedReader, is_whole_list
from stream.feeds.row_checks import Bounds, VersionRead, check_rejected, check_rows, looks_of
from stream.feeds.version_files import Rejects
from stream.lists.snapshot.build import check_measured

_OF_OBJECTS: Final = frozenset({"misp", "misp-feed", "stix"})
"""Formats in which a removal takes back one object: another may go on naming the number."""


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
    """Return the version in the file `path`; write its rejected rows into the file `rejects`.

    `released`: a person let it in, so rows that the feed may not bring are kept, except those of
    `NEVER_LIVE`. A file that is cut or damaged gives nothing.
    """
    if feed.format == "snapshot":
        reader = PublishedReader(feed, key, bounds, now_s, released=released)
        try:
            made = reader.read(path, rejects, lambda: lines_of(path))
            return _as_bare(feed, made.filter_data, key) if made.bare else made
        except InputUnreadable as error:
            return _unreadable(path, error)
    if not has_rows(feed.format):
        return _read_bare(feed, path, key)
    read = VersionRead()
    parser = Parser(feed.defaults(now_s), words_of(feed.format))
    gathered, tally = ColumnBuilder(key), ColumnTally()
    try:
        with Rejects(rejects).open() as kept:
            for rows in read_rows(path, feed.format, feed.header or None, options=feed.options):
                parsed = parser.parse(rows)
                sampled(rows.number, tally)
                kept.add(parsed.rejected)
                read.found += check_rejected(parsed.rejected, bounds.emergency, feed.reading.region)
                read.adjusted.update({str(name): n for name, n in parsed.adjusted.items()})
                read.cleaned.update(parsed.cleaned)
                read.passed_over += parsed.passed_over
                read.good += len(parsed)
                let = _let_through(parsed, parser.sources, bounds, now_s, read, released)
                category = np.where(let.removed, np.uint8(REMOVED), let.category)
                gathered.add(let, category)
            read.rejected = Counter(kept.counts)
        read.looks = _looks(feed, path, tally)
    except InputUnreadable as error:
        # For a PDF, "no column is called number" is true, and does not say what to do.
        what = "" if feed.format == "workbook" else foreign_kind(path)
        return VersionRead(unreadable=what) if what else _unreadable(path, error)
    read.columns = gathered.columns(parser.sources, REMOVED if feed.format in _OF_OBJECTS else None)
    return read


def _let_through(
    parsed: Parsed,
    sources: tuple[str, ...],
    bounds: Bounds,
    now_s: int,
    read: VersionRead,
    released: bool,
) -> Parsed:
    """Return the rows that may go live; count the others."""
    masks = check_rows(parsed.numbers, parsed.source, sources, bounds, now_s)
    allowed = read.mark_allowed(masks, parsed.removed, released=released)
    if allowed.all():
        return parsed
    names = ("numbers", "reported_at", "expires_at", "category", "confidence", "source", "removed")
    columns = {name: getattr(parsed, name)[allowed] for name in names}
    return Parsed(**columns, rejected=(), adjusted={})


def _looks(feed: Feed, path: Path, tally: ColumnTally) -> dict[GateReason, str]:
    """Return what the column of the numbers looks like, by its texts and by the header's names."""
    name, said, are_calls = number_name(path, feed.format, feed.options, has_names=not feed.header)
    return looks_of(tally, name, said, are_calls=are_calls)


def _read_bare(feed: Feed, path: Path, key: bytes) -> VersionRead:
    samples = np.array([text.encode() for text in feed.samples], "S16")
    try:
        data = read_bare(path, key, samples if len(samples) else None)
        return _as_bare(feed, data, key)
    except InputUnreadable as error:
        return _unreadable(path, error)


def _as_bare(feed: Feed, data: bytes, key: bytes) -> VersionRead:
    """Return a filter without entries, if its false positives are within the feed's limit."""
    held = read_filter(data)
    try:
        check_measured(held, key, feed.gate.filter_error_rate_max)
    except FilterTooCoarse as error:
        return VersionRead(unreadable=str(error), too_coarse=str(error))
    return VersionRead(good=held.count, bare=True, filter_data=data)


def _unreadable(path: Path, error: InputUnreadable) -> VersionRead:
    why = str(error).removeprefix(f"{path}: ")
    # The filter's reader knows the reason; on its way here it became the cause of other faults.
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, FilterTooCoarse):
        cause = cause.__cause__
    return VersionRead(unreadable=why, too_coarse=why if cause is not None else "")


def is_whole(feed: Feed, path: Path, *, said: bool) -> bool:
    """Return whether a version is the whole list.

    A change file says so itself. Of other files the transport `said` it.
    """
    if feed.format == "snapshot":
        return is_whole_list(path)
    if feed.format != "ringfence":
        return said
    try:
        return read_header(path).whole
    except InputUnreadable:
        return said  # reading the file reports it


def read_bare(path: Path, key: bytes, samples: NDArray[np.bytes_] | None = None) -> bytes:
    """Return the bytes of a bare filter (pybloom-live) after checks, for `bare_snapshot`.

    It has no rows, so a file with another circle's key, or of pybloom-live 3, looks right. Only
    `samples` (S16), numbers known to be on it, show the difference. Raises InputUnreadable.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputUnreadable(f"{path}: {error.strerror}") from error
    try:
        held = read_filter(data)
        if samples is not None:
            check_members(held, key, samples)
    except FilterUnreadable as error:
        why = str(error)
        if samples is not None and _lacks_plus(path, key, samples):
            why = "its elements are numbers without the +: have them written as +66812345678"
        raise InputUnreadable(f"{path}: not a filter that can be used: {why}") from error
    if not held.count:
        raise InputUnreadable(f"{path}: the filter says that it is empty")
    return data


def _lacks_plus(path: Path, key: bytes, samples: NDArray[np.bytes_]) -> bool:
    """Return whether a filter holds the samples without their `+`."""
    try:
        check_members(read_filter(path.read_bytes()), key, np.char.lstrip(samples, b"+"))
    except (FilterUnreadable, OSError):
        return False
    return True
