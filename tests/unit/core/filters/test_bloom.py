"""Filters: pybloom-live's files bit for bit, and what is refused."""

import io
import math
import re
import struct
from pathlib import Path

import numpy as np
import pytest
from pybloom_live.pybloom import BloomFilter, ScalableBloomFilter

from stream.core.filters import bloom
from stream.core.filters.bloom import (
    CAPACITY_CLASSES,
    COUNT_MAX,
    HEADER,
    PROBES,
    RATE_MAX,
    RATE_MIN,
    Filter,
    build_filter,
    check_members,
    check_probes,
    check_rate,
    map_filter,
    pybloom_shape,
    read_filter,
    shape_for,
    write_filter,
)
from stream.core.filters.digests import Digests, HashPlan, elements, hash_plan
from stream.core.model.errors import FilterTooCoarse, FilterUnreadable

GOLDEN = Path(__file__).parents[3] / "golden" / "filters"
MEMBERS = [f"+44770090{i:04d}" for i in range(200)]
OTHERS = [f"+44770091{i:04d}" for i in range(2000)]

# Every family that make_hashfuncs can choose below 2^31 bits a slice: capacity, error rate, plan.
FAMILIES = [
    (300, 0.01, HashPlan("xxh128", 1, 2, 7)),
    (300, 0.002, HashPlan("sha1", 1, 2, 9)),
    (300, 1e-4, HashPlan("sha256", 1, 2, 14)),
    (300, 1e-6, HashPlan("sha384", 1, 2, 20)),
    (300, 1e-9, HashPlan("sha512", 1, 2, 30)),
    (300, 1e-12, HashPlan("sha512", 2, 2, 40)),
    (40_000, 0.1, HashPlan("xxh128", 1, 4, 4)),
    (40_000, 0.05, HashPlan("sha1", 1, 4, 5)),
    (40_000, 0.01, HashPlan("sha256", 1, 4, 7)),
    (40_000, 1e-3, HashPlan("sha384", 1, 4, 10)),
    (40_000, 1e-4, HashPlan("sha512", 1, 4, 14)),
    (40_000, 1e-6, HashPlan("sha512", 2, 4, 20)),
    (40_000, 1e-11, HashPlan("sha512", 3, 4, 37)),
]


def digests_of(numbers, key=b""):
    return Digests(elements(np.array(numbers, "S16"), key))


def by_pybloom(numbers, capacity, rate):
    theirs = BloomFilter(capacity, rate)
    for number in numbers:
        theirs.add(number)
    return theirs


def file_of(theirs):
    out = io.BytesIO()
    theirs.tofile(out)
    return out.getvalue()


def patched(data, **fields):
    names = ("error_rate", "slices", "bits_per_slice", "capacity", "count")
    said = dict(zip(names, HEADER.unpack(data[: HEADER.size]), strict=True)) | fields
    return HEADER.pack(*said.values()) + data[HEADER.size :]


@pytest.mark.parametrize(("capacity", "rate", "plan"), FAMILIES)
def test_written_and_probed_as_by_pybloom_live(capacity, rate, plan):
    """For every hash family the file has the very bytes of BloomFilter.tofile, and each answer is
    that of `in`, false positives included.
    """
    theirs = by_pybloom(MEMBERS, capacity, rate)
    shape = pybloom_shape(capacity, rate)
    ours = build_filter([digests_of(MEMBERS[:7]), digests_of(MEMBERS[7:])], shape, len(theirs))
    assert write_filter(ours) == file_of(theirs)
    assert shape.file_size == len(file_of(theirs))
    held = read_filter(file_of(theirs)) if rate <= RATE_MAX else ours
    assert held.plan == ours.plan == plan
    asked = MEMBERS + OTHERS
    assert held.may_hold(digests_of(asked)).tolist() == [number in theirs for number in asked]


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("[hi]_*.bloom")), ids=lambda path: path.stem)
def test_files_of_pybloom_live_4_are_read(path):
    """Files that pybloom-live 4.0.0 once wrote are read, hold their members, and are written back
    the same: an upgrade of pybloom-live that changed the format would show here.
    """
    held = read_filter(path)
    assert held.may_hold(digests_of(MEMBERS)).all()
    assert write_filter(held) == path.read_bytes()
    with path.open("rb") as file:
        theirs = BloomFilter.fromfile(file)
    assert all(member in theirs for member in MEMBERS)


