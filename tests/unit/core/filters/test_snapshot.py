"""A snapshot: what it says, what it holds, and that nothing in it is believed unchecked."""

import gc
import re
import tracemalloc
from hashlib import sha256
from pathlib import Path

import msgspec
import numpy as np
import pytest

from stream.core.filters import snapshot as snapshots
from stream.core.filters.bloom import (
    HEADER,
    PROBES,
    build_filter,
    pybloom_shape,
    shape_for,
    write_filter,
)
from stream.core.filters.digests import Digests, elements
from stream.core.filters.snapshot import (
    COLUMNS,
    FILTER_PART,
    MANIFEST_PART,
    Snapshot,
    SnapshotPart,
    decode_manifest,
    encode_manifest,
    open_snapshot,
    read_snapshot,
)
from stream.core.model.entry import PREFIX_MARK, Category
from stream.core.model.errors import SnapshotUnreadable
from stream.lists.snapshot.build import Version, bare_snapshot, build_snapshot
from tests.support.builders import columns_of

KEY = b"\x07" * 16
NUMBERS = [f"+44770090{i:04d}" for i in range(300)]


def columns(numbers=NUMBERS, key=KEY):
    fields = {"reported_at": range(len(numbers)), "category": Category.LOAN, "confidence": 80}
    return columns_of(numbers, key, ("police", "bank"), source=1, **fields)


VERSION = Version("TH", "national", 7, "asean", KEY, "k1")
PARTS = build_snapshot(VERSION, columns(), 1_700_000_000)


def write(folder, parts):
    for name, data in parts.items():
        (folder / name).write_bytes(data)
    return folder


def altered(whole=PARTS, **fields):
    """The parts with another manifest whose own checksum is right."""
    manifest = decode_manifest(whole[MANIFEST_PART])
    return {**whole, MANIFEST_PART: encode_manifest(msgspec.structs.replace(manifest, **fields))}


def with_part(name, data, whole=PARTS):
    """The parts with one replaced, and a manifest that says so: a liar who knows the format."""
    manifest = decode_manifest(whole[MANIFEST_PART])
    part = SnapshotPart(len(data), sha256(data).hexdigest())
    return {**altered(whole, parts=manifest.parts | {name: part}), name: data}


def bare_parts(set_bits=None, **fields):
    """The parts of a bare filter of 20 members; `set_bits`: the value of each byte instead."""
    digests = Digests(elements(np.array(NUMBERS[:20], "S16"), KEY))
    data = write_filter(build_filter([digests], pybloom_shape(64, 1e-2), 20))
    whole = bare_snapshot(VERSION, data, 5)
    if set_bits is not None:
        data = data[: HEADER.size] + bytes([set_bits]) * (len(data) - HEADER.size)
    return altered(with_part(FILTER_PART, data, whole), **fields)


def fingerprints(numbers, key=KEY):
    return Digests(elements(np.array(numbers, "S16"), key)).fingerprints()


@pytest.fixture(params=["folder", "memory"])
def way(request):
    """The way parts are opened."""
    return request.param


@pytest.fixture
def where(way, tmp_path):
    """Begins the name of a part in a message."""
    return f"{tmp_path}/" if way == "folder" else ""


@pytest.fixture
def opened(way, tmp_path):
    """Opens parts, once from a folder and once from memory: both must say the same."""

    def open_parts(parts, key=None) -> Snapshot:
        if way == "memory":
            return read_snapshot(parts, key=key)
        keys = None if key is None else {"asean": key}
        return open_snapshot(write(tmp_path, parts), keys=keys)

    return open_parts


def test_what_was_built_is_read(opened):
    """Every entry is found again by its fingerprint, with all it said; others are not."""
    snapshot = opened(PARTS, KEY)
    assert (snapshot.manifest.list_name, snapshot.manifest.generation) == ("TH/national", 7)
    assert snapshot.manifest.count == len(snapshot.columns) == 300
    rows = snapshot.find(fingerprints(NUMBERS))
    found = [snapshot.columns.entry(row) for row in rows.tolist()]
    assert [entry.number for entry in found] == NUMBERS
    assert [entry.reported_at_s for entry in found] == list(range(300))
    assert {(e.category, e.confidence, e.source) for e in found} == {(Category.LOAN, 80, "bank")}
    assert snapshot.find(fingerprints(["+447700910000"])).tolist() == [-1]
    assert snapshot.filter.may_hold(Digests(elements(np.array(PROBES, "S16"), KEY))).all()


