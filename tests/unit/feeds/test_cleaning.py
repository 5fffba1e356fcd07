"""Numbers as keyboards, offices and spreadsheets write them: cleaned, counted, never half read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.feeds.cleaning import SAMPLES_MAX, Cleaned, CleanedRow, CleanedRows, clean_number
from stream.feeds.formats.rows import Rows, Wrong
from stream.feeds.parse import Defaults, Parsed, Parser
from stream.feeds.value_parsers import Dates, read_confidence, read_time


def parse(*number: str | None, region: str | None = "TH") -> Parsed:
    rows = Rows(range(1, len(number) + 1), [str(n) for n in number], number)
    return Parser(Defaults("file.csv", 1_700_000_000, region)).parse(rows)


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("+66812345678", ()),
        ("081-234-5678", ()),
        (" 0812345678 ", ()),
        ("๐๘๑๒๓๔๕๖๗๘", (Cleaned.DIGITS,)),
        ("٠٨١٢٣٤٥٦٧٨", (Cleaned.DIGITS,)),
        ("۰۸۱۲۳۴۵۶۷۸", (Cleaned.DIGITS,)),
        ("០៨១២៣៤៥៦៧៨", (Cleaned.DIGITS,)),
        ("၀၈၁၂၃၄၅၆၇၈", (Cleaned.DIGITS,)),
        ("໐໘໑໒໓໔໕໖໗໘", (Cleaned.DIGITS,)),
        ("０８１２３４５６７８", (Cleaned.DIGITS,)),
        ("\u200e0812345678\u200f", (Cleaned.MARKS,)),
        ("\u2068081\u200b2345678\u2069", (Cleaned.MARKS,)),
        ("\ufeff0812345678", (Cleaned.MARKS,)),
        ("081\u00a0234\u00a05678", (Cleaned.BLANKS,)),
        ("081\u2011234\u20135678", (Cleaned.BLANKS,)),
        ("'0812345678", (Cleaned.APOSTROPHE,)),
        ("\u20190812345678", (Cleaned.BLANKS, Cleaned.APOSTROPHE)),
        ("\u200f'0812345678", (Cleaned.MARKS, Cleaned.APOSTROPHE)),
        ('="0812345678"', (Cleaned.APOSTROPHE,)),
        ("66,812,345,678", (Cleaned.THOUSANDS,)),
        ("๖๖,๘๑๒,๓๔๕,๖๗๘", (Cleaned.DIGITS, Cleaned.THOUSANDS)),
        ("66812345678.0", (Cleaned.DECIMALS,)),
        ("66812345678,00", (Cleaned.DECIMALS,)),
        ("812345678", (Cleaned.LOST_ZERO,)),
        ("812345678.0", (Cleaned.DECIMALS, Cleaned.LOST_ZERO)),
        ("'๘๑๒๓๔๕๖๗๘", (Cleaned.DIGITS, Cleaned.APOSTROPHE, Cleaned.LOST_ZERO)),
    ],
)
def test_each_spelling_is_the_same_number_and_is_counted(text, kinds):
    """A cleaned number is listed as it was meant, and the report names each kind of cleaning."""
    parsed = parse(text)
    assert parsed.numbers.tolist() == [b"+66812345678"]
    expected = dict.fromkeys((kind.label for kind in kinds if kind is not Cleaned.BLANKS), 1)
    labels = {name: n for name, n in parsed.cleaned.labels.items() if name != "blanks"}
    assert labels == expected
    assert (Cleaned.BLANKS in parsed.cleaned.counts) is (
        Cleaned.BLANKS in kinds
    ) or "\u2019" in text


def test_examples_name_the_line_and_both_texts():
    """A person sees where a number was cleaned, what stood there, and what was read."""
    parsed = parse("+66812345678", "'0812345679", *["'0812345678"] * 9)
    assert parsed.cleaned.labels == {"apostrophe": 10}
    first, *others = parsed.cleaned.samples[Cleaned.APOSTROPHE]
    assert first == CleanedRow(2, "'0812345679", "+66812345679")
    assert len(others) == SAMPLES_MAX - 1


def test_rejected_rows_are_not_counted_as_cleaned():
    """Cleaning is of rows that load: a rejected row names its text as it came."""
    parsed = parse("'๐๘๑๒๓๔๕๖๗๘ ต่อ 5", "'2026-01-31")
    assert not len(parsed)
    assert not parsed.cleaned.counts
    assert [row.detail for row in parsed.rejected] == ["'๐๘๑๒๓๔๕๖๗๘ ต่อ 5", "'2026-01-31"]


def test_a_number_of_a_country_without_trunk_zero_lost_none():
    """Singapore dials no 0: eight digits are its whole number."""
    assert not parse("61234567", region="SG").cleaned.counts
    assert parse("61234567", region="SG").numbers.tolist() == [b"+6561234567"]


def test_counts_of_chunks_add_up():
    """The report on a file has the counts of all of its chunks, and a few examples."""
    whole = CleanedRows()
    for at in range(5):
        whole.update(parse("'0812345678", "812345678").cleaned)
        assert whole.labels == {"apostrophe": at + 1, "lost_zero": at + 1}
    assert all(len(rows) == SAMPLES_MAX for rows in whole.samples.values())


def test_dates_and_confidence_as_pandas_writes_them():
    """A column of whole numbers with one blank gets `.0` everywhere."""
    assert read_confidence("90.0") == 90
    assert read_time("1764000000.0") == Dates("day-month").read("1764000000.0") == 1_764_000_000
    assert read_time("46346.0") is Wrong.BAD_DATE


def test_dates_and_confidence_in_thai_digits():
    """Digits of another script mean the same in every column."""
    assert read_confidence("๘๐") == 80
    assert read_time("๒๐๒๖-๐๑-๓๑") == read_time("2026-01-31")
    thai = Dates("day-month", buddhist=True)
    assert thai.read("๒๐/๑๑/๒๕๖๙") == thai.read("20/11/2569") == read_time("2026-11-20")


@given(st.text(max_size=40))
def test_any_text_is_cleaned(text):
    """Cleaning never fails, is done once, and leaves plain numbers as they are."""
    bare, _ = clean_number(text)
    if bare.isascii() and not bare.startswith(("'", "`", "=")) and "," not in bare:
        assert clean_number(bare) == (bare, ())
    digits = "".join(c for c in text if c.isascii() and c.isdigit())
    assert clean_number(digits) == (digits, ())
