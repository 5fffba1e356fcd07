"""Filters set and asked by kernels, against the reference."""

import numpy as np
import pytest

from stream.core import kernels
from stream.core.kernels import reference
from tests.support.guarded_memory import guarded

RANDOM = np.random.default_rng(7)


@pytest.mark.parametrize("count", [0, 1, 127, 128, 129, 700])
@pytest.mark.parametrize(
    ("word_type", "m", "slices"),
    [("<u2", 31, 30), ("<u2", 32_767, 2), ("<u4", 3001, 14), ("<u4", 5, 1), ("<u8", 2**20 + 7, 2)],
)
def test_kernels_set_and_ask_the_same_bits(word_type, m, slices, count):
    """Any width of words, rows of longer digests, the last byte being the last of its page: the
    bits that the reference sets, and its answers.
    """
    assert kernels.compiled()
    from stream.core.kernels.filter_bits import held_bits, set_bits

    top = np.iinfo(word_type).max
    words = RANDOM.integers(0, top, (count, slices + 3), word_type, endpoint=True)[:, :slices]
    asked = np.concatenate([words, RANDOM.integers(0, top, (300, slices), word_type)])
    bits = guarded((slices * m + 7) // 8)
    bits[:] = 0
    set_bits(bits, bits.ctypes.data, words, m)
    expected = np.zeros_like(bits)
    reference.set_bits(expected, words, m)
    assert np.array_equal(bits, expected)
    held = np.full(len(asked), 9, np.uint8)
    held_bits(bits, bits.ctypes.data, asked, m, held)
    assert np.array_equal(held.view(np.bool_), reference.probe_filter(bits, asked, m))
    assert held[:count].all()