def test_a_snapshot_of_format_1_is_read(opened):
    """A snapshot of an older version is still enforced: each row is a number's only report."""
    parts = altered(format=1)
    assert b'"numbers"' not in parts[MANIFEST_PART]
    snapshot = opened(parts, KEY)
    manifest = snapshot.manifest
    assert (manifest.count, manifest.numbers, manifest.prefixes) == (300, 300, 0)
    assert encode_manifest(manifest) == parts[MANIFEST_PART]
    repeated = with_part("fingerprint", np.repeat(np.arange(150, dtype="<u8"), 2).tobytes())
    held = decode_manifest(repeated[MANIFEST_PART])
    old = encode_manifest(msgspec.structs.replace(held, format=1))
    with pytest.raises(SnapshotUnreadable, match="source: a number has a source twice"):
        opened({**repeated, MANIFEST_PART: old})


def test_reports_and_prefixes_are_counted(opened):
    """The manifest says how many rows, distinct numbers and prefix entries there are."""
    texts = [NUMBERS[0], NUMBERS[1], NUMBERS[0], "+8552390*"]
    fields = {"reported_at": range(4), "category": Category.LEGITIMATE, "source": [0, 0, 1, 1]}
    held = columns_of(texts, KEY, ("police", "bank"), **fields)
    snapshot = opened(build_snapshot(VERSION, held, 5), KEY)
    manifest = snapshot.manifest
    assert (manifest.count, manifest.numbers, manifest.prefixes) == (4, 3, 1)
    assert snapshot.filter.count == 3 + len(PROBES)
    entries = [snapshot.columns.entry(row) for row in range(4)]
    assert {(e.number, e.source, e.reported_at_s) for e in entries} == {
        (NUMBERS[0], "police", 0),
        (NUMBERS[0], "bank", 2),
        (NUMBERS[1], "police", 1),
        ("+8552390*", "bank", 3),
    }
    prefix = fingerprints(["+8552390*"])
    assert snapshot.columns.entry(int(snapshot.find(prefix)[0])).number == "+8552390*"


def test_a_list_without_entries_is_opened(opened):
    """A list that nobody is on is a good list; its files of no bytes need no map."""
    snapshot = opened(build_snapshot(VERSION, columns([]), 5), KEY)
    assert (snapshot.manifest.count, len(snapshot.columns)) == (0, 0)
    types = [getattr(snapshot.columns, column.name).dtype for column in COLUMNS]
    assert types == [column.dtype for column in COLUMNS]
    assert snapshot.find(fingerprints(NUMBERS[:2])).tolist() == [-1, -1]


def test_a_bare_filter_confirms_nothing(opened):
    """A list shared as a filter alone has no columns, and finds no row."""
    snapshot = opened(bare_snapshot(VERSION, PARTS[FILTER_PART], 5), KEY)
    assert snapshot.columns is None
    assert snapshot.find(fingerprints(NUMBERS[:2])).tolist() == [-1, -1]
    assert snapshot.filter.may_hold(Digests(elements(np.array(NUMBERS, "S16"), KEY))).all()


@pytest.mark.parametrize(("mapped_min", "held"), [(0, 8), (2400, 3), (snapshots.MAPPED_MIN, 1)])
def test_small_columns_hold_no_descriptor(tmp_path, monkeypatch, mapped_min, held):
    """A worker of thousands of small lists needs no file open for their columns; a column of the
    smallest mapped size is mapped.
    """
    monkeypatch.setattr(snapshots, "MAPPED_MIN", mapped_min)
    folder, descriptors = write(tmp_path, PARTS), Path("/proc/self/fd")
    gc.collect()
    before = len(list(descriptors.iterdir()))
    snapshot = open_snapshot(folder)
    assert len(list(descriptors.iterdir())) == before + held
    assert snapshot.columns is not None
    assert snapshot.columns.fingerprint.tobytes() == PARTS["fingerprint"]


@pytest.mark.parametrize("mapped_min", [0, snapshots.MAPPED_MIN])
def test_maps_can_not_be_written(tmp_path, monkeypatch, mapped_min):
    """Workers share the files: none of them can change one, nor what was read of a small one."""
    monkeypatch.setattr(snapshots, "MAPPED_MIN", mapped_min)
    snapshot = open_snapshot(write(tmp_path, PARTS))
    assert snapshot.columns is not None
    assert not snapshot.columns.number.flags.writeable
    assert not snapshot.filter.bits.flags.writeable


