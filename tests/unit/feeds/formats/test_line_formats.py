"""Plain text and JSON lines."""

from stream.feeds.formats import line_formats
from stream.feeds.formats.rows import LINE_CHARS_MAX, Wrong
from tests.support.feed_lines import line_chunks


def test_text_has_one_number_a_line_and_comments():
    """Comments, blank lines and blanks around a number are passed over; lines are counted."""
    (rows,) = line_formats.read_text([["# all", "", " +66812345678  # a shop", "+66812345679"]])
    assert list(rows.number) == ["+66812345678", "+66812345679"]
    assert list(rows.lines) == [3, 4]


def test_jsonl_reads_numbers_and_texts_alike():
    """A number or a time may be a JSON number or a string; unknown fields do not matter."""
    line = '{"number": 66812345678, "reported_at": 1700000000, "confidence": 90.0, "x": [1]}'
    (rows,) = line_formats.read_jsonl(
        [[line, "  ", '{"number": "+66812345679", "expires_at": "2027-01-01"}']]
    )
    assert list(rows.number) == ["66812345678", "+66812345679"]
    assert list(rows.reported_at or ()) == ["1700000000", None]
    assert list(rows.confidence or ()) == ["90", None]
    assert list(rows.lines) == [1, 3]


def test_jsonl_rejects_lines_that_are_no_objects():
    """A broken line is rejected with its place, the others load; an array says what to do."""
    (rows,) = line_formats.read_jsonl(
        [['{"number": "+66812345678"}', "{", '[{"number": 1}]', "\ud800"]]
    )
    assert list(rows.number) == ["+66812345678"]
    assert [row.line for row in rows.unreadable] == [2, 3, 4]
    assert all(row.wrong is Wrong.UNREADABLE for row in rows.unreadable)
    assert "json" in rows.unreadable[1].detail


def test_a_line_without_end_does_not_fill_memory():
    """A file that is one endless line is cut, not gathered."""
    pieces = ("1" * LINE_CHARS_MAX for _ in range(50))
    assert [len(line) for lines in line_chunks(pieces) for line in lines] == [LINE_CHARS_MAX]