@pytest.mark.parametrize(
    ("slices", "algorithm", "salts"),
    [
        (1, "xxh128", 1),
        (2, "xxh128", 1),
        (4, "sha256", 1),
        (6, "sha384", 1),
        (8, "sha512", 1),
        (14, "sha512", 2),
    ],
)
def test_huge_filters_take_64_bit_chunks(slices, algorithm, salts):
    """From 2^31 bits a slice on, positions are cut as 64-bit chunks."""
    assert hash_plan(slices, 1 << 31) == HashPlan(algorithm, salts, 8, slices)
    assert hash_plan(slices, (1 << 31) - 1).chunk == 4
    assert digests_of(MEMBERS).words(hash_plan(slices, 1 << 31)).shape == (200, slices)


def test_one_digest_serves_all_lists_of_an_algorithm():
    """Plans with the same hash and salt share the digest; its first words are the same."""
    digests = digests_of(MEMBERS)
    small, large = (digests.words(HashPlan("sha512", 1, 4, slices)) for slices in (13, 16))
    assert np.array_equal(small, large[:, :13])
    assert np.shares_memory(small, large)


def test_fingerprints_are_the_unused_end_of_the_digest():
    """The fingerprint is the last 8 bytes of the SHA-512 that the standard profile leaves over."""
    digests = digests_of(MEMBERS)
    words = digests.words(HashPlan("sha512", 1, 4, 16))
    expected = words[:, 14].astype(np.uint64) | words[:, 15].astype(np.uint64) << np.uint64(32)
    assert np.array_equal(digests.fingerprints(), expected)


def test_an_empty_batch_has_empty_answers():
    """No number asked, no answer, no error."""
    held = read_filter(GOLDEN / "h_sha256.bloom")
    assert held.may_hold(digests_of([])).tolist() == []
    assert digests_of([]).fingerprints().tolist() == []


def test_the_circles_key_is_part_of_the_element():
    """The element is the key in hex, then the number: another circle's list says nothing."""
    theirs = by_pybloom([b"\x01\xff".hex() + number for number in MEMBERS], 40_000, 1e-4)
    held = read_filter(file_of(theirs))
    assert held.may_hold(digests_of(MEMBERS, b"\x01\xff")).all()
    assert not held.may_hold(digests_of(MEMBERS)).any()


def test_capacity_classes_hold_their_members_and_the_probes():
    """Our filters come in five sizes, the smallest that holds the numbers and the probes."""
    assert [shape_for(c - len(PROBES)).capacity for c in CAPACITY_CLASSES] == list(CAPACITY_CLASSES)
    assert shape_for(CAPACITY_CLASSES[0] - len(PROBES) + 1).capacity == CAPACITY_CLASSES[1]
    assert shape_for(0) == pybloom_shape(1 << 15, 1e-4)
    assert all(
        hash_plan(s.slices, s.bits_per_slice) == HashPlan("sha512", 1, 4, 14)
        for s in map(shape_for, (0, COUNT_MAX))
    )


def test_a_file_is_mapped_and_reads_the_same(tmp_path):
    """A path and its bytes give the same filter; the map cannot be written."""
    data = (GOLDEN / "h_sha256.bloom").read_bytes()
    held = read_filter(GOLDEN / "h_sha256.bloom")
    assert write_filter(held) == write_filter(read_filter(data)) == data
    assert not held.bits.flags.writeable


def test_a_file_of_pybloom_live_3_is_told_by_its_members():
    """Nothing in its bytes tells a 3.x file; known members do, and so do our probes."""
    held = read_filter(GOLDEN / "v3_1_md5.bloom")
    samples = np.array(MEMBERS, "S16")
    told = (
        r"^filter: 200 of 200 known members absent: written by pybloom-live 3, with another "
        r"circle's key, or with numbers written otherwise than \+66812345678$"
    )
    with pytest.raises(FilterUnreadable, match=told):
        check_members(held, b"", samples)
    check_members(read_filter(GOLDEN / "h_xxh128.bloom"), b"", samples)


