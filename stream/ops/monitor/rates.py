"""Readings of one process' `/metrics`, and what happened between two of them. Pure.

Counters that fell were reset by a restart: what they show is what they counted since, as
Prometheus' `increase` has it. Other than there, nothing is extrapolated: a series that the earlier
reading of the same process did not have began at 0 after it.

Quantiles are those of Prometheus' `histogram_quantile`: linear within a bucket, from 0 within the
first. Beyond the highest finite bound, the quantile is that bound. So they are as exact as the
buckets are narrow.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

from stream.ops.monitor import metric_names

SERIES_MAX = 50_000
"""Most series of one process, so that what is read is bounded; no process of ours has as many."""

Labels = tuple[tuple[str, str], ...]
"""A series' labels, sorted by name."""

_SAMPLES = frozenset(
    {
        *(metric_names.USED - metric_names.HISTOGRAMS),
        *(
            f"{name}{end}"
            for name in metric_names.HISTOGRAMS
            for end in ("_bucket", "_sum", "_count")
        ),
    }
)


class MetricsUnreadable(ValueError):
    """The text is no exposition of ours; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class MetricsReading:
    """All samples of one process that figures are made of.

    `at_s` is seconds since the epoch, to compare with metrics that hold times. `tick_s` is of a
    clock that is never set back, for rates.
    """

    at_s: float
    tick_s: float
    samples: Mapping[str, Mapping[Labels, float]] = field(default_factory=dict)

    def has(self, name: str) -> bool:
        """Return whether the process has the metric at all."""
        return name in self.samples

    def series(self, name: str, **only: str) -> Iterator[tuple[dict[str, str], float]]:
        """Labels and value of each series of `name` with all the labels `only`."""
        wanted = only.items()
        for labels, value in self.samples.get(name, {}).items():
            found = dict(labels)
            if all(found.get(key) == text for key, text in wanted):
                yield found, value


def read(text: str, *, at_s: float, tick_s: float) -> MetricsReading:
    """Read the samples in `text`, Prometheus' text format. Raises MetricsUnreadable."""
    samples: dict[str, dict[Labels, float]] = defaultdict(dict)
    count = 0
    try:
        for family in text_string_to_metric_families("\n".join(_wanted(text.splitlines())) + "\n"):
            for sample in family.samples:
                count += 1
                if count > SERIES_MAX:
                    raise MetricsUnreadable(f"more than {SERIES_MAX} series")
                value = float(sample.value)
                if not math.isfinite(value):
                    raise MetricsUnreadable(f"{sample.name} is {value}")
                if sample.name.endswith("_bucket"):
                    float(sample.labels["le"])
                samples[sample.name][tuple(sorted(sample.labels.items()))] = value
    except (ValueError, KeyError, IndexError) as error:  # what its parser raises at garbage
        raise MetricsUnreadable(f"is not Prometheus' text format: {error}") from error
    return MetricsReading(at_s, tick_s, dict(samples))


def _wanted(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        if line.startswith("#"):
            continue  # without its type a sample keeps its whole name, which is what we go by
        name = line.split("{", 1)[0].split(" ", 1)[0]
        if name in _SAMPLES:
            yield line.split(" # ", 1)[0]  # an exemplar is no figure


@dataclass(frozen=True, slots=True)
class ReadingPair:
    """Two readings of one process, the earlier one None if there is none yet."""

    before: MetricsReading | None
    now: MetricsReading

    @property
    def span_s(self) -> float:
        """Seconds between them; 0: nothing can be said of rates."""
        return 0.0 if self.before is None else max(0.0, self.now.tick_s - self.before.tick_s)

    def grown(self, name: str) -> dict[Labels, float]:
        """By how much each series of a counter grew."""
        if self.before is None:
            return {}
        earlier = self.before.samples.get(name, {})
        return {
            labels: grown(earlier.get(labels, 0.0), value)
            for labels, value in self.now.samples.get(name, {}).items()
        }


def grown(before: float, now: float) -> float:
    """Return a counter's growth; one that fell began again at 0. Never negative."""
    return max(0.0, now - before if now >= before else now)


def rates(
    pairs: Iterable[ReadingPair], name: str, label: str = "", **only: str
) -> dict[str, float]:
    """Return the growth per second of a counter over all processes, by the values of `label`.

    Without `label` all is in one sum, under "". A process without two readings is left out; if none
    has two, or none has the counter, the answer is empty.
    """
    sums: dict[str, float] = defaultdict(float)
    for pair in pairs:
        if pair.span_s <= 0.0:
            continue
        for labels, more in pair.grown(name).items():
            found = dict(labels)
            if all(found.get(key) == text for key, text in only.items()):
                sums[found.get(label, "")] += more / pair.span_s
    return dict(sums)


def quantiles(
    pairs: Iterable[ReadingPair], name: str, wanted: Sequence[float]
) -> tuple[float, ...] | None:
    """Return quantiles (0 to 1) of a histogram between the readings; None: nothing was counted.

    Processes are put together. Bounds that not all of them have (two versions at once) are left
    out, which is exact: buckets are cumulative.
    """
    of_each: list[dict[float, float]] = []
    for pair in pairs:
        buckets: dict[float, float] = defaultdict(float)
        for labels, more in pair.grown(f"{name}_bucket").items():
            buckets[float(dict(labels).get("le", "nan"))] += more
        if buckets:
            of_each.append(buckets)
    if not of_each:
        return None
    bounds = set[float].intersection(*(set(buckets) for buckets in of_each))
    counts = {bound: sum(buckets[bound] for buckets in of_each) for bound in bounds}
    found_all = [quantile(one, counts) for one in wanted]
    return None if None in found_all else tuple(each for each in found_all if each is not None)


def quantile(wanted: float, buckets: Mapping[float, float]) -> float | None:
    """Return a quantile of cumulative `buckets` (upper bound -> count); None without a count."""
    bounds = sorted(bound for bound in buckets if not math.isnan(bound))
    if len(bounds) < 2 or not math.isinf(bounds[-1]):
        return None
    # A scrape may fall between two buckets' steps: a count below that of a smaller bound is raised.
    counts: list[float] = []
    for bound in bounds:
        counts.append(max(buckets[bound], counts[-1] if counts else 0.0))
    if counts[-1] <= 0.0:
        return None
    rank = wanted * counts[-1]
    place = next(index for index, count in enumerate(counts) if count >= rank)
    if place == len(bounds) - 1:
        return bounds[-2]
    below_bound = bounds[place - 1] if place else min(0.0, bounds[0])
    below = counts[place - 1] if place else 0.0
    inside = counts[place] - below
    if inside <= 0.0 or (place == 0 and bounds[0] <= 0.0):
        return bounds[place]
    found = below_bound + (bounds[place] - below_bound) * (rank - below) / inside
    return min(found, bounds[place])  # the sum rounds: 0.001 + 0.009 is above 0.01


def by(
    readings: Iterable[MetricsReading],
    name: str,
    label: str,
    how: Callable[[Iterable[float]], float],
    **only: str,
) -> dict[str, float]:
    """Return a gauge by the values of `label` ("" without one), series put together by `how`."""
    found: dict[str, list[float]] = defaultdict(list)
    for reading in readings:
        for labels, value in reading.series(name, **only):
            found[labels.get(label, "")].append(value)
    return {key: how(values) for key, values in found.items()}


def one(
    readings: Iterable[MetricsReading], name: str, how: Callable[[Iterable[float]], float]
) -> float | None:
    """Return a gauge over all series, put together by `how`; None: no process has it."""
    return by(readings, name, "", how).get("")