@pytest.mark.parametrize("name", sorted(PARTS))
def test_a_part_that_is_missing_or_cut_short_is_named(opened, name):
    """A half-written folder is refused, with the part that is missing or lost its last byte."""
    with pytest.raises(SnapshotUnreadable, match=rf"{name}: (missing|No such file or directory)$"):
        opened({other: data for other, data in PARTS.items() if other != name})
    with pytest.raises(SnapshotUnreadable, match=name):
        opened({**PARTS, name: PARTS[name][:-1]})
    if name != MANIFEST_PART:
        size = decode_manifest(PARTS[MANIFEST_PART]).parts[name].size
        with pytest.raises(SnapshotUnreadable, match=f"{name}: 0 bytes, the manifest says {size}$"):
            opened({**PARTS, name: b""})


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"count": 299}, "fingerprint has 2400 bytes, 299 entries have 2392"),
        ({"slices": 13}, "field slices asks for 13, filter.bloom has 14"),
        ({"bits_per_slice": 5}, "field bits_per_slice"),
        ({"capacity": 1}, "field capacity"),
        ({"algorithm": "md5"}, "field algorithm asks for md5, filter.bloom has sha512"),
        ({"format": 3}, "format 3, this version reads 1 and 2"),
        ({"has_entries": False}, "field parts lacks or has too many: category, confidence"),
        ({"sources": ()}, "source: source 0 is not in the manifest"),
        ({"owner": ".."}, "owner"),
        ({"name": "a/../../b"}, "name"),
        ({"generation": -1}, "generation"),
        ({"numbers": 299}, "numbers and prefixes are 299 and 0, the columns have 300 and 0$"),
        ({"prefixes": 1}, "numbers and prefixes are 300 and 1, the columns have 300 and 0$"),
    ],
)
def test_a_manifest_that_lies_is_refused(opened, fields, told):
    """A manifest whose checksum is right and whose content is not is refused, naming the field."""
    with pytest.raises(SnapshotUnreadable, match=told):
        opened(altered(**fields))


@pytest.mark.parametrize(
    ("name", "values", "told"),
    [
        ("fingerprint", np.arange(300, 0, -1), "fingerprint: fingerprints are not in order"),
        ("fingerprint", np.repeat(np.arange(150), 2), "source: a number has a source twice"),
        ("number", np.full(300, PREFIX_MARK), f"number: {PREFIX_MARK} is neither"),
        (
            "number",
            np.full(300, PREFIX_MARK + 66),
            "numbers and prefixes are 300 and 0, the columns have 300 and 300$",
        ),
        ("number", np.full(300, PREFIX_MARK + 10**14), "number: 1153021504606846976"),
        ("category", np.full(300, 99), "category: 99, the largest that means something is"),
        ("confidence", np.full(300, 101), "confidence: 101"),
        ("number", np.full(300, 10**15), "number: 1000000000000000 is neither"),
        ("source", np.full(300, 2), "source: source 2 is not in the manifest"),
    ],
)
def test_columns_that_mean_nothing_are_refused(opened, name, values, told):
    """Values that would break a decision later are refused when the snapshot is opened."""
    dtype = next(column.dtype for column in COLUMNS if column.name == name)
    with pytest.raises(SnapshotUnreadable, match=told):
        opened(with_part(name, values.astype(dtype).tobytes()))


def test_another_circles_key_is_noticed(opened):
    """With the wrong key nothing on the list would ever match: the probes say so."""
    with pytest.raises(SnapshotUnreadable, match="16 of 16 probe numbers absent"):
        opened(PARTS, b"other")


def test_a_filter_that_lies_is_refused(opened):
    """A filter whose header is inconsistent is refused although its checksum is right."""
    filter_data = bytearray(PARTS[FILTER_PART])
    filter_data[16] ^= 1
    with pytest.raises(SnapshotUnreadable, match=r"filter\.bloom"):
        opened(with_part(FILTER_PART, bytes(filter_data)))


def probes_and(count):
    """A filter of `count` of the numbers and the probes; its header counts them all."""
    texts = [*PROBES, *NUMBERS[:count]]
    digests = Digests(elements(np.array(texts, "S16"), KEY))
    return write_filter(build_filter([digests], shape_for(300), len(texts)))


@pytest.mark.parametrize("count", [270, 284, 299])
def test_fewer_members_than_entries_are_noticed(opened, count):
    """A filter that counts fewer members than the list has entries, and probes, misses some."""
    told = f"numbers is 300, filter.bloom counts {count + len(PROBES)}$"
    with pytest.raises(SnapshotUnreadable, match=told):
        opened(with_part(FILTER_PART, probes_and(count)))


def test_a_partner_s_filter_may_hold_more_than_the_entries(opened):
    """Entries may go that a filter cannot forget. A bare filter has the members of its manifest."""
    fewer = build_snapshot(VERSION, columns(NUMBERS[:299]), 5)
    assert len(opened(with_part(FILTER_PART, PARTS[FILTER_PART], fewer)).columns) == 299
    assert opened(bare_parts()).filter.count == 20
    for count in (19, 21):
        with pytest.raises(SnapshotUnreadable, match=r"field numbers is \d+, .* counts 20$"):
            opened(bare_parts(count=count))


