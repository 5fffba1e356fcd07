"""Membership in kernels against the reference, and what they may read."""

from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core import kernels
from stream.core.filters.blocklists import fresh
from stream.core.filters.bloom import build_filter, pybloom_shape, write_filter
from stream.core.filters.digests import Digests, elements
from stream.core.filters.exact_index import ExactIndex
from stream.core.filters.overlay import EMPTY, Change, Touched
from stream.core.filters.sliced_table import probe_table
from stream.core.model.entry import NEVER, Category, Columns
from tests.support.builders import NOW_S, bare, blocklists, entry, fingerprint_of, live, numbers_of
from tests.support.examples import examples
from tests.support.guarded_memory import guarded

RANDOM = np.random.default_rng(20_261_125)
NOTHING = Touched.of(())
STEADY = np.zeros((10, 2))


def both_ways(asked):
    """The columns that `asked()` gives, from the kernels, after a comparison with the reference
    to the last bit and type.
    """
    found = asked()
    with kernels.reference_only():
        expected = asked()
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.dtype == theirs.dtype
        assert mine.tolist() == theirs.tolist()
    return found


def at_the_edge(array):
    """A copy behind which nothing may be read or written."""
    copy = guarded(array.nbytes).view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def columns_of(fingerprint, random):
    """Entries with these fingerprints; the rest by chance, each time at the edge of now."""
    count = len(fingerprint)
    expiries = [NEVER, NOW_S - 1, NOW_S, NOW_S + 1, 2**32 - 1]
    return Columns(
        fingerprint=at_the_edge(fingerprint),
        number=np.zeros(count, np.uint64),
        reported_at=np.zeros(count, np.uint32),
        expires_at=at_the_edge(random.choice(expiries, count).astype(np.uint32)),
        category=at_the_edge(random.integers(0, 256, count).astype(np.uint8)),
        confidence=at_the_edge(random.integers(0, 101, count).astype(np.uint8)),
        source=np.zeros(count, np.uint16),
        sources=("test",),
    )


@pytest.mark.parametrize("share", [0.02, 0.4, 0.9])
@pytest.mark.parametrize("table_type", ["<u1", "<u2", "<u4", "<u8"])
@pytest.mark.parametrize(
    ("word_type", "m", "slices"),
    [("<u2", 31, 30), ("<u2", 32_767, 2), ("<u4", 3001, 14), ("<u4", 5, 1), ("<u8", 11, 2)],
)
def test_tables_of_every_kind_are_probed_alike(word_type, m, slices, table_type, share):
    """Any width of table and of words, nearly empty or overfull: the reference's rows and masks."""
    bits = RANDOM.random((slices * m, 8 * np.dtype(table_type).itemsize)) < share
    table = at_the_edge(np.packbits(bits, axis=1, bitorder="little").view(table_type)[:, 0])
    top = np.iinfo(word_type).max
    words = RANDOM.integers(0, top, (700, slices + 3), word_type, endpoint=True)
    rows, masks = both_ways(lambda: probe_table(table, words[:, :slices], m))
    assert len(rows) or share < 0.9
    assert masks.all()


@pytest.mark.parametrize("m", [2**31 + 11, 2**33 + 7])
def test_filters_of_more_than_two_billion_bits_are_probed_alike(m):
    """Words of 64 bits, positions beyond 2^31: a table of which a few pages exist."""
    table = np.zeros(2 * m, np.uint8)  # not written to, so not in memory
    words = RANDOM.integers(0, 2**64, (60, 2), np.uint64)
    for j in (0, 1):
        table[words[::3, j] % np.uint64(m) + np.uint64(j * m)] = 1 << j | 4
    rows, masks = both_ways(lambda: probe_table(table, words, m))
    assert rows.tolist() == list(range(0, 60, 3))
    assert set(masks.tolist()) == {4}


