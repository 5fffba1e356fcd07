"""The check of columns in pieces: the place where one piece ends and the next begins is no gap."""

import numpy as np
import pytest

from stream.core.filters.snapshot import ColumnsCheck
from stream.core.model.entry import PREFIX_MARK
from stream.core.model.errors import SnapshotUnreadable

ROWS = 20
PLACES = range(1, ROWS)
"""Every row that has one before it: within a piece, and the first of the second and the third."""


@pytest.fixture(params=[8, 16, 24])
def checked(request):
    """Checks columns in pieces of 8, 16 and 24 rows; the last piece has fewer."""

    def check(fingerprints, sources, numbers=(), where=""):
        found = ColumnsCheck(len(fingerprints), where)
        columns = {"fingerprint": fingerprints, "number": numbers, "source": sources}
        for name, values in columns.items():
            for at in range(0, len(values), request.param):
                found.take(name, np.array(values[at : at + request.param], np.uint64))
        return found.numbers, found.prefixes

    return check


def test_distinct_numbers_are_counted(checked):
    """Each fingerprint is a number, also 0, the smallest; their sources may have any order."""
    spaced = range(0, 10 * ROWS, 10)
    assert checked(spaced, range(ROWS, 0, -1)) == (ROWS, 0)
    assert checked([1, *spaced[1:]], [0] * ROWS) == (ROWS, 0)


@pytest.mark.parametrize("place", PLACES)
def test_a_number_may_have_several_sources(checked, place):
    """A row that goes on with the number before it needs a larger source, wherever it is."""
    fingerprints = list(range(0, 10 * ROWS, 10))
    fingerprints[place] = fingerprints[place - 1]
    sources = [5] * ROWS
    sources[place] = 6
    assert checked(fingerprints, sources) == (ROWS - 1, 0)
    for wrong in (5, 4, 0):
        sources[place] = wrong
        with pytest.raises(SnapshotUnreadable, match=r"^asean/source: a number has a source twice"):
            checked(fingerprints, sources, where="asean/")


def test_a_number_may_have_more_rows_than_a_piece(checked):
    """Its sources rise through all pieces; the last row counts like the first."""
    assert checked([7] * ROWS, range(ROWS)) == (1, 0)
    with pytest.raises(SnapshotUnreadable, match=r"^source: "):
        checked([7] * ROWS, [*range(ROWS - 1), ROWS - 2])


@pytest.mark.parametrize("place", PLACES)
def test_a_fingerprint_below_the_one_before_is_refused(checked, place):
    """Also one that is above all but the last of them."""
    fingerprints = list(range(0, 10 * ROWS, 10))
    fingerprints[place] = fingerprints[place - 1] - 1 if place > 1 else 5
    fingerprints[place - 1] += place == 1 and 6
    with pytest.raises(SnapshotUnreadable, match=r"^fingerprint: fingerprints are not in order"):
        checked(fingerprints, [0] * ROWS)


def test_prefixes_are_counted_in_every_piece(checked):
    """A row's number says that it is a prefix entry; the mark alone says nothing."""
    numbers = [PREFIX_MARK + 66 if row % 3 else 66_812_345_678 for row in range(ROWS)]
    assert checked(range(ROWS), [0] * ROWS, numbers) == (ROWS, 13)
    with pytest.raises(SnapshotUnreadable, match=f"^number: {PREFIX_MARK} is neither"):
        checked(range(ROWS), [0] * ROWS, [*numbers[:-1], PREFIX_MARK])
