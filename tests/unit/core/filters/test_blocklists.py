"""Matching of a batch of numbers against all lists of one moment.

tests/property/test_blocklists.py holds every order of additions and removals against plain sets.
"""

from dataclasses import replace

import numpy as np
import pytest

from stream.core.filters.blocklists import EMPTY_BLOCKLISTS, LiveList, chance_of, fresh
from stream.core.filters.overlay import EMPTY, Change
from stream.core.model.allowlist import NOBODY, AllowEntry, Allowlist
from stream.core.model.entry import Category
from stream.core.model.on_trial import Trials
from stream.core.policy.list_scope import Allowed, Outside, Scope, Scopes
from stream.core.policy.policy import Match
from stream.lists.follower.snapshot_directory import empty_snapshot
from tests.support.builders import (
    NOW_S,
    bare,
    blocklists,
    entry,
    fingerprint_of,
    hashed,
    live,
    numbers_of,
    snapshot,
)

LISTED, OTHER, CLEAN = "+447700900101", "+447700900102", "+447700900103"
KEY = bytes(range(32))


def found(lists, *texts, now_s=NOW_S):
    return lists.match(numbers_of(texts), now_s).by_row()


def test_a_listed_number_is_confirmed_with_its_entry():
    """A match carries the entry's category, confidence and expiry; other rows are absent."""
    lists = blocklists(live("XA/one", LISTED, confidence=70, expires_at_s=NOW_S + 9))
    matches = found(lists, CLEAN, LISTED, None, "anonymous", LISTED)
    expected = [Match(0, True, Category.CALL_CENTRE, 70, NOW_S + 9)]
    assert matches == {1: expected, 4: expected}


def test_an_entry_expires_at_the_moment_of_asking():
    """The second its expiry is reached an entry no longer matches, without any rebuild."""
    lists = blocklists(live("XA/one", LISTED, expires_at_s=NOW_S + 9))
    assert found(lists, LISTED, now_s=NOW_S + 8)
    assert not found(lists, LISTED, now_s=NOW_S + 9)


def test_lists_of_several_circles_sizes_and_kinds_answer_together():
    """Keyed, plain, bare, and differently sized lists each say what they hold, in list order."""
    lists = blocklists(
        live("XD/plain", LISTED, OTHER),
        live("XA/keyed", LISTED, key=KEY),
        fresh("XB/bare", b"", bare("XB/bare", [LISTED]), NOW_S),
        fresh("XC/coarse", b"", bare("XC/coarse", [OTHER], 1000, 0.01), NOW_S),
    )
    assert lists.names == ("XA/keyed", "XB/bare", "XC/coarse", "XD/plain")
    matches = found(lists, LISTED, OTHER, CLEAN)
    assert [(match.list, match.confirmed) for match in matches[0]] == [
        (0, True),
        (1, False),
        (3, True),
    ]
    assert [(match.list, match.confirmed) for match in matches[1]] == [(2, False), (3, True)]
    assert 2 not in matches


def test_more_than_64_lists_of_one_size_take_several_tables():
    """List 65 and beyond match as the first ones do."""
    lists = blocklists(*(live(f"XA/n{n:02}", f"+4477009002{n:02}") for n in range(70)))
    assert [len(group.exact.lists) for group in lists.circles[0].groups] == [64, 6]
    matches = found(lists, *(f"+4477009002{n:02}" for n in range(71)))
    assert {row: [match.list for match in held] for row, held in matches.items()} == {
        n: [n] for n in range(70)
    }


def test_lists_of_one_size_share_a_table_whatever_stands_between_them():
    """Each table costs a batch its probes, so that lists are put together by size, not by name."""
    sizes = {"XA/small": 1000, "XB/large": 40_000, "XC/small": 1000, "XD/large": 40_000}
    lists = blocklists(
        *(fresh(name, b"", bare(name, [LISTED], size), NOW_S) for name, size in sizes.items())
    )
    groups = lists.circles[0].groups
    assert sorted(group.exact.lists.tolist() for group in groups) == [[0, 2], [1, 3]]
    assert [match.list for match in found(lists, LISTED)[0]] == [0, 1, 2, 3]


def test_a_list_that_is_empty_but_for_its_changes_is_in_no_table():
    """A batch asks no table for it. Its changes match, and so do lists with a base beside it."""
    empty = fresh("XB/empty", b"", empty_snapshot("XB/empty", "plain", b""), NOW_S)
    lists = blocklists(live("XA/one", LISTED), empty)
    assert [group.exact.lists.tolist() for group in lists.circles[0].groups] == [[0]]
    added = entry(OTHER)
    changed = lists.with_changes("XB/empty", [Change(added.fingerprint, (added,))], 7, NOW_S)
    matches = found(changed, LISTED, OTHER, CLEAN)
    assert {row: held[0].list for row, held in matches.items()} == {0: 0, 1: 1}
    assert lists.unusable == ()


