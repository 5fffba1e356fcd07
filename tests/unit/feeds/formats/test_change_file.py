"""Ringfence's own change file, PhoneBlock's answer and the FTC's file, beyond their samples."""

import json

import pytest

from stream.core.model.entry import NEVER, Category, Entry
from stream.feeds.formats import change_file, ftc, phoneblock
from stream.feeds.formats.byte_columns import line_bytes
from stream.feeds.formats.rows import InputUnreadable, Rows

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


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"numbers": 7}', '{"numbers": []} x', '{"numbers": [{"phone": "+4']
)
def test_what_is_no_answer_of_phoneblock_is_refused(text):
    """An error, or half an answer, is refused as a whole."""
    with pytest.raises(InputUnreadable):
        list(phoneblock.read([text.encode()]))


def test_votes_are_worth_more_the_more_there_are():
    """Confidence rises with PhoneBlock's steps and is never certain; 0 votes are a removal."""
    numbers = [{"phone": "+447700900123", "votes": n} for n in (0, 1, 2, 4, 10, 20, 50, 100, 10**9)]
    (rows,) = phoneblock.read([json.dumps({"numbers": numbers, "version": 1}).encode()])
    assert rows.removed == [True] + [False] * 8
    worth = [int(text) for text in (rows.confidence or ())[1:] if text]
    assert worth == sorted(worth) == [20, 30, 45, 65, 80, 90, 95, 95]


@pytest.mark.parametrize("text", ["", "number\n+447700900123\n", "2025550123\n"])
def test_what_is_no_file_of_the_ftc_is_refused(text):
    """Another header means other columns: nothing is guessed."""
    with pytest.raises(InputUnreadable):
        list(ftc.read(line_bytes([text.encode()])))
