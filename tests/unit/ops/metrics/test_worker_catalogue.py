"""The catalogue counts rightly, alone and over several workers of which some die."""

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, Histogram

from stream.ops.metrics import exposition
from stream.ops.metrics import worker_catalogue as worker
from stream.ops.metrics.worker_catalogue import AgeHistogram, WorkerCatalogue

# A worker: counts as ordered on stdin, answers when it is done, and leaves when killed.
WORKER = """
import resource, sys
from prometheus_client import CollectorRegistry
from stream.ops.metrics.exposition import keep_in_files
from stream.ops.metrics.worker_catalogue import WorkerCatalogue
import numpy as np
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
keep_in_files(int(sys.argv[1]))
metrics = WorkerCatalogue(CollectorRegistry())
for line in sys.stdin:
    topic, count, lag = line.split()
    metrics.calls.labels(topic).inc(int(count))
    metrics.lag.labels(topic, "0").set(int(lag))
    metrics.list_generation.set("TH/national", int(lag))
    metrics.decision_latency.observe_ages(np.full(int(count), 7))
    print("done", flush=True)
"""


def value(registry: CollectorRegistry, name: str, **labels: str) -> float:
    """One sample."""
    found = registry.get_sample_value(name, labels)
    assert found is not None, f"no {name}{labels}"
    return found


@pytest.mark.parametrize("seed", range(5))
def test_ages_are_counted_as_one_by_one(seed: int) -> None:
    """A batch of ages gives the very buckets, count and sum of observing each."""
    ages_ms = np.random.default_rng(seed).lognormal(3, 3, 2000).astype(np.int64)
    ages_ms[:40] = np.repeat([0, 1, 2, 5, 10, 59_999, 60_000, 60_001], 5)
    registry, plain = CollectorRegistry(), CollectorRegistry()
    bounds_s = [bound_ms / 1000 for bound_ms in worker.LATENCY_BUCKETS_MS]
    one_by_one = Histogram("ages_seconds", "Ages.", registry=plain, buckets=bounds_s)
    AgeHistogram("ages_seconds", "Ages.", registry).observe_ages(ages_ms)
    for age_ms in ages_ms.tolist():
        one_by_one.observe(age_ms / 1000)
    for bound in [*(str(bound_s) for bound_s in bounds_s), "+Inf"]:
        name = "ages_seconds_bucket"
        assert value(registry, name, le=bound) == value(plain, name, le=bound)
    assert value(registry, "ages_seconds_count") == len(ages_ms)
    assert value(registry, "ages_seconds_sum") == pytest.approx(value(plain, "ages_seconds_sum"))


def test_an_age_below_nothing_is_nothing() -> None:
    """A broker whose clock is ahead of ours must not make sums fall."""
    registry = CollectorRegistry()
    AgeHistogram("ages_seconds", "Ages.", registry).observe_ages(np.array([-5000, 10]))
    assert value(registry, "ages_seconds_sum") == 0.01
    assert value(registry, "ages_seconds_bucket", le="0.001") == 1


def test_the_catalogue_can_be_made_twice() -> None:
    """Nothing is global: tests and commands make as many as they want."""
    for _ in range(2):
        registry = CollectorRegistry()
        WorkerCatalogue(registry).calls.labels("calls").inc(3)
        text = exposition.exposition(registry).decode()
        assert 'ringfence_calls_total{topic="calls"} 3.0' in text
        assert "_created" not in text


class Worker:
    """One process that counts; `room`: bytes that a file may have, in place of a full disk."""

    def __init__(self, slot: int, folder: Path, room: int = resource.RLIM_INFINITY) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER, str(slot), str(room)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, exposition.FILES_ENV: str(folder), "PYTHONPATH": str(Path.cwd())},
        )

    def count(self, topic: str, count: int, lag: int) -> None:
        """Have it count, and wait until it has."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{topic} {count} {lag}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"

    def kill(self) -> None:
        """Kill -9."""
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()


def test_workers_add_up_and_dead_ones_keep_their_counts(tmp_path: Path) -> None:
    """Counters are the sum of all workers and never fall; gauges are of those that live."""
    registry = CollectorRegistry()
    exposition.sum_of_workers(tmp_path, registry)
    first, second = Worker(0, tmp_path), Worker(1, tmp_path)
    try:
        first.count("calls", 100, 7)
        second.count("calls", 20, 5)
        assert value(registry, "ringfence_calls_total", topic="calls") == 120
        assert value(registry, "ringfence_lag_records", topic="calls", partition="0") == 12
        assert value(registry, "ringfence_list_generation", list="TH/national") == 5
        # A hole would end a worker that writes into it on a full disk.
        for file in tmp_path.glob("*.db"):
            assert file.stat().st_blocks * 512 >= file.stat().st_size, file.name
        second.kill()
        exposition.forget_gauges_of(1, tmp_path)
        assert value(registry, "ringfence_calls_total", topic="calls") == 120
        assert value(registry, "ringfence_lag_records", topic="calls", partition="0") == 7
        second = Worker(1, tmp_path)
        second.count("calls", 3, 1)
        assert value(registry, "ringfence_calls_total", topic="calls") == 123
        assert value(registry, "ringfence_lag_records", topic="calls", partition="0") == 8
        assert value(registry, "ringfence_decision_latency_seconds_count") == 123
        assert value(registry, "ringfence_decision_latency_seconds_bucket", le="0.01") == 123
        assert value(registry, "ringfence_decision_latency_seconds_bucket", le="0.005") == 0
        # A hundred restarts leave no more files than one.
        assert len(list(tmp_path.glob("counter_*.db"))) == 2
    finally:
        first.kill()
        second.kill()


def test_a_full_disk_costs_figures_and_no_worker(tmp_path: Path) -> None:
    """A value with a place goes on; one without is counted, and shown after a restart."""
    registry = CollectorRegistry()
    exposition.sum_of_workers(tmp_path, registry)
    one = Worker(0, tmp_path)
    try:
        one.count("calls", 100, 7)
        largest = max(file.stat().st_size for file in tmp_path.glob("*.db"))
        resource.prlimit(one.process.pid, resource.RLIMIT_FSIZE, (largest, largest))
        for number in range(30):
            one.count(f"{number}{'x' * 5000}", 1, 1)
        one.count("calls", 20, 5)
        assert value(registry, "ringfence_calls_total", topic="calls") == 120
        assert (
            registry.get_sample_value("ringfence_calls_total", {"topic": f"29{'x' * 5000}"}) is None
        )
        one.kill()
        one = Worker(0, tmp_path)
        one.count(f"29{'x' * 5000}", 2, 1)
        assert value(registry, "ringfence_calls_total", topic=f"29{'x' * 5000}") == 2
        assert value(registry, "ringfence_calls_total", topic="calls") == 120
    finally:
        one.kill()


def test_a_disk_that_is_full_from_the_start_costs_figures_alone(tmp_path: Path) -> None:
    """The supervisor finds no file that it could not read."""
    registry = CollectorRegistry()
    exposition.sum_of_workers(tmp_path, registry)
    one = Worker(0, tmp_path, room=100)
    try:
        one.count("calls", 100, 7)
        assert registry.get_sample_value("ringfence_calls_total", {"topic": "calls"}) is None
    finally:
        one.kill()
