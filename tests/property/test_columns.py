"""Files read in columns of bytes: the same rows as read one by one, whatever is in them."""

from datetime import UTC
from functools import partial

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stream.core.model.byte_strings import Texts
from stream.feeds.formats import csv, line_formats
from stream.feeds.formats.byte_columns import ByteColumn, line_bytes
from stream.feeds.formats.rows import InputUnreadable
from stream.feeds.parse import Defaults, Parser
from stream.feeds.value_parsers import read_time, times_in
from tests.support.builders import NOW_S
from tests.support.feed_lines import line_chunks

WORDS = (
    *("+66812345678", "+447700900123", "0812345678", "+1", "6.68E+10", "911", "number"),
    *("spam", "Call Centre", "nonsense", "", " ", "\0", "สายด่วน", "\udcca", "desk 1", "x" * 70),
    *("1700000000", "170000000", "9999999999", "0", "55", "101", "2026-01-31T12:00:00Z"),
    *("2026-02-29 00:00:00", "2024-02-29T23:59:59", "2026-01-31", "2026-01-31T12:00:00+07:00"),
)
fields = st.sampled_from(WORDS)
rows = st.lists(st.lists(fields, min_size=4, max_size=4), min_size=1, max_size=40)
ends = st.sampled_from(["\n", "\r\n", "\r"])


def everything(chunks):
    """All that comes of some rows: entries, rejected rows with their lines and reasons."""
    parser = Parser(Defaults("x", NOW_S, "TH"))
    entries: list[tuple[object, ...]] = []
    rejected: list[tuple[object, ...]] = []
    for chunk in chunks:
        parsed = parser.parse(chunk)
        columns = (parsed.reported_at, parsed.expires_at, parsed.category, parsed.confidence)
        sources = [parser.sources[index] for index in parsed.source.tolist()]
        entries += zip(
            parsed.numbers.tolist(), *(c.tolist() for c in columns), sources, strict=True
        )
        rejected += [(row.line, row.wrong, row.detail) for row in parsed.rejected]
    return entries, rejected


def both(read, content, piece):
    """The result of `read` for a text and for the same as bytes, cut anywhere."""
    data = content.encode("utf-8", "surrogateescape")
    pieces = [data[at : at + piece] for at in range(0, len(data), piece)]
    plain = content.replace("\r\n", "\n").replace("\r", "\n")
    return [everything(read(chunks)) for chunks in (line_chunks([plain]), line_bytes(pieces))]


@given(rows, ends, st.integers(1, 400), st.sampled_from([",", ";"]))
def test_plain_files_are_read_alike(content, end, piece, delimiter):
    """A file whose lines have the same number of fields, which is read in columns, has the same
    entries, and the same rejected rows with lines and reasons, as one that is read row by row.
    """
    header = delimiter.join(("number", "reported_at", "category", "source"))
    lines = [header, *(delimiter.join(row) for row in content)]
    slow, fast = both(csv.read, end.join(lines) + end, piece)
    assert fast == slow


@given(st.text(st.sampled_from(',;"\n\r+0123456789ab #\0é'), max_size=300), st.integers(1, 300))
@example("+66812345678,a\n\n+66812345679\n", 300)
@example("number\n+66812345678\n\n+66812345679\n", 300)
@example('number,source\n+66812345678,"a\n+66812345679,b"\n', 7)
@example("\r;\r", 1)
def test_odd_files_are_read_alike(content, piece):
    """Quotes, blank lines, missing fields, and lines without an end."""
    assert len({str(found) for found in both(line_formats.read_text, content, piece)}) == 1
    names = partial(csv.read, names=["number", "source"])
    try:
        slow, fast = both(names, content, piece)
    except InputUnreadable:
        return
    assert fast[0] == slow[0]
    assert [row[:2] for row in fast[1]] == [row[:2] for row in slow[1]]


@given(st.lists(st.binary(max_size=80), max_size=60))
def test_distinct_texts(texts):
    """Each row has its own text, whatever the texts' lengths and hashes."""
    column = ByteColumn(Texts.of(texts))
    distinct, place = column.distinct()
    assert [distinct[i] for i in place.tolist()] == list(column)


@given(st.lists(st.one_of(st.datetimes(), st.integers(0, 10**11)), max_size=50))
@settings(max_examples=60)
def test_times_are_those_of_each_text(moments):
    """A time read with many others is the one that its text means alone, or is left to be read."""
    texts = [
        str(m) if isinstance(m, int) else f"{m.replace(tzinfo=UTC):%Y-%m-%dT%H:%M:%SZ}"
        for m in moments
    ]
    texts += ["2100-02-29T00:00:00Z", "2000-02-29 00:00:00", "2026-13-01T00:00:00Z", "１２３"]
    seconds, plain = times_in(Texts.of(each.encode() for each in texts))
    for row in np.flatnonzero(plain).tolist():
        assert read_time(texts[row]) == seconds[row], texts[row]
    assert plain[texts.index("2000-02-29 00:00:00")]
