"""The metadata of a published list, and merged change files."""

import pytest

from stream.core.filters.overlay import Change
from stream.core.model.agreement import Shared
from stream.core.model.errors import SnapshotUnreadable
from stream.feeds.diff import REMOVED
from stream.feeds.formats import states
from stream.feeds.formats.change_file import lined
from stream.feeds.formats.rows import InputUnreadable, Wrong
from stream.lists.snapshot.repository_layout import Latest, read_latest
from tests.support.builders import entry

LIST = "KH/scam"
ONE, TWO = "+85531000001", "+85531000002"


def latest(*changes: tuple[int, int], generation: int = 9) -> Latest:
    return Latest(
        list=LIST,
        shares=Shared.NUMBERS,
        circle="plain",
        key_id="",
        epoch="e-1",
        generation=generation,
        whole=3,
        parts=(),
        numbers=1,
        changes=changes,
    )


def listed(number: str, **fields) -> Change:
    one = entry(number, **fields)
    return Change(one.fingerprint, (one,))


def gone(number: str) -> Change:
    return Change(entry(number).fingerprint, ())


def file(begin: int, end: int, *changes: Change, numbers: bool = True) -> bytes:
    return "".join(states.states(LIST, begin, end, changes, numbers=numbers)).encode()


def rows_in(data: bytes) -> states.StateRows:
    return states.read(lambda: [data.decode().removesuffix("\n").split("\n")])


@pytest.mark.parametrize(
    ("stands_at", "needed"),
    [(9, ()), (6, ((6, 9),)), (4, ((3, 6), (6, 9))), (3, ((3, 6), (6, 9))), (2, None)],
)
def test_which_changes_lead_to_the_newest(stands_at, needed):
    """Files that began before a reader's position serve it; a gap is reported as one."""
    assert latest((3, 6), (6, 9)).changes_after(stands_at) == needed


def test_changes_with_a_hole_lead_nowhere():
    """Where a file is missing in the middle, or the last one is, the whole list is needed."""
    assert latest((3, 5), (6, 9)).changes_after(3) is None
    assert latest((3, 6)).changes_after(3) is None


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"<html>", "malformed"),
        (b'{"list": "KH/scam"}', "missing required field"),
        (b'{"parts": ["../x"]}', "parts"),
    ],
)
def test_what_is_no_latest_is_refused(data, said):
    """A page, a document that lacks fields, a part with a path: nothing of it is used."""
    with pytest.raises(SnapshotUnreadable, match=said):
        read_latest(data, LIST)


def test_files_together_say_what_the_last_one_says():
    """Of each number the last state counts: listed again with another report, or gone."""
    first = file(3, 5, listed(ONE, source="a"), listed(TWO))
    second = file(5, 8, listed(ONE, source="b"), gone(TWO))
    rows = rows_in(states.combined([first, second], LIST))
    listed_here = rows.arrays["category"] != REMOVED
    assert rows.arrays["number"][listed_here].tolist() == [int(ONE[1:])]
    (source,) = rows.arrays["source"][listed_here].tolist()
    assert rows.sources[source] == "b"
    assert (~listed_here).sum() == 2


def test_hashes_stand_for_numbers_that_are_not_shared():
    """A change file of hashes names no number; a prefix stands as it is, being nobody's number."""
    data = file(3, 4, listed(ONE), listed("+8553199*"), numbers=False)
    assert ONE.encode() not in data
    assert b"+8553199*" in data
    assert entry(ONE).fingerprint in rows_in(data).arrays["fingerprint"]


def test_a_file_of_another_list_is_refused():
    """Changes of one list never count for another."""
    with pytest.raises(InputUnreadable, match="not of KH/other"):
        states.combined([file(3, 4, listed(ONE))], "KH/other")


def test_a_line_that_means_nothing_is_told():
    """Lines with a bad number or none are rejected with a reason, the others are read."""
    lines = lined(
        [
            {"format": "ringfence-changes", "version": 1, "list": LIST, "whole": False}
            | {"from": 1, "to": 2},
            {"op": "add", "number": "anonymous"},
            {"op": "add"},
            {"op": "add", "number": ONE, "confidence": 300},
            {"op": "add", "number": ONE, "category": "of a later version"},
        ]
    )
    rows = rows_in("".join(lines).encode())
    assert [row.wrong for row in rows.rejected] == [
        Wrong.NOT_A_NUMBER,
        Wrong.NO_NUMBER,
        Wrong.BAD_CONFIDENCE,
    ]
    assert rows.arrays["number"].tolist() == [int(ONE[1:])]
