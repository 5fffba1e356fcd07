"""Matches: hits in columns, and the values they are."""

import numpy as np

from stream.core.filters.matches import NO_MATCHES, Matches
from stream.core.policy.list_scope import Outside
from stream.core.policy.policy import Match


def matches(*hits):
    """Hits as (row, list, confirmed, category, confidence, expiry, digits of a prefix, outside)."""
    types = (np.int64, np.int64, np.bool_, np.uint8, np.uint8, np.int64, np.uint8, np.uint8)
    columns = zip(*hits, strict=True) if hits else [()] * 8
    return Matches(*(np.array(c, t) for c, t in zip(columns, types, strict=True)))


SURE, PERHAPS = (4, 1, True, 2, 90, 50, 7, 0), (2, 3, False, 0, 0, 0, 0, 1)
FOREIGN = Match(3, False, outside=Outside.COUNTRY)


def test_each_row_has_its_matches_in_list_order():
    """A confirmed match carries its entry; an unconfirmed one carries nothing."""
    found = Matches.together([matches(SURE, PERHAPS), matches((4, 0, True, 1, 100, 0, 0, 2))])
    assert found.by_row() == {
        2: [FOREIGN],
        4: [Match(0, True, 1, 100, 0, 0, Outside.OWN), Match(1, True, 2, 90, 50, 7)],
    }
    assert found.rows.tolist() == [2, 4, 4]
    assert len(found) == 3


def test_columns_that_are_filled_later_are_apart():
    """A caller fills one column, and the others stay as they are."""
    for index in range(2, 8):
        blank = Matches.blank(np.array([7, 8]), np.array([0, 1]))
        blank.columns[index][:] = 1
        assert [column.tolist() for column in blank.columns[2:]] == [
            [index == other] * 2 for other in range(2, 8)
        ]


def test_lists_can_be_left_out():
    """The matches of a silent list go; the order of the others stays."""
    found = Matches.together([matches(SURE, PERHAPS)])
    assert found.without({3}).by_row() == {4: [Match(1, True, 2, 90, 50, 7)]}
    assert not found.without(frozenset({1, 3}))
    assert found.without(()).by_row() == found.by_row()


def test_nothing_together_is_nothing():
    """No parts, or empty ones, are no matches, with columns of their types."""
    assert not NO_MATCHES
    assert NO_MATCHES.by_row() == {}
    again = Matches.together([NO_MATCHES, matches()])
    assert [c.dtype for c in again.columns] == [c.dtype for c in matches(SURE).columns]
