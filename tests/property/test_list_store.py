"""A base in pieces: it comes back whole, or it is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.filters.bloom import write_filter
from stream.core.filters.snapshot import COLUMNS, encode_manifest, read_snapshot
from stream.core.model.errors import SnapshotUnreadable
from stream.lists.store.bases import Packed, Unpacking, pack
from tests.support.builders import entry, snapshot

BLOCK_ROWS = 16


def unpacked(packed: Packed, blobs: list[bytes]) -> dict[str, bytes]:
    unpacking = Unpacking(packed.layout)
    for blob in blobs:
        unpacking.take(blob)
    return unpacking.parts()


@given(st.sets(st.integers(0, 2**64 - 1), max_size=60), st.randoms(use_true_random=False))
def test_any_columns_come_back(fingerprints, rng):
    """Whatever the values, the parts that are read are those that were written."""
    count = len(fingerprints)
    values = {
        column.name: np.array(
            [rng.randrange(2 ** (8 * column.dtype.itemsize)) for _ in range(count)], column.dtype
        )
        for column in COLUMNS
    }
    values["fingerprint"] = np.array(sorted(fingerprints), "<u8")
    parts = {name: value.tobytes() for name, value in values.items()}
    packed = pack({**parts, "filter.bloom": bytes(100)}, BLOCK_ROWS)
    assert unpacked(packed, list(packed.blobs())) == {**parts, "filter.bloom": bytes(100)}


HELD = snapshot("TH/national", [entry(f"+6681234{i:04d}") for i in range(40)])


@pytest.fixture(scope="module")
def good() -> tuple[dict[str, bytes], Packed, list[bytes]]:
    """A snapshot's parts, and the same packed."""
    assert HELD.columns is not None
    parts = {c.name: getattr(HELD.columns, c.name).tobytes() for c in COLUMNS}
    parts["filter.bloom"] = write_filter(HELD.filter)
    parts["manifest.json"] = encode_manifest(HELD.manifest)
    read_snapshot(parts, key=b"")
    packed = pack(parts, BLOCK_ROWS)
    return parts, packed, list(packed.blobs())


@given(st.data())
def test_a_flipped_bit_is_refused(good, data):
    """One bit flipped in any blob is found: by unpacking, or by the manifest's checksums."""
    parts, packed, blobs = good
    which = data.draw(st.integers(0, len(blobs) - 1))
    at = data.draw(st.integers(0, len(blobs[which]) - 1))
    bad = bytearray(blobs[which])
    bad[at] ^= 1 << data.draw(st.integers(0, 7))
    try:
        read = unpacked(packed, [*blobs[:which], bytes(bad), *blobs[which + 1 :]])
    except SnapshotUnreadable:
        return
    if all(read[name] == parts[name] for name in read):
        return  # a bit that says nothing, such as an unused flag of zstd's
    with pytest.raises(SnapshotUnreadable):
        read_snapshot({**read, "manifest.json": parts["manifest.json"]}, key=b"")
