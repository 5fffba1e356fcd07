"""Rows with a prefix or a range, between rows with numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.numbers.prefix_entries import PrefixRules
from stream.feeds.formats import line_formats
from stream.feeds.formats.rows import Rows, Wrong, line_chunks
from stream.feeds.parse import Defaults, Parsed, Parser

RULES = PrefixRules(9, {"KH": 7, "TH": 7, "FR": 5})
ONE, TWO = "+66812345678", "+66812345679"


def parse(*number: str, region: str | None = "TH", **columns) -> Parsed:
    rows = Rows(range(1, len(number) + 1), list(number), number, **columns)
    return Parser(Defaults("file.csv", 1_700_000_000, region, prefixes=RULES)).parse(rows)


def test_a_range_is_several_entries_in_its_row_s_place():
    """Each piece of a range has what its row says; the rows around it keep theirs."""
    parsed = parse(
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
    parsed = parse(ONE, cell, TWO)
    assert parsed.numbers.tolist() == [ONE.encode(), TWO.encode()]
    assert [(row.line, row.wrong, row.detail) for row in parsed.rejected] == [(2, wrong, cell)]


def test_a_range_with_a_bad_field_is_one_rejected_row():
    """A wrong confidence rejects the row, not each of the entries that it would have been."""
    parsed = parse(ONE, "+85523900000-+85523900012", confidence=["1", "900"])
    assert parsed.numbers.tolist() == [ONE.encode()]
    assert [row.wrong for row in parsed.rejected] == [Wrong.BAD_CONFIDENCE]


def test_open_digits_in_a_text_file_are_no_comment():
    """`33899######` is read whole; what stands behind a blank and a `#` is a comment as ever."""
    texts = ["+33899######", "+33899###### ads # 2024", f"{ONE} # seen twice", f"{TWO}#x", "# all"]
    (rows,) = line_formats.read_text(line_chunks(["\n".join([*texts, ""])]))
    assert list(rows.number) == ["+33899######", "+33899######", ONE, TWO]
    assert parse(*map(str, rows.number)).numbers.tolist()[:3] == [b"+33899*"] * 2 + [ONE.encode()]


cells = st.sampled_from([ONE, "0*", "+8552390*", "+85523900000-+85523900012", "", "x", "0812345*"])


@given(st.lists(cells, max_size=12))
def test_every_row_is_its_entries_or_rejected(rows):
    """Whatever stands beside what: each good row gives just the entries it gives alone."""
    alone = [parse(cell) for cell in rows]
    together = parse(*rows)
    assert together.numbers.tolist() == [n for one in alone for n in one.numbers.tolist()]
    assert [row.wrong for row in together.rejected] == [r.wrong for a in alone for r in a.rejected]
