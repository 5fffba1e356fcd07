"""Periods of reports: whole days in UTC, as `--period` names them, and those before them."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Final

from stream.core.model.agreement import Every

DAYS_MAX: Final = 400
"""A year and a month: more days than that are no period to meet about."""
_FIRST_YEAR: Final = 1970
_DAY: Final = timedelta(days=1)
MONTHS: Final = (
    *("January", "February", "March", "April", "May", "June", "July", "August"),
    *("September", "October", "November", "December"),
)
_MONTH: Final = re.compile(r"(\d{4})-(\d{2})", re.ASCII)
_QUARTER: Final = re.compile(r"(\d{4})-[Qq]([1-4])", re.ASCII)
_WEEK: Final = re.compile(r"(\d{4})-[Ww](\d{2})", re.ASCII)
_WRONG: Final = (
    "is no period: write a month 2026-11, a quarter 2026-Q4, a week 2026-W48, a day 2026-11-25, "
    "or days 2026-11-01..2026-11-15, the first one first"
)


class PeriodKind(StrEnum):
    """A unit of the calendar; `DAYS`: any days."""

    DAY = "day"
    DAYS = "days"
    WEEK = "week"
    MONTH = "month"
    QUARTER = "quarter"


@dataclass(frozen=True, slots=True)
class ReportPeriod:
    """Days from `first` to `last`, both of it."""

    kind: PeriodKind
    first: date
    last: date

    def __post_init__(self) -> None:
        assert self.first <= self.last, "a period has at least a day"

    @property
    def days(self) -> int:
        """The number of days."""
        return (self.last - self.first).days + 1

    @property
    def begin_s(self) -> int:
        """Its first moment, in seconds since the epoch."""
        return _midnight_s(self.first)

    @property
    def end_s(self) -> int:
        """The moment after its last, in seconds since the epoch."""
        return _midnight_s(self.last) + 86_400

    def __contains__(self, day: date) -> bool:
        return self.first <= day <= self.last

    def dates(self) -> list[date]:
        """Return each day, in order."""
        return [self.first + _DAY * place for place in range(self.days)]

    def before(self) -> "ReportPeriod":
        """Return the month before a month, the quarter before a quarter, the days before days."""
        last = self.first - _DAY
        if self.kind is PeriodKind.MONTH:
            return ReportPeriod(self.kind, last.replace(day=1), last)
        if self.kind is PeriodKind.QUARTER:
            return ReportPeriod(self.kind, last.replace(month=last.month - 2, day=1), last)
        return ReportPeriod(self.kind, self.first - _DAY * self.days, last)

    def text(self) -> str:
        """As `--period` takes it."""
        if self.kind is PeriodKind.MONTH:
            return f"{self.first:%Y-%m}"
        if self.kind is PeriodKind.QUARTER:
            return f"{self.first:%Y}-Q{(self.first.month + 2) // 3}"
        if self.kind is PeriodKind.WEEK:
            year, week, _ = self.first.isocalendar()
            return f"{year}-W{week:02}"
        if self.kind is PeriodKind.DAY:
            return self.first.isoformat()
        return f"{self.first.isoformat()}..{self.last.isoformat()}"

    def words(self) -> str:
        """For people: `November 2026`."""
        if self.kind is PeriodKind.MONTH:
            return f"{MONTHS[self.first.month - 1]} {self.first.year}"
        if self.kind is PeriodKind.QUARTER:
            until = f"{MONTHS[self.first.month - 1]} to {MONTHS[self.last.month - 1]}"
            return f"{until} {self.last.year}"
        return span_words(self.first, self.last)


def span_words(first: date, last: date) -> str:
    """Days for people: `1 to 15 November 2026`, or one day."""
    if first == last:
        return day_words(first)
    if first.year != last.year:
        return f"{day_words(first)} to {day_words(last)}"
    begin = f"{first.day}"
    if first.month != last.month:
        begin += f" {MONTHS[first.month - 1]}"
    return f"{begin} to {day_words(last)}"


def day_words(day: date) -> str:
    """Return a day for people: `25 November 2026`."""
    return f"{day.day} {MONTHS[day.month - 1]} {day.year}"


def day_of(at_s: float) -> date:
    """Return the day in UTC of a moment, in seconds since the epoch."""
    return datetime.fromtimestamp(at_s, UTC).date()


def period_in(text: str) -> ReportPeriod:
    """Parse a typed period. Raises ValueError, which says what may be written."""
    try:
        found = _typed(text.strip())
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{text!r} {_WRONG}") from error
    if found.first.year < _FIRST_YEAR:
        raise ValueError(f"{text!r} {_WRONG}")
    if found.days > DAYS_MAX:
        raise ValueError(f"{text!r} is longer than {DAYS_MAX} days")
    return found


def _typed(typed: str) -> ReportPeriod:
    if found := _MONTH.fullmatch(typed):
        return _months(PeriodKind.MONTH, int(found[1]), int(found[2]), 1)
    if found := _QUARTER.fullmatch(typed):
        return _months(PeriodKind.QUARTER, int(found[1]), int(found[2]) * 3 - 2, 3)
    if found := _WEEK.fullmatch(typed):
        first = date.fromisocalendar(int(found[1]), int(found[2]), 1)
        return ReportPeriod(PeriodKind.WEEK, first, first + _DAY * 6)
    begin, several, end = typed.partition("..")
    first = date.fromisoformat(begin)
    last = date.fromisoformat(end) if several else first
    if last < first:
        raise ValueError("it ends before it begins")
    return ReportPeriod(PeriodKind.DAYS if several else PeriodKind.DAY, first, last)


def period_of(every: Every, day: date) -> ReportPeriod:
    """Return the day, week, month or quarter in which a day lies."""
    if every is Every.MONTH:
        return _months(PeriodKind.MONTH, day.year, day.month, 1)
    if every is Every.QUARTER:
        return _months(PeriodKind.QUARTER, day.year, (day.month - 1) // 3 * 3 + 1, 3)
    if every is Every.WEEK:
        first = day - _DAY * day.weekday()
        return ReportPeriod(PeriodKind.WEEK, first, first + _DAY * 6)
    return ReportPeriod(PeriodKind.DAY, day, day)


def newest(every: Every, today: date, began: date) -> ReportPeriod:
    """Return the last that is over; the running one, where what it is on began in it."""
    running = period_of(every, today)
    over = running.before()
    return over if began <= over.last else running


def _months(kind: PeriodKind, year: int, month: int, many: int) -> ReportPeriod:
    after = date(year + (month + many > 12), (month + many - 1) % 12 + 1, 1)
    return ReportPeriod(kind, date(year, month, 1), after - _DAY)


def _midnight_s(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
