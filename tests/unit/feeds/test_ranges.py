"""Ranges and several numbers in a row: all that is meant is listed, or the row is rejected."""

import pytest

from stream.core.numbers.prefix_entries import range_ends
from stream.feeds.formats import csv
from stream.feeds.formats.rows import Rows, Wrong
from stream.feeds.parse import Defaults, Parsed, Parser
from tests.support.feed_lines import line_chunks

NOW_S = 1_795_564_800


def parse(*number: str, region: str | None = "TH") -> Parsed:
    rows = Rows(range(1, len(number) + 1), number, number)
    return Parser(Defaults("file.csv", NOW_S, region)).parse(rows)


@pytest.mark.parametrize(
    "text",
    [
        "0812345000 to 0812345099",
        "0812345000 TO 0812345099",
        "081-234-5000 to 081-234-5099",
        "0812345000 - 0812345099",
        "0812345000\u20130812345099",
        "0812345000 ถึง 0812345099",
        "๐๘๑๒๓๔๕๐๐๐ถึง๐๘๑๒๓๔๕๐๙๙",
        "0812345000 đến 0812345099",
        "0812345000 s/d 0812345099",
        "0812345000 sampai 0812345099",
        "0812345000~0812345099",
        "0812345000..0812345099",
        "+66812345000 to +66812345099",
        "812345000 to 812345099",
    ],
)
def test_a_range_in_one_cell_is_its_prefixes(text):
    """However a range is written, it is the fewest prefixes that hold it."""
    assert parse(text).numbers.tolist() == [b"+668123450*"]


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("0812345000 to 0812344099", Wrong.BAD_PREFIX),
        ("0812345000 to 5099", Wrong.BAD_PREFIX),
        ("0812345000 to +85523900000", Wrong.BAD_PREFIX),
        ("0812345000 to ", Wrong.NOT_A_NUMBER),
        (" to 0812345000", Wrong.NOT_A_NUMBER),
        ("0800000000 to 0899999999", Wrong.RANGE_TOO_WIDE),
        ("0812345001 to 0812346000 to 0812347000", Wrong.BAD_PREFIX),
    ],
)
def test_half_a_range_is_no_number(text, wrong):
    """A range that is not understood whole lists nothing, not even its first number."""
    parsed = parse(text)
    assert not len(parsed)
    assert [row.wrong for row in parsed.rejected] == [wrong]


@pytest.mark.parametrize(
    ("text", "region", "numbers"),
    [
        ("0812345670/1", "TH", [b"+66812345670", b"+66812345671"]),
        ("081-234-5670 / 1", "TH", [b"+66812345670", b"+66812345671"]),
        ("+66812345670/9", None, [b"+66812345670", b"+66812345679"]),
        ("02-123-4567/8", "TH", [b"+6621234567", b"+6621234568"]),
        ("02-123-4567-9", "TH", [b"+6621234567", b"+6621234568", b"+6621234569"]),
        ("+66 81-234-5679-80", None, [b"+66812345679", b"+66812345680"]),
        ("089/12345678", "DE", [b"+498912345678"]),
        ("089 1234-56", "DE", [b"+4989123456"]),
        ("01/2345678", "AT", [b"+4312345678"]),
    ],
)
def test_two_numbers_with_a_stroke(text, region, numbers):
    """`0812345670/1` is two numbers, `02-123-4567-9` three; after an area code nothing ends."""
    assert parse(text, region=region).numbers.tolist() == numbers


@pytest.mark.parametrize(
    "text",
    [
        *("0812345671/0", "0812345670/12", "0812345670/123", "021234567/12"),
        *("02-123-4567-2", "02-123-4567-7", "+44 20 7946 0123-5"),
    ],
)
def test_other_ends_after_a_stroke_are_asked_about(text):
    """An extension or a range is not guessed: the row is rejected whole."""
    assert [row.wrong for row in parse(text).rejected] == [Wrong.SEVERAL_NUMBERS]


def test_two_columns_are_one_range():
    """A table with a first and a last number lists what lies between; rows with one are numbers."""
    text = "a,b,source\n0812345000,0812345009,x\n0812345670,,y\n0812345671,0812345671,z\n"
    text += ",0812345679,w\n"
    (rows,) = csv.read(line_chunks([text]), None, {"number": "a", "number_to": "b", "source": 3})
    parsed = Parser(Defaults("f", NOW_S, "TH")).parse(rows)
    expected = [b"+66812345000", b"+66812345671"]
    assert parsed.numbers.tolist() == [b"+6681234500*", b"+66812345670", expected[1]]
    assert [(row.line, row.wrong) for row in parsed.rejected] == [(5, Wrong.NOT_A_NUMBER)]


def test_without_an_end_entries_stay():
    """`expires_from = "never"`: an entry has no end, unless its row names one."""
    never = Defaults("f", NOW_S, now_s=NOW_S, expires_after_s=86_400, expires_from="never")
    numbers = ["+447700900123", "+447700900124"]
    old = ["2005-03-25", "2005-03-25"]
    rows = Rows([1, 2], numbers, numbers, reported_at=old, expires_at=[None, "2027-01-01"])
    parsed = Parser(never).parse(rows)
    assert parsed.expires_at.tolist() == [0, 1_798_848_000]
    assert not parsed.rejected


@pytest.mark.parametrize("text", ["KBank to you", "to", "12-34", "081 234 5678", ""])
def test_what_is_no_range_has_no_ends(text):
    """Words and single numbers are no ranges."""
    assert range_ends(text) is None
