"""The loops over bits, against what one would write by hand."""

import numpy as np
import pytest

from stream.core import kernels
from stream.core.kernels import reference
from tests.support.guarded_memory import guarded

RANDOM = np.random.default_rng(3)


def words_of(dtype, count=500, slices=9):
    top = np.iinfo(dtype).max
    return RANDOM.integers(0, top, (count, slices), dtype=dtype, endpoint=True)


@pytest.mark.parametrize(
    ("dtype", "m"),
    [("<u2", 31), ("<u2", 32767), ("<u4", 2**31 - 1), ("<u4", 40009), ("<u8", 2**33 + 7)],
)
def test_positions_are_the_remainders_of_their_slice(dtype, m):
    """Position = word modulo m, plus the slices before; also past 2^32."""
    words = words_of(dtype)
    for j in (0, 8):
        expected = [int(word) % m + j * m for word in words[:, j]]
        assert reference.positions(words, j, m).tolist() == expected


def test_bits_set_are_exactly_those_of_the_words():
    """Repeated positions and neighbours in one byte do no harm."""
    m, words = 97, words_of("<u4")
    bits = np.zeros((9 * m + 7) // 8, np.uint8)
    reference.set_bits(bits, words, m)
    expected = {int(word) % m + j * m for row in words for j, word in enumerate(row)}
    assert set(np.flatnonzero(np.unpackbits(bits, bitorder="little")).tolist()) == expected
    assert reference.count_bits(bits) == len(expected)


def test_probing_a_filter_asks_every_slice():
    """A number is held only if the bit of each slice is set."""
    m, words = 1009, words_of("<u4")
    bits = np.zeros((9 * m + 7) // 8, np.uint8)
    reference.set_bits(bits, words[:100], m)
    held = reference.probe_filter(bits, words, m)
    flat = np.unpackbits(bits, bitorder="little")
    expected = [all(flat[int(w) % m + j * m] for j, w in enumerate(row)) for row in words]
    assert held.tolist() == expected
    assert held[:100].all()
    assert not held.all()


@pytest.mark.parametrize("slices", [1, 5, 6, 7, 8, 14])
def test_probing_a_table_gives_the_and_of_all_slices(slices):
    """Rows ascend, masks are the AND of a number's words of all slices, and no row is lost; for
    fewer slices than the first look takes, as many, and more.
    """
    m, words = 211, words_of("<u4", 2000, slices)
    table = RANDOM.integers(0, 2**63, slices * m, dtype=np.uint64)
    table |= RANDOM.integers(0, 2**63, slices * m, dtype=np.uint64)
    rows, masks = reference.probe_words(table, words, m)
    expected = {}
    for row, parts in enumerate(words.tolist()):
        mask = 2**64 - 1
        for j, word in enumerate(parts):
            mask &= int(table[word % m + j * m])
        if mask:
            expected[row] = mask
    assert dict(zip(rows.tolist(), masks.tolist(), strict=True)) == expected
    assert rows.tolist() == sorted(expected)
    assert [array.dtype.name for array in (rows, masks)] == ["int64", "uint64"]


@pytest.mark.parametrize("lists", [1, 8, 9, 64])
def test_transposing_puts_a_lists_bit_in_every_word(lists):
    """Bit l of a position's word is list l's bit at that position; absent lists are 0."""
    columns = [RANDOM.integers(0, 256, 40, dtype=np.uint8) for _ in range(lists)]
    groups = (lists + 7) // 8
    out = np.full((320, groups), 255, np.uint8)
    reference.transpose_bits(columns, out)
    bits = np.unpackbits(out, axis=1, bitorder="little")
    for index in range(groups * 8):
        wanted = np.unpackbits(columns[index], bitorder="little") if index < lists else 0
        assert (bits[:, index] == wanted).all()


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
