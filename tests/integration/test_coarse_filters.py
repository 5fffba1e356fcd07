"""Filters that match more numbers than any filter may: refused wherever one comes from."""

import asyncio
import io
import tarfile
from hashlib import sha256

import msgspec
import numpy as np
import pytest
from pybloom_live.pybloom import BloomFilter

from stream.core.filters.bloom import Filter, pybloom_shape, write_filter
from stream.core.filters.snapshot import (
    FILTER_PART,
    MANIFEST_PART,
    SnapshotPart,
    decode_manifest,
    encode_manifest,
)
from stream.core.numbers.emergency import EmergencyNumbers
from stream.feeds.feed import Feed
from stream.feeds.formats.rows import InputUnreadable
from stream.feeds.gate import GateReason
from stream.feeds.read import read_version
from stream.feeds.row_checks import Bounds
from stream.lists.follower.list_events import EventKind
from stream.lists.snapshot.build import Version, bare_snapshot
from stream.lists.store.store_codec import BaseRecord
from tests.support.builders import NOW_S, numbers_of
from tests.support.feeds import Partner, kh
from tests.support.lists import BY, NAME, Worker, running, until

STRANGERS = [f"+4477009{n:05d}" for n in range(2000)]


def bloom(numbers, rate=1e-4) -> bytes:
    """Return the bytes that a partner's pybloom-live writes."""
    made = BloomFilter(capacity=40_000, error_rate=rate)
    for number in numbers:
        made.add(number)
    file = io.BytesIO()
    made.tofile(file)
    return file.getvalue()


