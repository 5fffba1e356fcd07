"""Snapshots: no flipped bit, no cut, no alien byte gets through; changes are a dictionary's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.core.filters.digests import Digests, elements
from stream.core.filters.overlay import Change
from stream.core.filters.snapshot import (
    MANIFEST_PART,
    decode_manifest,
    open_snapshot,
    read_snapshot,
)
from stream.core.model.entry import Category, Entry
from stream.core.model.errors import SnapshotUnreadable
from stream.lists.snapshot.build import Version, build_snapshot, with_changes
from tests.support.builders import columns_of
from tests.support.examples import examples

KEY = b"\x01\x02"
COUNT = 64


def columns(numbers):
    return columns_of(numbers, KEY, ("x",), reported_at=range(len(numbers)))


PARTS = build_snapshot(
    Version("TH", "national", 1, "asean", KEY, "k"),
    columns([f"+44770090{i:04d}" for i in range(COUNT)]),
    9,
)
places = st.sampled_from(sorted(PARTS)).flatmap(
    lambda name: st.tuples(st.just(name), st.integers(0, len(PARTS[name]) * 8 - 1))
)


def flipped(name, bit):
    data = bytearray(PARTS[name])
    data[bit // 8] ^= 1 << bit % 8
    return {**PARTS, name: bytes(data)}


def refusal(parts):
    try:
        read_snapshot(parts)
    except SnapshotUnreadable as error:
        return str(error)
    return None


@given(places)
@examples(166)
def test_any_flipped_bit_is_refused_with_its_part(place):
    """Whichever bit of whichever part: refused, and the part is named."""
    told = refusal(flipped(*place))
    assert told is not None
    assert place[0] in told


@given(places)
@settings(max_examples=60, deadline=None)
def test_any_flipped_bit_on_the_disk_is_refused(tmp_path_factory, place):
    """The same for the files that a machine starts from."""
    folder = tmp_path_factory.mktemp("snapshot")
    for name, data in flipped(*place).items():
        (folder / name).write_bytes(data)
    with pytest.raises(SnapshotUnreadable, match=place[0]):
        open_snapshot(folder)


@given(places, st.binary(max_size=20))
@examples(66)
def test_any_cut_or_tail_is_refused(place, tail):
    """A part that ends elsewhere, or goes on with other bytes, is refused."""
    name, bit = place
    data = PARTS[name][: bit // 8] + tail
    if data != PARTS[name]:
        assert refusal({**PARTS, name: data}) is not None


@given(st.binary(max_size=300))
@examples(100)
def test_any_bytes_are_no_manifest(data):
    """Any bytes end in our own fault, never in another exception."""
    try:
        decode_manifest(data)
    except SnapshotUnreadable:
        return
    raise AssertionError(f"{data!r} was taken")


def test_a_manifest_nested_without_end_is_refused():
    """Deep nesting is refused like any other nonsense."""
    told = refusal({**PARTS, MANIFEST_PART: b'{"parts":' * 100_000})
    assert told is not None


numbers = st.integers(0, 30).map(lambda n: f"+4477009000{n:02d}")
changes = st.lists(st.tuples(numbers, st.booleans(), st.integers(0, 100)), max_size=40)


@given(st.lists(numbers, max_size=20), changes)
@examples(33)
def test_changes_do_what_a_dictionary_does(before, then):
    """A base after any changes holds what a dictionary would hold after them."""
    held = columns(before)
    model = {entry.number: entry for entry in map(held.entry, range(len(held)))}
    made = []
    for number, added, confidence in then:
        fingerprint = int(Digests(elements(np.array([number], "S16"), KEY)).fingerprints()[0])
        entry = Entry(number, fingerprint, Category.SPAM, "y", 1, 0, confidence)
        made.append(Change(fingerprint, (entry,) if added else ()))
        if added:
            model[number] = entry
        else:
            model.pop(number, None)
    after = with_changes(held, made)
    assert {e.number: e for e in map(after.entry, range(len(after)))} == model
    assert np.all(after.fingerprint[1:] > after.fingerprint[:-1])
    read_snapshot(build_snapshot(Version("TH", "n", 2, "c", KEY, "k"), after, 9), key=KEY)
