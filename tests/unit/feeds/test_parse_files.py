"""Issue 5, section 6: what spreadsheets, databases and clocks do to a partner's file.

One table: each row of input ends as the right value, or as a rejected row whose reason says what to
do.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stream.core.model.entry import Category
from stream.feeds.formats.rows import InputUnreadable, ReadOptions, Wrong
from stream.feeds.open import read_rows
from stream.feeds.parse import Adjusted, Defaults, Parsed, Parser
from stream.feeds.value_parsers import read_time

NOW_S = 1_795_564_800  # 2026-11-25T00:00:00Z
DAY_S = 86_400
HEADER = "number,category,source,reported_at,expires_at,confidence"
GOOD = "+66890000001,spam,desk,2026-11-24,2026-12-24,80"


def defaults(**told: Any) -> Defaults:
    return replace(Defaults("feed", NOW_S, now_s=NOW_S), **told)


def parsed(path: Path, data: bytes, options: ReadOptions | None = None, **told: Any) -> Parsed:
    path.write_bytes(data)
    parser = Parser(defaults(**told))
    (found,) = [parser.parse(rows) for rows in read_rows(path, "csv", options=options)]
    return found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "feed.csv"


@pytest.mark.parametrize(
    ("row", "wrong", "to_do"),
    [
        ("6.68E+10,spam,,,,", Wrong.SCIENTIFIC, "format the column as text"),
        ('"6,68E+10",spam,,,,', Wrong.SCIENTIFIC, "format the column as text"),
        ("66890000001.5,spam,,,,", Wrong.DECIMAL, "format the column as text"),
        ("+66890000002,nonsense,,,,", Wrong.BAD_CATEGORY, "known: other"),
        ("+66890000002,spam,,24/11/2026,,", Wrong.BAD_DATE, "write 2026-01-31"),
        ("+66890000002,spam,,46351,,", Wrong.BAD_DATE, "write 2026-01-31"),
        ("+66890000002,spam,,,never,", Wrong.BAD_DATE, "write 2026-01-31"),
        ("+66890000002,spam,,,,900", Wrong.BAD_CONFIDENCE, "from 0 to 100"),
        ("+66890000002,spam,,,,80%", Wrong.BAD_CONFIDENCE, "from 0 to 100"),
        ("+66890000002,spam,,,2026-11-24,", Wrong.EXPIRED, "nothing needs to be done"),
        (f"+66890000002,spam,{'x' * 65},,,", Wrong.BAD_SOURCE, "64 characters"),
        (",spam,,,,", Wrong.NO_NUMBER, "no number"),
        ("0890000002,spam,,,,", Wrong.NO_COUNTRY, "--region TH"),
        ("1155,spam,,,,", Wrong.NOT_E164, "only whole numbers"),
        ('+66890000002,"spam,,,,', Wrong.UNREADABLE, "cannot be read"),
    ],
)
def test_a_bad_row_is_rejected_with_what_to_do(file, row, wrong, to_do):
    """Line, reason and what to do about it are reported; the rows around it load."""
    found = parsed(file, f"{HEADER}\n{GOOD}\n{row}\n{GOOD}\n".encode())
    assert len(found) == 2
    assert [(one.line, one.wrong) for one in found.rejected] == [(3, wrong)]
    assert to_do in wrong.value


@pytest.mark.parametrize(
    "row",
    [
        '"66,890,000,001",spam,desk,2026-11-24,2026-12-24,80',
        "'+66890000001,spam,desk,2026-11-24,2026-12-24,80",
        '"=""+66890000001""",spam,desk,2026-11-24,2026-12-24,80',
        "+66 89-000-0001,Spam, desk ,2026-11-24T00:00:00+00:00,1798156800,80",
        "0890000001,SPAM,desk,1795478400000,2026-12-25 00:00:00,80",
    ],
)
def test_what_is_merely_written_otherwise_is_read(file, row):
    """Thousands separators, marks of text, blanks, other spellings of times mean the same."""
    wanted = parsed(file, f"{HEADER}\n{GOOD}\n".encode())
    found = parsed(file, f"{HEADER}\n{row}\n".encode(), region="TH")
    for name in ("numbers", "category", "reported_at", "expires_at", "confidence"):
        assert getattr(found, name).tolist() == getattr(wanted, name).tolist(), name


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    ("encoding", "mark", "told"),
    [
        *[
            (encoding, mark, None)
            for encoding in ("utf-8", "utf-16-le", "utf-16-be")
            for mark in ("", "\ufeff")
        ],
        ("cp874", "", "cp874"),
    ],
)
def test_encodings_marks_and_line_ends(file, encoding, mark, told, end):
    """BOM, CRLF, UTF-16 with and without its mark, and a named Thai encoding read the same."""
    text = f'{mark}{HEADER}{end}+66890000001,spam,"ธนาคาร, สาขา",,,{end}'
    parser = Parser(defaults())
    file.write_bytes(text.encode(encoding))
    options = ReadOptions(encoding=told)
    rows = read_rows(file, "csv", options=options)
    assert [n for one in rows for n in parser.parse(one).numbers.tolist()] == [b"+66890000001"]
    assert parser.sources == ("feed", "ธนาคาร, สาขา")


