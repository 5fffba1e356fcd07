"""Base of the catalogues of metrics: each entry with its unit, meaning and what to do.

The catalogues are its siblings, one for each kind of process. Names follow Prometheus: base units
(seconds, bytes), the unit last, what is counted before `_total`, which the client adds. Labels come
from enums and from the configuration, never from data: no numbers, no partner's text. The help text
in `/metrics` is the meaning. The table in deploy/METRICS.md has all of it; `make docs-metrics`
writes it.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Generic, Literal, TypeVar, cast

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

NAMES_MAX = 200
"""Each is several series in every process: 200 lists are some thousands of series a scrape."""
OTHERS = "(others)"

Instrument = TypeVar("Instrument", bound=Counter | Histogram)


class BoundedLabels:
    """Names of the configuration or the list store that are labels: there may be ten thousand.

    The first names that a process meets, those of its configuration before all, have series of
    their own. The others share one, `(others)`: counters add them up, gauges show the worst.
    Several workers agree as long as they meet lists in one order. "" (none) is a label.
    """

    def __init__(self, names_max: int = NAMES_MAX, first: Iterable[str] = ()) -> None:
        self._names_max = names_max
        self._known = {"", *islice(first, names_max)}

    def label(self, name: str) -> str:
        """`name`, or OTHERS where there are too many."""
        if name not in self._known:
            if len(self._known) > self._names_max:
                return OTHERS
            self._known.add(name)
        return name


class BoundedSeries(Generic[Instrument]):
    """A counter or histogram whose label at the first of `places` is bounded.

    Where that one becomes OTHERS, so do the labels at the places after it: a rule of an agreement
    says nothing beside a list that is not named.
    """

    def __init__(
        self, instrument: Instrument, named: BoundedLabels, places: tuple[int, ...]
    ) -> None:
        self._instrument = instrument
        self._named = named
        self._places = places

    def labels(self, *values: str) -> Instrument:
        """Return the series of these labels, or the one that the others share."""
        if self._named.label(values[self._places[0]]) == OTHERS:
            values = tuple(
                OTHERS if place in self._places else value for place, value in enumerate(values)
            )
        return cast("Instrument", self._instrument.labels(*values))


class BoundedGauge:
    """A gauge by name. `of_others` makes one value of all that have no series of their own."""

    def __init__(
        self, gauge: Gauge, named: BoundedLabels, of_others: Callable[[Iterable[float]], float]
    ) -> None:
        self._gauge = gauge
        self._named = named
        self._of_others = of_others
        self._others: dict[str, float] = {}
        self._shown: set[str] = set()

    def set(self, name: str, value: float) -> None:
        """Set one; it takes as long as there are others, if it is one of them."""
        label = self._named.label(name)
        if label == OTHERS:
            self._others[name] = value
            value = self._of_others(self._others.values())
        self._gauge.labels(label).set(value)

    def set_all(self, values: Mapping[str, float], gone: float = 0.0) -> None:
        """Set all there are; one that was there and is not any more has the value `gone`."""
        labels = {name: self._named.label(name) for name in values}
        self._others = {name: values[name] for name, label in labels.items() if label == OTHERS}
        for name in self._shown - labels.keys():
            self._gauge.labels(name).set(gone)
        for name, label in labels.items():
            if label != OTHERS:
                self._gauge.labels(name).set(values[name])
                self._shown.add(name)
        if self._others:
            self._gauge.labels(OTHERS).set(self._of_others(self._others.values()))


def total(values: Iterable[float]) -> float:
    """Return the others' sum, where only a sum says something of them all."""
    return math.fsum(values)


Kind = Literal["counter", "gauge", "histogram"]
OfWorkers = Literal["livesum", "livemin", "livemax"]
"""How the supervisor puts a gauge of its living workers together: the sum, the least, the most."""

_UNITS = {
    "_timestamp_seconds": "seconds since the epoch",
    "_seconds": "seconds",
    "_bytes": "bytes",
    "_records": "records",
}
_WORDS_LEAST = 3

# Series with "created at" times double the output and say nothing that Prometheus needs.
disable_created_metrics()  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True)
class MetricEntry:
    """One metric as it is found in `/metrics`; a histogram's series have suffixes besides."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    meaning: str
    do: str

    def __post_init__(self) -> None:
        assert self.name.startswith("ringfence_"), self.name
        assert len(self.meaning.split()) >= _WORDS_LEAST, f"{self.name} has no meaning"
        assert len(self.do.split()) >= _WORDS_LEAST, f"{self.name} does not say what to do"

    @property
    def unit(self) -> str:
        """Return what its value is counted in."""
        for suffix, unit in _UNITS.items():
            if self.name.endswith(suffix):
                return unit
        return "0 or 1" if self.meaning.startswith("Whether") else "count"


class Catalogue:
    """The metrics of one kind of process. Each is made by one of the methods, with what to do."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.entries: list[MetricEntry] = []

    def _counter(self, name: str, meaning: str, do: str, labels: Sequence[str] = ()) -> Counter:
        self._enter(f"{name}_total", "counter", labels, meaning, do)
        return Counter(name, meaning, labels, registry=self.registry)

    def _gauge(
        self,
        name: str,
        meaning: str,
        do: str,
        labels: Sequence[str] = (),
        workers: OfWorkers = "livemax",
    ) -> Gauge:
        self._enter(name, "gauge", labels, meaning, do)
        return Gauge(name, meaning, labels, registry=self.registry, multiprocess_mode=workers)

    def _histogram(
        self, name: str, meaning: str, do: str, labels: Sequence[str], buckets: Sequence[float]
    ) -> Histogram:
        self._enter(name, "histogram", labels, meaning, do)
        return Histogram(name, meaning, labels, registry=self.registry, buckets=buckets)

    def _counter_each(
        self,
        named: BoundedLabels,
        name: str,
        meaning: str,
        do: str,
        labels: Sequence[str],
        *,
        by: str,
        others: Sequence[str] = (),
    ) -> BoundedSeries[Counter]:
        """Return a counter with a bounded label `by`; names beyond lose the labels `others` too."""
        places = labels.index(by), *map(labels.index, others)
        return BoundedSeries(self._counter(name, meaning, do, labels), named, places)

    def _gauge_each(
        self,
        named: BoundedLabels,
        name: str,
        meaning: str,
        do: str,
        by: str,
        of_others: Callable[[Iterable[float]], float],
        workers: OfWorkers = "livemax",
    ) -> BoundedGauge:
        """Return a gauge by a bounded name; `of_others` makes one value of the names beyond."""
        return BoundedGauge(self._gauge(name, meaning, do, [by], workers), named, of_others)

    def _histogram_each(
        self,
        named: BoundedLabels,
        name: str,
        meaning: str,
        do: str,
        by: str,
        buckets: Sequence[float],
    ) -> BoundedSeries[Histogram]:
        return BoundedSeries(self._histogram(name, meaning, do, [by], buckets), named, (0,))

    def _enter(self, name: str, kind: Kind, labels: Sequence[str], meaning: str, do: str) -> None:
        self.entries.append(MetricEntry(name, kind, tuple(labels), meaning, do))