def everybody(capacity=60, rate=1e-3) -> bytes:
    """A filter with every bit set, too small for its bits to tell of its members."""
    shape = pybloom_shape(capacity, rate)
    bits = np.full((shape.num_bits + 7) // 8, 255, np.uint8)
    bits[-1] >>= -shape.num_bits % 8
    return write_filter(Filter(shape, capacity, bits))


def parts_of(data: bytes, name=NAME, generation=1) -> dict[str, bytes]:
    """The parts of a bare list whose filter is `data`, with a manifest that fits: a liar's."""
    owner, short = name.split("/")
    version = Version(owner, short, generation, "plain", b"", "")
    parts = bare_snapshot(version, bloom(["+66812345678"]), NOW_S)
    shape = Filter(pybloom_shape(60, 1e-3), 60, np.zeros(0, np.uint8))
    manifest = msgspec.structs.replace(
        decode_manifest(parts[MANIFEST_PART]),
        parts={FILTER_PART: SnapshotPart(len(data), sha256(data).hexdigest())},
        algorithm=shape.plan.algorithm,
        slices=shape.shape.slices,
        bits_per_slice=shape.shape.bits_per_slice,
        capacity=60,
        count=60,
        numbers=60,
    )
    return {FILTER_PART: data, MANIFEST_PART: encode_manifest(manifest)}


@pytest.mark.parametrize(
    ("data", "extra", "told"),
    [
        (bloom(kh(*range(200)), 0.05), "", "the header's error rate is 0.05, at most 0.01"),
        (bloom(kh(*range(200)), 0.9), "", "the header's error rate is 0.9"),
        (everybody(), "", "its bits match 1 of all numbers"),
        (
            bloom(kh(*range(200)), 1e-4),
            "[gate]\nfilter_error_rate_max = 0.00001",
            "its header claims 0.0001 of all numbers, at most 1e-05",
        ),
    ],
)
async def test_a_version_that_is_too_coarse_is_refused(tmp_path, redis_url, data, extra, told):
    """The gate refuses it by that reason, says how far it goes, and the list stays as it was."""
    async with Partner(tmp_path, redis_url, form="pybloom") as partner:
        partner.says_bytes(bloom(kh(*range(100)), 1e-6))
        assert (await partner.pull()).verdict == "accepted"
        before = (await partner.register.heads()).lists[partner.setup.feed.list_name]
        partner.configured(tail=extra)
        partner.says_bytes(data)
        record = await partner.pull()
        assert (record.verdict, record.reason) == ("refused", GateReason.FILTER_TOO_COARSE)
        assert told in record.findings[0]
        assert (await partner.register.heads()).lists[before.name] == before


async def test_a_held_version_is_not_released_beyond_the_bound(tmp_path, redis_url):
    """A person may let in what the gate holds, but no filter beyond the limit of now."""
    async with Partner(tmp_path, redis_url, form="pybloom") as partner:
        partner.says_bytes(bloom(kh(*range(2000))))
        await partner.pull()
        partner.says_bytes(bloom(kh(*range(1000))))
        assert (await partner.pull()).reason == GateReason.SHRUNK
        partner.configured(tail="[gate]\nfilter_error_rate_max = 0.00001")
        with pytest.raises(InputUnreadable, match=r"cannot be let in: its header claims 0\.0001"):
            await partner.release()
        assert (await partner.refuse()).verdict == "refused"


@pytest.mark.parametrize("data", [bloom(kh(1), 0.05), everybody()])
def test_a_published_list_that_is_too_coarse_is_refused(tmp_path, data):
    """A list by exchange ends at the same bound as a file."""
    path = tmp_path / "list.tar"
    with tarfile.open(path, "w") as archive:
        for name, part in parts_of(data, "KH/scam").items():
            member = tarfile.TarInfo(name)
            member.size = len(part)
            archive.addfile(member, io.BytesIO(part))
    feed = Feed(name="kh", list_name="KH/scam", owner="KH", contact="x", format="snapshot")
    bounds = Bounds(codes=None, own=(), speaks_for=frozenset(), emergency=EmergencyNumbers({}))
    read = read_version(feed, path, tmp_path / "rejects", b"", bounds, NOW_S)
    assert read.too_coarse
    assert read.unreadable == read.too_coarse
    assert not read.bare


async def test_a_base_that_went_past_the_gate_is_not_enforced(
    register, worker, redis_url, tmp_path
):
    """Neither a direct write to Redis nor an older version puts such a filter before calls.

    A worker that had a good base keeps it; one that starts with nothing cannot ask the list.
    """
    await register.create(NAME, "plain", BY)
    await publish(register, bare_snapshot(Version("TH", "national", 2, "plain", b"", ""),
                                          bloom(kh(1, 2, 3)), NOW_S))  # fmt: skip
    async with running(worker):
        await until(lambda: NAME in worker.refresher.current.names)
        await publish(register, None)
        await until(lambda: bool(worker.told(EventKind.SNAPSHOT_REFUSED)))
        assert "its bits match 1 of all numbers" in worker.told(EventKind.SNAPSHOT_REFUSED)[0]
        current = worker.refresher.current
        assert len(current.match(numbers_of(kh(1, 2, 3)), NOW_S)) == 3
        assert not current.match(numbers_of(STRANGERS), NOW_S)
    fresh = Worker(redis_url, tmp_path / "another machine")
    async with running(fresh, loaded=False):
        await until(lambda: NAME in fresh.refresher.current.names)
        assert fresh.refresher.current.unusable == (0,)
        assert not fresh.refresher.current.match(numbers_of(STRANGERS), NOW_S)


async def test_a_snapshot_on_the_disk_that_is_too_coarse_is_not_loaded(tmp_path):
    """A start without Redis refuses what an older version left on the disk."""
    worker = Worker("redis://127.0.0.1:1/0", tmp_path)
    folder = tmp_path / "lists" / NAME / "000000000001"
    folder.mkdir(parents=True)
    for name, data in parts_of(everybody()).items():
        (folder / name).write_bytes(data)
    await asyncio.to_thread(worker.refresher.load_last_good)
    (told,) = worker.told(EventKind.SNAPSHOT_REFUSED)
    assert "its bits match 1 of all numbers" in told
    assert not worker.refresher.current.lists


async def publish(register, parts) -> None:
    """Make `parts` (None: a filter that matches everybody) the list's base, unproved."""
    reservation = await register.reserve(NAME, BY)
    if parts is None:
        parts = parts_of(everybody(), generation=reservation.generation)
    count = decode_manifest(parts[MANIFEST_PART]).count
    await register.write_base(reservation, parts)
    digest = sha256(parts[MANIFEST_PART]).hexdigest()
    record = BaseRecord(reservation.generation, count, digest)
    head = (await register.state(NAME)).head
    assert await register.publish_base(reservation, record, head, count, BY) is not None
