"""The bench harness works: no figure is judged here, they mean nothing at this size."""

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest

from tests.bench.bench_batches import STAGES
from tests.bench.bench_stages import STEPS
from tests.bench.bench_throughput import progress
from tests.bench.readback import Appended
from tests.bench.stopwatch import ELSEWHERE, Stopwatch, found
from tests.bench.topics import Topics
from tests.bench.traffic import (
    BLOCK,
    PARTITIONS,
    call_index,
    innocent_numbers,
    list_numbers,
    place,
    traffic,
)
from tests.plugins.run_broker import RunBroker

ROOT = Path(__file__).parents[2]


def test_lists_share_no_number_and_innocents_are_on_none():
    """Truth is known: the benches' lists are disjoint, and no innocent caller is on any."""
    lists = [list_numbers(index, 1_000) for index in range(64)]
    assert len(np.unique(np.concatenate(lists))) == 64_000
    assert not np.isin(innocent_numbers(10_000, seed=1), np.concatenate(lists)).any()


def test_listed_calls_are_by_numbers_of_list_0():
    """Two in a hundred callers are on list 0, and a record says who it is about."""
    made = traffic(10_000, list_size=500, seed=5)
    assert 100 < made.listed.sum() < 300
    assert np.isin(made.callers[made.listed], list_numbers(0, 500)).all()
    assert [call_index(record) for record in made.records(7, 9)] == [7, 8]
    assert 250 < len(made.records(0, 1)[0]) < 320


def test_progress_is_how_far_each_partition_was():
    """A decision tells that all records before it in its partition are done."""
    indexes = np.array([3, BLOCK + 1, BLOCK * PARTITIONS + 5])
    partitions, positions = place(indexes)
    assert (partitions.tolist(), positions.tolist()) == ([0, 1, 0], [3, 1, BLOCK + 5])
    decisions = Appended(indexes, np.array([10, 10, 12]), np.zeros(3, np.uint8))
    at_ms, done = progress(decisions)
    assert (at_ms.tolist(), done.tolist()) == ([10, 12], [4 + 2, BLOCK + 6 + 2])


def test_the_stages_are_those_of_the_engine():
    """Each function that the stages bench puts its stopwatch around is still there."""
    for places in (*STEPS.values(), *STAGES.values()):
        for each in places:
            owner, name = found(each)
            assert callable(getattr(owner, name)), each


def test_the_stopwatch_counts_each_moment_once():
    """A step has its own time, without that of steps in it; together they are the whole."""
    watch = Stopwatch()
    inner = watch.timed("inner", lambda: sum(range(200_000)))
    outer = watch.timed("outer", lambda: inner() + sum(range(400_000)))
    began_ns = time.process_time_ns()
    outer()
    watch.read()
    whole_ns = time.process_time_ns() - began_ns
    assert set(watch.ns) == {"outer", "inner", ELSEWHERE}
    assert 0 < watch.ns["inner"] < watch.ns["outer"]
    assert watch.ns["outer"] + watch.ns["inner"] <= whole_ns


@pytest.mark.needs_transactions
@pytest.mark.expects_errors("NotLeaderForPartition")  # a new topic's leader may not know it yet
@pytest.mark.expects_errors  # a topic that was just made may have no leader for a moment
async def test_a_decision_in_a_transaction_counts_when_that_is_committed(broker: RunBroker):
    """Nobody sees it before; what an aborted transaction wrote nobody sees at all."""
    topics, name = Topics(broker.bootstrap), f"bench-{uuid4().hex}"
    made = traffic(900, list_size=500, seed=5)
    await topics.create(name)
    with pytest.raises(ZeroDivisionError):
        async with topics.held(name, made):
            raise ZeroDivisionError
    async with topics.held(name, made) as release:
        await asyncio.sleep(0.3)
        released_ms = time.time() * 1e3
        await release()
    await topics.fill(name, traffic(2, list_size=500, seed=6))
    read = await topics.read(name, lambda value: b'"call_id"' in value)
    assert sorted(read.calls) == sorted([*range(900), 0, 1])
    assert read.at_ms.min() >= int(released_ms)
    assert read.kinds.all()


@pytest.mark.campaign
@pytest.mark.apache_kafka
def test_the_harness_runs_and_writes_its_figures(tmp_path: Path):
    """`python -m tests.bench --quick` measures the engine and its peers, checked for the truth."""
    result = tmp_path / "result.json"
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.bench",
            "--quick",
            "--peers",
            "plain",
            "--json",
            str(result),
            "--only",
            "membership",
            "--only",
            "throughput",
            "--only",
            "swaps",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2_000:] + done.stderr[-2_000:]
    benchmarks = json.loads(result.read_text())["benchmarks"]
    wanted = {"membership", "throughput, blocks", "throughput, every CDR"}
    assert wanted | {"swaps"} == set(benchmarks)
    for bench in benchmarks.values():
        assert all(
            figure > 0 for row in bench["rows"] for figure in list(row["median"].values())[:1]
        )
