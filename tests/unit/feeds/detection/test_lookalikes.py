"""Texts that look like telephone numbers and are none."""

import pytest

from stream.feeds.detection.lookalikes import (
    LOOKED_MAX,
    ColumnTally,
    Looks,
    Style,
    is_date,
    is_like_date,
    looks_like_number,
    sampled,
    style_of,
)

DATES = (
    *("20/11/2569", "20-11-2569", "20.11.2569", "1/2/2026", "2026-11-20", "2026/11/20"),
    *("2569-11-20", "11/20/2026", "20/11/2569 14:30", "20/11/2569 14.30 น.", "2026-11-20 10:30:00"),
    *("2026-11-20T10:30:00Z", "2026-11-20T10:30:00.123+07:00", "20/11/2026, 2:30 PM"),
    *("๒๐/๑๑/๒๕๖๙", "29/02/2567"),
)
NUMBERS = (
    *("0812345678", "081-234-5678", "02-123-4567", "+66 81 234 5678", "21/11/2569/1", "32/11/2569"),
    *("20/13/2026", "20 11 25 69", "6512 3456", "", "2026", "20/11/2369", "1-800-555-0199"),
    *("090-2026-1120", "30/02/2026", "02-11-20"),
)


@pytest.mark.parametrize("text", DATES)
def test_days_with_separators_are_dates(text):
    """In any order and either era, with or without a time, in Thai digits too."""
    assert is_date(text)
    assert is_like_date(text)
    assert not looks_like_number(text)


@pytest.mark.parametrize("text", NUMBERS)
def test_numbers_are_no_dates(text):
    """Three groups alone are no date: they must be a day of some month of a year that may be."""
    assert not is_date(text)


@pytest.mark.parametrize(
    "text", ["20261120", "20112569", "11202026", "202611201530", "20261120153000", "20/11/69"]
)
def test_days_that_could_be_numbers(text):
    """Digits alone are a date only in a column of dates."""
    assert is_like_date(text)
    assert not is_date(text)


@pytest.mark.parametrize("text", ["0812345678", "66812345678", "20261320", "20119999", "99999999"])
def test_most_numbers_are_not_even_like_dates(text):
    """Their groups make no day."""
    assert not is_like_date(text)


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("+66812345678", True),
        ("(02) 123-4567", True),
        ("tel:+66812345678", True),
        ("sip:+66812345678@host;user=phone", True),
        ('="0812345678"', True),
        ("13.7563309", False),
        ("-6.2087634", False),
        ("203.0.113.17", False),
        ("081-234-5678 ext", False),
        ("1155", False),
        ("x" * 50_000, False),
        (" " * 50_000 + "x", False),
    ],
)
def test_what_looks_like_a_number(text, is_one):
    """Telephone numbers as people write them; no fractions, no addresses, no long texts."""
    assert looks_like_number(text) is is_one


def looks(*texts: str | None) -> Looks | None:
    tally = ColumnTally()
    tally.add(texts)
    found = tally.looks()
    return None if found is None else found[0]


def rising(first: int, step: int, count: int = 10) -> list[str]:
    return [str(first + step * at) for at in range(count)]


COLUMNS = {
    "days": (["20/11/2569", "21/11/2569", "6.68E+10"], Looks.DATES),
    "one day": (["20261120"], Looks.DATES),
    "a day among many": (["20261120", *rising(81_234_567, 7_919, 40)], None),
    "seconds since 1970": (["1795593723", "1795603723", "1795693800"], Looks.DATES),
    "numbers of Washington": (["2025550123", "2125559124", "3015550125"], None),
    "ids in a row": (rising(2_231_001, 1), Looks.IDS),
    "ids in a row, falling": (rising(2_231_001, -3), Looks.IDS),
    "ids in a row, in no order": (sorted(rising(2_231_001, 1), key=lambda x: x[::-1]), Looks.IDS),
    "ids filled up with zeros": ([f"{n:010d}" for n in range(7, 17)], Looks.IDS),
    "a total below ids": ([*rising(2_231_001, 1), "8915000311"], Looks.IDS),
    "a block in full": ([f"+668123456{n:02d}" for n in range(99)], None),
    "a block as it is dialled": ([f"08123456{n:02d}" for n in range(99)], None),
    "a block without its +": ([f"668123456{n:02d}" for n in range(99)], Looks.IDS),
    "two numbers of a pair": (["66812345601", "66812345602"], None),
    "numbers of many people": (["66812345678", "66898765432", "66611111119", "6621234567"], None),
    "the same number again and again": (["66812345678"] * 20, None),
    "a sorted list of many": (rising(66_800_000_000, 137, 2_000), None),
    "round sums": (["150000", "2000000", "75000", "1,250,000"], Looks.AMOUNTS),
    "sums with decimals": (["150000.00", "99.50", "1234.00", "80.00"], Looks.AMOUNTS),
    "sums of Jakarta": (["150.000.000", "25.000.000", "1.750.000"], Looks.AMOUNTS),
    "numbers that a spreadsheet took for sums": (["66812345678.00", "66898765432.00"], None),
    "numbers of pandas": (["812345678.0", "898765432.0", "811111119.0"], None),
    "ids of pandas": ([f"{n}.0" for n in rising(2_231_001, 1)], Looks.IDS),
    "seconds of pandas": (["1795593723.0", "1795603723.0", "1795693800.0"], Looks.DATES),
    "sums of pandas": (["150000.0", "2000000.0", "75000.0"], Looks.AMOUNTS),
    "numbers with dots": (["012.345.678", "012.345.600", "012.345.111"], None),
    "latitudes": (["13.7563309", "13.7563401", "18.7883439"], Looks.AMOUNTS),
    "nothing": ([None, "", " "], None),
}


@pytest.mark.parametrize(("texts", "expected"), COLUMNS.values(), ids=COLUMNS)
def test_what_a_column_looks_like(texts, expected):
    """Dates, ids and sums are distinguished from numbers, and numbers from them."""
    assert looks(*texts) is expected


def test_a_long_list_is_sampled():
    """Of many rows the first of each chunk are looked at, and no more than enough in all."""
    tally = ColumnTally()
    for _ in range(100):
        sampled([str(20261120)] * 5_000, tally)
    assert LOOKED_MAX <= tally.texts < 2 * LOOKED_MAX


BOTH = ("1/2/2026", "3/4/2026")


@pytest.mark.parametrize(
    ("texts", "style"),
    [
        (["20/11/2569", "3/12/2569"], Style("day-month", "buddhist")),
        (["11/20/2026", "1/2/2026"], Style("month-day", "common")),
        (["5/5/2026", "1/2/2026", "3/4/2026"], Style("day-month", "common", BOTH)),
        (["13/1/2026", "1/13/2026", "1/2/2026", "3/4/2026"], Style("day-month", "common", BOTH)),
        (["5/5/2026", "6/6/2026"], Style("day-month", "common")),
        (["13/1/2026", "1/13/2026", "1/14/2026"], Style("month-day", "common")),
        (["2569-11-20", "2569-11-21 10:00"], Style("iso", "buddhist")),
        (["2026/11/20"], Style("iso", "common")),
        (["20 พ.ย. 2569"], None),
        ([], None),
    ],
)
def test_how_a_column_writes_its_days(texts, style):
    """The order of day and month and the era are found where they can be, and doubt is reported."""
    assert style_of(texts) == style