def test_an_added_number_matches_at_once():
    """A change stands in front of the filter, which knows nothing of the number."""
    lists = blocklists(live("XA/one", LISTED), live("XB/two", CLEAN))
    added = entry(OTHER, category=Category.ROMANCE, expires_at_s=NOW_S + 5)
    changed = lists.with_changes("XB/two", [Change(added.fingerprint, (added,))], 7, NOW_S)
    assert found(changed, OTHER) == {0: [Match(1, True, Category.ROMANCE, 100, NOW_S + 5)]}
    assert not found(changed, OTHER, now_s=NOW_S + 5)
    assert (changed.lists[1].generation, lists.lists[1].generation) == (7, 1)
    assert not found(lists, OTHER), "the old value is as it was"


def test_a_changed_entry_replaces_the_one_in_the_snapshot():
    """A later report's confidence counts, once."""
    lists = blocklists(live("XA/one", LISTED, confidence=90))
    lower = entry(LISTED, confidence=10)
    changed = lists.with_changes("XA/one", [Change(lower.fingerprint, (lower,))], 2, NOW_S)
    assert [match.confidence for match in found(changed, LISTED)[0]] == [10]


def test_a_removal_from_a_bare_filter_holds():
    """Even a list that nothing confirms can be told that one of its numbers is not meant."""
    lists = blocklists(fresh("XB/bare", b"", bare("XB/bare", [LISTED, OTHER]), NOW_S))
    removed = lists.with_changes("XB/bare", [Change(fingerprint_of(LISTED), ())], 2, NOW_S)
    assert list(found(removed, LISTED, OTHER)) == [1]


def test_a_list_without_data_can_not_be_asked():
    """It is named as unusable, and the others go on."""
    lists = blocklists(LiveList("XA/gone", b"", None, EMPTY, 0, 0), live("XB/two", LISTED))
    assert lists.unusable == (0,)
    assert [match.list for match in found(lists, LISTED)[0]] == [1]


def test_a_change_of_a_list_without_data_counts():
    """A number known for certain is enforced, although the rest of the list is missing."""
    lists = blocklists(LiveList("XA/gone", b"", None, EMPTY, 0, 0))
    added = entry(LISTED)
    changed = lists.with_changes("XA/gone", [Change(added.fingerprint, (added,))], 1, NOW_S)
    assert found(changed, LISTED)


def test_no_lists_match_nothing():
    """An engine without lists is an engine that allows, not one that fails."""
    assert found(EMPTY_BLOCKLISTS, LISTED) == {}
    assert found(blocklists(live("XA/one", LISTED))) == {}


def test_bloom_hits_that_are_no_members_are_refuted():
    """Of 200,000 innocent numbers against a filter with known false positives, none matches."""
    rng = np.random.default_rng(20_261_125)
    members = [f"+44{n}" for n in rng.choice(10**9, 20_000, replace=False) + 7 * 10**9]
    lists = blocklists(live("XA/one", *members))
    innocent = numbers_of(f"+66{n}" for n in rng.choice(10**8, 200_000) + 8 * 10**8)
    held = lists.lists[0].snapshot
    assert held is not None
    assert not lists.match(innocent, NOW_S)
    assert len(lists.match(numbers_of(members), NOW_S)) == len(members)


def test_allowlist_and_age_are_replaced_whole():
    """with_allow and synced make a new value and leave the old one alone."""
    lists = blocklists(live("XA/one", LISTED))
    allow = Allowlist.of([AllowEntry(LISTED, "hospital", "ops", NOW_S)])
    later = lists.with_allow(allow).synced(NOW_S + 5)
    assert (later.allow, later.lists[0].synced_at_s) == (allow, NOW_S + 5)
    assert (lists.allow, lists.lists[0].synced_at_s) == (NOBODY, NOW_S)


def test_each_list_has_its_generation_and_its_age():
    """In columns, in the order of the lists; a change moves those of its list alone."""
    lists = blocklists(live("XB/two", OTHER), live("XA/one", LISTED))
    later = lists.with_changes("XB/two", [], 7, NOW_S + 5)
    assert (later.generations.tolist(), later.synced_at_s.tolist()) == ([1, 7], [NOW_S, NOW_S + 5])
    assert (lists.generations.tolist(), lists.synced_at_s.tolist()) == ([1, 1], [NOW_S, NOW_S])
    for held in (lists, later, blocklists()):
        assert {held.generations.dtype, held.synced_at_s.dtype} == {np.dtype(np.int64)}
        assert held.steady.shape == (len(held.lists), 2)
        assert not held.steady.any()