def test_probes_tell_another_hash_or_key():
    """A filter of ours is refused when its probe numbers are absent: another key or hash."""
    held = build_filter([digests_of(PROBES, b"k")], shape_for(0), len(PROBES))
    check_probes(held, b"k")
    told = (
        r"^filter: another hash: 16 of 16 probe numbers absent \(another circle's key, or a file "
        r"of pybloom-live 3\?\)$"
    )
    with pytest.raises(FilterUnreadable, match=told):
        check_probes(held, b"other")


GOOD = file_of(by_pybloom(MEMBERS, 300, 1e-4))


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "0 bytes, a header alone has 40"),
        (GOOD[:39], "39 bytes"),
        (GOOD[:40], ": cut short$"),
        (GOOD[:-1], ": cut short$"),
        (GOOD + b"\0", ": something was appended$"),
        (patched(GOOD, error_rate=math.nan), "error rate is nan"),
        (patched(GOOD, error_rate=math.inf), "error rate is inf"),
        (patched(GOOD, error_rate=0.0), "error rate is 0.0"),
        (patched(GOOD, error_rate=-0.1), "error rate is -0.1"),
        (patched(GOOD, error_rate=1.0), "error rate is 1.0, not within 0 and 1"),
        (patched(GOOD, error_rate=1.5), "error rate is 1.5, not within 0 and 1"),
        (patched(GOOD, error_rate=5e-324), "error rate is 5e-324"),
        (patched(GOOD, error_rate=1e-5), "the header says 14 slices"),
        (patched(GOOD, slices=13), "the header says 13 slices"),
        (patched(GOOD, bits_per_slice=7), "slices of 7 bits"),
        (patched(GOOD, capacity=0), "capacity is 0"),
        (patched(GOOD, capacity=299), "but a capacity of 299"),
        (patched(GOOD, capacity=2**64 - 1), "but a capacity of 18446744073709551615"),
        (patched(GOOD, count=302), "302 members in a filter for 300"),
        (patched(GOOD, count=0), "the header counts 0 members"),
        (GOOD[:-1] + b"\xff", "padding"),
        (b"\x80\x04\x95" + bytes(80), "error rate"),
        ((GOLDEN / "scalable.bloom").read_bytes(), "a ScalableBloomFilter"),
    ],
)  # fmt: skip
def test_a_header_that_lies_is_refused(tmp_path, data, told):
    """The error names each way in which a file is no pybloom-live 4 filter, and the file if any."""
    with pytest.raises(FilterUnreadable, match=f"^filter: .*{told}"):
        read_filter(data)
    path = tmp_path / "partner.bloom"
    path.write_bytes(data)
    with pytest.raises(FilterUnreadable, match=f"^{re.escape(str(path))}: .*{told}"):
        read_filter(path)


@pytest.mark.parametrize(("capacity", "rate"), [(1, 1e-4), (1, RATE_MAX), (300, RATE_MIN)])
def test_the_smallest_and_the_bounds_are_read(capacity, rate):
    """A filter for one number, and those of the largest and the smallest rate, are good."""
    held = read_filter(file_of(by_pybloom(MEMBERS[:1], capacity, rate)))
    assert held.shape == pybloom_shape(capacity, rate)
    assert held.may_hold(digests_of(MEMBERS[:1])).all()


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"ratio": 1.0}, "a ScalableBloomFilter"),
        ({"ratio": 1.5}, "error rate"),
        ({"ratio": 0.0}, "error rate"),
        ({"capacity": 1}, "a ScalableBloomFilter"),
        ({"capacity": 1 << 63}, "a ScalableBloomFilter"),
        ({"capacity": 0}, "error rate"),
        ({"rate": 0.0}, "error rate"),
        ({"rate": 1.0}, "error rate"),
        ({"rate": 1.5}, "error rate"),
        ({"filters": -1}, "error rate"),
        ({"scale": 3}, "error rate"),
    ],
)
def test_a_scalable_file_is_told_by_all_of_its_fields(fields, told):
    """Fields that no ScalableBloomFilter has are those of a broken BloomFilter."""
    said = {"scale": 2, "ratio": 0.9, "capacity": 100, "rate": 0.001, "filters": 0} | fields
    with pytest.raises(FilterUnreadable, match=told):
        read_filter(struct.pack("<idQdl", *said.values()) + bytes(8))


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path, monkeypatch):
    """A partner may write over its file at any moment; the message names it."""
    path = tmp_path / "partner.bloom"
    path.write_bytes(GOOD)
    before = bloom._read_header

    def then_longer(*args):
        done = before(*args)
        path.write_bytes(GOOD + b"\0")
        return done

    monkeypatch.setattr(bloom, "_read_header", then_longer)
    with pytest.raises(FilterUnreadable, match=r"partner\.bloom: its length changed while it was"):
        map_filter(path)


