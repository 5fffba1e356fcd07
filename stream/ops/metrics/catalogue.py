"""Base of the catalogues of metrics: each entry with its unit, meaning and what to do.

The catalogues are its siblings, one for each kind of process; `metrics.toml` has the texts. Names
follow Prometheus: base units (seconds, bytes), the unit last, what is counted before `_total`,
which the client adds. Labels come from enums and from the configuration, never from data: no
numbers, no partner's text. The help text in `/metrics` is the meaning. The table in
deploy/METRICS.md has all of it; `make docs-metrics` writes it.
"""

import math
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final, Generic, Literal, TypeVar, cast

import msgspec
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

    If that one becomes OTHERS, so do the labels at the places after it. A rule of an agreement says
    nothing beside a list that is not named.
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
        self._gone: set[str] = set()

    def set(self, name: str, value: float) -> None:
        """Set one; it takes as long as there are others, if it is one of them."""
        label = self._named.label(name)
        if label == OTHERS:
            self._others[name] = value
            value = self._of_others(self._others.values())
        self._gauge.labels(label).set(value)

    def forget(self, name: str) -> None:
        """Remove the series of one that is gone for good, not with several workers."""
        label = self._named.label(name)
        if self._others.pop(name, None) is not None and self._others:
            self._gauge.labels(OTHERS).set(self._of_others(self._others.values()))
        elif label != OTHERS or not self._others:
            self._gauge.remove(label)

    def set_all(self, values: Mapping[str, float], gone: float = 0.0) -> None:
        """Set all there are; one that was there and is not any more has the value `gone`."""
        labels = {name: self._named.label(name) for name in values}
        self._others = {name: values[name] for name, label in labels.items() if label == OTHERS}
        self._gone = self._shown - {*labels.values()}
        self._shown.update(labels.values())
        self.set_gone(gone)
        for name, label in labels.items():
            if label != OTHERS:
                self._gauge.labels(name).set(values[name])
        if self._others:
            self._gauge.labels(OTHERS).set(self._of_others(self._others.values()))

    def set_gone(self, value: float) -> None:
        """Set those that were there at an earlier `set_all`, and not at the last."""
        for name in self._gone:
            self._gauge.labels(name).set(value)


def total(values: Iterable[float]) -> float:
    """Return the others' sum, where only a sum says something of them all."""
    return math.fsum(values)


Kind = Literal["counter", "gauge", "histogram"]
OfWorkers = Literal["livesum", "livemin", "livemax"]
"""The supervisor's figure for a gauge of its living workers: their sum, least or most."""

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
        return "0 or 1" if self.meaning.startswith(("1 if ", "1 while ")) else "count"


class Declared(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A metric in `metrics.toml`."""

    meaning: str
    do: str
    labels: tuple[str, ...] = ()
    by: str = ""
    others: tuple[str, ...] = ()
    workers: OfWorkers = "livemax"


TEXTS: Final = Path(__file__).with_name("metrics.toml")
DECLARED: Final = msgspec.convert(tomllib.loads(TEXTS.read_text("utf-8")), dict[str, Declared])
"""Every metric by its name."""


class Catalogue:
    """The metrics of one kind of process, made by their names; `metrics.toml` has the rest."""

    def __init__(self, registry: CollectorRegistry, **bounds: BoundedLabels) -> None:
        """`bounds`: by label, which of its values have series of their own."""
        self.registry = registry
        self.entries: list[MetricEntry] = []
        self._bounds = bounds

    def _counter(self, name: str) -> Counter:
        one = self._enter(name, "counter")
        return Counter(name, one.meaning, one.labels, registry=self.registry)

    def _gauge(self, name: str) -> Gauge:
        one, workers = self._enter(name, "gauge"), DECLARED[name].workers
        return Gauge(
            name, one.meaning, one.labels, registry=self.registry, multiprocess_mode=workers
        )

    def _histogram(self, name: str, buckets: Sequence[float]) -> Histogram:
        one = self._enter(name, "histogram")
        return Histogram(name, one.meaning, one.labels, registry=self.registry, buckets=buckets)

    def _counter_by(self, name: str) -> BoundedSeries[Counter]:
        """A counter with a bounded label."""
        return BoundedSeries(self._counter(name), *self._bounded(name))

    def _histogram_by(self, name: str, buckets: Sequence[float]) -> BoundedSeries[Histogram]:
        """A histogram with a bounded label."""
        return BoundedSeries(self._histogram(name, buckets), *self._bounded(name))

    def _gauge_by(self, name: str, of_others: Callable[[Iterable[float]], float]) -> BoundedGauge:
        """A gauge by a bounded name; `of_others` makes one value of the names beyond."""
        named, _ = self._bounded(name)
        return BoundedGauge(self._gauge(name), named, of_others)

    def _bounded(self, name: str) -> tuple[BoundedLabels, tuple[int, ...]]:
        """Return the bounds of a metric's label `by`, and the places of that and of `others`."""
        one = DECLARED[name]
        return self._bounds[one.by], tuple(map(one.labels.index, (one.by, *one.others)))

    def _enter(self, name: str, kind: Kind) -> MetricEntry:
        one = DECLARED[name]
        # A counter's series get the suffix by the client.
        shown = f"{name}_total" if kind == "counter" else name
        self.entries.append(MetricEntry(shown, kind, one.labels, one.meaning, one.do))
        return self.entries[-1]