def test_a_change_keeps_the_scope_unless_it_brings_another():
    """A list keeps its feed's scope, also where only numbers changed."""
    narrow, wide = Scope("feed", frozenset({66})), Scope("feed", None)
    lists = blocklists(live("XA/one", LISTED)).with_changes("XA/one", [], 2, NOW_S, narrow)
    assert lists.scopes == (narrow,)
    assert lists.with_changes("XA/one", [], 3, NOW_S).scopes == (narrow,)
    assert lists.with_changes("XA/one", [], 3, NOW_S, wide).scopes == (wide,)


def test_a_list_without_entries_has_no_reports():
    """A filter may hold a number; it has no report of it, unless one came since."""
    held = fresh("XB/bare", b"", bare("XB/bare", [LISTED]), NOW_S)
    assert not held.has_reports(fingerprint_of(LISTED), NOW_S)
    added = entry(LISTED, expires_at_s=NOW_S + 1)
    since = EMPTY.with_changes([Change(added.fingerprint, (added,))])
    assert replace(held, overlay=since).has_reports(added.fingerprint, NOW_S)
    assert not replace(held, overlay=since).has_reports(added.fingerprint, NOW_S + 1)


def test_a_list_s_prefix_takes_no_match_from_another_list():
    """A filter's perhaps stays beside the prefix of a list that is shared with its entries."""
    lists = blocklists(
        fresh("XA/bare", b"", bare("XA/bare", [LISTED]), NOW_S), live("XB/range", "+4477009001*")
    )
    assert [(match.list, match.confirmed, match.prefix) for match in found(lists, LISTED)[0]] == [
        (0, False, 0),
        (1, True, 10),
    ]


def test_lists_that_hold_a_number_and_its_prefix_speak_of_the_number():
    """Each of them once, with the entry of the number itself, however many lists there are."""
    both = [entry("+4477009001*", confidence=10), entry(LISTED), entry(CLEAN)]
    names = [f"XA/n{n}" for n in range(5)]
    lists = blocklists(*(fresh(name, b"", snapshot(name, both), NOW_S) for name in names))
    for number, told in ((LISTED, (0, 100)), (CLEAN, (0, 100)), (OTHER, (10, 10))):
        matches = found(lists, OTHER, number, LISTED)[1]
        assert [match.list for match in matches] == [0, 1, 2, 3, 4]
        assert {(match.prefix, match.confidence) for match in matches} == {told}


@pytest.mark.parametrize("text", ["+8*", "+85*", "+855239*", "+85523900001"])
def test_what_the_gate_saw_is_never_outside(text):
    """A prefix, or a number that is written out; one that is only a hash may be outside."""
    scopes, number = Scopes.of([Allowed(frozenset({66}))]), "+85523900001"
    shared = hashed("KH/scam", [entry(number)], [number])
    hidden = blocklists(fresh("KH/scam", b"", shared, NOW_S))
    for lists, outside in (
        (blocklists(live("KH/scam", text)), Outside.NOT),
        (hidden, Outside.COUNTRY),
    ):
        matches = lists.match(numbers_of([number]), NOW_S, scopes=scopes).by_row()
        assert [match.outside for match in matches[0]] == [outside]


def test_an_unknown_list_is_a_bug():
    """Changes to a list that is not there are the caller's mistake, not data."""
    with pytest.raises(ValueError, match="tuple"):
        EMPTY_BLOCKLISTS.with_changes("XA/none", [], 1, NOW_S)


def test_promotions_stand_beside_the_lists():
    """with_trials makes a new value with the same lists, and leaves the old one alone."""
    lists = blocklists(live("KH/scam", "+85523900001"))
    turned = Trials({}, generation=7)
    assert lists.with_trials(turned).trials is turned
    assert lists.with_trials(turned).lists is lists.lists
    assert lists.trials.generation == 0


def test_the_chance_of_a_bare_match_is_that_of_all_bare_lists_together():
    """Lists with entries confirm their hits, and one without data matches nobody."""
    kept = live("KH/scam", "+85523900001")
    snapshots = [bare(f"LA/{at}", ["+85620000001"], rate=0.01 / (at + 1)) for at in range(2)]
    bares = [fresh(f"LA/{at}", b"", one, NOW_S) for at, one in enumerate(snapshots)]
    rates = [one.filter.shape.error_rate for one in snapshots]
    assert chance_of([kept]) == chance_of([replace(kept, snapshot=None)]) == 0
    assert chance_of(bares[:1]) == pytest.approx(rates[0])
    both = chance_of([kept, *bares])
    assert both == pytest.approx(1 - (1 - rates[0]) * (1 - rates[1]))
