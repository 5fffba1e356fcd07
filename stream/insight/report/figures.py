"""Figures of one list in one country, of one period: counted from its documents. Pure.

What was not measured is None, never 0: no document of a day says nothing of that day, and a
document with a null says nothing of that figure.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date

from stream.core.model.agreement import Agreement, Clause
from stream.core.model.delays import Delays, step_end_s
from stream.core.model.enforcement_document import Enforcement, together_in
from stream.core.model.enforcement_document import Period as Told
from stream.insight.report.figure_catalogue import Key
from stream.insight.report.period import ReportPeriod

Value = int | float | None
Figures = Mapping[Key, Value]


@dataclass(frozen=True, slots=True)
class CategoryRow:
    """Of one category in the period. `entries`: see `Key.ENTRIES`; None: not measured."""

    category: str
    entries: int | None
    blocked: int
    flagged: int
    simulated: int


@dataclass(frozen=True, slots=True)
class Day:
    """One day for a chart; each None: not measured."""

    day: date
    blocked: int | None
    flagged: int | None
    simulated: int | None
    p50_s: float | None
    p99_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListFigures:
    """What happened with a list in a country in a period.

    `expected` are the days that have to be told by now, `missing` those of them that are not;
    `days` end with the last that is told, or has to be.
    `targets_s` are the response targets that the documents were held against.
    """

    figures: Figures
    expected: int
    missing: tuple[date, ...]
    categories: tuple[CategoryRow, ...] | None
    days: tuple[Day, ...]
    last_told: date | None
    targets_s: frozenset[int | None]


def expected_days(period: ReportPeriod, agreement: Agreement, today: date) -> list[date]:
    """Days of the period on which the agreement was in force, that have to be told by now.

    A country has the next day to tell of a day. A day counts from the moment at which it begins.
    """
    return [
        day
        for day, begin_s in zip(
            period.dates(), range(period.begin_s, period.end_s, 86_400), strict=True
        )
        if agreement.valid_from_s < begin_s + 86_400
        and begin_s < agreement.valid_until_s
        and (today - day).days > 1
    ]


def counted(
    documents: Iterable[Enforcement],
    clause: Clause,
    country: str,
    agreement: Agreement,
    period: ReportPeriod,
    today: date,
) -> ListFigures:
    """All figures of the clause's list in a country; documents of other lists are passed over."""
    ours = [
        one
        for one in documents
        if (one.list, one.country) == (clause.list, country) and one.day in period
    ]
    told, target_s = together_in(ours), agreement.response_target_s
    days = {one.day: one for one in sorted(ours, key=lambda one: one.made_at)}
    expected = expected_days(period, agreement, today)
    end = max([*expected, *days], default=period.last)
    targets_s = frozenset(one.target_s for one in days.values())
    figures: dict[Key, Value] = dict.fromkeys(Key)
    figures[Key.DAYS_TOLD] = len(days)
    if told is not None:
        same = targets_s == {target_s}
        entries = _entries(told, ours, period)
        figures |= _of_calls(told)
        known = [] if entries is None else [*entries.values()]
        if entries is not None and None not in known:
            figures[Key.ENTRIES] = sum(one or 0 for one in known)
        figures |= _of_delays(told, target_s, same=same)
        figures |= _of_mistakes(told, target_s, same=same, measured=told.appeals is not None)
        figures |= _of_versions(told)
    return ListFigures(
        figures=figures,
        expected=len(expected),
        missing=tuple(day for day in expected if day not in days),
        categories=None if told is None else _categories(told, _entries(told, ours, period)),
        days=tuple(_day(day, days.get(day)) for day in period.dates() if day <= end),
        last_told=max(days, default=None),
        targets_s=targets_s,
    )


def late_of(delays: Delays, target_s: int, *, same: bool) -> int | None:
    """How many took longer than the target; None: there is no target.

    `same`: they were held against this target when they were measured, and were counted exactly.
    Else what may have been late counts as late: a step counts whole, by its end.
    """
    if not target_s:
        return None
    if same and delays.late is not None:
        return delays.late
    if delays.max_s <= target_s:
        return 0
    return sum(many for step, many in delays.steps if step_end_s(step) > target_s)


def _share(delays: Delays, late: int | None) -> float | None:
    """What was in time, to a millionth and rounded down: 1 is said of all alone."""
    if late is None:
        return None
    return (delays.count - late) * 1_000_000 // delays.count / 1_000_000


