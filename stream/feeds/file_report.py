"""Typed reports on a partner's file, for the CLI's JSON, the HTTP API and the page. Values only.

`FileReport` says how a file can be read: its columns with examples, cleaned rows, rejected rows and
their places, and the open question. `CheckReport` adds the gate's verdict on all of its rows, and
the changes that the file would make to a list.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from stream.feeds.assess import Assessed
from stream.feeds.cleaning import CleanedRows
from stream.feeds.detection.proposal import ColumnSeen, FeedProposal, FeedQuestion
from stream.feeds.feed import Feed
from stream.feeds.formats.rows import Format, RejectedRow


@dataclass(frozen=True, slots=True)
class CleanedExample:
    """One cleaned number; `cell` is its cell in a spreadsheet ("B17"), "" elsewhere."""

    line: int
    cell: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class CleanedSeen:
    """One kind of cleaning: `kind` is its name, `meaning` a sentence, `count` the rows."""

    kind: str
    meaning: str
    count: int
    examples: tuple[CleanedExample, ...]


@dataclass(frozen=True, slots=True)
class RejectedSeen:
    """One rejected row: its place, the reason's name, the wrong text, what to do, the whole row.

    `line` is a line of a text, a row of a sheet, or counts the objects of a document.
    """

    line: int
    cell: str
    reason: str
    value: str
    what_to_do: str
    row: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FileReport:
    """One way to read a file, and what comes of it.

    `sureness` is 0 to 100. Of the `rows` that were tried, `good` are entries; `rejected` counts the
    others by reason, and `rejected_rows` has the first of them. `table` has all columns; `columns`
    are those that a feed names, by field. With a `question` nothing may be read before an answer.
    `feed` is a feed's file to be completed. `sheet` is that of a workbook, "": its only one;
    `items` is the path of the rows in JSON or XML.
    """

    format: Format
    sureness: int
    why: str
    columns: Mapping[str, str | int]
    encoding: str | None
    sheet: str
    items: str
    unconfirmed: bool
    region: str | None
    dates: str
    expires_dates: str
    era: str
    expires_from: str
    rows: int
    good: int
    rejected: Mapping[str, int]
    examples: tuple[Mapping[str, str], ...]
    unknown_words: tuple[str, ...]
    notes: tuple[str, ...]
    question: FeedQuestion | None
    feed: str
    table: tuple[ColumnSeen, ...]
    cleaned: tuple[CleanedSeen, ...]
    rejected_rows: tuple[RejectedSeen, ...]


@dataclass(frozen=True, slots=True)
class FindingSeen:
    """One finding of the gate."""

    reason: str
    verdict: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """All rows of a file, read and judged; nothing is stored.

    `unreadable` says why the file is not what its format says. `gained`, `lost` and `updated` are
    the changes to the list `compared_with`; None where `not_compared` says why there is none.
    """

    format: Format
    unreadable: str | None
    good: int
    passed_over: int
    rejected: tuple[RejectedSeen, ...]
    cleaned: tuple[CleanedSeen, ...]
    adjusted: Mapping[str, int]
    compared_with: str | None
    not_compared: str | None
    gained: int | None
    lost: int | None
    updated: int | None
    verdict: str
    reason: str | None
    findings: tuple[FindingSeen, ...] = field(default_factory=tuple)


def cleaned_seen(cleaned: CleanedRows) -> tuple[CleanedSeen, ...]:
    """Return what was cleaned, the most frequent kind first."""
    return tuple(
        CleanedSeen(
            kind.label,
            kind.value,
            count,
            tuple(
                CleanedExample(row.line, row.cell, _shown(row.before), row.after)
                for row in cleaned.samples.get(kind, ())
            ),
        )
        for kind, count in cleaned.counts.most_common()
    )


def rejected_seen(rows: Iterable[RejectedRow]) -> tuple[RejectedSeen, ...]:
    """Return rejected rows with what to do."""
    return tuple(
        RejectedSeen(
            *(row.line, row.cell, row.wrong.label, _shown(row.detail)),
            *(row.wrong.value, _shown(row.original)),
        )
        for row in rows
    )


def _shown(text: str) -> str:
    """Return a text of a file for JSON: a byte that is no UTF-8 becomes U+FFFD."""
    return text.encode("utf-8", "replace").decode()


def file_report(one: FeedProposal, path: str) -> FileReport:
    """Return the report on a proposal for the file `path`."""
    return FileReport(
        format=one.kind,
        sureness=one.sureness,
        why=one.why,
        columns=dict(one.options.columns),
        encoding=one.options.encoding,
        sheet=one.options.sheet,
        items=one.options.items,
        unconfirmed=one.options.unconfirmed,
        region=one.region,
        dates=one.dates.order,
        expires_dates=one.dates.expires,
        era=one.era,
        expires_from=one.expires_from,
        rows=one.rows,
        good=one.good,
        rejected=dict(one.wrong),
        examples=tuple({name: _shown(text) for name, text in row.items()} for row in one.examples),
        unknown_words=one.unknown_words,
        notes=one.notes,
        question=one.question,
        feed=one.toml(path),
        table=one.table,
        cleaned=cleaned_seen(one.cleaned),
        rejected_rows=rejected_seen(one.rejected),
    )


def check_report(
    feed: Feed, found: Assessed, not_compared: str, rejected: Iterable[RejectedSeen]
) -> CheckReport:
    """Return the report on an assessed version; `not_compared` "": it was compared."""
    read, change, decision = found.read, found.change, found.decision
    return CheckReport(
        format=feed.format,
        unreadable=read.unreadable or None,
        good=read.good,
        passed_over=read.passed_over,
        rejected=tuple(rejected),
        cleaned=cleaned_seen(read.cleaned),
        adjusted=dict(read.adjusted),
        compared_with=None if not_compared else feed.list_name,
        not_compared=not_compared or None,
        gained=change.gained if change is not None else None,
        lost=change.lost if change is not None else None,
        updated=change.updated if change is not None else None,
        verdict=decision.verdict.value,
        reason=decision.reason.value if decision.reason is not None else None,
        findings=tuple(
            FindingSeen(one.reason.value, one.verdict.value, one.detail)
            for one in decision.findings
        ),
    )


def cleaned_lines(kinds: Sequence[CleanedSeen]) -> list[str]:
    """Return lines on what was cleaned, each with an example."""
    lines = []
    for one in kinds:
        shown = "".join(f"; {row.before!r} is {row.after}" for row in one.examples[:1])
        lines.append(f"{one.count:,} cleaned: {one.kind}: {one.meaning}{shown}")
    return lines
