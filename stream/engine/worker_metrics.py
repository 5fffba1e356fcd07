"""Worker metrics: events and values of both ways as metrics, log lines and readiness.

Nothing here decides anything.
"""

import logging
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache

from prometheus_client import CollectorRegistry
from prometheus_client import Counter as Counting

from stream.calls.call_batch import CallBatch, DecisionLabels
from stream.calls.detection.topic_watch import OneIdWatch, Suspicion
from stream.calls.loop import AcknowledgedBatch
from stream.calls.trunks import unknown_trunks
from stream.config.agreement_files import AgreementReading
from stream.core.filters.blocklists import Blocklists, chance_of
from stream.core.model.agreement import AgreementState as Standing
from stream.core.model.call import RejectReason
from stream.core.model.schemas import RegistryAnswer
from stream.core.policy.list_scope import OUTSIDE
from stream.engine.live_lists import tell
from stream.kafka.batch import Partition, RawBatch
from stream.kafka.call_events import CallEvent
from stream.kafka.consumer import KafkaSource
from stream.lists.follower.list_events import EventKind, ListEvent
from stream.ops.clock import monotonic_s, now_ms
from stream.ops.health_server import Readiness
from stream.ops.metrics.catalogue import BoundedLabels
from stream.ops.metrics.worker_catalogue import WorkerCatalogue

log = logging.getLogger(__name__)

_KAFKA_AWAY = frozenset({CallEvent.KAFKA_AWAITED, CallEvent.SINK_AWAITED})
_BROKEN = "broken"
"""In place of an agreement's state: its file cannot be used."""
LOOK_SHARE = 100
"""A closer look at calls takes at most one part in so many of the time."""
TELL_S = 60.0
"""Seconds between two log lines on unknown trunks: a busy one would fill the log."""
KAFKA_SILENT_S = 5.0
"""Seconds without an answer to a fetch until it is logged; a healthy broker takes 50 ms."""


