"""All figures of one moment, from each process' last two readings. Pure.

None stands for a value that is not known (yet). No process that has it answers, or there is only
one reading, which gives no rate. 0 is a figure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from stream.core.model.call import RejectReason
from stream.ops.monitor import metric_names, rates
from stream.ops.monitor.rates import MetricsReading, ReadingPair
from stream.ops.monitor.targets import MonitorTarget, ProcessKind

P50, P99 = 0.5, 0.99


class ProcessState(StrEnum):
    """State of a process."""

    READY = "ready"
    NOT_READY = "not ready"
    AWAY = "away"
    UNHEARD = "unheard"


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """One process of ours.

    `since_s` (epoch): when it was first seen in its state, for AWAY when it last answered; None
    for UNHEARD, which never answered this monitor. `why` and `missing` say why it is not ready.
    `restarts` counts the restarts that were seen. `kind` is the place's, or the metrics' where the
    place does not say.
    """

    place: MonitorTarget
    kind: ProcessKind
    state: ProcessState
    since_s: float | None
    started_s: float | None = None
    restarts: int = 0
    missing: tuple[str, ...] = ()
    why: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class ListOverview:
    """One list as the engine enforces it: the engine that is furthest behind.

    `out_of_scope`: confirmed matches of numbers that it may not name, since the workers began.
    """

    name: str
    generation: int | None
    age_s: float | None
    entries: int | None
    changes: int | None
    blocks_per_s: float | None
    flags_per_s: float | None
    out_of_scope: int = 0


@dataclass(frozen=True, slots=True)
class FeedOverview:
    """One feed. Ages are None where it never happened."""

    name: str
    held: bool
    file_wrong: bool
    numbers: int | None
    accepted_age_s: float | None
    confirmed_age_s: float | None
    failures: int


@dataclass(frozen=True, slots=True)
class SinkOverview:
    """The sinks. `lag` by sink in records; keys' age is since they were last known to be right."""

    lag: Mapping[str, int] = field(default_factory=dict)
    keys: Mapping[str, int] = field(default_factory=dict)
    keys_age_s: float | None = None
    redis_up: bool | None = None
    webhooks_per_s: Mapping[str, float] = field(default_factory=dict)
    webhooks_failing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HttpOverview:
    """`ringfence serve`: requests and lookups per second, quantiles of a request's time."""

    requests_per_s: float | None = None
    errors_per_s: float | None = None
    lookups_per_s: Mapping[str, float] = field(default_factory=dict)
    p50_s: float | None = None
    p99_s: float | None = None
    connections: int | None = None


@dataclass(frozen=True, slots=True)
class Overview:
    """The whole. Rates are per second over `span_s`, the time between the engine's readings."""

    at_s: float
    span_s: float
    processes: tuple[ProcessStatus, ...]
    calls_per_s: float | None = None
    calls_by_topic: Mapping[str, float] = field(default_factory=dict)
    decisions_per_s: Mapping[str, float] = field(default_factory=dict)
    simulated_per_s: Mapping[str, float] = field(default_factory=dict)
    rejected_per_s: Mapping[str, float] = field(default_factory=dict)
    unasked_per_s: float | None = None
    latency_p50_s: float | None = None
    latency_p99_s: float | None = None
    lag: Mapping[str, int] = field(default_factory=dict)
    partitions_stopped: int | None = None
    kafka_up: bool | None = None
    register_up: bool | None = None
    lists: tuple[ListOverview, ...] = ()
    bare_chance: float | None = None
    feeds: tuple[FeedOverview, ...] = ()
    sinks: SinkOverview = SinkOverview()
    serve: HttpOverview = HttpOverview()
    agreements: Mapping[str, int] = field(default_factory=dict)
    appeals: Mapping[str, int] = field(default_factory=dict)
    appeals_overdue: int | None = None
    roles_left_s: Mapping[str, float] = field(default_factory=dict)
    workers_ready: int | None = None
    worker_restarts: int | None = None
    versions: tuple[str, ...] = ()

    @property
    def engine(self) -> tuple[ProcessStatus, ...]:
        """The processes that decide calls."""
        return tuple(one for one in self.processes if one.kind is ProcessKind.ENGINE)

    @property
    def engine_answers(self) -> bool:
        """True if one of them answers, ready or not."""
        there = {ProcessState.READY, ProcessState.NOT_READY}
        return any(one.state in there for one in self.engine)


