"""Promises of `stream.calls.crash_notes`: the record that stops workers, and no other."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.calls.crash_notes import (
    SET_ASIDE_MAX,
    SET_ASIDE_S,
    Crash,
    CrashLog,
    NotedRecord,
    convicted,
    passed,
    read_crashes,
    set_aside,
    suspected,
)
from stream.kafka.batch import Partition, RawBatch, Segment

NOW_MS = 1_795_564_368_000
PLACE = Partition("calls", 3)


def crash(first, last, *, raised=False, time_ms=-1, partition=3):
    """A crash at records of `calls/3`."""
    return Crash("calls", partition, first, last, time_ms, raised, NOW_MS)


def alone(offset, *, raised=False, time_ms=7):
    """A crash at one record alone."""
    return crash(offset, offset, raised=raised, time_ms=time_ms)


def record(offset, time_ms=7):
    """One record of `calls/3`."""
    return NotedRecord("calls", 3, offset, time_ms)


def test_one_death_makes_nobody_suspect_and_an_exception_does():
    """A kill -9 is no record's fault; an exception came out of the batch for certain."""
    assert suspected([crash(10, 99)]) == {}
    assert suspected([crash(10, 99, raised=True)]) == {PLACE: [(10, 99)]}


def test_two_deaths_suspect_what_both_had_in_hand():
    """Deaths far from each other have nothing to do with each other."""
    assert suspected([crash(10, 99), crash(50, 150)]) == {PLACE: [(50, 99)]}
    assert suspected([crash(10, 99), crash(100, 150)]) == {}
    assert suspected([crash(10, 99), crash(10, 99, partition=4)]) == {}


def test_a_record_is_set_aside_when_it_stopped_a_worker_twice():
    """In a batch and alone by an exception; alone twice where the worker died."""
    assert convicted([crash(10, 99, raised=True)]) == []
    assert convicted([alone(50, raised=True)]) == []
    assert convicted([crash(10, 99, raised=True), alone(50, raised=True)]) == [record(50)]
    assert convicted([crash(10, 99), alone(50, raised=True)]) == [record(50)]
    assert convicted([crash(10, 99), crash(10, 99), alone(50)]) == []
    assert convicted([crash(10, 99), crash(10, 99), alone(50), alone(51)]) == []
    assert convicted([alone(50), alone(50)]) == [record(50)]


def test_a_record_of_a_topic_made_anew_is_another_one():
    """The same offset at another time is not convicted for it."""
    assert convicted([alone(50), alone(50, time_ms=8)]) == []


def test_what_lies_behind_is_forgotten():
    """Once a position is beyond the records of a crash, they stopped nobody for good."""
    crashes = [crash(10, 99), crash(10, 100), crash(10, 20, partition=4)]
    assert passed(crashes, {PLACE: 100}) == crashes[1:]


def test_many_records_are_not_set_aside_since_then_it_is_not_the_records():
    """At most so many within an hour; the same one again is no further one."""
    records = [record(offset) for offset in range(SET_ASIDE_MAX + 2)]
    kept, left = set_aside([], records, NOW_MS)
    assert [one.record for one in kept] == records[:SET_ASIDE_MAX]
    assert left == records[SET_ASIDE_MAX:]
    assert set_aside(kept, records[:1], NOW_MS) == (kept, [])
    later_ms = NOW_MS + round(SET_ASIDE_S * 1000)
    assert set_aside(kept, left, later_ms)[1] == []


@given(
    crashes=st.lists(
        st.builds(
            lambda first, size, raised: (
                alone(first, raised=raised) if size == 0 else crash(first, first + size)
            ),
            st.integers(0, 30),
            st.integers(0, 9),
            st.booleans(),
        ),
        max_size=12,
    )
)
def test_nobody_is_set_aside_without_a_note_of_its_own_and_another_crash(crashes):
    """Whatever happened: who is convicted stopped a worker alone, and not only once."""
    for one in convicted(crashes):
        holding = [each for each in crashes if each.holds(one)]
        assert len(holding) >= 2
        assert any(each.alone for each in holding)


def raw(*offsets, partition=3, time_ms=7):
    """A batch of records of one partition."""
    whole = RawBatch.of([b"x"] * len(offsets), Partition("calls", partition), at_ms=time_ms)
    return replace(whole, offsets=np.array(offsets))


# It imports nothing of the tests: pytest and hypothesis would take most of its CPU.
_WORKER = """
import os, signal, sys
from dataclasses import replace
from pathlib import Path
import numpy as np
from stream.calls.crash_notes import CrashLog
from stream.kafka.batch import Partition, RawBatch
now_ms, offsets = int(sys.argv[4]), [int(one) for one in sys.argv[5:]]
log = CrashLog(Path(sys.argv[1]), lambda: now_ms)
log.look({})
how, alone = sys.argv[2], sys.argv[3] == "alone"
whole = RawBatch.of([b"x"] * len(offsets), Partition("calls", 3), at_ms=7)
log.begin(replace(whole, offsets=np.array(offsets)), alone=alone)
if how == "ends":
    log.end()
elif how == "raises":
    log.failed()
else:
    os.kill(os.getpid(), signal.SIGKILL)
"""


