"""SHA-512 in lanes against hashlib, and digests both ways."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core import kernels
from stream.core.filters.digests import Digests, HashPlan, elements

texts = st.integers(0, 10**15 - 1).map(lambda digits: f"+{digits}") | st.text(
    "+0123456789", max_size=16
)


@pytest.mark.parametrize("size", range(16 + 1))
def test_numbers_of_each_size_behind_a_prefix_of_each_size(size):
    """Whatever lies where in a block, one or two of them: every digest is hashlib's."""
    from stream.core.kernels.hashing import START, sha512_numbers

    random = np.random.default_rng(size)
    for prefix_size in (*range(260), 500):
        prefix = random.bytes(prefix_size)
        # Another size beside it, so that lanes with one and with two blocks stand together.
        sizes = [size, 16 - size, size, 15, 1, 0, size, size, size]
        numbers = ["".join(map(str, random.integers(0, 10, n))) for n in sizes]
        out = np.zeros(8 * len(numbers), np.uint64)
        padded = np.array(numbers, "S16").view(np.uint8)
        sha512_numbers(padded, np.frombuffer(prefix, np.uint8), START, out)
        expected = b"".join(hashlib.sha512(prefix + n.encode()).digest() for n in numbers)
        assert out.tobytes() == expected, f"prefix of {prefix_size} bytes"


@given(st.lists(texts, max_size=40), st.binary(max_size=150), st.integers(1, 3))
def test_digests_are_the_same_both_ways(numbers, key, salts):
    """Words and fingerprints are those of the reference, for any key and any numbers."""
    held = elements(np.array(numbers, "S16"), key)
    plan = HashPlan("sha512", salts, 4, 14 * salts)
    lanes = Digests(held)
    words, fingerprints = lanes.words(plan), lanes.fingerprints()
    with kernels.reference_only():
        one_by_one = Digests(held)
        assert np.array_equal(words, one_by_one.words(plan))
        assert np.array_equal(fingerprints, one_by_one.fingerprints())


def test_numbers_that_do_not_lie_side_by_side():
    """A column of a wider array, or every second number, is hashed as it reads."""
    numbers = np.array([f"+{n}" for n in range(1000, 1040)], "S16")
    apart = Digests(elements(numbers[::2], b"k")).fingerprints()
    assert np.array_equal(apart, Digests(elements(numbers[::2].copy(), b"k")).fingerprints())
