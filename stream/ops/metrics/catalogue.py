"""What a catalogue of metrics is made of: each entry with its unit, its meaning and what to do.

The catalogues are `metrics.py` and its siblings, one for each kind of process. Names follow
Prometheus: base units (seconds, bytes), the unit last, what is counted before `_total`, which the
client adds. Labels come from enums and from the configuration, never from data: no numbers, no
partner's text. The help text in `/metrics` is the meaning; the table in deploy/METRICS.md, which
`make docs-metrics` writes, has all of it.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

from stream.ops.metrics.bounded_labels import Each, EachGauge, Named

Kind = Literal["counter", "gauge", "histogram"]
OfWorkers = Literal["livesum", "livemin", "livemax"]
"""What the supervisor serves of a gauge: the sum, the least or the most of its living workers."""

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
class Entry:
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
        """What its value is counted in."""
        for suffix, unit in _UNITS.items():
            if self.name.endswith(suffix):
                return unit
        return "0 or 1" if self.meaning.startswith("Whether") else "count"


class Catalogue:
    """The metrics of one kind of process. Each is made by one of the methods, with what to do."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.entries: list[Entry] = []

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
        named: Named,
        name: str,
        meaning: str,
        do: str,
        labels: Sequence[str],
        *,
        by: str,
        others: Sequence[str] = (),
    ) -> Each[Counter]:
        """A counter whose label `by` is bounded; names beyond lose the labels `others` too."""
        places = labels.index(by), *map(labels.index, others)
        return Each(self._counter(name, meaning, do, labels), named, places)

    def _gauge_each(
        self,
        named: Named,
        name: str,
        meaning: str,
        do: str,
        by: str,
        of_others: Callable[[Iterable[float]], float],
        workers: OfWorkers = "livemax",
    ) -> EachGauge:
        """A gauge by a bounded name; `of_others` is what it is for those beyond, together."""
        return EachGauge(self._gauge(name, meaning, do, [by], workers), named, of_others)

    def _histogram_each(
        self, named: Named, name: str, meaning: str, do: str, by: str, buckets: Sequence[float]
    ) -> Each[Histogram]:
        return Each(self._histogram(name, meaning, do, [by], buckets), named, (0,))

    def _enter(self, name: str, kind: Kind, labels: Sequence[str], meaning: str, do: str) -> None:
        self.entries.append(Entry(name, kind, tuple(labels), meaning, do))
