"""The catalogue: every metric, its unit, its meaning and what to do about it, in one place.

Labels come from enums and from the configuration, never from data: no numbers, no partner's text.
A help text is what an operator reads in `/metrics`; the comment above a metric says what to do.

With several workers each keeps its values in files that are named by its place ("slot"), not by
its process: a worker that was restarted goes on counting where the dead one stopped, so that no
counter ever goes down, and the supervisor serves the sum.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
    values,
)
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
FILES_ENV = "PROMETHEUS_MULTIPROC_DIR"
"""Where prometheus_client keeps the workers' files; the supervisor sets it for each worker."""

LATENCY_BUCKETS_MS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000)
BATCH_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)

# Series with "created at" times double the output and say nothing that Prometheus needs.
disable_created_metrics()  # type: ignore[no-untyped-call]


class AgeHistogram(Histogram):
    """A histogram of seconds that takes a whole batch of ages at once.

    prometheus_client observes one value at a time, at about 1 us each. A table from whole
    milliseconds to buckets makes it about 5 ns a value; counts are as exact as millisecond ages.
    """

    def __init__(self, name: str, documentation: str, registry: CollectorRegistry) -> None:
        bounds_s = [bound_ms / 1000 for bound_ms in LATENCY_BUCKETS_MS]
        super().__init__(name, documentation, registry=registry, buckets=bounds_s)
        ages_ms = np.arange(LATENCY_BUCKETS_MS[-1] + 2)
        self._bucket_of = np.searchsorted(LATENCY_BUCKETS_MS, ages_ms).astype(np.uint8)

    def observe_ages(self, ages_ms: NDArray[np.int64]) -> None:
        """Count every age. One below 0 (a clock ahead of ours) counts as 0."""
        ages_ms = np.maximum(ages_ms, 0)
        places = self._bucket_of[np.minimum(ages_ms, len(self._bucket_of) - 1)]
        counts = np.bincount(places, minlength=len(self._buckets))
        for place in np.flatnonzero(counts).tolist():
            self._buckets[place].inc(int(counts[place]))
        self._sum.inc(int(ages_ms.sum()) / 1000)


