"""Any file at all: every row leaves by one of two doors, and the reader never fails."""

import re
from collections.abc import Sequence

from hypothesis import example, given
from hypothesis import strategies as st

from stream.core.model.entry import Columns, Entry
from stream.feeds.formats import csv, line_formats
from stream.feeds.formats.rows import InputUnreadable, Rows
from stream.feeds.parse import ColumnBuilder, Defaults, Parsed, Parser
from stream.lists.snapshot.list_text import export
from tests.support.builders import NOW_S, columns_of
from tests.support.feed_lines import line_chunks

ENTRY = re.compile(rb"\+[1-9]\d{6,14}\Z|\+[1-9]\d{0,13}\*\Z")
DEFAULTS = Defaults("x", NOW_S, "TH")
PIECES = (
    *("+66812345678", "0812345678", "number", "category", "spam", '{"number":"+66812345678"}'),
    *("\r\n", "6.68E+10", *",;\"\n\t{}[\0\ufeff# '="),
)
pieces = st.sampled_from(PIECES)
texts = st.one_of(st.text(), st.lists(pieces).map("".join))


def checked(chunks: Sequence[Rows]) -> list[Parsed]:
    parser = Parser(DEFAULTS)
    found = []
    for rows in chunks:
        parsed = parser.parse(rows)
        assert len(parsed) + len(parsed.rejected) >= len(rows) + len(rows.unreadable)
        assert all(ENTRY.match(number) for number in parsed.numbers.tolist())
        assert parsed.confidence.max(initial=0) <= 100
        assert parsed.source.max(initial=0) < len(parser.sources)
        found.append(parsed)
    return found


@given(texts, st.integers(1, 50))
def test_any_text_in_any_format(content, piece):
    """Each row of any text is loaded or rejected, wherever the text is cut for reading."""
    content = content.replace("\r", "\n")  # as Python's universal newlines hand it on
    cut = [content[at : at + piece] for at in range(0, len(content), piece)]
    checked(list(line_formats.read_text(line_chunks(cut))))
    checked(list(line_formats.read_jsonl(line_chunks(cut))))
    try:
        whole = checked(list(csv.read(line_chunks([content]))))
        parts = checked(list(csv.read(line_chunks(cut))))
    except InputUnreadable:
        return
    numbers = [[n for p in found for n in p.numbers.tolist()] for found in (whole, parts)]
    assert numbers[0] == numbers[1]


numbers = st.integers(0, 10**8 - 1).map(lambda n: f"+668{n:08d}")
rows = st.tuples(
    numbers,
    st.integers(1, 2**32 - 1),
    st.integers(0, 2**32 - 1),
    st.integers(0, 11),
    st.integers(0, 100),
    st.sampled_from(['a "desk"', "b,c", "สายด่วน"])
    | st.text("=+-@'ab ＝", min_size=1, max_size=6).map(str.strip).filter(bool),
)


def entries(columns: Columns) -> set[Entry]:
    return {columns.entry(row) for row in range(len(columns))}


@given(st.lists(rows, max_size=30), st.sampled_from(["csv", "jsonl"]))
def test_what_is_exported_is_imported_again(listed, kind):
    """An export read back is the same entries: nothing of an entry is lost on the way."""
    sources = tuple(dict.fromkeys(row[5] for row in listed)) or ("",)
    names = ("reported_at", "expires_at", "category", "confidence")
    fields = {name: [row[place] for row in listed] for place, name in enumerate(names, 1)}
    fields["source"] = [sources.index(row[5]) for row in listed]
    before = columns_of([row[0] for row in listed], b"", sources, **fields)
    pieces = list(export(before, kind))
    parser = Parser(DEFAULTS)
    read = csv.read if kind == "csv" else line_formats.read_jsonl
    gathered = ColumnBuilder(b"")
    for chunk in read(line_chunks(pieces)):
        parsed = parser.parse(chunk)
        assert not parsed.rejected
        gathered.add(parsed)
    after = gathered.columns(parser.sources)
    assert entries(after) == entries(before)


@example("/4", "")
@example("./0", "")
@given(st.text(";,xXpPwW#.-/() 0123456789", max_size=8), st.sampled_from(["", "tel:", "sip:", "<"]))
def test_digits_after_a_number_are_never_dropped(tail: str, before: str) -> None:
    """A row lists its number only where nothing after it was left out.

    `+66811111143/4` says two numbers, and both are listed.
    """
    row = Rows([1], [""], [f"{before}+66811111143{tail}"])
    listed = [
        re.sub(rb"\D", b"", number).decode()
        for number in Parser(DEFAULTS).parse(row).numbers.tolist()
    ]
    if len(listed) == 2:
        first, last = (re.sub(r"\D", "", part) for part in f"66811111143{tail}".split("/"))
        assert listed == [first, first[:-1] + last]
        assert last > first[-1]
        return
    for number in listed:
        assert re.sub(r"\D", "", f"66811111143{tail}").startswith(number)
        assert number != "66811111143" or not any(map(str.isdigit, tail))
