from datetime import date

import pytest

from stream.core.model.agreement import Every
from stream.insight.report.period import DAYS_MAX, newest, period_in, period_of, span_words


@pytest.mark.parametrize(
    ("typed", "text", "words", "before", "days"),
    [
        ("2026-11", "2026-11", "November 2026", "2026-10", 30),
        ("2024-02", "2024-02", "February 2024", "2024-01", 29),
        ("2026-01", "2026-01", "January 2026", "2025-12", 31),
        ("2026-q4", "2026-Q4", "October to December 2026", "2026-Q3", 92),
        ("2026-Q1", "2026-Q1", "January to March 2026", "2025-Q4", 90),
        ("2026-W48", "2026-W48", "23 to 29 November 2026", "2026-W47", 7),
        ("2026-W01", "2026-W01", "29 December 2025 to 4 January 2026", "2025-W52", 7),
        ("2026-11-25", "2026-11-25", "25 November 2026", "2026-11-24", 1),
        (
            *("2026-11-01..2026-11-15", "2026-11-01..2026-11-15", "1 to 15 November 2026"),
            *("2026-10-17..2026-10-31", 15),
        ),
    ],
)
def test_a_period_is_as_it_was_typed(typed, text, words, before, days):
    """Months, quarters, weeks and days are read, told in words, and know what was before them."""
    period = period_in(typed)
    assert (period.text(), period.words(), period.days) == (text, words, days)
    assert period.before().text() == before
    assert (period.end_s - period.begin_s, len(period.dates())) == (days * 86_400, days)


@pytest.mark.parametrize(
    "typed",
    [
        *("", "x", "2026", "2026-13", "2026-Q5", "2026-W54", "2026-11-31", "9999-12", "0001-01"),
        *("1969-12", "2026-11-05..2026-11-01", "2026-11-01..", "..2026-11-01", "2026-11-1"),
        *("2026-11-01..2026-11-02..2026-11-03", "٢٠٢٦-11", "2026-11\n2026-12"),
    ],
)
def test_what_is_no_period_is_told_how_to_write_one(typed):
    """A wrong period names itself, and shows a month, a quarter, a week, a day and days."""
    with pytest.raises(ValueError, match=r"is no period: write a month 2026-11, a quarter") as told:
        period_in(typed)
    assert repr(typed) in str(told.value)


def test_a_period_has_an_end():
    """More than a year and a month is no period, and that is what is said."""
    assert period_in("2025-01-01..2026-02-04").days == DAYS_MAX
    with pytest.raises(ValueError, match="is longer than 400 days"):
        period_in("2025-01-01..2026-02-05")


@pytest.mark.parametrize(
    ("every", "day", "over", "running"),
    [
        (Every.MONTH, date(2026, 11, 25), "2026-10", "2026-11"),
        (Every.QUARTER, date(2026, 1, 1), "2025-Q4", "2026-Q1"),
        (Every.WEEK, date(2026, 11, 25), "2026-W47", "2026-W48"),
        (Every.DAY, date(2026, 3, 1), "2026-02-28", "2026-03-01"),
    ],
)
def test_the_newest_period_is_the_last_that_is_over(every, day, over, running):
    """Without a word on the period it is the last whole one; the running one of what is new."""
    assert newest(every, day, date(2020, 1, 1)).text() == over
    assert newest(every, day, day).text() == period_of(every, day).text() == running


def test_days_are_told_shortly():
    """Month and year stand once where they are the same."""
    assert span_words(date(2026, 11, 3), date(2026, 11, 3)) == "3 November 2026"
    assert span_words(date(2026, 10, 30), date(2026, 11, 3)) == "30 October to 3 November 2026"