def worker(folder: Path, how: str, *offsets: int, one: bool = False) -> int:
    """A worker's process that works on records, and how it ended."""
    words = [str(folder), how, "alone" if one else "batch", *map(str, (NOW_MS, *offsets))]
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", _WORKER, *words],
        cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, check=False, timeout=60,
    )  # fmt: skip
    return done.returncode


def looked(folder: Path, **positions: int) -> CrashLog:
    """A worker that comes after them, and looks."""
    found = CrashLog(folder, lambda: NOW_MS)
    found.look({PLACE: positions.get("at", 0)})
    return found


def test_a_note_outlives_kill_9_and_names_the_records(tmp_path):
    """Two workers die by SIGKILL with overlapping records, a third ends well: two are found."""
    assert worker(tmp_path, "dies", 10, 11, 99) == -signal.SIGKILL
    assert worker(tmp_path, "dies", 50, 120) == -signal.SIGKILL
    assert worker(tmp_path, "ends", 200, 201) == 0
    log = looked(tmp_path)
    crashes = read_crashes(tmp_path).crashes
    assert [(one.first, one.last, one.raised) for one in crashes] == [
        (10, 99, False), (50, 120, False)
    ]  # fmt: skip
    assert log.suspected == {PLACE: [(50, 99)]}
    assert log.aside == frozenset()
    log.close()


@pytest.mark.parametrize(("how", "times"), [("raises", 1), ("dies", 2)])
def test_a_record_that_stops_workers_is_set_aside_and_told(tmp_path, caplog, how, times):
    """After its batch and it alone; until its partition is read beyond it, over restarts."""
    for _ in range(times):
        worker(tmp_path, how, 10, 99)
        looked(tmp_path).close()
    for _ in range(times):
        worker(tmp_path, how, 50, one=True)
        log = looked(tmp_path)
        log.close()
    assert log.aside == {record(50)}
    assert "calls/3 50-50" in caplog.text
    again = looked(tmp_path, at=51)
    assert set(again.suspected[PLACE]) >= {(10, 99)}
    again.close()
    beyond = looked(tmp_path, at=100)
    assert beyond.suspected == {}
    beyond.close()


def test_workers_of_one_machine_have_notes_of_their_own_and_find_each_others(tmp_path):
    """The note of one that lives is left alone; who dies leaves it to the others."""
    first, second = CrashLog(tmp_path, lambda: NOW_MS), CrashLog(tmp_path, lambda: NOW_MS)
    first.begin(raw(1, 2))
    second.look({})
    assert read_crashes(tmp_path).crashes == []
    first.close()
    second.look({})
    assert [(one.first, one.last, one.raised) for one in read_crashes(tmp_path).crashes] == [
        (1, 2, False)
    ]
    second.close()


@pytest.mark.parametrize("damage", [b"", b"{", b'{"crashes":[{"topic":1}]}', b"\xff" * 50])
def test_a_damaged_file_of_crashes_is_begun_anew(tmp_path, damage, caplog):
    """It is a help for odd times, so it must never be what stops a worker."""
    (tmp_path / "crashes.json").write_bytes(damage)
    worker(tmp_path, "dies", 10, 99)
    looked(tmp_path).close()
    assert len(read_crashes(tmp_path).crashes) == 1
    assert "is damaged and starts empty" in caplog.text


def test_a_disk_that_takes_nothing_stops_no_worker(tmp_path, caplog):
    """The worker that looks knows what it found; it says that its successor will not."""
    worker(tmp_path, "raises", 10, 99)
    (tmp_path / "crashes.json.part").mkdir()  # as a full disk: it cannot be written
    log = looked(tmp_path)
    assert log.suspected == {PLACE: [(10, 99)]}
    assert "a successor will not know" in caplog.text
    log.close()


@given(note=st.binary(max_size=200), state=st.sampled_from([0, 1, 2, 3, 255]))
def test_any_bytes_as_a_note_are_crashes_or_none(tmp_path_factory, note, state):
    """Half a note, or another program's file, is no crash and no exception."""
    folder = tmp_path_factory.mktemp("crashes")
    (folder / "worker-0.note").write_bytes(bytes([state]) + note)
    log = CrashLog(folder, lambda: NOW_MS)
    log.look({})
    log.close()


def test_a_batch_of_more_partitions_than_a_note_holds_is_noted_in_part(tmp_path):
    """Partitions that do not fit are not noted, and no line is half there."""
    segments = tuple(Segment(Partition("t" * 200, n), n, n + 1) for n in range(500))
    many = RawBatch([b"x"] * 500, np.arange(500), np.zeros(500, np.int64), segments, 1)
    log = CrashLog(tmp_path, lambda: NOW_MS)
    log.begin(many)
    log.close()
    looked(tmp_path).close()
    crashes = read_crashes(tmp_path).crashes
    assert 200 < len(crashes) < 500
    assert all(one.first == one.last == one.partition for one in crashes)
