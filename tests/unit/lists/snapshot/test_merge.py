"""Columns over columns, and columns as files."""

import numpy as np
import pytest

from stream.core.model.entry import Columns
from stream.lists.snapshot.build import columns_from
from stream.lists.snapshot.list_text import export
from stream.lists.snapshot.merge import empty_columns, merged
from tests.support.builders import entry, snapshot


def columns(*numbers: str, confidence: int = 100) -> Columns:
    held = snapshot("TH/x", [entry(n, confidence=confidence) for n in numbers]).columns
    assert held is not None
    return held


def test_the_newer_entry_of_a_number_wins():
    """Merging keeps what only one side holds, and the newer entry of what both hold."""
    old = columns("+66812345678", "+66812345679", confidence=10)
    new = columns("+66812345679", "+66812345670", confidence=90)
    both = merged(old, new)
    found = {(e := both.entry(row)).number: e.confidence for row in range(len(both))}
    assert found == {"+66812345678": 10, "+66812345679": 90, "+66812345670": 90}
    assert bool(np.all(both.fingerprint[1:] > both.fingerprint[:-1]))


def test_sources_keep_their_meaning():
    """Each side's sources are renumbered without mixing them up."""
    old, new = columns("+66812345678"), columns("+66812345679")
    new = Columns(**{f: getattr(new, f) for f in new.__slots__ if f != "sources"}, sources=("b",))
    both = merged(old, new)
    found = {(e := both.entry(row)).number: e.source for row in range(len(both))}
    assert found == {"+66812345678": "test", "+66812345679": "b"}


def test_nothing_under_or_over():
    """An empty side changes nothing."""
    one = columns("+66812345678")
    assert len(merged(empty_columns(), one)) == len(merged(one, empty_columns())) == 1


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("text", "+66812345678\n"),
        (
            "csv",
            (
                "number,category,source,reported_at,expires_at,confidence\n"
                "+66812345678,call_centre,test,2026-11-24T23:52:48Z,,100\n"
            ),
        ),
    ],
)
def test_exports_name_whole_numbers(kind, text):
    """An operator who asks for a list gets its numbers whole."""
    assert "".join(export(columns("+66812345678"), kind)) == text


def test_every_report_is_exported_and_every_number_once_as_text():
    """CSV and JSON lines have a row for each report, text a line for each number."""
    number = "+66812345678"
    held = columns_from([entry(number, source="police"), entry(number, source="bank")])
    assert "".join(export(held, "text")) == f"{number}\n"
    assert [line.split(",")[2] for line in "".join(export(held, "csv")).splitlines()] == [
        *("source", "police", "bank")
    ]
    assert "".join(export(held, "jsonl")).count(number) == 2
