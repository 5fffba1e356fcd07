"""The meaning of a row's texts, and rows with a prefix or a range between rows with numbers."""

from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.model.entry import Category
from stream.core.model.time_zones import zone_of
from stream.core.numbers.prefix_entries import PrefixRules
from stream.feeds.formats import line_formats
from stream.feeds.formats.rows import RejectedRow, Rows, Wrong
from stream.feeds.parse import Defaults, Parsed, Parser
from stream.feeds.value_parsers import Dates, read_time
from tests.support.feed_lines import line_chunks

DEFAULTS = Defaults("file.csv", 1_700_000_000, "TH", Category.PARCEL, 0, 80)


def parse(*number: str | None, region: str | None = "TH") -> Parsed:
    rows = Rows(range(1, len(number) + 1), [str(n) for n in number], number)
    return Parser(Defaults("file.csv", 1_700_000_000, region)).parse(rows)


@pytest.mark.parametrize(
    "text",
    [
        "+66812345678",
        "0066812345678",
        "66812345678",
        "0812345678",
        "812345678",
        "081-234-5678",
        "(081) 234 5678",
        "tel:+66812345678",
        "'+66812345678",
        '="0812345678"',
        "66,812,345,678",
        "  +66812345678\t",
        "\u202a+66812345678\u202c",
        "๐๘๑-๒๓๔-๕๖๗๘",
        "０８１２３４５６７８",
        "+66\u00a081\u00a0234\u00a05678",
    ],
)
def test_spellings_of_one_number(text):
    """However a spreadsheet or a person wrote a Thai number, it is the same entry."""
    assert parse(text).numbers.tolist() == [b"+66812345678"]


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("6.68E+10", Wrong.SCIENTIFIC),
        ("6,68E+10", Wrong.SCIENTIFIC),
        ("6.6812345678e10", Wrong.SCIENTIFIC),
        ("66812345678.5", Wrong.DECIMAL),
        ("66812345678,50", Wrong.DECIMAL),
        ("812345678.00", Wrong.DECIMAL),
        ("0812345678.0", Wrong.DECIMAL),
        ("1155", Wrong.NOT_E164),
        ("KBank", Wrong.NOT_E164),
        ("anonymous", Wrong.NOT_E164),
        ("+6681234567890123", Wrong.NOT_A_NUMBER),
        ("+", Wrong.NOT_A_NUMBER),
        ("", Wrong.NO_NUMBER),
        (None, Wrong.NO_NUMBER),
        ("\u202b+66812345678y", Wrong.NOT_A_NUMBER),
        ("abc0812345678", Wrong.NOT_A_NUMBER),
        ("๒๐/๑๑/๒๕๖๙", Wrong.DATE),
        ("２０／１１／２５６９", Wrong.DATE),
        ("20\u201311\u20132569", Wrong.DATE),
        ("+66812345678；ｅｘｔ＝９", Wrong.EXTENSION),
    ],
)
def test_what_is_no_number_is_rejected_with_its_reason(text, wrong):
    """Damage by spreadsheets and texts that are no numbers never become an entry."""
    parsed = parse(text)
    assert len(parsed) == 0
    assert [row.wrong for row in parsed.rejected] == [wrong]


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("+66811111143;ext=9", Wrong.EXTENSION),
        ("+66811111143;EXT=9", Wrong.EXTENSION),
        ("tel:+66811111143;ext=9", Wrong.EXTENSION),
        ("tel:+66811111143;isub=1411", Wrong.EXTENSION),
        ("tel:+66811111143;isub-encoding=nsap;isub=1411", Wrong.EXTENSION),
        ("tel:+66811111143;postd=pp22", Wrong.EXTENSION),
        ("tel:0811111143;phone-context=+66;ext=9", Wrong.EXTENSION),
        ("sip:+66811111143;ext=9@example.com", Wrong.EXTENSION),
        ('"Desk" <sip:+66811111143;isub=2@example.com>;tag=1', Wrong.EXTENSION),
        ("+66811111143;9", Wrong.EXTENSION),
        ("+66811111143,123", Wrong.EXTENSION),
        ("+66811111143,,9", Wrong.EXTENSION),
        ("+66811111143x123", Wrong.EXTENSION),
        ("+66811111143 x 123", Wrong.EXTENSION),
        ("+66 81 111 1143 ext. 9", Wrong.EXTENSION),
        ("0811111143 Ext:9", Wrong.EXTENSION),
        ("+66811111143#9", Wrong.EXTENSION),
        ("+66811111143p22", Wrong.EXTENSION),
        ("+66811111143w22", Wrong.EXTENSION),
        ("+66811111143%3Bext=9", Wrong.EXTENSION),
        ("tel:+66811111143%3Bext=9", Wrong.EXTENSION),
        ("+66811111143;+66811111144", Wrong.SEVERAL_NUMBERS),
        ("0811111143; 0811111144", Wrong.SEVERAL_NUMBERS),
        ("+66811111143,+66811111144", Wrong.SEVERAL_NUMBERS),
    ],
)
def test_what_follows_a_number_never_lists_its_whole_line(text, wrong):
    """An extension's main number is a company's or a hospital's; a second number is not lost."""
    for region in ("TH", None):
        parsed = parse(text, region=region)
        assert len(parsed) == 0
        assert [row.wrong for row in parsed.rejected] == [wrong]


