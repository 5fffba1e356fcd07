"""The catalogue of a worker, and of the supervisor of several: `catalogue.py` has the rules."""

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.samples import Exemplar

from stream.ops.clock import now_ms
from stream.ops.metrics.catalogue import BoundedLabels, Catalogue, total
from stream.ops.metrics.shared_catalogue import SkipMetrics

# Dense where the promise is (p99 between 4 and 60 ms, by load): a quantile is off by half a bucket.
LATENCY_BUCKETS_MS = (
    *(1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 60, 80, 100, 150, 200, 300, 500),
    *(1000, 2000, 5000, 10_000, 30_000, 60_000),
)
BATCH_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


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

    def observe_ages(self, ages_ms: NDArray[np.int64], decision_id: str = "") -> None:
        """Count every age. One below 0 (a clock ahead of ours) counts as 0.

        `decision_id`, of a decision in the batch, becomes the exemplar of its oldest record's
        bucket: OpenMetrics shows one for each. Several workers show none, their files hold no text.
        """
        ages_ms = np.maximum(ages_ms, 0)
        places = self._bucket_of[np.minimum(ages_ms, len(self._bucket_of) - 1)]
        counts = np.bincount(places, minlength=len(self._buckets))
        for place in np.flatnonzero(counts).tolist():
            self._buckets[place].inc(int(counts[place]))
        self._sum.inc(int(ages_ms.sum()) / 1000)
        if decision_id and len(ages_ms):
            oldest_ms = int(ages_ms.max())
            place = int(self._bucket_of[min(oldest_ms, len(self._bucket_of) - 1)])
            shown = Exemplar({"decision_id": decision_id}, oldest_ms / 1000, now_ms() / 1000)
            self._buckets[place].set_exemplar(shown)