def test_an_encoding_nobody_knows_is_told(file):
    """A typing error in the feed's encoding is named."""
    with pytest.raises(InputUnreadable, match="utf-99"):
        parsed(file, b"number\n+66890000001\n", ReadOptions(encoding="utf-99"))


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"number": "Phone"}, "no column 'Phone'"),
        ({"number": "number", "category": "Type"}, "name the columns as it does"),
        ({"category": "category"}, "none is `number`"),
        ({"number": 0}, "counts from 1"),
        ({"number": 1, "source": 1}, "two names"),
    ],
)
def test_a_header_that_is_missing_or_other_is_told(file, columns, told):
    """A mapping that does not fit refuses the file and says what the header is."""
    with pytest.raises(InputUnreadable, match=told):
        parsed(file, f"{HEADER}\n{GOOD}\n".encode(), ReadOptions(columns=columns))


@pytest.mark.parametrize(
    ("columns", "data"),
    [
        ({"number": "Phone No.", "category": "type"}, "id;Phone No.;TYPE\n1;+66890000001;spam\n"),
        ({"number": 2, "category": 3}, "1,+66890000001,spam\n"),
        ({"number": 2, "category": 3}, "id,phone,type\n1,+66890000001,spam\n"),
        ({"number": 1}, '"+66890000001",nonsense\n'),
    ],
)
def test_columns_are_where_the_feed_says(file, columns, data):
    """By a header's text, whatever its case, or counted from 1, with a header or without."""
    found = parsed(file, data.encode(), ReadOptions(columns=columns), category=Category.SPAM)
    assert (found.numbers.tolist(), found.category.tolist()) == ([b"+66890000001"], [Category.SPAM])


def test_columns_can_be_mapped_by_names_that_the_feed_gives(file):
    """A file without a header, whose columns the feed names, is mapped by those names."""
    names, options = ["id", "phone", "what"], ReadOptions(columns={"number": "Phone"})
    for data in ("1,+66890000001,x\n", "id,phone,what\n1,+66890000001,x\n"):
        file.write_text(data)
        (rows,) = read_rows(file, "csv", names, options=options)
        assert list(rows.number) == ["+66890000001"]


def test_an_unknown_category_can_be_read_as_other(file):
    """Where the feed says so, the row is kept and counted; the partner's words can be mapped."""
    data = b"number,category\n+66890000001,Bank  Fraud\n+66890000002,Prize\n+66890000003,spam\n"
    words = {"bank fraud": Category.IMPERSONATION}
    found = parsed(file, data, unknown_category="other", categories=words)
    assert found.category.tolist() == [Category.IMPERSONATION, Category.OTHER, Category.SPAM]
    assert found.adjusted == {Adjusted.CATEGORY: 1}


