"""Promises of `stream.calls.crash_guard`: notes while a batch is worked on, and probing."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from stream.calls.crash_guard import CrashGuard
from stream.calls.crash_notes import CrashLog, read_crashes
from stream.calls.decode import decode
from stream.calls.dialects.ringfence import RINGFENCE
from stream.calls.settings import DecodeSettings
from stream.calls.trunks import Trunks
from stream.core.model.byte_strings import Texts
from stream.core.model.call import RejectReason
from stream.kafka.batch import Partition, RawBatch, Segment
from tests.unit.calls.test_crash_notes import NOW_MS, PLACE, worker

SETTINGS = DecodeSettings(10_000, check_callee=True)
OTHER = Partition("calls", 4)


class Bug(RuntimeError):
    """An exception that no code expects."""


def batch_of(*offsets, epoch=1, texts=False):
    """Calls of two partitions, half of them in each, whose ids are their offsets."""
    half = len(offsets) // 2
    values = [b'{"call_id":"%d","caller":null,"callee":null}' % one for one in offsets]
    return RawBatch(
        Texts.of(values) if texts else values,
        np.array(offsets),
        np.full(len(offsets), 7),
        (Segment(PLACE, 0, half), Segment(OTHER, half, len(offsets))),
        epoch,
    )


class Life:
    """One worker that decides by a step of ours, and remembers what it was given."""

    def __init__(self, folder, *, bad=(), revoked_after=10**9):
        self.crashes = CrashLog(folder, lambda: NOW_MS)
        self.bad = bad
        self.seen: list[list[int]] = []
        self.guard = CrashGuard(
            self.crashes, lambda: {PLACE: 0, OTHER: 0}, lambda: len(self.seen) >= revoked_after
        )
        self.read = self.guard.reading(self._decode)
        self.steps = self.guard.noting(self.read, lambda batch: batch)

    def _decode(self, raw):
        found = decode(raw, {"calls": RINGFENCE}, Trunks("TH"), SETTINGS)
        ids = [int(one.call_id) for one in found.key_fields]
        self.seen.append(ids)
        if not set(ids).isdisjoint(self.bad):
            raise Bug
        return found

    def work(self, raw):
        """Probe and decide, as the loop does."""
        try:
            asyncio.run(self.guard.before(raw, self.read, lambda batch: batch))
            decoded, decided = self.steps
            return decided(decoded(raw))
        finally:
            self.crashes.close()


@pytest.mark.expects_errors("set aside in calls.rejected")
@pytest.mark.parametrize("texts", [False, True])
def test_a_record_that_raises_is_rejected_at_the_third_start(tmp_path, texts):
    """The first start dies of the batch, the second of the record, the third sets it aside."""
    raw = batch_of(1, 2, 3, 11, 12, 13, texts=texts)
    first = Life(tmp_path, bad=[12])
    with pytest.raises(Bug):
        first.work(raw)
    assert first.seen == [[1, 2, 3, 11, 12, 13]]
    second = Life(tmp_path, bad=[12])
    with pytest.raises(Bug):
        second.work(raw)
    assert second.seen == [[1], [2], [3], [11], [12]]
    third = Life(tmp_path, bad=[12])
    found = third.work(raw)
    assert [one.call_id for one in found.key_fields] == ["1", "2", "3", "11", "13"]
    (rejected,) = found.rejected
    assert rejected.value == raw.values[4]
    assert rejected.reason is RejectReason.STOPPED_WORKER
    assert rejected.origin == raw.origin(4)


@pytest.mark.expects_errors("set aside in calls.rejected")
def test_what_is_set_aside_stays_so_until_it_is_passed_and_another_record_is_none(tmp_path):
    """The same record in another batch; not one at its offset of another time."""
    for _ in range(2):
        with pytest.raises(Bug):
            Life(tmp_path, bad=[12]).work(batch_of(1, 12))
    found = Life(tmp_path).work(batch_of(5, 6, 12, 14))
    assert [one.reason for one in found.rejected] == [RejectReason.STOPPED_WORKER]
    again = batch_of(5, 6, 12, 14)
    found = Life(tmp_path).work(replace(again, timestamps_ms=again.timestamps_ms + 1))
    assert not found.rejected


@pytest.mark.expects_errors("set aside in calls.rejected")
def test_a_record_without_a_time_is_set_aside_too(tmp_path):
    """Kafka's time of a record may be -1. Such a record stopped each worker, without an end."""
    raw = batch_of(1, 2, 11, 12)
    raw = replace(raw, timestamps_ms=np.full(4, -1))
    for _ in range(2):
        with pytest.raises(Bug):
            Life(tmp_path, bad=[12]).work(raw)
    (rejected,) = Life(tmp_path, bad=[12]).work(raw).rejected
    assert (rejected.reason, rejected.origin.offset) == (RejectReason.STOPPED_WORKER, 12)


def test_a_death_in_a_batch_that_passes_record_by_record_costs_a_probe_alone(tmp_path):
    """Two kill -9 with the same calls in hand: they are tried, and decided; nothing is rejected."""
    for _ in range(2):
        worker(tmp_path, "dies", 1, 3)
    life = Life(tmp_path)
    found = life.work(batch_of(1, 2, 3, 11, 12, 13))
    assert life.seen == [[1], [2], [3], [1, 2, 3, 11, 12, 13]]
    assert not found.rejected
    assert len(read_crashes(tmp_path).crashes) == 2


def test_a_partition_that_goes_is_probed_no_further(tmp_path):
    """A rebalance waits for nobody's suspicion."""
    with pytest.raises(Bug):
        Life(tmp_path, bad=[99]).work(batch_of(*range(100)))
    life = Life(tmp_path, revoked_after=5)
    asyncio.run(life.guard.before(batch_of(*range(100)), life.read, lambda batch: batch))
    life.crashes.close()
    assert len(life.seen) < 30


def test_notes_that_cannot_be_looked_through_stop_no_worker(tmp_path, caplog):
    """The calls are decided without them, and the log says so."""
    life = Life(tmp_path)
    (tmp_path / "lock").mkdir()  # as a damaged disk: it cannot be opened
    assert len(life.work(batch_of(1, 2, 11, 12)).key_fields) == 4
    assert "would not be found" in caplog.text


def test_a_folder_of_others_is_no_folder_of_ours(tmp_path):
    """Where no notes can be kept that is an error of its own, which a worker survives."""
    (tmp_path / "crashes").write_text("a file")
    with pytest.raises(OSError, match="crashes"):
        CrashLog(tmp_path / "crashes", lambda: NOW_MS)
