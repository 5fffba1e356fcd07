"""The shape of a table; tests/property/test_bloom.py asks tables and filters the same."""

import numpy as np
import pytest

from stream.core.filters.bloom import build_filter, pybloom_shape
from stream.core.filters.digests import Digests, elements
from stream.core.filters.sliced_table import TableSpec, compile_table

RANDOM = np.random.default_rng(4)


def numbers(count):
    return np.array([b"+668%08d" % n for n in RANDOM.integers(0, 10**8, count).tolist()], "S16")


def filters_of(lists, shape, size=400):
    return [
        build_filter([Digests(elements(numbers(size), b""))], shape, size) for _ in range(lists)
    ]


def compiled(filters):
    spec = TableSpec(filters[0].plan, filters[0].shape.bits_per_slice, len(filters))
    table = np.full(spec.rows, np.iinfo(spec.dtype).max, spec.dtype)
    compile_table(filters, table)
    assert table.nbytes == spec.nbytes
    return table


@pytest.mark.parametrize(
    ("lists", "dtype"),
    [(1, "<u1"), (8, "<u1"), (9, "<u2"), (16, "<u2"), (17, "<u4"), (33, "<u8"), (64, "<u8")],
)
def test_a_word_is_the_smallest_with_a_bit_for_each_list(lists, dtype):
    """Up to 64 lists share a table; few lists take no wider word than they need."""
    shape = pybloom_shape(500, 0.05)
    assert compiled(filters_of(lists, shape)).dtype == np.dtype(dtype)


@pytest.mark.parametrize("capacity", [500, 501, 502, 503, 100_003])
def test_the_padding_of_the_last_byte_has_no_rows(capacity):
    """Whatever k * m leaves over in the last byte, every bit of every filter is in the table; also
    where a filter is longer than what is turned at a time.
    """
    shape = pybloom_shape(capacity, 1e-4)
    filters = filters_of(3, shape)
    table = compiled(filters)
    for index, held in enumerate(filters):
        bits = (table >> np.uint8(index)) & np.uint8(1)
        assert np.array_equal(np.packbits(bits, bitorder="little"), held.bits)


def test_filters_of_several_shapes_do_not_mix():
    """A table of filters that do not share their positions is a bug, and says so."""
    (small,) = filters_of(1, pybloom_shape(500, 0.01))
    (large,) = filters_of(1, pybloom_shape(501, 0.01))
    with pytest.raises(AssertionError, match="several shapes"):
        compile_table([small, large], np.zeros(small.shape.num_bits, np.uint8))


@pytest.mark.parametrize(("lists", "dtype"), [(9, "<u1"), (15, "<u1"), (17, "<u2")])
def test_more_lists_than_a_word_has_bits_are_a_bug(lists, dtype):
    """They would share bits, and answer for each other."""
    filters = filters_of(lists, pybloom_shape(500, 0.05), size=1)
    table = np.zeros(filters[0].shape.num_bits, dtype)
    told = f"{lists} lists in words of {table.itemsize} bytes"
    with pytest.raises(AssertionError, match=told):
        compile_table(filters, table)
