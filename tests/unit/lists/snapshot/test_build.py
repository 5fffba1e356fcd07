"""Building a list's snapshot, and proving it."""

from dataclasses import replace
from hashlib import sha256

import msgspec
import numpy as np
import pytest
from pybloom_live.pybloom import BloomFilter

from stream.core.filters.bloom import (
    COUNT_MAX,
    PROBES,
    build_filter,
    pybloom_shape,
    shape_for,
    write_filter,
)
from stream.core.filters.digests import Digests, elements
from stream.core.filters.overlay import Change
from stream.core.filters.snapshot import (
    COLUMNS,
    FILTER_PART,
    MANIFEST_PART,
    SnapshotPart,
    decode_manifest,
    encode_manifest,
    read_snapshot,
)
from stream.core.model.entry import Category, Columns, Entry
from stream.core.model.errors import FilterTooCoarse, FilterUnreadable, SnapshotUnreadable
from stream.lists.snapshot import build
from stream.lists.snapshot.build import (
    OF_EACH,
    Version,
    bare_snapshot,
    build_snapshot,
    check_measured,
    verify_parts,
    with_changes,
)
from tests.support.builders import columns_of

KEY = b"circle"
VERSION = Version("KH", "scam", 3, "mekong", KEY, "k1")
NUMBERS = [f"+44770090{i:04d}" for i in range(500)]


def columns(numbers=NUMBERS, key=KEY, confidence=50):
    return columns_of(numbers, key, ("police",), confidence=confidence)


def digests_of(numbers, key=KEY):
    return Digests(elements(np.array(numbers, "S16"), key))


def entry(number, source="police", confidence=90):
    fingerprint = int(digests_of([number]).fingerprints()[0])
    return Entry(number, fingerprint, Category.SPAM, source, 1, 2, confidence)


def test_a_built_list_proves_itself():
    """A built snapshot reads back: every member found, no more false positives than promised."""
    done = []
    parts = build_snapshot(VERSION, columns(), 9, lambda *at: done.append(at))
    assert verify_parts(parts, KEY) == 500
    assert done == [(500, 500)]
    manifest = decode_manifest(parts[MANIFEST_PART])
    assert (manifest.list_name, manifest.generation, manifest.key_id) == ("KH/scam", 3, "k1")


def test_a_partner_reads_the_filter_with_pybloom_live(tmp_path):
    """The filter part is a pybloom-live file with the members and the probes in it."""
    path = tmp_path / FILTER_PART
    path.write_bytes(build_snapshot(VERSION, columns(), 9)[FILTER_PART])
    with path.open("rb") as file:
        theirs = BloomFilter.fromfile(file)
    assert all(KEY.hex() + number in theirs for number in (*NUMBERS, *PROBES))
    assert len(theirs) == 516


def test_the_key_is_not_printed():
    """A version in a log line does not give the circle's key away."""
    assert "circle'" not in repr(VERSION)


def test_fingerprints_alone_can_not_be_built_from():
    """Without numbers there is nothing to hash: refused, saying what would help."""
    shared = columns()
    shared = replace(shared, number=np.where(np.arange(500) < 20, 0, shared.number))
    with pytest.raises(SnapshotUnreadable, match="20 of 500 entries are fingerprints"):
        build_snapshot(VERSION, shared, 9)


def test_fingerprints_come_with_their_owners_filter():
    """A partner's fingerprints with the partner's filter make a list that confirms matches."""
    theirs = build_snapshot(VERSION, columns(), 9)
    shared = replace(columns(), number=np.zeros(500, np.uint64))
    parts = build_snapshot(VERSION, shared, 9, filter_data=theirs[FILTER_PART])
    assert verify_parts(parts, KEY) == 0
    rows = read_snapshot(parts).find(digests_of(NUMBERS).fingerprints())
    assert (rows >= 0).all()
    with pytest.raises(FilterUnreadable, match="probe numbers absent"):
        build_snapshot(replace(VERSION, key=b"?"), shared, 9, filter_data=theirs[FILTER_PART])


def test_entries_of_another_circle_are_refused():
    """Fingerprints that are not those of their numbers would never match: refused, not enforced."""
    with pytest.raises(SnapshotUnreadable, match="500 of 500 entries have the fingerprint of an"):
        build_snapshot(VERSION, columns(key=b"other"), 9)


def test_more_entries_than_a_list_can_hold_are_refused():
    """The largest list is bounded, with the limit in the message, before anything is hashed."""
    endless = Columns(**{c.name: np.broadcast_to(c.dtype.type(1), COUNT_MAX + 1) for c in COLUMNS},
                      sources=("x",))  # fmt: skip
    with pytest.raises(SnapshotUnreadable, match=f"at most {COUNT_MAX}"):
        build_snapshot(VERSION, endless, 9)


def test_a_filter_that_misses_its_members_is_refused():
    """A filter with the right count and the wrong members does not pass the proof."""
    wrong = build_filter(
        [digests_of([*NUMBERS[:499], *PROBES, "+447700919999"])], shape_for(500), 516
    )
    parts = build_snapshot(VERSION, columns(), 9, filter_data=write_filter(wrong))
    with pytest.raises(SnapshotUnreadable, match="1 of its own members are not found"):
        verify_parts(parts, KEY)


def test_a_filter_that_holds_everybody_is_refused():
    """Every member is found in a filter whose bits are all set; what it matches is counted."""
    with pytest.raises(SnapshotUnreadable, match="its bits match 1 of all numbers"):
        verify_parts(bare_snapshot_of(everybody()), KEY)