def test_a_feed_claims_no_more_than_it_may(file):
    """Confidence above the feed's highest is cut to it, and counted."""
    data = b"number,confidence\n+66890000001,100\n+66890000002,40\n"
    found = parsed(file, data, confidence_max=60)
    assert found.confidence.tolist() == [60, 40]
    assert found.adjusted == {Adjusted.CONFIDENCE: 1}


@pytest.mark.parametrize(("ahead_s", "counted"), [(60, {}), (301, {Adjusted.FUTURE: 1})])
def test_reports_from_the_future_are_clamped(file, ahead_s, counted):
    """No report is younger than now; beyond five minutes that a clock is wrong is counted."""
    data = f"number,reported_at\n+66890000001,{NOW_S + ahead_s}\n".encode()
    found = parsed(file, data)
    assert (found.reported_at.tolist(), found.adjusted) == ([NOW_S], counted)


@pytest.mark.parametrize(("ahead_s", "kept"), [(60, 1), (301, 0)])
def test_or_rejected_where_the_feed_says_so(file, ahead_s, kept):
    """`future = "reject"`: the row is kept with its reason; five minutes are forgiven."""
    data = f"number,reported_at\n+66890000001,{NOW_S + ahead_s}\n".encode()
    found = parsed(file, data, future="reject")
    assert len(found) == kept
    assert [row.wrong for row in found.rejected] == [Wrong.FUTURE] * (1 - kept)


def test_a_report_lives_from_when_it_was_made(file):
    """The default life counts from the report: fetched again, an old complaint is no younger."""
    data = b"number,reported_at\n+66890000001,2026-11-20\n+66890000002,2026-11-01\n+66890000003,\n"
    found = parsed(file, data, expires_after_s=10 * DAY_S)
    assert found.expires_at.tolist() == [read_time("2026-11-30"), NOW_S + 10 * DAY_S]
    assert [(row.wrong, row.detail) for row in found.rejected] == [(Wrong.EXPIRED, "2026-11-01")]
    again = parsed(file, data, expires_after_s=10 * DAY_S, expires_from="now")
    assert again.expires_at.tolist() == [NOW_S + 10 * DAY_S] * 3


def test_what_is_removed_needs_no_good_fields(tmp_path):
    """A tombstone counts whatever else its row says; an expired one still removes."""
    path = tmp_path / "x.jsonl"
    path.write_text(
        '{"number": "+66890000001", "category": "?", "expires_at": "2020-01-01", "removed": true}\n'
        '{"number": "+66890000002"}\n'
    )
    (rows,) = read_rows(path, "jsonl")
    found = Parser(defaults()).parse(rows)
    assert found.removed.tolist() == [True, False]
    assert not found.rejected
    adding = Parser(defaults(may_remove=False)).parse(rows)
    assert adding.numbers.tolist() == [b"+66890000002"]
    assert [row.wrong for row in adding.rejected] == [Wrong.REMOVAL]


@pytest.mark.parametrize(
    ("sources", "names"),
    [("row", ["desk", "feed"]), ("feed", ["feed", "feed"]), ("both", ["feed/desk", "feed"])],
)
def test_whose_report_it_is(file, sources, names):
    """A row's source counts as the feed says; the feed owns what begins with its name."""
    file.write_text("number,source\n+66890000001,desk\n+66890000002,\n")
    parser = Parser(defaults(sources=sources))
    (rows,) = read_rows(file, "csv")
    assert [parser.sources[at] for at in parser.parse(rows).source.tolist()] == names


def test_an_objection_does_not_replace_the_report(file):
    """Of one feed, the report and another's word that the number is legitimate both stand."""
    file.write_text("number,category,source\n+66890000001,spam,A\n+66890000001,legitimate,B\n")
    parser = Parser(defaults(sources="feed"))
    (rows,) = read_rows(file, "csv")
    assert [parser.sources[at] for at in parser.parse(rows).source.tolist()] == ["feed", "feed/B"]
