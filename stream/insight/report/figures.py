"""Figures of one list in one country, of one period: counted from its documents. Pure.

A figure that was not measured is None, never 0. A missing document is no figure of that day, and a
null in a document is no figure.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

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
    in_force_p50_s: float | None
    in_force_p99_s: float | None

    @property
    def silent(self) -> bool:
        """Nothing is known of the day."""
        return self.blocked is None and self.in_force_p50_s is None


@dataclass(frozen=True, slots=True, kw_only=True)
class PairingFigures:
    """Figures of a list in a country in a period.

    `expected` counts the days that have to be reported by now, `missing` are those that are not.
    `days` end with the last that was reported, or has to be. `targets_s` are the response targets
    that the documents were measured against.
    """

    figures: Figures
    expected: int
    missing: tuple[date, ...]
    categories: tuple[CategoryRow, ...] | None
    days: tuple[Day, ...]
    last_told: date | None
    targets_s: frozenset[int | None]


def expected_days(period: ReportPeriod, agreement: Agreement, today: date) -> list[date]:
    """Days of the period with the agreement in force, whose reports are due by now.

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
) -> PairingFigures:
    """Return all figures of the clause's list in a country, from that list's documents."""
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
    categories = None
    if told is not None:
        figures |= _figures(told, target_s, same=targets_s == {target_s})
        categories = _categories(told, ours, period)
    entries = [None] if categories is None else [row.entries for row in categories]
    if None not in entries:
        figures[Key.ENTRIES] = sum(one or 0 for one in entries)
    return PairingFigures(
        figures=figures,
        expected=len(expected),
        missing=tuple(day for day in expected if day not in days),
        categories=categories,
        days=tuple(_day(day, days.get(day)) for day in period.dates() if day <= end),
        last_told=max(days, default=None),
        targets_s=targets_s,
    )


def late_of(delays: Delays, target_s: int, *, same: bool) -> int | None:
    """Count what took longer than the target; None: there is no target.

    `same`: they were measured against this target, and were counted exactly.
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
    """Return the share in time, to a millionth and rounded down: only all of them are 1."""
    if late is None:
        return None
    return (delays.count - late) * 1_000_000 // delays.count / 1_000_000


_TAKEN: Final = {
    "in_force": {
        Key.CHANGES: "count",
        Key.IN_FORCE_P50: "p50_s",
        Key.IN_FORCE_P99: "p99_s",
        Key.IN_FORCE_MAX: "max_s",
    },
    "first_stopped": {
        Key.FIRST_STOPPED: "count",
        Key.FIRST_STOPPED_P50: "p50_s",
        Key.FIRST_STOPPED_P99: "p99_s",
        Key.FIRST_STOPPED_MAX: "max_s",
    },
    "appeals": {key: key.value for key in (Key.REDRESSED, Key.REJECTED, Key.PENDING, Key.OVERDUE)}
    | {Key.APPEALS: "received"},
    "versions": {key: key.value for key in (Key.ACCEPTED, Key.HELD, Key.REFUSED)}
    | {Key.STALE_MAX: "stale_s_max"},
}
"""Figures that a part of the documents holds as they are: by part, the name there."""


def _figures(told: Told, target_s: int, *, same: bool) -> dict[Key, Value]:
    """Return all but days and entries; `same`: see `late_of`."""
    found: dict[Key, Value] = {}
    if told.by_category is not None:
        for key in (Key.BLOCKED, Key.FLAGGED, Key.SIMULATED):
            found[key] = sum(getattr(row, key) for row in told.by_category.values())
    for part, taken in _TAKEN.items():
        if (held := getattr(told, part)) is not None:
            found |= {key: getattr(held, name) for key, name in taken.items()}
    if told.in_force is not None:
        late = late_of(told.in_force, target_s, same=same)
        found |= {Key.LATE: late, Key.IN_TIME: _share(told.in_force, late)}
    # Appeals find wrong entries: without appeals, "none found" means nothing.
    different = len({sighting.fingerprint for sighting in told.sightings})
    found[Key.SIGHTINGS] = different if told.appeals is not None or different else None
    answers = None if told.appeals is None else told.appeals.answers
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


def _categories(
    told: Told, documents: list[Enforcement], period: ReportPeriod
) -> tuple[CategoryRow, ...] | None:
    """Calls by category, most first; None where they were not counted.

    A document counts different numbers of its day and of its month so far. So entries are known of
    a day, and of days of one month from the first on.
    """
    if told.by_category is None:
        return None
    entries: dict[str, int | None] = {}
    if period.days == 1:
        newest = max(documents, key=lambda one: one.made_at)
        entries |= {name: counts.entries for name, counts in (newest.by_category or {}).items()}
    elif period.first.day == 1:
        entries |= {name: row.entries for name, row in told.by_category.items()}
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
        in_force_p50_s=None if live is None else live.p50_s,
        in_force_p99_s=None if live is None else live.p99_s,
    )
