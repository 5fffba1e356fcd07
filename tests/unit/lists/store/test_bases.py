"""The layout of a base in Redis."""

import numpy as np
import pytest

from stream.core.model.errors import SnapshotUnreadable
from stream.lists.store.bases import Unpacking, pack, unpack_block
from tests.support.builders import entry, snapshot


def parts_of(count: int) -> dict[str, bytes]:
    held = snapshot("TH/national", [entry(f"+6681{i:07d}") for i in range(count)])
    assert held.columns is not None
    names = [*(name for name in held.manifest.parts if name != "filter.bloom")]
    columns = {name: getattr(held.columns, name).tobytes() for name in names}
    return {"manifest.json": b"{}", "filter.bloom": bytes(range(256)) * 100, **columns}


@pytest.mark.parametrize(("count", "blocks"), [(0, 0), (1, 1), (64, 1), (65, 2), (300, 5)])
def test_parts_come_back_as_they_were(count, blocks):
    """Whatever the number of rows, unpacking gives the bytes that were packed."""
    parts = parts_of(count)
    packed = pack(parts, block_rows=64)
    assert len(packed.layout.firsts) == blocks
    unpacking = Unpacking(packed.layout)
    for blob in packed.blobs():
        unpacking.take(blob)
    assert unpacking.parts() == {k: v for k, v in parts.items() if k != "manifest.json"}


def test_a_number_is_found_in_its_blocks():
    """The layout names the blocks that may hold a fingerprint: one, but at the edge of two."""
    parts = parts_of(300)
    packed = pack(parts, block_rows=64)
    fingerprints = np.frombuffer(parts["fingerprint"], "<u8").tolist()
    blobs = list(packed.blobs())
    for place, fingerprint in enumerate(fingerprints):
        blocks = packed.layout.blocks_of(fingerprint)
        assert place // 64 == blocks[-1]
        assert len(blocks) == (2 if place and place % 64 == 0 else 1)
        held = unpack_block(blobs[blocks[-1]], 64, ("fingerprint",))
        assert fingerprint in held["fingerprint"].tolist()
    assert not packed.layout.blocks_of(0)


def test_reports_of_a_number_in_several_blocks_are_all_found():
    """A number with more reports than a block has rows lies in all blocks named."""
    parts = parts_of(200)
    fingerprint = np.frombuffer(parts["fingerprint"], "<u8").copy()
    fingerprint[60:130] = fingerprint[60]
    packed = pack({**parts, "fingerprint": fingerprint.tobytes()}, block_rows=64)
    assert list(packed.layout.blocks_of(int(fingerprint[60]))) == [0, 1, 2]


def test_blobs_that_are_not_what_the_layout_says_are_refused():
    """A missing, a surplus or a damaged blob is SnapshotUnreadable, never other entries."""
    packed = pack(parts_of(100), block_rows=64)
    blobs = list(packed.blobs())
    short = Unpacking(packed.layout)
    for blob in blobs[:-1]:
        short.take(blob)
    with pytest.raises(SnapshotUnreadable):
        short.parts()
    for bad in (b"", b"\0" * 50, blobs[0][:-1], blobs[0][:3]):
        with pytest.raises(SnapshotUnreadable):
            Unpacking(packed.layout).take(bad)
    for blob in blobs:
        if blob is not blobs[-1]:
            continue
        full = Unpacking(packed.layout)
        for each in blobs:
            full.take(each)
        with pytest.raises(SnapshotUnreadable):
            full.take(blob)