@pytest.mark.parametrize(
    "text",
    [
        "tel:081-111-1143;phone-context=+66",
        "tel:+66811111143;phone-context=+66",
        "tel:+66811111143;npdi;rn=+66800000000",
        "sip:+66811111143;tgrp=a;trunk-context=x.example@example.com;user=phone",
        "sip:+66811111143@example.com;ext=9",
        "<sip:+66811111143@example.com;user=phone>;tag=9",
        "+66811111143;",
    ],
)
def test_other_parameters_of_a_uri_say_nothing_of_the_number(text):
    """A URI's host, trunk group or porting data leave the number unchanged."""
    assert parse(text).numbers.tolist() == [b"+66811111143"]


@pytest.mark.parametrize("text", ["0812345678", "66812345678"])
def test_without_a_region_a_national_number_says_what_to_do(text):
    """The country of a national number cannot be guessed: the reason names --region."""
    (row,) = parse(text, region=None).rejected
    assert row.wrong is Wrong.NO_COUNTRY
    assert "--region" in row.wrong.value


def test_a_row_goes_before_the_defaults():
    """A row's values are taken, and missing ones come from the defaults."""
    rows = Rows(
        lines=[1, 2],
        originals=["a", "b"],
        number=["+66812345678", "+66812345679"],
        category=["Call-Centre", ""],
        source=["desk", None],
        reported_at=["2026-01-31T12:00:00+07:00", ""],
        expires_at=["1800000000", ""],
        confidence=["55", ""],
    )
    parser = Parser(DEFAULTS)
    parsed = parser.parse(rows)
    assert parsed.category.tolist() == [Category.CALL_CENTRE, Category.PARCEL]
    assert [parser.sources[i] for i in parsed.source.tolist()] == ["desk", "file.csv"]
    assert parsed.reported_at.tolist() == [1769835600, 1_700_000_000]
    assert parsed.expires_at.tolist() == [1_800_000_000, 0]
    assert parsed.confidence.tolist() == [55, 80]


@pytest.mark.parametrize(
    ("text", "dates", "end"),
    [
        ("2026-11-30", Dates(), "2026-12-01"),
        ("30/11/2026", Dates("day-month"), "2026-12-01"),
        ("30.11.2569", Dates("day-month", buddhist=True), "2026-12-01"),
        ("11/30/2026", Dates("day-month", expires="month-day"), "2026-12-01"),
        ("2026-11-30", Dates(zone=zone_of("+07:00")), "2026-11-30T17:00Z"),
        ("2026-11-30T00:00Z", Dates(), "2026-11-30"),
        ("30/11/2026 0:00", Dates("day-month"), "2026-11-30"),
        ("1764460800", Dates(), "2025-11-30"),
        ("2106-02-07", Dates(), "2106-02-07T06:28:15Z"),
    ],
)
def test_a_report_is_valid_for_the_whole_of_its_last_day(text, dates, end):
    """As an agreement is. A partner's `valid until` of today was over already, and rejected."""
    rows = Rows([1], [""], ["+66812345678"], expires_at=[text])
    parsed = Parser(Defaults("file.csv", 1_700_000_000, dates=dates)).parse(rows)
    assert parsed.expires_at.tolist() == [read_time(end)]


