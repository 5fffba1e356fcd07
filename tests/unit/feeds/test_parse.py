"""What the texts of a row mean."""

import pytest

from stream.core.model.entry import Category
from stream.core.model.time_zones import zone_of
from stream.feeds.formats.rows import RejectedRow, Rows, Wrong
from stream.feeds.parse import Defaults, Parsed, Parser
from stream.feeds.value_parsers import Dates, read_time

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
        ("66812345678.0", Wrong.DECIMAL),
        ("66812345678,00", Wrong.DECIMAL),
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
    """What a URI says of its host, its trunk group or its porting leaves the number as it is."""
    assert parse(text).numbers.tolist() == [b"+66811111143"]


@pytest.mark.parametrize("text", ["0812345678", "66812345678"])
def test_without_a_region_a_national_number_says_what_to_do(text):
    """Whose national number it is cannot be guessed: the reason names --region."""
    (row,) = parse(text, region=None).rejected
    assert row.wrong is Wrong.NO_COUNTRY
    assert "--region" in row.wrong.value


def test_a_row_goes_before_the_defaults():
    """What a row says is taken, what it leaves open comes from the defaults."""
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
    """Reasons are told to people: each has a label for reports and a text."""
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
        ("25/11/2026", Dates("month-day"), None),
        ("25/11/2026", Dates(), None),
        ("25/11-2026", Dates("day-month"), None),
        ("25/11/26", Dates("day-month"), None),
        ("29/2/2026", Dates("day-month"), None),
        ("25/11/2026", Dates("day-month", buddhist=True), None),
        ("25/11/2569", Dates("day-month"), None),
    ],
)
def test_days_as_a_feed_says_that_they_are_written(text, dates, iso):
    """Days of spreadsheets are read in the order, era and zone that the feed names, or not."""
    expected = Wrong.BAD_DATE if iso is None else read_time(iso)
    assert dates.reader(text) == expected
