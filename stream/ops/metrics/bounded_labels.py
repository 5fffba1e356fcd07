"""Labels that are names of the configuration or the register, and so may be ten thousand.

The first names that a process hears of, those of its configuration before all, have series of
their own; the others share one, `(others)`: counted together, and by the worst of them in gauges.
With several workers each decides by itself; they agree as long as they hear of lists in one order.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Generic, TypeVar, cast

from prometheus_client import Counter, Gauge, Histogram

NAMES_MAX = 200
OTHERS = "(others)"

Instrument = TypeVar("Instrument", bound=Counter | Histogram)


class Named:
    """Which names are labels. "" (none) always is."""

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


class Each(Generic[Instrument]):
    """A counter or histogram whose label at the first of `places` is bounded.

    Where that one becomes OTHERS, so do the labels at the places after it: a rule of an agreement
    says nothing beside a list that is not named.
    """

    def __init__(self, instrument: Instrument, named: Named, places: tuple[int, ...]) -> None:
        self._instrument = instrument
        self._named = named
        self._places = places

    def labels(self, *values: str) -> Instrument:
        """The series of these labels, or the one that the others share."""
        if self._named.label(values[self._places[0]]) == OTHERS:
            values = tuple(
                OTHERS if place in self._places else value for place, value in enumerate(values)
            )
        return cast("Instrument", self._instrument.labels(*values))


class EachGauge:
    """A gauge by name. `of_others` makes one value of all that have no series of their own."""

    def __init__(
        self, gauge: Gauge, named: Named, of_others: Callable[[Iterable[float]], float]
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
    """The others' sum, where only a sum says something of them all."""
    return math.fsum(values)
