"""Prefix entries: what they say beside what is said of a number itself."""

import numpy as np
import pytest

from stream.core.filters.blocklists import fresh
from stream.core.filters.overlay import Change
from stream.core.filters.prefixes import NO_PREFIXES
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


def test_prefixes_are_columns_of_their_own():
    """The prefixes kept of a snapshot do not hold its mapped columns in memory."""
    columns = columns_from([entry(NUMBER), entry(PREFIX)])
    alone = columns.prefixes()
    assert len(alone) == 1
    assert not np.shares_memory(alone.number, columns.number)