def overview(
    at_s: float, processes: Sequence[ProcessStatus], pairs: Mapping[str, ReadingPair]
) -> Overview:
    """Return the figures at `at_s` (epoch) of processes and the `pairs` of those that answer."""
    both = list(pairs.values())
    engine = [
        pair
        for pair in both
        if pair.now.has(metric_names.CALLS) or pair.now.has(metric_names.KAFKA_UP)
    ]
    now = [pair.now for pair in both]
    latency = rates.quantiles(both, metric_names.LATENCY, (P50, P99)) or (None, None)
    return Overview(
        at_s=at_s,
        span_s=max((pair.span_s for pair in engine or both), default=0.0),
        processes=tuple(processes),
        calls_per_s=rates.rates(both, metric_names.CALLS).get(""),
        calls_by_topic=rates.rates(both, metric_names.CALLS, "topic"),
        decisions_per_s=rates.rates(both, metric_names.DECISIONS, "verdict", simulated="false"),
        simulated_per_s=rates.rates(both, metric_names.DECISIONS, "list", simulated="true"),
        rejected_per_s={
            reason: rate
            for reason, rate in rates.rates(both, metric_names.REJECTED, "reason").items()
            if reason != RejectReason.OTHER_EVENT
        },
        unasked_per_s=rates.rates(both, metric_names.UNASKED).get(""),
        latency_p50_s=latency[0],
        latency_p99_s=latency[1],
        lag=_whole(rates.by(now, metric_names.LAG, "topic", sum)),
        partitions_stopped=_int(rates.one(now, metric_names.PARTITIONS_STOPPED, sum)),
        kafka_up=_is_up(rates.one(now, metric_names.KAFKA_UP, min)),
        register_up=_register_up(now),
        lists=_lists(at_s, both),
        bare_chance=rates.one(now, metric_names.BARE_CHANCE, max),
        feeds=_feeds(at_s, now),
        sinks=_sinks(at_s, both),
        serve=_serve(both),
        agreements=_whole(rates.by(now, metric_names.AGREEMENTS, "state", max)),
        appeals=_whole(rates.by(now, metric_names.APPEALS, "state", max)),
        appeals_overdue=_int(rates.one(now, metric_names.APPEALS_OVERDUE, max)),
        roles_left_s={
            role: expires_s - at_s
            for role, expires_s in rates.by(now, metric_names.EXCHANGE_EXPIRES, "role", min).items()
        },
        workers_ready=_int(rates.one(now, metric_names.READY_WORKERS, sum)),
        worker_restarts=_int(rates.one(now, metric_names.WORKER_RESTARTS, sum)),
        versions=tuple(sorted({one.version for one in processes if one.version})),
    )


def version_of(reading: MetricsReading) -> str:
    """Return the version that the process says it is; "": it does not say."""
    return next((labels.get("version", "") for labels, _ in reading.series(metric_names.BUILD)), "")


def kind_of(place: MonitorTarget, reading: MetricsReading) -> ProcessKind:
    """Return what the process at `place` does: the place says so, else its metrics."""
    if place.kind is not ProcessKind.OTHER:
        return place.kind
    return next((kind for name, kind in _MARKS.items() if reading.has(name)), ProcessKind.OTHER)


_MARKS = {
    metric_names.KAFKA_UP: ProcessKind.ENGINE,
    metric_names.FEEDS_REGISTER_UP: ProcessKind.FEEDS,
    metric_names.EXCHANGE_REGISTER_UP: ProcessKind.EXCHANGE,
    metric_names.ENFORCED_LEFT: ProcessKind.ENFORCEMENT,
    metric_names.SINK_REDIS_UP: ProcessKind.REDIS_SINK,
    metric_names.CONNECTIONS: ProcessKind.SERVE,
    metric_names.SINK_LAG: ProcessKind.WEBHOOKS,
}
"""A metric that only processes of one kind have; of the last, both sinks: it is looked at last."""