class WorkerCatalogue(Catalogue):
    """Every metric of a worker. `lists` are those with series of their own."""

    def __init__(self, registry: CollectorRegistry, lists: BoundedLabels | None = None) -> None:
        super().__init__(registry)
        self.lists = lists or BoundedLabels()
        self.skips = SkipMetrics(registry)
        self._of_calls()
        self._of_matches()
        self._of_the_pace()
        self._of_lists()
        self._of_the_worker()

    def _ages(self, name: str, meaning: str, do: str) -> AgeHistogram:
        self._enter(name, "histogram", (), meaning, do)
        return AgeHistogram(name, meaning, self.registry)

    def _of_calls(self) -> None:
        self.calls = self._counter(
            "ringfence_calls",
            "Call records read, by topic; one that is read again after a restart counts again.",
            "Rises with traffic. Falls to nothing: look at the switch and at "
            "ringfence_lag_records.",
            ["topic"],
        )
        self.decisions = self._counter_each(
            self.lists,
            "ringfence_decisions",
            "Decisions, by verdict, by the rule and the list that decided (empty: none did).",
            "A jump of one list's blocks: ask `ringfence why NUMBER`, then allow numbers or "
            'take the list to action = "flag". simulated="true" is what a list on trial would '
            "have done.",
            ["verdict", "rule", "list", "simulated"],
            by="list",
            others=["rule"],
        )
        self.rejected = self._counter(
            "ringfence_records_rejected",
            "Records that are no calls and went to the topic of rejected records, by reason.",
            "Rises when a switch sends what is no call: read reason and bytes in calls.rejected.",
            ["reason"],
        )
        self.repeats = self._counter(
            "ringfence_decisions_repeated",
            "Decisions about a call that was decided before by another of its records: marked "
            "with the first one's id, or left out since they come to less.",
            "Near the rate of decisions is usual where a switch writes attempts and ends, or "
            "legs. left_out: a later record came to less; see calls.repeat_window_s.",
            ["kind"],
        )
        self.wrong_dialect = self._gauge(
            "ringfence_wrong_dialect",
            "Whether none of a topic's last 50 or more records was a call in its dialect, or most "
            "calls share ids that have many number pairs each.",
            "1: read the log's `wrong dialect`, which says which, and names the likely right one; "
            "RUNBOOK, WrongDialect.",
            ["topic"],
        )
        self.unknown_trunk = self._counter(
            "ringfence_calls_unknown_trunk",
            "Calls that name a trunk which [trunks] does not have, of those looked at: up to 256 of"
            " a batch, at most 1 % of the time.",
            "Rises: their national numbers are read in home_country, and no rule of a trunk holds. "
            'The log names one of them once a minute: RUNBOOK, "An unknown trunk".',
        )
        self.unscanned = self._counter(
            "ringfence_calls_unscanned",
            "Calls that were decoded one by one, since the fast scan could not vouch for them.",
            "Near the rate of ringfence_calls: a switch writes letters beyond ASCII, escapes or"
            " strange numbers into fields that decide, or there are no kernels. The price is "
            "CPU alone.",
        )

    def _of_matches(self) -> None:
        self.unconfirmed = self._counter_each(
            self.lists,
            "ringfence_matches_unconfirmed",
            "Bloom filter hits that no exact entry could confirm or refute, by list.",
            "Rises where a list came without its exact entries: ask the owner for them.",
            ["list"],
            by="list",
        )
        self.observed = self._counter_each(
            self.lists,
            "ringfence_matches_observed",
            "Confirmed matches of calls that were allowed all the same, by list.",
            "What a list that may only observe, or an entry below the minimum, would have touched.",
            ["list"],
            by="list",
        )
        self.outside = self._counter_each(
            self.lists,
            "ringfence_matches_out_of_scope",
            "Matches of numbers that a list may not name, by list, reason, and whether confirmed.",
            "Above 0 and confirmed: a list of fingerprints names numbers of other countries, or "
            "ours; its owner is to be asked. They are only observed. RUNBOOK, ListOutOfScope.",
            ["list", "reason", "confirmed"],
            by="list",
        )
        self.bare_chance = self._gauge(
            "ringfence_bare_filters_chance_ratio",
            "Share of all numbers that lists without entries match by chance, all together.",
            "Above 0.01: one innocent caller in a hundred is matched by a filter that nothing "
            "confirms. Ask owners for fingerprints, or smaller error rates; RUNBOOK, "
            "FiltersTooCoarse.",
        )
        self.bursts_forgotten = self._counter(
            "ringfence_burst_numbers_forgotten",
            "Numbers whose short calls were forgotten within the window of the rule short_bursts.",
            "Rises: more numbers make short calls than are remembered, so bursts are missed, never "
            "invented. More partitions, or a shorter window_s or smaller calls.",
        )
        self.unasked = self._counter(
            "ringfence_calls_unasked",
            "Calls that no list speaks of while some list could not be asked (no data, stale).",
            "Above 0: calls pass unchecked. See ringfence_register_up and the lists' generations.",
        )

    def _of_the_pace(self) -> None:
        self.batch = self._histogram(
            "ringfence_batch_duration_seconds",
            "Time of one batch, by step: decode; match and decide; publish until acknowledged.",
            "decode and decide: their sum's rate is CPU time per second, near 1 one more worker"
            " is needed. publish: a rise with steady decode and decide is a slow broker.",
            ["step"],
            buckets=BATCH_BUCKETS_S,
        )
        self.decision_latency = self._ages(
            "ringfence_decision_latency_seconds",
            "From a record's Kafka timestamp to its decision being acknowledged by Kafka.",
            "The promise to the switch. Rising with the lag: too few workers. Alone: a slow "
            "broker.",
        )
        self.lag = self._gauge(
            "ringfence_lag_records",
            "Records in a partition that this deployment has not read yet.",
            "Rises: more workers, then more partitions. 0 as well for partitions that others read.",
            ["topic", "partition"],
            workers="livesum",
        )
        self.partitions = self._gauge(
            "ringfence_partitions",
            "Partitions assigned to the workers here.",
            "0 on all workers: fewer partitions than workers; make more with Kafka's own tools.",
            workers="livesum",
        )
        self.stopped = self._gauge(
            "ringfence_partitions_stopped",
            "Partitions that are not read on, since a batch of theirs cannot be right.",
            "Above 0: a record batch is damaged or beyond every limit; the log names topic, "
            "partition and offset. Repair the broker's disk or set calls.corrupt_batches = "
            '"skip", then restart.',
            workers="livesum",
        )
        self.ordinary = self._gauge(
            "ringfence_partitions_ordinary",
            "Partitions that aiokafka fetches record by record instead of the fetcher.",
            "Above 0: the slow way, about 2 us a record more. The log says why: calls.fetch, no"
            " kernels, an old broker, records in a message format of before Kafka 0.11.",
            workers="livesum",
        )
        self.call_events = self._counter(
            "ringfence_call_events",
            "What happened on the calls' way: commits, rebalances, waits for Kafka.",
            "position_reset: calls were lost before they were read: longer retention, more "
            "workers. throttled: a quota of the broker. commit_refused, batch_dropped: calls "
            "are decided twice, with the same id; rebalances take too long or "
            "session_timeout_ms is too short. kafka_awaited: look at the broker.",
            ["event"],
        )
        self.kafka_up = self._gauge(
            "ringfence_kafka_up",
            "Whether Kafka answers (the worst worker).",
            "0: Kafka does not answer; nothing is lost, calls wait in the switch's topic.",
            workers="livemin",
        )

    def _of_lists(self) -> None:
        self.list_events = self._counter(
            "ringfence_list_events",
            "What happened on the lists' way: loads, swaps, gaps, refusals, lost lists.",
            "gap, checksum: harmless alone, often: the list store is being edited by something "
            "else. snapshot_refused, register_lost: see the log; the last good lists stay live.",
            ["event"],
        )
        self.register_up = self._gauge(
            "ringfence_register_up",
            "Whether the list store answers (the worst worker).",
            "0: the list store does not answer; calls are decided with the last good lists "
            "meanwhile.",
            workers="livemin",
        )
        self.list_generation = self._gauge_each(
            self.lists,
            "ringfence_list_generation",
            "Generation of a list that is enforced (the worker that is furthest behind).",
            "Behind `ringfence lists show` for longer than a minute: read that worker's log.",
            "list",
            total,
            workers="livemin",
        )
        self.list_generation_newest = self._gauge_each(
            self.lists,
            "ringfence_list_generation_newest",
            "Generation of a list at the worker that is furthest ahead.",
            "Above ringfence_list_generation for longer than a minute: a worker does not follow; "
            "its log says why, a restart of it reads everything again.",
            "list",
            total,
        )
        self.list_synced = self._gauge_each(
            self.lists,
            "ringfence_list_synced_timestamp_seconds",
            "When a list was last known to agree with the list store, since the epoch.",
            "time() minus this is the list's age. Old: the list store is away or lost its data.",
            "list",
            min,
            workers="livemin",
        )
        self.list_entries = self._gauge_each(
            self.lists,
            "ringfence_list_entries",
            "Numbers in a list's snapshot, without the changes since.",
            "Far from what the owner says it shared: look at the audit, `ringfence lists show`.",
            "list",
            total,
        )
        self.list_changes = self._gauge_each(
            self.lists,
            "ringfence_list_changes",
            "Numbers changed since a list's snapshot: the overlay in front of its filter.",
            "Above `rebuild_changes` for long: nobody runs `ringfence feeds run`, or its log "
            "says why not; `ringfence lists rebuild` puts the changes into a new snapshot.",
            "list",
            max,
        )

        self.agreements = self._gauge(
            "ringfence_agreements",
            "Agreements by state: to_come, pledged, in_force, ended; files that are broken.",
            "broken above 0: `ringfence agreements check` says what is wrong; the last good "
            "version of such a file stays in force. in_force falls: one ended, its lists are "
            "only observed now.",
            ["state"],
        )

    def _of_the_worker(self) -> None:
        self.ready = self._gauge(
            "ringfence_workers_ready",
            "Workers with lists loaded and a place in the consumer group.",
            "1 a worker. Lower than the workers: read `/ready`, it says what is missing.",
            workers="livesum",
        )
        self.compiled = self._gauge(
            "ringfence_workers_compiled",
            "Workers that use the compiled kernels.",
            "Lower than the workers: the others take several times the CPU; their log says why "
            "at the start, `ringfence warm` says it again.",
            workers="livesum",
        )


class SupervisorMetrics(Catalogue):
    """Metrics of the supervisor of several workers; it serves them with the workers' sum."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry)
        self.restarts = self._counter(
            "ringfence_worker_restarts",
            "Workers started again after they died.",
            "Rises: a worker dies again and again; its last log lines say why.",
            ["worker"],
        )
        self.running = self._gauge(
            "ringfence_workers_running",
            "Worker processes that run.",
            "Below `--workers`: one is waiting to be restarted.",
        )
