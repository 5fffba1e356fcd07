"""Several reports of one number: what the engine says of it, against a model in plain Python."""

from dataclasses import replace
from math import floor, prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.core import kernels
from stream.core.filters.blocklists import fresh
from stream.core.filters.overlay import Change
from stream.core.model.confidence import decay_of
from stream.core.model.entry import NEVER, Category, Entry
from stream.lists.snapshot.build import columns_from
from stream.lists.snapshot.merge import merged, replaced
from stream.lists.store.edits import REPORTS_MAX, after
from stream.lists.store.heads import Removal, Retraction
from tests.support.builders import NOW_S, blocklists, entry, fingerprint_of, numbers_of, snapshot

DAY_S = 86_400
NUMBERS = [f"+4477009002{n:02}" for n in range(6)]
SOURCES = ["police", "bank", "feed", "feed/a", "feed/b", "user"]
LISTS = {"XA/fades": (10.0, 2.3), "XB/stays": (0.0, 2.3), "XC/quick": (0.5, 0.4)}


@st.composite
def reports_of(draw, number, key=b""):
    """All reports of one number, each source at most once."""
    made = [
        entry(
            number,
            key,
            source=source,
            category=draw(st.sampled_from([Category.SPAM, Category.LOAN, Category.LEGITIMATE])),
            confidence=draw(st.sampled_from([0, 1, 50, 90, 95, 100])),
            reported_at_s=NOW_S - draw(st.sampled_from([-60, 0, 1, 3600, 5 * DAY_S, 10**6])),
            expires_at_s=draw(st.sampled_from([NEVER, NOW_S - 1, NOW_S, NOW_S + 1, NOW_S + 9])),
        )
        for source in draw(st.lists(st.sampled_from(SOURCES), max_size=4, unique=True))
    ]
    return tuple(sorted(made, key=lambda report: report.source))


def model(reports, days, speed):
    """Category, confidence and expiry now, in floats; None: no match."""

    def sure(report: Entry) -> float:
        if not days:
            return report.confidence / 100
        age = max(NOW_S - report.reported_at_s, 0) / (days * DAY_S)
        return report.confidence / 100 * (1.0 - float(min(age, 1.0) ** (1 / speed)))

    live = [report for report in reports if report.live(NOW_S)]
    blame = [report for report in live if report.category is not Category.LEGITIMATE]
    if not blame:
        return None
    chance = 1 - prod(1 - sure(report) for report in blame)
    chance *= prod(1 - sure(report) for report in live if report not in blame)
    surest = max(blame, key=lambda report: (sure(report), report.reported_at_s, -report.category))
    endless = any(report.expires_at_s == NEVER for report in blame)
    until = NEVER if endless else max(report.expires_at_s for report in blame)
    return surest.category, floor(100 * chance + 0.5 + 1e-9), until


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_the_engine_says_what_the_model_says(data):
    """Base, changes over it, several sources, decay, expiry: kernel and NumPy, as in the model."""
    held: dict[tuple[str, str], tuple[Entry, ...]] = {}
    lists = []
    for name in LISTS:
        base = {number: data.draw(reports_of(number)) for number in NUMBERS[:4]}
        lists.append(fresh(name, b"", snapshot(name, [e for r in base.values() for e in r]), NOW_S))
        held |= {(number, name): base.get(number, ()) for number in NUMBERS}
    live = blocklists(*lists)
    for name in LISTS:
        for number in data.draw(st.lists(st.sampled_from(NUMBERS[2:]), max_size=3)):
            held[number, name] = data.draw(reports_of(number))
            change = Change(fingerprint_of(number), held[number, name])
            live = live.with_changes(name, [change], 2, NOW_S)
    expected = [
        (row, index, *found)
        for row, number in enumerate(NUMBERS)
        for index, name in enumerate(live.names)
        if (found := model(held[number, name], *LISTS[name])) is not None
    ]
    decay = decay_of([LISTS[name] for name in live.names])
    asked = numbers_of(NUMBERS)
    assert told(live.match(asked, NOW_S, decay)) == expected
    with kernels.reference_only():
        assert told(live.match(asked, NOW_S, decay)) == expected


def told(matches):
    assert matches.confirmed.all()
    rows, lists, _, category, confidence, expires_at_s, *_ = (c.tolist() for c in matches.columns)
    return list(zip(rows, lists, category, confidence, expires_at_s, strict=True))


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_merging_is_what_a_dictionary_does(data):
    """The newer report of a source stands; a feed's new version replaces its own reports alone."""
    old, new = ([e for number in NUMBERS for e in data.draw(reports_of(number))] for _ in range(2))
    before, added = columns_from(old), columns_from(new)
    assert rows_of(before) == {key(e): e for e in old}
    assert rows_of(merged(before, added)) == {key(e): e for e in (*old, *new)}
    left = [e for e in old if not owned(e.source)]
    assert rows_of(replaced(before, added, owned)) == {key(e): e for e in (*left, *new)}


def owned(source):
    return source == "feed" or source.startswith("feed/")


def key(report):
    return report.number, report.source


def rows_of(columns):
    """The reports by number and source; the order of the columns is looked at on the way."""
    pairs = list(zip(columns.fingerprint.tolist(), columns.source.tolist(), strict=True))
    assert pairs == sorted(set(pairs))
    assert set(columns.source.tolist()) == set(range(len(columns.sources)))
    assert columns.numbers == len(set(columns.fingerprint.tolist()))
    entries = [columns.entry(row) for row in range(len(columns))]
    for one in {e.fingerprint for e in entries}:
        assert [entries[row].fingerprint for row in columns.span(one)] == [one] * len(
            columns.span(one)
        )
    return {key(e): e for e in entries}


@given(reports_of(NUMBERS[0]), reports_of(NUMBERS[0]))
def test_one_source_speaks_once(reports, edits):
    """Whatever is added in whatever order, each source has one report, its last one."""
    for edit in edits:
        made = after(edit, reports)
        assert made is not None
        assert {e.source: e for e in made} == {e.source: e for e in (*reports, edit)}
        assert len(made) == len({e.source for e in made})
        reports = made
    for report in reports:
        taken = after(Retraction(report.fingerprint, report.number, report.source), reports)
        assert taken == tuple(e for e in reports if e is not report)
    assert after(Retraction(1, None, "nobody"), reports) is None
    assert after(Removal(1, None), reports) == ()


def test_a_numbers_reports_are_bounded():
    """A feed that names a new source in every row cannot make one number grow without end."""
    reports: tuple[Entry, ...] = ()
    for n in range(REPORTS_MAX + 5):
        one = entry(NUMBERS[0], source=f"s{n:03}", reported_at_s=1000 + n)
        reports = after(one, reports) or ()
    assert [report.reported_at_s for report in reports] == list(range(1005, 1105))


def test_more_sources_than_a_list_can_have_are_refused():
    """A list's table of sources is bounded, and the message says what to do."""
    from stream.core.filters.snapshot import SOURCES_MAX
    from stream.core.model.errors import SnapshotUnreadable

    one = entry(NUMBERS[0])
    many = [replace(one, source=f"s{n}") for n in range(SOURCES_MAX + 1)]
    with pytest.raises(SnapshotUnreadable, match="65537 sources on one list, at most 65536"):
        columns_from(many)
    assert columns_from(many[1:]).numbers == 1
    assert np.all(np.diff(columns_from(many[1:]).source.astype(int)) == 1)