def _lists(at_s: float, pairs: Sequence[ReadingPair]) -> tuple[ListOverview, ...]:
    now = [pair.now for pair in pairs]
    generations = rates.by(now, metric_names.LIST_GENERATION, "list", min)
    synced = rates.by(now, metric_names.LIST_SYNCED, "list", min)
    entries = rates.by(now, metric_names.LIST_ENTRIES, "list", max)
    changes = rates.by(now, metric_names.LIST_CHANGES, "list", max)
    blocks = rates.rates(pairs, metric_names.DECISIONS, "list", verdict="block", simulated="false")
    flags = rates.rates(pairs, metric_names.DECISIONS, "list", verdict="flag", simulated="false")
    outside = rates.by(now, metric_names.OUT_OF_SCOPE, "list", sum, confirmed="true")
    known = any(pair.span_s > 0.0 for pair in pairs if pair.now.has(metric_names.LIST_GENERATION))
    newest = rates.by(now, metric_names.LIST_GENERATION, "list", max)
    return tuple(
        ListOverview(
            name,
            _int(generations.get(name)),
            max(0.0, at_s - synced[name]) if synced.get(name) else None,
            _int(entries.get(name)),
            _int(changes.get(name)),
            blocks.get(name, 0.0) if known else None,
            flags.get(name, 0.0) if known else None,
            int(outside.get(name, 0.0)),
        )
        for name in sorted(generations)
        if newest[name]  # a list that was deleted stays, as generation 0
    )


def _feeds(at_s: float, now: Sequence[MetricsReading]) -> tuple[FeedOverview, ...]:
    held = rates.by(now, metric_names.FEED_HELD, "feed", max)
    wrong = rates.by(now, metric_names.FEED_FILE_WRONG, "feed", max)
    numbers = rates.by(now, metric_names.FEED_NUMBERS, "feed", max)
    accepted = rates.by(now, metric_names.FEED_ACCEPTED, "feed", max)
    confirmed = rates.by(now, metric_names.FEED_CONFIRMED, "feed", max)
    failures = rates.by(now, metric_names.FEED_FAILURES, "feed", max)
    return tuple(
        FeedOverview(
            name,
            held.get(name, 0.0) > 0,
            wrong.get(name, 0.0) > 0,
            _int(numbers.get(name)),
            max(0.0, at_s - accepted[name]) if accepted.get(name) else None,
            max(0.0, at_s - confirmed[name]) if confirmed.get(name) else None,
            int(failures.get(name, 0.0)),
        )
        for name in sorted({*held, *wrong, *accepted})
    )


def _sinks(at_s: float, pairs: Sequence[ReadingPair]) -> SinkOverview:
    now = [pair.now for pair in pairs]
    built_s = rates.one(now, metric_names.SINK_BUILT, min)
    failing = rates.by(now, metric_names.WEBHOOK_FAILING, "endpoint", max)
    return SinkOverview(
        lag=_whole(rates.by(now, metric_names.SINK_LAG, "sink", sum)),
        keys=_whole(rates.by(now, metric_names.SINK_KEYS, "kind", sum)),
        keys_age_s=max(0.0, at_s - built_s) if built_s else None,
        redis_up=_is_up(rates.one(now, metric_names.SINK_REDIS_UP, min)),
        webhooks_per_s=rates.rates(pairs, metric_names.WEBHOOK_EVENTS, "outcome"),
        webhooks_failing=tuple(sorted(name for name, value in failing.items() if value > 0)),
    )


def _serve(pairs: Sequence[ReadingPair]) -> HttpOverview:
    times = rates.quantiles(pairs, metric_names.REQUEST, (P50, P99)) or (None, None)
    statuses = rates.rates(pairs, metric_names.REQUESTS, "status")
    errors = sum(rate for status, rate in statuses.items() if status.startswith("5"))
    return HttpOverview(
        requests_per_s=sum(statuses.values()) if statuses else None,
        errors_per_s=errors if statuses else None,
        lookups_per_s=rates.rates(pairs, metric_names.LOOKUPS, "verdict"),
        p50_s=times[0],
        p99_s=times[1],
        connections=_int(rates.one([pair.now for pair in pairs], metric_names.CONNECTIONS, sum)),
    )


_STORE_UP = (
    *(metric_names.REGISTER_UP, metric_names.FEEDS_REGISTER_UP),
    *(metric_names.EXCHANGE_REGISTER_UP, metric_names.HTTP_REGISTER_UP),
)


def _register_up(now: Sequence[MetricsReading]) -> bool | None:
    """Return whether the list store answers all processes that use it."""
    found = [value for name in _STORE_UP if (value := rates.one(now, name, min)) is not None]
    return all(value > 0 for value in found) if found else None


def _is_up(value: float | None) -> bool | None:
    return None if value is None else value > 0


def _int(value: float | None) -> int | None:
    return None if value is None else int(value)


def _whole(values: Mapping[str, float]) -> dict[str, int]:
    return {key: int(value) for key, value in values.items()}
