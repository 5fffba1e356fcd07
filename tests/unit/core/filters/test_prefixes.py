"""Prefix entries: what they say beside what is said of a number itself."""

from dataclasses import replace

import numpy as np
import pytest

from stream.core.filters.blocklists import fresh
from stream.core.filters.matches import NO_MATCHES
from stream.core.filters.overlay import Change
from stream.core.filters.prefixes import NO_PREFIXES, ListPrefixes, PrefixTable
from stream.core.model.confidence import decay_of
from stream.core.model.entry import Category
from stream.lists.snapshot.build import columns_from
from tests.support.builders import NOW_S, bare, blocklists, entry, live, numbers_of, snapshot

NUMBER, PREFIX = "+85523900123", "+8552390*"
DAY_S = 86_400


def found(lists, number=NUMBER, decay=None):
    return lists.match(numbers_of([number]), NOW_S, decay).by_row().get(0, [])


def test_lists_without_prefixes_hold_no_table():
    """Where no list has a prefix nothing is kept, and nothing is looked up."""
    table = blocklists(live("KH/scam", NUMBER)).prefixes
    assert len(table) == 0
    assert not len(table.heads)
    assert not len(NO_PREFIXES)


def test_a_snapshot_is_looked_through_only_if_it_says_that_it_has_some():
    """The manifest counts prefixes; where it says none, no row is looked at for them."""
    without = snapshot("KH/scam", [entry(NUMBER)])
    assert (without.manifest.prefixes, without.prefixes) == (0, None)
    with_one = snapshot("KH/scam", [entry(NUMBER), entry(PREFIX), entry(PREFIX, source="other")])
    assert with_one.manifest.prefixes == 2
    assert with_one.prefixes is not None
    assert [with_one.prefixes.entry(row).number for row in range(2)] == [PREFIX, PREFIX]


def test_a_filter_s_perhaps_gives_way_to_a_prefix():
    """On a list that was shared as a bare filter, a prefix added since confirms what it holds."""
    lists = blocklists(fresh("XC/bare", b"", bare("XC/bare", [NUMBER, "+66212345678"]), NOW_S))
    assert [match.confirmed for match in found(lists)] == [False]
    added = entry(PREFIX)
    lists = lists.with_changes("XC/bare", [Change(added.fingerprint, (added,))], 2, NOW_S)
    assert [(match.confirmed, match.prefix) for match in found(lists)] == [(True, 7)]
    assert [match.confirmed for match in found(lists, "+66212345678")] == [False]


def test_reports_of_a_prefix_count_as_those_of_a_number():
    """Sources add up, and confidence falls with age, by the list's own decay."""
    told = [
        entry(PREFIX, source="police", confidence=50, reported_at_s=NOW_S),
        entry(PREFIX, source="bank", confidence=50, category=Category.PARCEL),
        entry(PREFIX, source="desk", confidence=10, category=Category.LEGITIMATE),
    ]
    lists = blocklists(fresh("KH/scam", b"", snapshot("KH/scam", told), NOW_S))
    (match,) = found(lists)
    assert (match.confidence, match.prefix) == (68, 7)
    old = [entry(PREFIX, confidence=80, reported_at_s=NOW_S - 5 * DAY_S)]
    lists = blocklists(fresh("KH/scam", b"", snapshot("KH/scam", old), NOW_S))
    (match,) = found(lists, decay=decay_of([(10.0, 1.0)]))
    assert match.confidence == 40


@pytest.mark.parametrize("expires_in_s", [-1, 0, 1])
def test_an_expired_word_on_the_number_is_none(expires_in_s):
    """A number that was legitimate until now falls back under its prefix by itself."""
    told = [
        entry(PREFIX),
        entry(NUMBER, category=Category.LEGITIMATE, expires_at_s=NOW_S + expires_in_s),
    ]
    lists = blocklists(fresh("KH/scam", b"", snapshot("KH/scam", told), NOW_S))
    assert bool(found(lists)) is (expires_in_s <= 0)


def test_changes_to_numbers_leave_the_table_as_it_is():
    """Only a change to a prefix builds a new table; a number taken off lies under it again."""
    lists = blocklists(live("KH/scam", PREFIX, NUMBER))
    number = entry(NUMBER)
    changed = lists.with_changes("KH/scam", [Change(number.fingerprint, ())], 2, NOW_S)
    assert changed.prefixes is lists.prefixes
    assert [match.prefix for match in found(lists)] == [0]
    assert [match.prefix for match in found(changed)] == [7]


def changed_by(lists, *changes):
    return lists.with_changes("KH/scam", changes, 2, NOW_S)