def _of_calls(told: Told) -> dict[Key, Value]:
    rows = told.by_category
    if rows is None:
        return {}
    return {
        Key.BLOCKED: sum(row.blocked for row in rows.values()),
        Key.FLAGGED: sum(row.flagged for row in rows.values()),
        Key.SIMULATED: sum(row.simulated for row in rows.values()),
    }


def _of_delays(told: Told, target_s: int, *, same: bool) -> dict[Key, Value]:
    found: dict[Key, Value] = {}
    live, first = told.in_force, told.first_stopped
    if live is not None:
        late = late_of(live, target_s, same=same)
        found |= {
            Key.CHANGES: live.count,
            Key.LATE: late,
            Key.IN_TIME: _share(live, late),
            Key.IN_FORCE_P50: live.p50_s,
            Key.IN_FORCE_P99: live.p99_s,
            Key.IN_FORCE_MAX: live.max_s,
        }
    if first is not None:
        found |= {
            Key.FIRST_STOPPED: first.count,
            Key.FIRST_STOPPED_P50: first.p50_s,
            Key.FIRST_STOPPED_P99: first.p99_s,
            Key.FIRST_STOPPED_MAX: first.max_s,
        }
    return found


def _of_mistakes(told: Told, target_s: int, *, same: bool, measured: bool) -> dict[Key, Value]:
    # Wrong entries are found on appeals: where nobody takes appeals, none found is no finding.
    different = len({sighting.fingerprint for sighting in told.sightings})
    found: dict[Key, Value] = {Key.SIGHTINGS: different if measured or different else None}
    appeals = told.appeals
    if appeals is None:
        return found
    found |= {
        Key.APPEALS: appeals.received,
        Key.REDRESSED: appeals.redressed,
        Key.REJECTED: appeals.rejected,
        Key.PENDING: appeals.pending,
        Key.OVERDUE: appeals.overdue,
    }
    answers = appeals.answers
    if answers is not None:
        late = late_of(answers, target_s, same=same)
        found |= {
            Key.ANSWERED_LATE: late,
            Key.ANSWERED_IN_TIME: _share(answers, late),
            Key.ANSWER_P50: answers.p50_s,
            Key.ANSWER_P99: answers.p99_s,
            Key.ANSWER_MAX: answers.max_s,
        }
    return found


def _of_versions(told: Told) -> dict[Key, Value]:
    versions = told.versions
    if versions is None:
        return {}
    return {
        Key.ACCEPTED: versions.accepted,
        Key.HELD: versions.held,
        Key.REFUSED: versions.refused,
        Key.STALE_MAX: versions.stale_s_max,
    }


def _entries(
    told: Told, documents: list[Enforcement], period: ReportPeriod
) -> dict[str, int | None] | None:
    """Different numbers that called, by category; None where it was not counted.

    A document counts those of its day and of its month so far: so they are known of a day, and of
    days of one month from the first on.
    """
    if told.by_category is None:
        return None
    if period.days == 1:
        newest = max(documents, key=lambda one: one.made_at)
        return {name: counts.entries for name, counts in (newest.by_category or {}).items()}
    if period.first.day > 1:
        return dict.fromkeys(told.by_category)
    return {name: row.entries for name, row in told.by_category.items()}


def _categories(
    told: Told, entries: dict[str, int | None] | None
) -> tuple[CategoryRow, ...] | None:
    if told.by_category is None or entries is None:
        return None
    rows = [
        CategoryRow(name, entries.get(name), row.blocked, row.flagged, row.simulated)
        for name, row in told.by_category.items()
    ]
    rows.sort(key=lambda row: (-row.blocked - row.flagged - row.simulated, row.category))
    return tuple(rows)


def _day(day: date, told: Enforcement | None) -> Day:
    counts = None if told is None or told.by_category is None else told.by_category.values()
    live = None if told is None else told.in_force
    return Day(
        day=day,
        blocked=None if counts is None else sum(one.blocked for one in counts),
        flagged=None if counts is None else sum(one.flagged for one in counts),
        simulated=None if counts is None else sum(one.simulated for one in counts),
        p50_s=None if live is None else live.p50_s,
        p99_s=None if live is None else live.p99_s,
    )