class Metrics:
    """Every metric of a worker."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._of_calls(registry)
        self._of_the_pace(registry)
        self._of_lists(registry)
        self._of_the_worker(registry)

    def _of_calls(self, registry: CollectorRegistry) -> None:
        # Rises with traffic. Falls to nothing: look at the switch and at ringfence_lag_records.
        self.calls = Counter(
            "ringfence_calls",
            "Call records read, by topic; one that is read again after a restart counts again.",
            ["topic"],
            registry=registry,
        )
        # A jump of one list's blocks: ask `ringfence why NUMBER`, then allow numbers or take the
        # list to action = "flag". simulated="true" is what a list on trial would have done.
        self.decisions = Counter(
            "ringfence_decisions",
            "Decisions, by verdict, by the rule and the list that decided (empty: none did).",
            ["verdict", "rule", "list", "simulated"],
            registry=registry,
        )
        # Rises when a switch sends what is no call: read reason and bytes in calls.rejected.
        self.rejected = Counter(
            "ringfence_rejected",
            "Records that are no calls and went to the topic of rejected records, by reason.",
            ["reason"],
            registry=registry,
        )
        # Near the rate of decisions is usual where a switch writes attempts and ends, or legs.
        # left_out: a later record came to less; see calls.repeat_window_s.
        self.repeats = Counter(
            "ringfence_repeats",
            "Decisions about a call that was decided before by another of its records: marked with "
            "the first one's id, or left out since they come to less.",
            ["kind"],
            registry=registry,
        )
        # 1: read the log's `wrong dialect`, which names the likely right one; RUNBOOK.
        self.wrong_dialect = Gauge(
            "ringfence_wrong_dialect",
            "Whether none of a topic's last 50 or more records was a call in its dialect.",
            ["topic"],
            registry=registry,
            multiprocess_mode="livemax",
        )
        # Near the rate of ringfence_calls: a switch writes letters beyond ASCII, escapes or strange
        # numbers into fields that decide, or there are no kernels. The price is CPU alone.
        self.unscanned = Counter(
            "ringfence_unscanned",
            "Calls that were decoded one by one, since the fast scan could not vouch for them.",
            registry=registry,
        )
        # Rises where a list came without its exact entries: ask the owner for them.
        self.unconfirmed = Counter(
            "ringfence_unconfirmed",
            "Bloom filter hits that no exact entry could confirm or refute, by list.",
            ["list"],
            registry=registry,
        )
        # What a list that may only observe, or an entry below the minimum, would have touched.
        self.observed = Counter(
            "ringfence_observed",
            "Confirmed matches of calls that were allowed all the same, by list.",
            ["list"],
            registry=registry,
        )
        # Above 0: calls pass unchecked. See ringfence_register_up and the lists' generations.
        self.unasked = Counter(
            "ringfence_unasked",
            "Calls that no list speaks of while some list could not be asked (no data, stale).",
            registry=registry,
        )

    def _of_the_pace(self, registry: CollectorRegistry) -> None:
        # decode and decide: their sum's rate is CPU time per second, near 1 one more worker is
        # needed. publish: a rise with steady decode and decide is a slow broker.
        self.batch = Histogram(
            "ringfence_batch_seconds",
            "Time of one batch, by step: decode; match and decide; publish until acknowledged.",
            ["step"],
            registry=registry,
            buckets=BATCH_BUCKETS_S,
        )
        # The promise to the switch. Rising with the lag: too few workers. Alone: a slow broker.
        self.decision_latency = AgeHistogram(
            "ringfence_decision_latency_seconds",
            "From a record's Kafka timestamp to its decision being acknowledged by Kafka.",
            registry=registry,
        )
        # Rises: more workers, then more partitions. 0 as well for partitions that others read.
        self.lag = Gauge(
            "ringfence_lag_records",
            "Records in a partition that this deployment has not read yet.",
            ["topic", "partition"],
            registry=registry,
            multiprocess_mode="livesum",
        )
        # 0 on all workers: fewer partitions than workers; make more with Kafka's own tools.
        self.partitions = Gauge(
            "ringfence_partitions",
            "Partitions assigned to the workers here.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        # Above 0: a record batch is damaged or beyond every limit; the log names topic, partition
        # and offset. Mend the broker's disk or set calls.corrupt_batches = "skip", then restart.
        self.stopped = Gauge(
            "ringfence_partitions_stopped",
            "Partitions that are not read on, since a batch of theirs can not be right.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        # Above 0: the slow way, about 2 us a record more. The log says why: calls.fetch, no
        # kernels, an old broker, records in a message format of before Kafka 0.11.
        self.ordinary = Gauge(
            "ringfence_partitions_ordinary",
            "Partitions that aiokafka fetches record by record instead of the fast lane.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        # position_reset: calls were lost before they were read: longer retention, more workers.
        # throttled: a quota of the broker. commit_refused, batch_dropped: calls are decided twice,
        # with the same id; rebalances take too long or session_timeout_ms is too short.
        # kafka_awaited: look at the broker.
        self.call_events = Counter(
            "ringfence_call_events",
            "What happened on the calls' way: commits, rebalances, waits for Kafka.",
            ["event"],
            registry=registry,
        )
        # 0: Kafka does not answer; nothing is lost, calls wait in the switch's topic.
        self.kafka_up = Gauge(
            "ringfence_kafka_up",
            "Whether Kafka answers (the worst worker).",
            registry=registry,
            multiprocess_mode="livemin",
        )

    def _of_lists(self, registry: CollectorRegistry) -> None:
        # gap, checksum: harmless alone, often: the register is being edited by something else.
        # snapshot_refused, register_lost: see the log; the last good lists stay live.
        self.list_events = Counter(
            "ringfence_list_events",
            "What happened on the lists' way: loads, swaps, gaps, refusals, register losses.",
            ["event"],
            registry=registry,
        )
        # 0: the register does not answer; calls are decided with the last good lists meanwhile.
        self.register_up = Gauge(
            "ringfence_register_up",
            "Whether the register answers (the worst worker).",
            registry=registry,
            multiprocess_mode="livemin",
        )
        # Behind `ringfence lists show` for longer than a minute: read that worker's log.
        self.list_generation = Gauge(
            "ringfence_list_generation",
            "Generation of a list that is enforced (the worker that is furthest behind).",
            ["list"],
            registry=registry,
            multiprocess_mode="livemin",
        )
        # time() minus this is the list's age. Old: the register is away or its data were lost.
        self.list_synced = Gauge(
            "ringfence_list_synced_timestamp_seconds",
            "When a list was last known to agree with the register, since the epoch.",
            ["list"],
            registry=registry,
            multiprocess_mode="livemin",
        )
        # Far from what the owner says it shared: look at the audit, `ringfence lists show`.
        self.list_entries = Gauge(
            "ringfence_list_entries",
            "Numbers in a list's snapshot, without the changes since.",
            ["list"],
            registry=registry,
            multiprocess_mode="livemax",
        )
        # Above `rebuild_changes` for long: nobody runs `ringfence feeds run`, or its log says why
        # not; `ringfence lists rebuild` puts the changes into a new snapshot.
        self.list_changes = Gauge(
            "ringfence_list_changes",
            "Numbers changed since a list's snapshot: the overlay in front of its filter.",
            ["list"],
            registry=registry,
            multiprocess_mode="livemax",
        )

        # broken above 0: `ringfence agreements check` says what is wrong; the last good version of
        # such a file stays in force. in_force falls: one ended, its lists are only observed now.
        self.agreements = Gauge(
            "ringfence_agreements",
            "Agreements by state: to_come, pledged, in_force, ended; files that are broken.",
            ["state"],
            registry=registry,
            multiprocess_mode="livemax",
        )

    def _of_the_worker(self, registry: CollectorRegistry) -> None:
        # 1 a worker. Lower than the workers: read `/ready`, it says what is missing.
        self.ready = Gauge(
            "ringfence_ready_workers",
            "Workers with lists loaded and a place in the consumer group.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        # Lower than the workers: the others take several times the CPU; their log says why at the
        # start, `ringfence warm` says it again.
        self.compiled = Gauge(
            "ringfence_compiled_workers",
            "Workers that use the compiled kernels.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        # More than one version at a time: a rolling update that has not ended.
        self.build = Gauge(
            "ringfence_build_info",
            "Always 1; the labels say what runs.",
            ["version", "python"],
            registry=registry,
            multiprocess_mode="livemax",
        )


class SupervisorMetrics:
    """What only the supervisor of several workers knows; it serves them with the workers' sum."""

    def __init__(self, registry: CollectorRegistry) -> None:
        # Rises: a worker dies again and again; its last log lines say why.
        self.restarts = Counter(
            "ringfence_worker_restarts",
            "Workers started again after they died.",
            ["worker"],
            registry=registry,
        )
        # Below `--workers`: one is waiting to be restarted.
        self.running = Gauge(
            "ringfence_workers_running", "Worker processes that run.", registry=registry
        )


def keep_in_files(slot: int) -> None:
    """Let this process' metrics live in the supervisor's files, under its slot; before any is made.

    By default prometheus_client names the files by process id: after each restart there would be
    one more, for ever.
    """
    assert FILES_ENV in os.environ, "the supervisor says where"
    chosen: Any = values.MultiProcessValue(lambda: slot)  # type: ignore[no-untyped-call]
    values.ValueClass = chosen


def forget_gauges_of(slot: int, folder: Path) -> None:
    """A dead worker has no lag, no lists and is not ready; what it counted stays."""
    mark_process_dead(slot, str(folder))  # type: ignore[no-untyped-call]


def sum_of_workers(folder: Path, registry: CollectorRegistry) -> None:
    """Let `registry` serve the sum of the workers whose files are in `folder`."""
    MultiProcessCollector(registry, str(folder))  # type: ignore[no-untyped-call]


def exposition(registry: CollectorRegistry) -> bytes:
    """All of it in Prometheus' text format."""
    return generate_latest(registry)