@pytest.mark.parametrize(
    ("column", "text", "wrong"),
    [
        ("category", "nope", Wrong.BAD_CATEGORY),
        ("confidence", "900", Wrong.BAD_CONFIDENCE),
        ("confidence", "-1", Wrong.BAD_CONFIDENCE),
        ("confidence", "½", Wrong.BAD_CONFIDENCE),
        ("reported_at", "01/02/2026", Wrong.BAD_DATE),
        ("expires_at", "46000", Wrong.BAD_DATE),
        ("expires_at", "soon", Wrong.BAD_DATE),
        ("source", "x" * 65, Wrong.BAD_SOURCE),
        ("source", "a\nb", Wrong.BAD_SOURCE),
    ],
)
def test_one_bad_field_rejects_its_row_alone(column, text, wrong):
    """The row is rejected with line, reason and the text that was wrong; its neighbours load."""
    three = ("+66812345678", "+66812345679", "+66812345670")
    rows = Rows([1, 2, 3], list(three), three, **{column: ["", text, None]})  # type: ignore[arg-type]
    parsed = Parser(DEFAULTS).parse(rows)
    assert parsed.numbers.tolist() == [b"+66812345678", b"+66812345670"]
    assert parsed.rejected == (RejectedRow(2, wrong, text, "+66812345679"),)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-01-31", 1769817600),
        ("2026-01-31T00:00:00Z", 1769817600),
        ("2026-01-31 07:00:00+07:00", 1769817600),
        ("1769817600", 1769817600),
        ("1769817600123", 1769817600),
        ("1900-01-01", Wrong.BAD_DATE),
        ("9999-12-31", Wrong.BAD_DATE),
        ("99999999999999", Wrong.BAD_DATE),
    ],
)
def test_times(text, seconds):
    """ISO 8601 and epoch times are read; a spreadsheet's day number and two-way dates are not."""
    assert read_time(text) == seconds


def test_every_reason_says_what_it_is():
    """Reasons are for people: each has a label for reports and a text."""
    assert all(wrong.label and len(wrong.value) > 15 for wrong in Wrong)