class WorkerMetrics:
    """One worker's metrics and readiness. Every closed set of labels begins at 0."""

    def __init__(
        self,
        registry: CollectorRegistry,
        topics: Mapping[str, str],
        region: str = "TH",
        lists: BoundedLabels | None = None,
        trunks: Collection[str] = (),
    ) -> None:
        """Take the topics of calls with their dialects, and our country as `region`.

        `lists` have series of their own; `trunks` are those that are configured.
        """
        self.registry = registry
        self.metrics = metrics = WorkerCatalogue(registry, lists)
        for call_event in CallEvent:
            metrics.call_events.labels(call_event)
        for kind in EventKind:
            metrics.list_events.labels(kind)
        for reason in RejectReason:
            metrics.rejected.labels(reason)
        for answer in RegistryAnswer:
            metrics.schema_registry.labels(answer)
        for what in ("marked", "left_out"):
            metrics.repeats.labels(what)
        for topic in topics:
            metrics.calls.labels(topic)
            metrics.wrong_dialect.labels(topic).set(0)
        # Looked up once: a batch of a few calls would else spend a tenth of its time on labels.
        self._decode_s, self._decide_s, self._publish_s = map(
            metrics.batch.labels, ("decode", "decide", "publish")
        )
        self._decisions = cache(self._counter_of)
        self._calls = cache(metrics.calls.labels)
        metrics.register_up.set(0)
        metrics.kafka_up.set(0)
        metrics.ready.set(0)
        metrics.compiled.set(0)
        self.state = WorkerState()
        self._dialects = topics
        self._suspicion = Suspicion(region)
        self._others_told: set[str] = set()
        self._one_id = OneIdWatch()
        self._region, self._trunks = region, frozenset(trunks)
        self._look_due_s = self._trunks_told_s = -TELL_S
        self._partitions: set[Partition] = set()
        self._silent = False
        self._scoped: set[str] = set()
        self._shown: Blocklists | None = None
        self._states: dict[str, Standing] = {}
        self._wrong: Mapping[str, tuple[str, ...]] = {}

    def kernels(self, why_not: str) -> None:
        """Show whether compiled kernels are in use; `why_not` is "" if they are."""
        self.metrics.compiled.set(not why_not)
        self.state.kernels_awaited = False

    def call_event(self, event: CallEvent) -> None:
        """Count an event between us and Kafka; its log line was written there."""
        self.metrics.call_events.labels(event).inc()
        self.state.kafka_up = event not in _KAFKA_AWAY
        self.metrics.kafka_up.set(self.state.kafka_up)

    def registry_answered(self, answer: RegistryAnswer) -> None:
        """Count a request to the schema registry; any thread may."""
        self.metrics.schema_registry.labels(answer).inc()

    def reached_kafka(self) -> None:
        """Show that Kafka answered, and has our topics."""
        self.state.kafka_up = True
        self.metrics.kafka_up.set(1)

    def list_event(self, event: ListEvent) -> None:
        """Count and log an event on the lists' way."""
        self.metrics.list_events.labels(event.kind).inc()
        if event.kind in {EventKind.REGISTER_UP, EventKind.REGISTER_DOWN}:
            self.state.register_up = event.kind is EventKind.REGISTER_UP
            self.metrics.register_up.set(self.state.register_up)
        tell(event)

    def taken(self, raw: RawBatch) -> None:
        """Count a batch that was read."""
        for segment in raw.segments:
            self._calls(segment.partition.topic).inc(segment.stop - segment.start)

    def decoded(self, raw: RawBatch, batch: CallBatch) -> None:
        """Check a decoded batch; log a topic in a wrong dialect once, with the likely one."""
        suspects, cleared = self._suspicion.look(raw, batch)
        for suspect in suspects:
            self.metrics.wrong_dialect.labels(suspect.topic).set(1)
            # A switch that writes no numbers is in its own dialect: the reason says what to do.
            is_other = suspect.likely not in {None, self._kind_of(suspect.topic)}
            seems = f"they look like {suspect.likely}: set it in" if is_other else "look at"
            log.error(
                "wrong dialect: none of the last %d records of topic %s is a call in the dialect "
                "%s (mostly: %s); %s [calls.topics], see `ringfence dialects detect`",
                suspect.records,
                suspect.topic,
                self._dialects.get(suspect.topic, ""),
                suspect.reason,
                seems,
            )
        for topic in cleared:
            self.metrics.wrong_dialect.labels(topic).set(0)
            log.info("topic %s has calls in its dialect again", topic)
        self._tell_others(batch)
        began_s = monotonic_s()
        if began_s >= self._look_due_s:
            self._look_closer(batch, began_s)
            self._look_due_s = began_s + LOOK_SHARE * (monotonic_s() - began_s)

    def _tell_others(self, batch: CallBatch) -> None:
        """Log once for each topic why a record was left out as another event."""
        for one in batch.rejected:
            if not one.is_kept and one.origin.topic not in self._others_told:
                self._others_told.add(one.origin.topic)
                log.info(
                    "topic %s: records of other events are counted and not kept: %s",
                    *(one.origin.topic, one.detail),
                )

    def _kind_of(self, topic: str) -> str:
        """Return the dialect of a topic, without its switch's name."""
        return self._dialects.get(topic, "").partition(":")[0]

    def _look_closer(self, batch: CallBatch, at_s: float) -> None:
        """Check some calls of some batches: shared call ids, and unknown trunks."""
        for topic, found in self._one_id.look(batch):
            self.metrics.wrong_dialect.labels(topic).set(found is not None)
            if found is None:
                log.info("topic %s has an id for each call again", topic)
                continue
            log.error(
                "wrong dialect: %.0f %% of %d calls of topic %s share %d call ids, each with many "
                "callers and called numbers; the id is in another place than where the dialect %s "
                "reads it, so calls count as repeats: see `ringfence dialects test` (or a caller "
                "gives one id to all its calls)",
                *(found.share * 100, found.calls, topic, found.ids, self._dialects.get(topic, "")),
            )
        unknown = unknown_trunks(batch, self._trunks)
        if unknown is not None:
            self.metrics.unknown_trunk.inc(unknown.calls)
            if at_s - self._trunks_told_s >= TELL_S:
                self._trunks_told_s = at_s
                log.warning(
                    'unknown trunk: calls name a trunk that [trunks] does not have, such as "%s": '
                    "their national numbers are read in %s, and no rule of a trunk holds for them; "
                    "add [trunks.NAME] or correct the switch",
                    *(unknown.name, self._region),
                )

    def done(self, done: AcknowledgedBatch) -> None:
        """Count a batch that is decided and acknowledged by Kafka."""
        metrics = self.metrics
        self._decode_s.observe(done.decode_s)
        self._decide_s.observe(done.decide_s)
        self._publish_s.observe(done.total_s - done.decode_s - done.decide_s)
        ids = done.outcome.ids
        times_ms = done.timestamps_ms[done.timestamps_ms >= 0]  # below: the record has no time
        metrics.decision_latency.observe_ages(
            now_ms() - times_ms, ids[0].decode() if len(ids) else ""
        )
        tally = done.outcome.tally
        for counted, count in tally.decisions.items():
            self._decisions(counted).inc(count)
        if done.outcome.rejected:
            for reason, count in Counter(one.reason for one in done.outcome.rejected).items():
                metrics.rejected.labels(reason).inc(count)
        for name, count in tally.unconfirmed.items():
            metrics.unconfirmed.labels(name).inc(count)
        for name, count in tally.observed.items():
            metrics.observed.labels(name).inc(count)
        for one, count in tally.outside.items():
            sure = "true" if one.confirmed else "false"
            metrics.outside.labels(one.list, one.reason, sure).inc(count)
        for counter, count in (
            (metrics.unasked, tally.unasked_calls),
            (metrics.unscanned, tally.unscanned_calls),
            (metrics.bursts_forgotten, tally.bursts_forgotten),
        ):
            if count:
                counter.inc(count)
        if tally.repeats_marked or tally.repeats_left_out:
            metrics.repeats.labels("marked").inc(tally.repeats_marked)
            metrics.repeats.labels("left_out").inc(tally.repeats_left_out)

    def _counter_of(self, counted: DecisionLabels) -> Counting:
        simulated = "true" if counted.simulated else "false"
        return self.metrics.decisions.labels(counted.verdict, counted.rule, counted.list, simulated)

    def agreed(self, reading: AgreementReading, at_s: int) -> None:
        """Count the agreements by state; log what began, ended, or cannot be read."""
        states = {held.id: held.state(at_s) for held in reading.agreements.held}
        for name in sorted({*states, *self._states}):
            if states.get(name) != self._states.get(name):
                log.info("agreement %s: %s", name, states.get(name, "its file is gone: it ended"))
        counts = Counter(states.values())
        for state in Standing:
            self.metrics.agreements.labels(state).set(counts[state])
        self.metrics.agreements.labels(_BROKEN).set(len(reading.errors))
        if reading.errors != self._wrong:
            for name, errors in reading.errors.items():
                log.error("agreement %s: its last good version stays: %s", name, "; ".join(errors))
        self._states, self._wrong = states, reading.errors

    def look(
        self, source: KafkaSource | None, blocklists: Blocklists, *, stopping: bool = False
    ) -> None:
        """Set the gauges: lag of the calls, and the lists in force."""
        metrics = self.metrics
        self._hear(source.silent_s if source is not None else 0.0)
        lags = source.lags() if source is not None else {}
        # A partition that went to another worker is counted there; here it is 0.
        for partition in self._partitions - lags.keys():
            metrics.lag.labels(partition.topic, str(partition.number)).set(0)
        for partition, records in lags.items():
            metrics.lag.labels(partition.topic, str(partition.number)).set(records)
        self._partitions |= lags.keys()
        metrics.partitions.set(len(source.starts) if source is not None else 0)
        metrics.stopped.set(source.stopped_partitions if source is not None else 0)
        metrics.ordinary.set(source.partitions_by_aiokafka if source is not None else 0)
        if blocklists is not self._shown:  # of 10,000 lists it takes 40 ms, each second
            self._show(blocklists)
            self._shown = blocklists
        metrics.list_synced.set_gone(now_ms() / 1000)  # a list that was taken away is not old
        self.state.assigned = source is not None and source.assigned
        metrics.ready.set(self.state.readiness.ready and not stopping)

    def _show(self, blocklists: Blocklists) -> None:
        """Set the gauges of lists."""
        metrics, live = self.metrics, blocklists.lists
        generations = {one.name: one.generation for one in live}
        metrics.list_generation.set_all(generations)
        metrics.list_generation_newest.set_all(generations)
        synced_at_s = {one.name: one.synced_at_s for one in live}
        metrics.list_synced.set_all(synced_at_s, gone=now_ms() / 1000)
        metrics.list_changes.set_all({one.name: len(one.overlay) for one in live})
        metrics.list_entries.set_all(
            {one.name: one.snapshot.manifest.numbers if one.snapshot else 0 for one in live}
        )
        metrics.bare_chance.set(chance_of(blocklists.lists))
        self._begin_scopes(blocklists)

    def _begin_scopes(self, blocklists: Blocklists) -> None:
        """Begin the counts of lists that come as hashes at 0: a rate would miss the first event."""
        for live in blocklists.lists:
            is_bare = live.snapshot is not None and live.snapshot.columns is None
            if live.name in self._scoped or not (live.scope or is_bare):
                continue
            self._scoped.add(live.name)
            for why in OUTSIDE:
                for sure in ("true", "false"):
                    self.metrics.outside.labels(live.name, why.label, sure)

    def _hear(self, silent_s: float) -> None:
        """Log once that Kafka fell silent, and once that it answers again."""
        silent = silent_s > KAFKA_SILENT_S
        if silent and not self._silent:
            log.warning(
                "Kafka has not answered for %.0f s, still trying; calls wait there", silent_s
            )
            self.call_event(CallEvent.KAFKA_AWAITED)
        elif self._silent and not silent:
            log.info("Kafka answers again")
            self.reached_kafka()
        self._silent = silent


@dataclass(slots=True)
class WorkerState:
    """The parts that a worker waits for until it decides calls."""

    kernels_awaited: bool = False
    lists_loaded: bool = False
    register_up: bool = False
    kafka_up: bool = False
    assigned: bool = False

    @property
    def readiness(self) -> Readiness:
        """The missing parts, in the order in which they come."""
        missing = []
        if self.kernels_awaited:
            missing.append("the kernels are being compiled or loaded")
        if not self.lists_loaded:
            away = "not there: the list store does not answer"
            missing.append(f"the lists are {'being loaded' if self.register_up else away}")
        elif not self.assigned:
            missing.append(
                "no partitions are assigned" if self.kafka_up else "Kafka does not answer yet"
            )
        return Readiness(tuple(missing))
