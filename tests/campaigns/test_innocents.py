"""The campaign of innocents: a tenth of it, and that it sees a block too many and one too few."""

import numpy as np
import pytest

from stream.core import kernels
from tests.campaigns import innocents
from tests.campaigns.innocents import BATCH, Found, Size

SMALL = Size(innocents=20 * BATCH, members=4000, lists=3, keyed=1, entries=1000)


@pytest.mark.campaign
@pytest.mark.skipif(not kernels.compiled(), reason="there are no kernels here")
def test_no_innocent_is_blocked_and_no_member_is_missed(measured):
    """64 lists match none of 100 million numbers of nobody, and each of 10 million members."""
    found = innocents.run(Size(10**8, 10**7, entries=10**5), "tenth")
    measured(str(found))
    assert found.right
    assert found.neighbours > 10**6


def test_small_lists_are_matched_without_a_fault():
    """Lists of both circles, with neighbours among the innocents, and members asked twice."""
    lists, found = innocents.build(SMALL), Found()
    innocents.ask_innocents(lists, SMALL, found)
    innocents.ask_members(lists, SMALL, found)
    assert found.right
    assert (found.neighbours, found.members) > (BATCH, 3999)


def test_a_fault_is_seen():
    """A list with a number more blocks an innocent; one with a number less misses members."""
    lists, found = innocents.build(SMALL), Found()
    innocents.ask_innocents(lists, Size(BATCH, 0, 3, 1, 999), found)
    assert found.blocked == 3
    innocents.ask_members(lists, Size(0, 3003, 3, 1, 1001), found)
    assert (found.missed, found.wrong) == (6, 3)


def test_every_place_has_a_number_of_its_own():
    """Places and numbers are one to one, and texts are those of the digits."""
    places = np.arange(0, innocents.PLACES, innocents.PLACES // 1000 + 1, dtype=np.uint64)
    digits = innocents.digits_at(places)
    assert innocents.places_of(digits).tolist() == places.tolist()
    texts = innocents.texts_of(digits)
    assert texts.tolist() == [b"+999%012d" % number for number in digits.tolist()]