def test_a_prefix_of_the_snapshot_can_be_taken_off():
    """By its hash alone, as any number; so can one that was added since, and be added again."""
    lists = blocklists(live("KH/scam", PREFIX, "+85523*"))
    longer = entry(PREFIX)
    without = changed_by(lists, Change(longer.fingerprint, ()))
    assert [[match.prefix for match in found(one)] for one in (lists, without)] == [[7], [5]]
    again = changed_by(without, Change(longer.fingerprint, (longer,)))
    assert [match.prefix for match in found(again)] == [7]
    both = [Change(entry(text).fingerprint, ()) for text in (PREFIX, "+85523*")]
    assert found(changed_by(again, *both)) == []
    hidden = replace(entry(NUMBER), number=None)
    assert changed_by(lists, Change(hidden.fingerprint, (hidden,))).prefixes is lists.prefixes


def test_a_number_in_the_snapshot_is_spared_by_a_prefix_that_comes_later():
    """The snapshot is looked through for such numbers with the list's first prefix, and once."""
    lists = blocklists(live("KH/scam", NUMBER, category=Category.LEGITIMATE))
    (before,) = lists.prefixes.by_list
    assert before.spared_before is None
    added = entry(PREFIX)
    later = changed_by(lists, Change(added.fingerprint, (added,)))
    assert found(later) == []
    assert [match.prefix for match in found(later, "+85523900124")] == [7]
    (since,) = later.prefixes.by_list
    assert since.may_spare(np.array([entry(NUMBER).fingerprint, 0], np.uint64)).tolist() == [1, 0]
    assert since.looked_through() is since


def test_a_list_without_a_snapshot_spares_what_came_since():
    """There is nothing to look through, and what was reported as legitimate is known."""
    held = ListPrefixes(changed={7: (entry(PREFIX),)}, spared=frozenset({5})).looked_through()
    assert held.spared_before is not None
    assert len(held.spared_before) == 0
    assert held.looked_through() is held
    assert held.may_spare(np.array([0, 5, 6], np.uint64)).tolist() == [False, True, False]
    assert held.may_spare(np.zeros(0, np.uint64)).tolist() == []


@pytest.mark.parametrize("text", [PREFIX, "+85523901*"])
def test_reports_and_matches_have_their_types(text):
    """Prefixes of the snapshot, those that changed, both, or none: the columns are alike."""
    base = blocklists(live("KH/scam", PREFIX))
    told = entry(text)
    since = changed_by(base, Change(told.fingerprint, (told,)))
    alone = changed_by(blocklists(live("KH/scam", NUMBER)), Change(told.fingerprint, (told,)))
    gone = changed_by(base, Change(entry(PREFIX).fingerprint, ()))
    for lists in (base, since, alone, gone):
        said = lists.prefixes.reports
        assert (said.category.dtype, said.confidence.dtype) == (np.uint8, np.uint8)
        assert {one.dtype for one in (said.lists, said.reported_at_s, said.expires_at_s)} == {
            np.dtype(np.int64)
        }
        assert said.speaks.dtype == np.bool_
    numbers = numbers_of([text.replace("*", "12345")[:12]]).e164
    matches = since.prefixes.match(numbers, since.steady, NOW_S)
    assert [one.dtype for one in matches.columns] == [one.dtype for one in NO_MATCHES.columns]
    assert len(matches) == 1


@pytest.mark.parametrize("last", range(10))
@pytest.mark.parametrize("prefix", ["+9*", "+999000*", "+9990001*", "+99900012345678*"])
def test_the_longest_numbers_have_prefixes_too(prefix, last):
    """Fifteen digits, whatever the last one is."""
    lists = blocklists(live("KH/scam", prefix))
    table = lists.prefixes
    number = np.array([f"+99900012345678{last}"], "S16")
    matches = table.match(number, lists.steady, NOW_S)
    assert matches.prefix.tolist() == [len(prefix) - 2]


def test_fingerprints_side_by_side_are_told_apart():
    """A change of one prefix is not that of another whose fingerprint is the next number."""
    columns = columns_from(
        [
            entry(text, fingerprint=(1 << 62) + at)
            for at, text in enumerate(["+8551*", "+8552*", "+8553*"], 1)
        ]
    )
    gone = [Change((1 << 62) + at, ()) for at in (1, 2)]
    table = PrefixTable.of([ListPrefixes(columns, columns.prefixes()).with_changes(gone)])
    numbers = np.array(["+85510000000", "+85520000000", "+85530000000"], "S16")
    assert table.match(numbers, np.zeros((1, 2)), NOW_S).rows.tolist() == [2]


def test_prefixes_are_columns_of_their_own():
    """The prefixes kept of a snapshot do not hold its mapped columns in memory."""
    columns = columns_from([entry(NUMBER), entry(PREFIX)])
    alone = columns.prefixes()
    assert len(alone) == 1
    assert not np.shares_memory(alone.number, columns.number)