@given(
    st.integers(0, 300),
    st.sampled_from(["even", "low", "high", "together"]),
    st.lists(st.integers(0, 2**64 - 1), max_size=40),
    st.integers(0, 2**32),
)
@examples(40)
def test_entries_are_found_however_they_lie(count, spread, asked, seed):
    """Digests are spread evenly, a partner's fingerprints perhaps not: then the kernel's guesses
    are wrong by any distance, and it finds the same entries all the same.
    """
    random = np.random.default_rng(seed)
    lowest, width = {
        "even": (0, 2**64 - 1),
        "low": (0, 400),
        "high": (2**64 - 400, 399),
        "together": (2**63, 400),
    }[spread]
    fingerprint = np.unique(random.integers(0, width, count, np.uint64) + np.uint64(lowest))
    near = [fingerprint + np.uint64(d) for d in (0, 1, 2**64 - 1)]
    wanted = np.concatenate([*near, np.array([*asked, 0, 2**64 - 1], np.uint64)])
    ledger = ExactIndex.of(
        [3, 5, 9], [columns_of(fingerprint, random), None, columns_of(fingerprint[:0], random)]
    )
    touched = Touched.of(
        (index, EMPTY.with_changes(Change(f, ()) for f in random.choice(wanted, 9).tolist()))
        for index in (3, 5, 7)
    )
    masks = random.integers(0, 8, len(wanted)).astype(np.uint64)
    rows = np.flatnonzero(masks)
    for overlays in (touched, NOTHING):
        both_ways(
            lambda: ledger.confirm(rows, masks[rows], wanted, overlays, STEADY, NOW_S).columns  # noqa: B023
        )


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 9), st.sampled_from([None, 0, -1, 1])),
        max_size=30,
    ),
    st.integers(1, 29),
)
def test_overlays_say_the_same_at_once_and_bit_by_bit(changes, at):
    """Taken in one by one or together, asked by kernel or reference: what dicts would say."""
    said: dict[tuple[int, int], int | None] = {}
    whole = Touched.of(
        (index, EMPTY.with_changes(_changes(c for c in changes if c[0] == index)))
        for index in range(4)
    )
    grown = NOTHING
    for part in (changes[:at], changes[at:]):
        for index in range(4):
            grown = grown.with_changes(index, list(_changes(c for c in part if c[0] == index)))
    for index, number, expiry in changes:
        said[number, index] = expiry
    fingerprints = np.array([fingerprint_of(f"+6681234567{n}") for n in range(10)], np.uint64)
    expected = sorted(
        (number, index) for (number, index), expiry in said.items() if expiry in (0, 1)
    )
    for touched in (whole, grown):
        rows, lists, *_ = both_ways(lambda: touched.match(fingerprints, STEADY, NOW_S).columns)  # noqa: B023
        assert list(zip(rows.tolist(), lists.tolist(), strict=True)) == expected


def _changes(changes):
    for _, n, expiry in changes:
        number = f"+6681234567{n}"
        held = (
            () if expiry is None else (entry(number, expires_at_s=NOW_S + expiry if expiry else 0),)
        )
        yield Change(fingerprint_of(number), held)


def test_lists_of_all_kinds_match_both_ways():
    """Sizes, circles, hash plans, bare filters, changes, and texts that are no numbers."""

    def members(count):
        return [f"+66{n}" for n in RANDOM.choice(10**8, count, replace=False) + 8 * 10**8]

    mine = [members(200) for _ in range(5)]
    lists = blocklists(
        live("XA/plain", *mine[0], expires_at_s=NOW_S + 1),
        live("XB/keyed", *mine[1], *mine[0][:50], key=bytes(range(32))),
        live("XC/long-key", *mine[2], key=bytes(77)),
        fresh("XD/coarse", b"", bare("XD/coarse", mine[3] + mine[0][:9], 1000, 0.01), NOW_S),
        fresh("XE/fine", b"", bare("XE/fine", mine[4], 40_000, 1e-6), NOW_S),
    )
    removed = [Change(fingerprint_of(n), ()) for n in mine[0][:20]]
    added = [Change(e.fingerprint, (e,)) for e in map(entry, mine[4][:30])]
    lists = lists.with_changes("XA/plain", [*removed, *added], 2, NOW_S)
    asked = numbers_of([*chain(*mine), None, "1155", "KBank", *members(3000)])
    columns = both_ways(lambda: lists.match(asked, NOW_S).columns)
    assert set(columns[1].tolist()) == {0, 1, 2, 3, 4}
    assert len(columns[0]) > 1000
    expired = both_ways(lambda: lists.match(asked, NOW_S + 1).columns)
    assert np.count_nonzero(expired[1] == 0) == len(added)


def test_kernels_and_core_mean_the_same_by_a_number():
    """Constants that a kernel cannot import are written there again, and must not differ."""
    from stream.core.kernels import membership
    from stream.core.model import confidence

    assert membership.LEGITIMATE == Category.LEGITIMATE
    assert membership.ROUNDING == 0.5 + confidence.NUDGE
    assert (confidence.LIFETIME_S, confidence.EXPONENT) == (0, 1)


@pytest.mark.parametrize("count", [1, 7, 8, 9, 255, 256, 257])
def test_nothing_beyond_the_numbers_is_read(count):
    """Behind the last number, and behind the prefix, lies memory that may not be read."""
    from stream.core.kernels.hashing import START, sha512_numbers

    numbers = at_the_edge(np.array([f"+{10**14 + n}" for n in range(count)], "S16"))
    out = at_the_edge(np.zeros(8 * count, np.uint64))
    prefix = at_the_edge(np.arange(101, dtype=np.uint8))
    sha512_numbers(numbers.view(np.uint8), prefix, START, out)
    assert out.all()


def test_a_table_of_another_shape_is_a_bug():
    """Positions would lie outside of it."""
    shape = pybloom_shape(1000, 1e-4)
    held = build_filter([Digests(elements(np.array(["+1"], "S16"), b""))], shape, 1)
    assert len(write_filter(held)) == shape.file_size
    words = Digests(elements(np.array(["+1"], "S16"), b"")).words(held.plan)
    with pytest.raises(AssertionError, match="another shape"):
        probe_table(np.zeros(shape.num_bits - 1, np.uint8), words, shape.bits_per_slice)
