"""Differences between two versions of a list, in three forms."""

import csv
import io
import json
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stream.core.model.entry import Category, Columns, Entry
from stream.lists.snapshot.build import columns_from
from stream.lists.snapshot.list_text import written
from stream.lists.snapshot.merge import difference, empty_columns
from tests.support.builders import NOW_S, entry

NUMBERS = [*(f"+44770090{n:04d}" for n in range(7)), "+447700901*"]
entries = st.builds(
    entry,
    st.sampled_from(NUMBERS),
    confidence=st.integers(0, 2),
    source=st.sampled_from(["a", "b", "c"]),
    category=st.sampled_from([Category.SPAM, Category.LOAN]),
)
versions = st.lists(entries, max_size=8, unique_by=lambda e: (e.number, e.source))


def columns(held: list[Entry]) -> Columns:
    return columns_from(held)


@given(versions, versions)
def test_it_is_what_a_dictionary_says(old, new):
    """Added, removed and changed reports are named by number and source, whatever their order."""
    found = difference(columns(old), columns(new))
    was = {(e.fingerprint, e.source): e for e in old}
    now = {(e.fingerprint, e.source): e for e in new}

    def keys(version: Columns, rows) -> set[tuple[int, str]]:
        return {(e.fingerprint, e.source) for e in map(version.entry, rows.tolist())}

    assert keys(found.new, found.added) == now.keys() - was.keys()
    assert keys(found.old, found.removed) == was.keys() - now.keys()
    both = {key for key in was.keys() & now.keys() if was[key] != now[key]}
    assert keys(found.old, found.changed[0]) == keys(found.new, found.changed[1]) == both
    assert len(found) == len(found.added) + len(found.removed) + len(both)


OLD = [entry(NUMBERS[0]), entry(NUMBERS[1], confidence=40)]
NEW = [
    entry(NUMBERS[1], confidence=60, expires_at_s=NOW_S),
    replace(entry(NUMBERS[2]), number=None),
]


def text(kind) -> str:
    return "".join(written(difference(columns(OLD), columns(NEW)), kind))


def test_as_text():
    """A line a report: what is gone, what is different and what it was, what is new."""
    gone, different, new = text("text").splitlines()
    assert gone.startswith(f"- {NUMBERS[0]}  call_centre 100, reported 2026-")
    assert different.startswith(f"~ {NUMBERS[1]}  call_centre 60")
    assert "; was call_centre 40, reported" in different
    assert new.startswith(f"+ fingerprint:{NEW[1].fingerprint:016x}  call_centre")


def test_as_json_lines():
    """One JSON object a line, with what a changed report was before."""
    gone, different, _ = map(json.loads, text("json").splitlines())
    assert (gone["change"], gone["number"], gone["expires_at"]) == ("removed", NUMBERS[0], None)
    assert (different["confidence"], different["was"]["confidence"]) == (60, 40)
    assert (different["expires_at"] is None, different["was"]["expires_at"]) == (False, None)


def test_as_csv():
    """A table whose columns are those of an export, and what changed before."""
    rows = list(csv.DictReader(io.StringIO(text("csv"))))
    assert [row["change"] for row in rows] == ["removed", "changed", "added"]
    assert (rows[1]["confidence"], rows[1]["was_confidence"]) == ("60", "40")
    assert rows[0]["was_category"] == ""


def test_prefixes_are_told_as_such():
    """A prefix entry stands as it was read, with its star."""
    assert "+ +447700901*  call" in "".join(
        written(difference(columns([]), columns([entry(NUMBERS[7])])), "text")
    )


def test_nothing_differs():
    """Equal versions differ in nothing, and empty ones too."""
    assert len(difference(columns(OLD), columns(OLD))) == 0
    assert not "".join(written(difference(empty_columns(), empty_columns()), "text"))
    assert np.array_equal(difference(empty_columns(), columns(OLD)).added, [0, 1])
