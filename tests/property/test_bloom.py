"""Filters and tables against pybloom-live itself, and against any bytes."""

import io
import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from pybloom_live.pybloom import BloomFilter

from stream.core.filters.bloom import (
    HEADER,
    RATE_MAX,
    Filter,
    build_filter,
    pybloom_shape,
    read_filter,
    write_filter,
)
from stream.core.filters.digests import Digests, elements
from stream.core.filters.sliced_table import TableSpec, compile_table, probe_table
from stream.core.model.errors import FilterTooCoarse, FilterUnreadable
from tests.support.examples import examples

shapes = st.tuples(st.integers(1, 3000), st.floats(1e-9, 0.5)) | st.tuples(
    st.integers(30_000, 60_000), st.sampled_from([0.05, 0.01, 1e-3, 1e-4, 1e-6])
)
numbers = st.integers(1, 10**15 - 1).map(lambda digits: f"+{digits}")
keys = st.binary(max_size=32)


def digests_of(texts, key):
    return Digests(elements(np.array(texts, "S16"), key))


@given(shapes, keys, st.lists(numbers, max_size=60, unique=True), st.lists(numbers, max_size=60))
@examples(50)
def test_the_same_bytes_and_answers_as_pybloom_live(shape, key, members, asked):
    """Any shape, key and members: the file is pybloom-live's, and so is every answer."""
    capacity, rate = shape
    members = members[:capacity]
    theirs = BloomFilter(capacity, rate)
    for member in members:
        theirs.add(key.hex() + member)
    out = io.BytesIO()
    theirs.tofile(out)
    ours = build_filter([digests_of(members, key)], pybloom_shape(capacity, rate), len(theirs))
    assert write_filter(ours) == out.getvalue()
    try:
        held = read_filter(out.getvalue())
    except FilterTooCoarse:
        assert rate > RATE_MAX or ours.match_rate > RATE_MAX
        held = ours
    answers = held.may_hold(digests_of(members + asked, key)).tolist()
    assert answers == [key.hex() + number in theirs for number in members + asked]
    assert all(answers[: len(members)])


@given(
    st.integers(1, 400),
    st.floats(1e-6, 0.9),
    st.floats(0, 1),
    st.integers(0, 401),
    st.integers(0, 2**32),
)
@examples(66)
def test_no_filter_is_read_that_matches_more_than_the_bound(capacity, rate, fill, count, seed):
    """Any bits under any header: what is read claims at most `RATE_MAX`, and matches no more.

    The share that is matched is counted here bit by bit, slice by slice.
    """
    shape = pybloom_shape(capacity, rate)
    set_bits = np.random.default_rng(seed).random(shape.num_bits) < fill
    held = Filter(shape, count, np.packbits(set_bits, bitorder="little"))
    share = set_bits.reshape(shape.slices, -1).mean(axis=1).prod()
    assert math.isclose(held.match_rate, share, abs_tol=1e-12)
    try:
        read = read_filter(write_filter(held))
    except FilterTooCoarse:
        assert rate > RATE_MAX or share > RATE_MAX
    except FilterUnreadable:
        return
    else:
        assert rate <= RATE_MAX
        assert share <= RATE_MAX * (1 + 1e-12)
        assert write_filter(read) == write_filter(held)


@given(st.binary(max_size=200))
@examples(100)
def test_any_bytes_are_refused_or_written_back(data):
    """Bytes are either refused by our own fault or a filter that writes back the same bytes."""
    try:
        held = read_filter(data)
    except FilterUnreadable:
        return
    assert write_filter(held) == data


GOOD = write_filter(
    build_filter([digests_of([f"+44770090{i:04d}" for i in range(50)], b"")],
                 pybloom_shape(60, 1e-3), 50)
)  # fmt: skip


@given(st.integers(0, HEADER.size * 8 - 1))
def test_a_flipped_bit_in_the_header_is_refused_or_only_the_count_lies(bit):
    """Shape and length must agree to the bit; only the count may lie a little."""
    data = bytearray(GOOD)
    data[bit // 8] ^= 1 << bit % 8
    try:
        held = read_filter(bytes(data))
    except FilterUnreadable:
        return
    # The error rate is a double: its last bits may change without changing k or m.
    assert held.shape.slices == 10
    assert held.count <= held.shape.capacity + 1
    assert held.shape.file_size == len(data)


@given(
    st.integers(1, 64),
    st.integers(2, 400),
    st.sampled_from([0.3, 0.05, 1e-3]),
    st.lists(numbers, max_size=200),
    st.randoms(use_true_random=False),
)
@settings(max_examples=60, deadline=None)
def test_a_table_is_its_filters(lists, capacity, rate, asked, random):
    """Any number of lists of any shape: the table says of every number what each filter says."""
    shape = pybloom_shape(capacity, rate)
    members = [[f"+{random.randrange(10**9)}" for _ in range(5)] for _ in range(lists)]
    filters = [build_filter([digests_of(m, b"")], shape, 5) for m in members]
    spec = TableSpec(filters[0].plan, shape.bits_per_slice, lists)
    table = np.empty(spec.rows, spec.dtype)
    compile_table(filters, table)
    digests = digests_of(asked + [m for ms in members for m in ms], b"")
    rows, masks = probe_table(table, digests.words(spec.plan), shape.bits_per_slice)
    said = np.zeros(len(digests), np.uint64)
    said[rows] = masks
    for index, held in enumerate(filters):
        bits = (said >> np.uint64(index)) & np.uint64(1)
        assert np.array_equal(bits == 1, held.may_hold(digests))
