"""Records of a topic as a change file."""

import random
from pathlib import Path

import pytest

from stream.core.model.errors import FeedDown
from stream.feeds.formats.change_file import Header
from stream.feeds.open import read_rows
from stream.feeds.transports.kafka_topic import change_lines, change_of
from stream.feeds.transports.landing import landing
from stream.feeds.transports.own_thread import Stop

Record = tuple[bytes | None, bytes | None]
Row = tuple[str | None, str | None, bool]


def written(into: Path, records: list[Record], *, whole: bool) -> tuple[list[Row], list[str]]:
    """(number, source, removed) of each row of the file that comes of it; what is rejected."""
    with change_lines(into, 1 << 20, "topic t") as changes:
        for place, (key, value) in enumerate(records):
            change, removes = change_of(key, value, f"t/0/{place}")
            changes.add(key or b"%d" % place, change, removes=removes)
        with landing(into, 1 << 20, "topic t") as land:
            changes.write(land, Header("", whole, 0, len(records)), Stop())
    assert [path.name for path in into.parent.iterdir()] == [into.name]
    rows: list[Row] = []
    rejected: list[str] = []
    for chunk in read_rows(into, "ringfence"):
        removed = chunk.removed or [False] * len(chunk)
        sources = chunk.source or [None] * len(chunk)
        rows += list(zip(chunk.number, sources, removed, strict=True))
        rejected += [row.original for row in chunk.unreadable]
    return rows, rejected


RECORDS: list[Record] = [
    (b"+447700900001", b'{"category": "call_centre", "source": "desk", "note": "x"}'),
    (b"+447700900002", b"{}"),
    (b"+447700900002", None),
    (b"+447700900003", None),
    (b"+447700900003", b'{\n"op": "add"\n}'),
    (b"any key", b'{"number": "+447700900004", "op": "remove"}'),
    (b'"+447700900005"', b"{}"),
]


def test_the_last_record_of_a_key_is_what_it_says(into: Path) -> None:
    """In an increment removals are named; keys are the number where the value has none."""
    rows, rejected = written(into, RECORDS, whole=False)
    assert sorted(rows) == [
        ("+447700900001", "desk", False),
        ("+447700900002", None, True),
        ("+447700900003", None, False),
        ("+447700900004", None, True),
        ("+447700900005", None, False),
    ]
    assert not rejected


def test_what_is_whole_has_what_is_left(into: Path) -> None:
    """A number that is not in it is not on the list; no removal is needed."""
    rows, _ = written(into, RECORDS, whole=True)
    assert {row[0] for row in rows} == {"+447700900001", "+447700900003", "+447700900005"}


@pytest.mark.parametrize("value", [b"", b"\xff", b"[]", b"7", b'"x"', b"{", b"[" * 50_000, b"a\nb"])
def test_what_is_no_change_is_rejected_with_its_place(value: bytes, into: Path) -> None:
    """The others are read, and an operator finds the record by topic, partition and offset."""
    rows, rejected = written(into, [(b"k", value), RECORDS[1]], whole=True)
    assert [row[0] for row in rows] == ["+447700900002"]
    assert len(rejected) == 1
    assert "t/0/0 is no JSON object" in rejected[0]


def test_many_changes_come_to_what_a_dictionary_has(into: Path) -> None:
    """Some thousand changes of some hundred keys, in any order."""
    rng = random.Random(1)
    records: list[Record] = []
    held: dict[str, bool] = {}
    for _ in range(3000):
        number, gone = f"+4477009{rng.randrange(300):05d}", rng.random() < 0.3
        records.append((number.encode(), None if gone else b"{}"))
        held[number] = gone
    rows, _ = written(into, records, whole=False)
    assert {number: removed for number, _, removed in rows} == held
    assert len(rows) == len(held)


def test_more_than_the_limit_is_refused(into: Path) -> None:
    """Before it lies on disk, and nothing stays there."""

    def write() -> None:
        with change_lines(into, 100, "topic t") as changes:
            for _ in range(9):
                changes.add(b"k", b"x" * 20, removes=False)

    with pytest.raises(FeedDown, match="too_large: topic t has more than bytes_max = 100"):
        write()
    assert not list(into.parent.iterdir())


def test_nothing_at_all_is_a_file_too(into: Path) -> None:
    """An empty topic is an empty list, which the gate holds."""
    assert written(into, [], whole=True) == ([], [])