FLIPPED = bytes([PARTS["number"][0] ^ 1]) + PARTS["number"][1:]


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ({**PARTS, MANIFEST_PART: b"[]"}, "manifest.json: Expected `object`"),
        (altered(slices=13), "manifest.json: field slices"),
        ({**PARTS, "number": FLIPPED}, "number: SHA-256 is not the manifest's: damaged"),
        (with_part("confidence", bytes([101]) * 300), "confidence: 101, the largest"),
        (with_part(FILTER_PART, bytes(50)), "filter.bloom: "),
        (with_part(FILTER_PART, probes_and(9)), "manifest.json: field numbers is 300"),
        (bare_parts(0xFF, name="coarse"), "filter.bloom: its bits match"),
        (PARTS, "filter.bloom: another hash: 16 of 16"),
    ],
)
def test_the_part_that_is_wrong_is_named_first(opened, where, parts, told):
    """With its folder if it is a file, so that an operator finds it."""
    with pytest.raises(SnapshotUnreadable) as caught:
        opened(parts, b"other")
    assert str(caught.value).startswith(where + told)


def test_small_pieces_are_read_as_one(opened, monkeypatch):
    """A manifest and columns of many pieces are those of one, and what is wrong in one is found."""
    monkeypatch.setattr(snapshots, "_CHUNK", 64)
    snapshot = opened(PARTS, KEY)
    assert snapshot.columns is not None
    assert snapshot.columns.fingerprint.tobytes() == PARTS["fingerprint"]
    late = bytes(299) + bytes([101])
    with pytest.raises(SnapshotUnreadable, match="confidence: 101"):
        opened(with_part("confidence", late))


def test_a_check_reads_a_part_piece_by_piece(tmp_path, monkeypatch):
    """However long a part is, its check takes the memory of a few pieces."""
    monkeypatch.setattr(snapshots, "_CHUNK", 4096)
    monkeypatch.setattr(snapshots, "MAPPED_MIN", 0)
    many = columns([f"+66{n:09}" for n in range(100_000)])
    write(tmp_path, build_snapshot(VERSION, many, 5))
    open_snapshot(tmp_path)
    tracemalloc.start()
    open_snapshot(tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < many.fingerprint.nbytes / 4


@pytest.mark.parametrize(
    ("step", "name"),
    [("_size", MANIFEST_PART), ("_check_filter", "number"), ("_check_parts", FILTER_PART)],
)
@pytest.mark.parametrize("mapped_min", [0, snapshots.MAPPED_MIN])
def test_a_part_that_goes_while_it_is_opened_is_named(
    tmp_path, monkeypatch, step, name, mapped_min
):
    """Another worker may take an old snapshot away at any moment."""
    monkeypatch.setattr(snapshots, "MAPPED_MIN", mapped_min)
    folder, before = write(tmp_path, PARTS), getattr(snapshots, step)

    def then_gone(*args):
        done = before(*args)
        (folder / name).unlink(missing_ok=True)
        return done

    monkeypatch.setattr(snapshots, step, then_gone)
    told = f"^{re.escape(str(folder))}/{name}: No such file or directory$"
    with pytest.raises(SnapshotUnreadable, match=told):
        open_snapshot(folder)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "truncated"),
        (b"[]", "Expected `object`"),
        (b'{"format": "1"}', r"\$.format"),
        (PARTS[MANIFEST_PART].replace(b'"generation": 7', b'"generation": 8'), "field sha256"),
        (PARTS[MANIFEST_PART].replace(b'"circle"', b'"cirle"'), "cirle"),
        (PARTS[MANIFEST_PART] + b" ", "field sha256"),
        (b"\xff\xfe", "malformed"),
    ],
)
def test_bytes_that_are_no_manifest_are_refused(data, told):
    """Any other bytes than those that were written are refused, with the field if any."""
    with pytest.raises(SnapshotUnreadable, match=told):
        decode_manifest(data)


def test_a_manifest_of_endless_size_is_not_read(tmp_path):
    """The manifest's size is bounded before it is read."""
    write(tmp_path, PARTS)
    with (tmp_path / MANIFEST_PART).open("r+b") as file:
        file.truncate(9 << 20)
    with pytest.raises(SnapshotUnreadable, match="more than 8388608 bytes"):
        open_snapshot(tmp_path)


def test_the_largest_manifest_is_read(tmp_path, monkeypatch):
    """The bound itself is allowed, and one byte more is not."""
    write(tmp_path, PARTS)
    monkeypatch.setattr(snapshots, "MANIFEST_SIZE_MAX", len(PARTS[MANIFEST_PART]))
    assert open_snapshot(tmp_path).manifest.count == 300
    monkeypatch.setattr(snapshots, "MANIFEST_SIZE_MAX", len(PARTS[MANIFEST_PART]) - 1)
    with pytest.raises(SnapshotUnreadable, match="more than"):
        open_snapshot(tmp_path)
