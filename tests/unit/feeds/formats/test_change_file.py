"""Ringfence's own change file: what one Ringfence writes, another one reads."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.model.entry import NEVER, Category, Entry
from stream.feeds.formats import change_file
from stream.feeds.formats.byte_columns import line_bytes
from stream.feeds.formats.change_file import increment, whole_list
from stream.feeds.formats.rows import InputUnreadable, Rows
from stream.feeds.parse import Defaults, Parser
from stream.lists.snapshot.build import columns_from
from stream.lists.snapshot.merge import difference
from tests.support.builders import NOW_S, entry

HEADER = change_file.Header("KH/scam", whole=False, from_generation=7, to=9)
ENTRY = Entry("+447700900123", 1, Category.LOAN, "desk", 1_795_132_800, NEVER, 80)
BARE = Entry(None, 2, Category.LOAN, "desk", 1_795_132_800, NEVER, 80)


def written() -> str:
    return "".join(change_file.write(HEADER, [ENTRY, BARE], [("+447700900124", "desk")]))


def read(text: str) -> Rows:
    (rows,) = change_file.read(lambda: line_bytes([text.encode()]))
    return rows


def test_what_is_written_is_read():
    """A change file says each report and each removal; an entry without a number cannot."""
    rows = read(written())
    assert list(rows.number) == ["+447700900123", "+447700900124"]
    assert rows.removed == [False, True]
    assert rows.category == ("loan", None)
    assert rows.source == ("desk", "desk")
    assert rows.reported_at == ("2026-11-20T00:00:00Z", None)
    assert rows.confidence == ("80", None)
    assert change_file.read_header(written().splitlines()[0]) == HEADER


def test_line_ends_of_windows_do_not_matter():
    """A file that was sent as text has the same hash."""
    assert len(read(written().replace("\n", "\r\n"))) == 2


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "".join(text.splitlines(keepends=True)[:-1]),
        lambda text: "".join(text.splitlines(keepends=True)[:1]),
        lambda text: text.replace("0900123", "0900125"),
        lambda text: text.replace('"remove"', '"add"'),
        lambda text: text.replace("\n", "\n\n", 1),
        lambda text: text + text.splitlines()[1],
        lambda text: text.replace('"version":1', '"version":2'),
        lambda text: text.replace("ringfence-changes", "changes"),
        lambda _: "",
        lambda _: "{}\n",
    ],
)
def test_a_cut_or_changed_file_is_refused(damage):
    """Not one row of it is given: half an increment would leave a mix."""
    with pytest.raises(InputUnreadable):
        read(damage(written()))


NUMBERS = [*(f"+44770090{n:04d}" for n in range(7)), "+447700901*"]
entries = st.builds(
    entry,
    st.sampled_from(NUMBERS),
    confidence=st.integers(0, 100),
    source=st.sampled_from(["a", "b", 'c "d"', "จุด"]),
    category=st.sampled_from(Category),
)
versions = st.lists(entries, max_size=8, unique_by=lambda e: (e.number, e.source))
Reports = dict[tuple[str, str], tuple[int, ...]]


def reports(held: Iterable[Entry]) -> Reports:
    return {
        (e.number or "", e.source): (e.category, e.reported_at_s, e.expires_at_s, e.confidence)
        for e in held
    }


def after(old: Reports, lines: Iterable[str]) -> Reports:
    """The reports after a change file was applied to them, row by row."""
    parser, now = Parser(Defaults("other", NOW_S)), dict(old)
    data = "".join(lines).encode()
    for rows in change_file.read(lambda: line_bytes([data])):
        parsed = parser.parse(rows)
        assert not parsed.rejected
        for at in range(len(parsed)):
            key = (parsed.numbers[at].decode(), parser.sources[parsed.source[at]])
            columns = (parsed.category, parsed.reported_at, parsed.expires_at, parsed.confidence)
            if parsed.removed[at]:
                del now[key]
            else:
                now[key] = tuple(int(column[at]) for column in columns)
    return now


@given(versions)
def test_a_whole_list_is_read_as_it_was(held):
    """Every report of every source comes out as it went in, prefixes too."""
    lines = list(whole_list("KH/scam", 9, columns_from(held)))
    assert after({}, lines) == reports(held)
    header = change_file.read_header(lines[0])
    assert (header.list, header.whole, header.to) == ("KH/scam", True, 9)


@given(versions, versions)
def test_an_increment_makes_the_old_the_new(old, new):
    """The changes between two versions, applied to the one, give the other."""
    found = difference(columns_from(old), columns_from(new))
    lines = list(increment("KH/scam", 7, 9, found))
    assert after(reports(old), lines) == reports(new)
    header = change_file.read_header(lines[0])
    assert (header.whole, header.from_generation, header.to) == (False, 7, 9)
