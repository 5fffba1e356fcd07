"""Changes since the snapshots, as columns for a whole batch; with kernels and without."""

from contextlib import nullcontext

import numpy as np
import pytest

from stream.core import kernels
from stream.core.filters.matches import NO_MATCHES
from stream.core.filters.overlay import EMPTY, Change, Touched
from stream.core.model.confidence import decay_of
from stream.core.model.entry import Category
from tests.support.builders import NOW_S, entry

STEADY = decay_of([(0.0, 1.0)] * 3)
TOP = 2**64 - 1
TYPES = [np.uint64, np.int64, np.bool_, np.uint8, np.uint8, np.int64, np.int64]
either_way = pytest.mark.parametrize("way", [nullcontext, kernels.reference_only])


def change(fingerprint, *sure):
    """A change with one report for each confidence; none: the number was taken off."""
    fields = {"fingerprint": fingerprint, "category": Category.LOAN}
    told = (entry("+85523900001", **fields, confidence=one, source=f"s{one}") for one in sure)
    return Change(fingerprint, tuple(told))


def touched(*by_list):
    """The changes of several lists, in the order of their indexes."""
    return Touched.of((index, EMPTY.with_changes(told)) for index, told in enumerate(by_list))


def asked(held, *fingerprints):
    """Each match: the number's place, the list, and the confidence."""
    found = held.match(np.array(fingerprints, np.uint64), STEADY, NOW_S)
    assert [one.dtype for one in found.columns] == [one.dtype for one in NO_MATCHES.columns]
    columns = (found.rows, found.lists, found.confidence)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def test_columns_have_their_types_whatever_changed():
    """The kernels are compiled for these types, also where nothing changed, or was only removed."""
    for held in (touched(), touched([change(5, 50)]), touched([change(5)]), touched([], [])):
        assert [column.dtype for column in held.columns] == TYPES
        assert [one.dtype for one in held.with_changes(0, [change(6)]).columns] == TYPES


@either_way
def test_all_reports_of_a_number_on_a_list_are_one_match(way):
    """Numbers with several reports, on several lists, side by side: each pair once."""
    held = touched(
        [change(5, 50, 20), change(6, 50, 60), change(7, 10)],
        [change(5, 30, 90), change(TOP, 40, 50)],
        [change(6), change(7, 70)],
    )
    with way():
        assert asked(held, 7, TOP, 4) == [(0, 0, 10), (0, 2, 70), (1, 1, 70)]
        assert asked(held, 6, 5, 5, 6) == [
            (0, 0, 80),
            (1, 0, 60),
            (1, 1, 93),
            (2, 0, 60),
            (2, 1, 93),
            (3, 0, 80),
        ]


@either_way
def test_a_fingerprint_above_all_changed_ones_is_not_changed(way):
    """Also where it begins with the same bits as the largest of them."""
    held = touched([change(TOP - 1, 50)])
    with way():
        assert asked(held, TOP, TOP - 2, 0) == []
        assert asked(held, TOP, TOP - 1) == [(1, 0, 50)]
