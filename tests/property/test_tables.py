"""Tables made from other tables are those that would be made of all filters."""

import re
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.core.filters import sliced_table as core_table
from stream.core.filters.bloom import Filter, pybloom_shape
from stream.core.filters.sliced_table import exchanged, turned
from stream.lists.follower import table_cache
from stream.lists.follower.table_cache import table_for
from tests.support.builders import entry, snapshot

SHAPE = pybloom_shape(700, 1e-3)


def some_filter(seed: int) -> Filter:
    bits = np.random.default_rng(seed).integers(0, 256, (SHAPE.num_bits + 7) // 8, np.uint8)
    bits[-1] &= (1 << SHAPE.num_bits % 8) - 1 if SHAPE.num_bits % 8 else 255
    return Filter(SHAPE, 1, bits)


def dtype_for(lists: int):
    return core_table.TableSpec(some_filter(0).plan, SHAPE.bits_per_slice, lists).dtype


@given(
    st.lists(st.integers(0, 99), min_size=1, max_size=64, unique=True),
    st.lists(st.integers(0, 99), min_size=1, max_size=64, unique=True),
    st.sampled_from([8, 1024, 1 << 20]),
)
@settings(max_examples=60, deadline=None)
def test_a_table_with_lists_exchanged_is_the_one_of_the_new_lists(before, after, rows):
    """Lists replaced, taken out, put in between, in another order, with another width of word: the
    same words as if all filters had been turned, wherever the pieces end.
    """
    old = np.concatenate(list(turned([some_filter(n) for n in before], dtype_for(len(before)))))
    kept = {new: before.index(n) for new, n in enumerate(after) if n in before}
    added = {new: some_filter(n) for new, n in enumerate(after) if new not in kept}
    dtype = dtype_for(len(after))
    pieces = (old[at : at + rows] for at in range(0, len(old), rows))
    made = np.concatenate(list(exchanged(pieces, kept, added, dtype)))
    expected = np.concatenate(list(turned([some_filter(n) for n in after], dtype)))
    assert made.dtype == expected.dtype
    assert np.array_equal(made, expected)


def lists_of(*counts: int):
    return [
        snapshot(f"TH/l{index}", [entry(f"+6681{index:02d}{n:05d}") for n in range(count)])
        for index, count in enumerate(counts)
    ]


def test_one_changed_list_is_put_into_the_old_table(tmp_path, monkeypatch):
    """Only what changed is turned, and what comes out is the table of all of them."""
    table_for(tmp_path / "a", lists_of(*range(20, 29)))
    monkeypatch.delattr(table_cache, "turned")  # who turns all of them fails
    made = table_for(tmp_path / "a", lists_of(*range(20, 28), 40))
    monkeypatch.undo()
    assert np.array_equal(made, table_for(tmp_path / "b", lists_of(*range(20, 28), 40)))


def test_a_damaged_table_is_no_base_for_another(tmp_path):
    """A flipped bit does not live on in the next table: that one is made of the filters."""
    table_for(tmp_path / "a", lists_of(20, 21, 22))
    (path,) = (tmp_path / "a" / "tables").glob("*.table")
    data = bytearray(path.read_bytes())
    data[1000] ^= 1
    path.write_bytes(data)
    made = table_for(tmp_path / "a", lists_of(20, 21, 30))
    assert np.array_equal(made, table_for(tmp_path / "b", lists_of(20, 21, 30)))


def test_a_table_is_made_again_where_a_bit_flipped(tmp_path, monkeypatch):
    """Every byte is compared at each start; also where an older version wrote the label."""
    same = lists_of(20, 21, 22)
    table_for(tmp_path, same)
    (path,) = (tmp_path / "tables").glob("*.table")
    (label,) = (tmp_path / "tables").glob("*.json")
    data = bytearray(path.read_bytes())
    old = re.sub(rb',"crc32c":\d+', b"", label.read_bytes())
    assert old != label.read_bytes()
    for written in (label.read_bytes(), old):
        label.write_bytes(written)
        data[1000] ^= 1
        path.write_bytes(data)
        made = table_for(tmp_path, same)
        assert np.array_equal(made, table_for(tmp_path / "b", same))
    monkeypatch.setattr(table_cache, "_make", None)  # who makes one fails
    for written in (old, label.read_bytes()):
        label.write_bytes(written)
        table_for(tmp_path, same)
        assert b"crc32c" in label.read_bytes()


def test_what_a_dead_process_left_goes(tmp_path):
    """A table that was never finished is as large as one that is."""
    same = lists_of(20, 21)
    table_for(tmp_path, same)
    (tmp_path / "tables" / ".writing-table").write_bytes(b"half")
    table_for(tmp_path, same)
    assert not list((tmp_path / "tables").glob(".writing*"))


@pytest.mark.parametrize("lists", [64])
def test_a_swap_takes_the_memory_of_a_few_pieces(tmp_path, monkeypatch, lists):
    """However large the table: it is read and written piece by piece, and never held twice."""
    for module in (core_table, table_cache):
        monkeypatch.setattr(module, "STRETCH", 1 << 12)
    same = lists_of(*[5] * lists)
    size = table_for(tmp_path, same).nbytes
    changed = [*same[:-1], *lists_of(*[5] * lists, 6)[-1:]]
    tracemalloc.start()
    table_for(tmp_path, changed)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert size > 4 << 20
    assert peak < size / 8