def test_an_absurd_size_is_refused_before_anything_is_allocated():
    """A consistent header of a filter of 300 TB over 40 bytes is refused by the length alone."""
    shape = pybloom_shape(10**15, 1e-3)
    head = HEADER.pack(shape.error_rate, shape.slices, shape.bits_per_slice, shape.capacity, 5)
    with pytest.raises(FilterUnreadable, match="40 bytes, its header says"):
        read_filter(head)


def test_pybloom_lives_last_count_is_taken():
    """pybloom-live lets one member more than the capacity in: such a file is good."""
    full = by_pybloom(OTHERS[:301], 300, 1e-4)
    assert read_filter(file_of(full)).count == 301


def test_the_byte_too_many_that_pybloom_live_tolerates_is_refused():
    """With num_bits a multiple of 8, pybloom-live reads a file with one byte too many; its writer
    never makes one, so here it is damage.
    """
    theirs = next(
        f for f in (by_pybloom(MEMBERS, c, 1e-4) for c in range(300, 400)) if f.num_bits % 8 == 0
    )
    data = file_of(theirs)
    read_filter(data)
    BloomFilter.fromfile(io.BytesIO(data + b"\0"))
    with pytest.raises(FilterUnreadable, match="something was appended"):
        read_filter(data + b"\0")


def test_a_union_is_refused():
    """`union` loses the count, so nobody knows how overfull the filter is."""
    halves = by_pybloom(OTHERS[:900], 1000, 1e-3) | by_pybloom(OTHERS[900:1800], 1000, 1e-3)
    with pytest.raises(FilterUnreadable, match=r"the bits are those of about 1[78]\d\d \(a union"):
        read_filter(file_of(halves))


def test_more_members_than_counted_are_noticed():
    """A large filter that holds clearly more than its header says is refused."""
    theirs = by_pybloom(OTHERS, 3000, 1e-4)
    theirs.count = 1500
    with pytest.raises(FilterUnreadable, match="the header counts 1500 members"):
        read_filter(file_of(theirs))


def with_bits_set(shape, count, bits):
    """A filter whose header counts `count`, with `bits` of its bits set by chance."""
    chosen = np.zeros(shape.num_bits, np.uint8)
    chosen[np.random.default_rng(3).permutation(shape.num_bits)[:bits]] = 1
    return write_filter(Filter(shape, count, np.packbits(chosen, bitorder="little")))


@pytest.mark.parametrize(("count", "rate"), [(1000, RATE_MAX), (3000, 1e-4), (300, 1e-3)])
def test_six_deviations_of_the_estimate_are_chance(count, rate):
    """Bits of as many members as six standard deviations above the count are taken; two members
    more are not.
    """
    shape = pybloom_shape(4000, rate)
    k, m = shape.slices, shape.bits_per_slice
    deviation = math.sqrt(m * math.expm1(count / m) / k)
    largest = count / (1 - rate) + 6 * deviation
    for members, good in ((largest - 1, True), (largest + 1, False)):
        data = with_bits_set(shape, count, round(k * m * -math.expm1(-members / m)))
        if good:
            assert read_filter(data).count == count
        else:
            with pytest.raises(FilterUnreadable, match=rf"^filter: .* about {members:.0f} \("):
                read_filter(data)


@pytest.mark.parametrize("more", [0, 1])
def test_bits_tell_the_members_from_a_size_on(tmp_path, monkeypatch, more):
    """In smaller slices pybloom-live leaves false positives uncounted, so the count tells less."""
    path, shape = tmp_path / "partner.bloom", pybloom_shape(4000, 1e-3)
    path.write_bytes(with_bits_set(shape, 1, 4000))
    monkeypatch.setattr(bloom, "_TELLING_BITS", shape.bits_per_slice + more)
    if more:
        assert read_filter(path).count == 1
    else:
        with pytest.raises(
            FilterUnreadable, match=rf"^{re.escape(str(path))}: the header counts 1"
        ):
            read_filter(path)