@pytest.mark.parametrize(
    ("text", "dates", "iso"),
    [
        ("25/11/2026", Dates("day-month"), "2026-11-25"),
        ("1.2.2026 13:05", Dates("day-month"), "2026-02-01T13:05"),
        ("11-25-2026 9:05:06", Dates("month-day"), "2026-11-25T09:05:06"),
        ("25/11/2569", Dates("day-month", buddhist=True), "2026-11-25"),
        ("29/2/2567", Dates("day-month", buddhist=True), "2024-02-29"),
        ("2567-02-29", Dates(buddhist=True), "2024-02-29"),
        ("2026-11-25", Dates("day-month"), "2026-11-25"),
        ("25/11/2026 07:00", Dates("day-month", zone=zone_of("+07:00")), "2026-11-25T00:00Z"),
        ("2026-11-25T00:00Z", Dates(zone=zone_of("+07:00")), "2026-11-25T00:00Z"),
        ("1795564800", Dates("day-month", buddhist=True), "2026-11-25"),
        ("2026/11/25", Dates(), "2026-11-25"),
        ("2026/1/5 9:05", Dates("day-month"), "2026-01-05T09:05"),
        ("2569/11/25 07:00", Dates(buddhist=True, zone=zone_of("+07:00")), "2026-11-25T00:00Z"),
        ("2026-11-25 07:00:01 UTC", Dates(zone=zone_of("+07:00")), "2026-11-25T07:00:01Z"),
        ("11/25/2026 11:59:59 PM", Dates("month-day"), "2026-11-25T23:59:59"),
        ("25/11/2026 12:05 am", Dates("day-month"), "2026-11-25T00:05"),
        ("25/11/2026 13:05 PM", Dates("day-month"), None),
        ("2026/25/11", Dates(), None),
        ("25/11/2026", Dates("month-day"), None),
        ("25/11/2026", Dates(), None),
        ("25/11-2026", Dates("day-month"), None),
        ("25/11/26", Dates("day-month"), None),
        ("29/2/2026", Dates("day-month"), None),
        ("25/11/2026", Dates("day-month", buddhist=True), "2026-11-25"),
        ("25/11/2569", Dates("day-month"), None),
    ],
)
def test_days_as_a_feed_says_that_they_are_written(text, dates, iso):
    """Days of spreadsheets are read in the order, era and zone that the feed names, or not."""
    moment = None if iso is None else datetime.fromisoformat(iso)
    zoned = moment and (moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    assert dates.reader(text) == (Wrong.BAD_DATE if zoned is None else int(zoned.timestamp()))


RULES = PrefixRules(9, {"KH": 7, "TH": 7, "FR": 5})
ONE, TWO = "+66812345678", "+66812345679"


def parse_ranges(*number: str, **columns) -> Parsed:
    rows = Rows(range(1, len(number) + 1), list(number), number, **columns)
    return Parser(Defaults("file.csv", 1_700_000_000, "TH", prefixes=RULES)).parse(rows)


def test_a_range_is_several_entries_in_its_row_s_place():
    """Each piece of a range has what its row says; the rows around it keep theirs."""
    parsed = parse_ranges(
        ONE,
        "+85523900000-+85523900012",
        TWO,
        "+8552390*",
        confidence=["1", "2", "3", "4"],
        removed=np.array([False, True, False, False]),
    )
    assert parsed.numbers.tolist() == [
        ONE.encode(),
        b"+8552390000*",
        b"+85523900010",
        b"+85523900011",
        b"+85523900012",
        TWO.encode(),
        b"+8552390*",
    ]
    assert parsed.confidence.tolist() == [1, 2, 2, 2, 2, 3, 4]
    assert parsed.removed.tolist() == [False, True, True, True, True, False, False]
    assert parsed.rejected == ()


@pytest.mark.parametrize(
    ("cell", "wrong"),
    [
        ("02*", Wrong.PREFIX_TOO_SHORT),
        ("0043*", Wrong.PREFIX_TOO_SHORT),
        ("+66000-+66999", Wrong.BAD_PREFIX),
        ("+66800000000-+66899999999", Wrong.RANGE_TOO_WIDE),
        ("6.68E+10*", Wrong.NOT_A_NUMBER),
    ],
)
def test_what_can_not_be_listed_is_rejected_alone(cell, wrong):
    """Too short, too wide, nonsense: that row is rejected with its reason, its neighbours load."""
    parsed = parse_ranges(ONE, cell, TWO)
    assert parsed.numbers.tolist() == [ONE.encode(), TWO.encode()]
    assert [(row.line, row.wrong, row.detail) for row in parsed.rejected] == [(2, wrong, cell)]


def test_a_range_with_a_bad_field_is_one_rejected_row():
    """A wrong confidence rejects the row, not each of the entries that it would have been."""
    parsed = parse_ranges(ONE, "+85523900000-+85523900012", confidence=["1", "900"])
    assert parsed.numbers.tolist() == [ONE.encode()]
    assert [row.wrong for row in parsed.rejected] == [Wrong.BAD_CONFIDENCE]


def test_open_digits_in_a_text_file_are_no_comment():
    """`33899######` is read whole; what stands behind a blank and a `#` is a comment as ever."""
    texts = ["+33899######", "+33899###### ads # 2024", f"{ONE} # seen twice", f"{TWO}#x", "# all"]
    (rows,) = line_formats.read_text(line_chunks(["\n".join([*texts, ""])]))
    assert list(rows.number) == ["+33899######", "+33899######", ONE, TWO]
    assert parse_ranges(*map(str, rows.number)).numbers.tolist()[:3] == [b"+33899*"] * 2 + [
        ONE.encode()
    ]


cells = st.sampled_from([ONE, "0*", "+8552390*", "+85523900000-+85523900012", "", "x", "0812345*"])


@given(st.lists(cells, max_size=12))
def test_every_row_is_its_entries_or_rejected(rows):
    """Whatever stands beside what: each good row gives just the entries it gives alone."""
    alone = [parse_ranges(cell) for cell in rows]
    together = parse_ranges(*rows)
    assert together.numbers.tolist() == [n for one in alone for n in one.numbers.tolist()]
    assert [row.wrong for row in together.rejected] == [r.wrong for a in alone for r in a.rejected]