def test_false_positives_are_counted_besides_the_bits():
    """A filter that holds the very numbers of the sample is refused by the hits, not the bits."""
    asked = [f"+999{n:012d}" for n in range(3000)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "_numbers_of_nobody", lambda _seed: np.array(asked, "S16"))
        held = build_filter([digests_of(asked)], shape_for(3000), 3000)
        with pytest.raises(FilterTooCoarse, match="6000 of 131072 numbers of nobody"):
            check_measured(held, KEY)


@pytest.mark.parametrize("share", [1.0, 0.3])
def test_a_filter_that_holds_a_country_is_refused(share):
    """Bits set for the numbers of a whole country, or a good part, are found by asking for them.

    The filter claims 1e-4 and is honest about its bits. All Thai mobile numbers are 300 million;
    the test shrinks the country to those that are asked.
    """
    country = np.array([f"+668{n:08d}" for n in range(20_000)], "S16")
    members = country[: int(len(country) * share)]
    held = build_filter([Digests(elements(members, KEY))], shape_for(len(members)), len(members))
    assert held.match_rate < 1e-4
    random = np.random.default_rng(1)
    with pytest.MonkeyPatch.context() as patch:
        sample = random.choice(country, OF_EACH)
        patch.setattr(build, "_numbers_of_countries", lambda _seed: iter([(66, 11, sample)]))
        with pytest.raises(FilterTooCoarse, match=r"of 256 random numbers of \+66 with 11 digits"):
            check_measured(held, KEY)


def test_an_honest_filter_passes_every_measure():
    """A filter at 1 % that is as full as it may be is near the bound; one at 0.1 % is far from it.

    A limit that a feed lowers refuses the second too.
    """
    held = build_filter([digests_of(NUMBERS)], pybloom_shape(40_000, 1e-3), 500)
    check_measured(held, KEY)
    with pytest.raises(FilterTooCoarse, match=r"its header claims 0\.001 of all numbers, at most"):
        check_measured(held, KEY, 1e-4)


def test_the_numbers_that_are_asked_are_the_filters_own_choice():
    """Another filter is asked for other numbers, so nobody can leave out those of the test."""
    asked = [
        {(code, size): texts[0] for code, size, texts in build._numbers_of_countries(seed)}
        for seed in (1, 2, 1)
    ]
    assert asked[0] == asked[2] != asked[1]
    assert (66, 11) in asked[0]
    assert all(text.startswith(b"+%d" % code) for (code, _), text in asked[0].items())
    assert all(len(text) == size + 1 for (_, size), text in asked[0].items())


def everybody():
    """A filter of ours with all bits set."""
    held = build_filter([], shape_for(500), 516)
    held.bits[:] = 255
    held.bits[-1] >>= -held.shape.num_bits % 8
    return held


def bare_snapshot_of(held):
    """A bare snapshot of a filter that `read_filter` would refuse."""
    parts = bare_snapshot(VERSION, build_snapshot(VERSION, columns(), 9)[FILTER_PART], 9)
    data = write_filter(held)
    manifest = msgspec.structs.replace(
        decode_manifest(parts[MANIFEST_PART]),
        parts={FILTER_PART: SnapshotPart(len(data), sha256(data).hexdigest())},
    )
    return {FILTER_PART: data, MANIFEST_PART: encode_manifest(manifest)}


def test_a_partners_bare_filter_is_taken_as_it_is():
    """The partner's very bytes are kept; known members prove that the hash is the right one."""
    shape = pybloom_shape(1000, 1e-6)
    data = write_filter(build_filter([digests_of(NUMBERS)], shape, 500))
    samples = np.array(NUMBERS[:5], "S16")
    parts = bare_snapshot(VERSION, data, 9, samples)
    assert parts[FILTER_PART] == data
    assert verify_parts(parts, KEY) == 0
    assert decode_manifest(parts[MANIFEST_PART]).numbers == 500
    with pytest.raises(FilterUnreadable, match="5 of 5 known members absent"):
        bare_snapshot(replace(VERSION, key=b""), data, 9, samples)


def test_a_number_given_twice_is_one_entry_and_the_last_counts():
    """A feed that repeats a number means its last word."""
    held = columns(["+447700900001", "+447700900002", "+447700900001"], confidence=[1, 2, 3])
    assert len(held) == 2
    by_number = dict(zip(held.number.tolist(), held.confidence.tolist(), strict=True))
    assert by_number == {447700900001: 3, 447700900002: 2}


def test_changes_become_entries():
    """Added, replaced and removed entries and new sources are in the next base."""
    before = columns(NUMBERS[:3])
    added, replaced = entry("+447700919999", "bank"), entry(NUMBERS[0])
    gone = int(digests_of([NUMBERS[1]]).fingerprints()[0])
    after = with_changes(
        before,
        [Change(replaced.fingerprint, ()), Change(added.fingerprint, (added,)),
         Change(gone, ()), Change(replaced.fingerprint, (replaced,))],
    )  # fmt: skip
    entries = {e.number: e for e in map(after.entry, range(len(after)))}
    assert set(entries) == {NUMBERS[0], NUMBERS[2], "+447700919999"}
    assert entries["+447700919999"] == added
    assert entries[NUMBERS[0]] == replaced
    assert entries[NUMBERS[2]].confidence == 50
    verify_parts(build_snapshot(VERSION, after, 9), KEY)


def test_no_changes_change_nothing():
    """Columns after no change are the same columns."""
    before = columns()
    after = with_changes(before, [])
    assert all(np.array_equal(getattr(before, c.name), getattr(after, c.name)) for c in COLUMNS)