def test_a_missing_file_is_named(tmp_path):
    """The message names the file."""
    with pytest.raises(FilterUnreadable, match=r"none\.bloom: No such file"):
        read_filter(tmp_path / "none.bloom")


def test_mapping_leaves_out_the_look_at_every_bit():
    """`map_filter`, for files whose checksum was compared, trusts the bits but not the header."""
    assert map_filter(patched(GOOD, count=0)).count == 0
    with pytest.raises(FilterUnreadable):
        map_filter(patched(GOOD, capacity=1))


def test_scalable_files_of_any_growth_are_told():
    """Both growth modes are recognised, not misread; also one without any filter."""
    for mode in (ScalableBloomFilter.SMALL_SET_GROWTH, ScalableBloomFilter.LARGE_SET_GROWTH):
        empty = ScalableBloomFilter(100, 0.001, mode)
        with pytest.raises(FilterUnreadable, match="a ScalableBloomFilter"):
            read_filter(file_of(empty))
    assert struct.calcsize("<idQdl") == 32


def full(capacity, rate, count):
    """A filter whose every bit is set, as pybloom-live would write it."""
    shape = pybloom_shape(capacity, rate)
    bits = np.full((shape.num_bits + 7) // 8, 0xFF, np.uint8)
    if shape.num_bits % 8:
        bits[-1] = (1 << shape.num_bits % 8) - 1
    return Filter(shape, count, bits)


@pytest.mark.parametrize("rate", [0.0101, 0.05, 0.5, 0.9, 0.999])
def test_a_filter_may_not_claim_to_match_more_than_one_in_a_hundred(rate):
    """The bound is absolute: no file with a larger error rate is read, however few its members."""
    data = write_filter(build_filter([digests_of(MEMBERS)], pybloom_shape(40_000, rate), 200))
    with pytest.raises(FilterTooCoarse, match=r"at most 0\.01 is allowed: build it with a smaller"):
        read_filter(data)
    with pytest.raises(FilterTooCoarse):
        map_filter(data)


@pytest.mark.parametrize(
    ("capacity", "rate", "count"), [(60, 1e-3, 60), (60, 1e-3, 1), (1, 0.01, 1), (40, 1e-9, 40)]
)
def test_bits_that_match_everybody_are_refused(tmp_path, capacity, rate, count):
    """All bits set match every number: refused, also where too few bits tell of the members."""
    everybody = full(capacity, rate, count)
    assert everybody.match_rate == 1
    assert everybody.may_hold(digests_of(OTHERS)).all()
    with pytest.raises(FilterTooCoarse, match=r"^filter: its bits match 1 of all numbers"):
        read_filter(write_filter(everybody))
    path = tmp_path / "coarse.bloom"
    path.write_bytes(write_filter(everybody))
    with pytest.raises(FilterTooCoarse, match=f"^{re.escape(str(path))}: its bits match 1 of all"):
        read_filter(path)


def test_a_map_of_bits_that_match_everybody_is_refused_by_the_same_bound():
    """`map_filter` believes bits that were compared; `check_rate` bounds them all the same."""
    mapped = map_filter(write_filter(full(60, 1e-3, 60)))
    with pytest.raises(FilterTooCoarse, match=r"^filter: its bits match 1 of all numbers"):
        check_rate(mapped)


def test_the_bound_itself_is_allowed(monkeypatch):
    """A filter may match just as many as the bound says."""
    held = map_filter(GOOD)
    monkeypatch.setattr(bloom, "RATE_MAX", held.match_rate)
    check_rate(held)
    monkeypatch.setattr(bloom, "RATE_MAX", math.nextafter(held.match_rate, 0))
    with pytest.raises(FilterTooCoarse):
        check_rate(held)


def test_the_match_rate_is_the_share_of_numbers_that_match():
    """The product of the slices' fills is what thousands of random numbers are matched by."""
    held = build_filter([digests_of(OTHERS)], pybloom_shape(2000, 0.01), 2000)
    others = digests_of([f"+999{n:011d}" for n in range(100_000)])
    measured = held.may_hold(others).mean()
    assert abs(measured - held.match_rate) < 6 * math.sqrt(0.01 / 100_000)
