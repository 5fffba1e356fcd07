"""One process' `/metrics` at one moment, as samples.

A process of ours may have far more series than figures need, and parsing is slow: a line is parsed
only if its metric is one of `names.USED`. What is read is bounded by `SERIES_MAX`.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

from stream.ops.monitor import metric_names

SERIES_MAX = 50_000
"""Most series of one process; with more the reading is refused, which no process of ours has."""

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


class Unreadable(ValueError):
    """The text is no exposition of ours; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Reading:
    """All samples of one process that figures are made of.

    `at_s` is seconds since the epoch, to be compared with metrics that hold times; `tick_s` is of a
    clock that is never set back, for rates.
    """

    at_s: float
    tick_s: float
    samples: Mapping[str, Mapping[Labels, float]] = field(default_factory=dict)

    def has(self, name: str) -> bool:
        """Whether the process has the metric at all."""
        return name in self.samples

    def series(self, name: str, **only: str) -> Iterator[tuple[dict[str, str], float]]:
        """Labels and value of each series of `name` with all the labels `only`."""
        wanted = only.items()
        for labels, value in self.samples.get(name, {}).items():
            found = dict(labels)
            if all(found.get(key) == text for key, text in wanted):
                yield found, value


def read(text: str, *, at_s: float, tick_s: float) -> Reading:
    """The samples in `text`, Prometheus' text format. Raises Unreadable."""
    samples: dict[str, dict[Labels, float]] = defaultdict(dict)
    count = 0
    try:
        for family in text_string_to_metric_families("\n".join(_wanted(text.splitlines())) + "\n"):
            for sample in family.samples:
                count += 1
                if count > SERIES_MAX:
                    raise Unreadable(f"more than {SERIES_MAX} series")
                labels = tuple(sorted(sample.labels.items()))
                samples[sample.name][labels] = float(sample.value)
    except (ValueError, KeyError, IndexError) as error:  # what its parser raises at garbage
        raise Unreadable(f"is not Prometheus' text format: {error}") from error
    return Reading(at_s, tick_s, dict(samples))


def _wanted(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        if line.startswith("#"):
            continue  # without its type a sample keeps its whole name, which is what we go by
        name = line.split("{", 1)[0].split(" ", 1)[0]
        if name in _SAMPLES:
            yield line.split(" # ", 1)[0]  # an exemplar is no figure
