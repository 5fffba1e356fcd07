"""Durations, counted in steps of 5 %, so that the counts of days add up.

Medians of days cannot be made the median of their month; counts can be added. A step's name is its
place on a scale from a millisecond to a year: 500 steps at most, for any number of measurements.
(So do DDSketch, Masson et al., VLDB 2019, and Prometheus' native histograms.)
"""

from collections.abc import Iterable, Mapping
from math import ceil, log
from typing import Annotated, Final, Self

import msgspec
from msgspec import Meta

_GROWTH: Final = 1.05
"""Steps of 5 %: the figures in a report are rounded more than that."""
STEP_MAX: Final = 500
"""Of the last step, which also takes what took longer: 1.05^500 ms is 454 days."""

Count = Annotated[int, Meta(ge=0, le=2**53)]
"""Of calls, entries, delays. 2^53 is what every reader of JSON gets whole."""
_Seconds = Annotated[float, Meta(ge=0, le=1e10)]
_Step = Annotated[int, Meta(ge=0, le=STEP_MAX)]
_Held = Annotated[int, Meta(ge=1, le=2**53)]


def step_of(delay_s: float) -> int:
    """Return the step of a delay; one in the future (another machine's clock) counts as none."""
    if delay_s <= 0.001:
        return 0
    return min(ceil(log(delay_s * 1000, _GROWTH) - 1e-9), STEP_MAX)


def step_end_s(step: int) -> float:
    """Return the longest delay of a step, rounded up to a millisecond: what quantiles say."""
    return ceil(_GROWTH**step - 1e-6) / 1000


class Delays(msgspec.Struct, frozen=True, kw_only=True):
    """`count` delays. `p50_s`, `p99_s`: the half and 99 of 100 took at most so long.

    Both are at most 5 % too long, never too short. `max_s` is exact. `late` took longer than the
    agreement's response target (by their steps, if only those are left); it is None if there was no
    target. `steps` are what it was counted from: pairs of a step and how many.
    """

    count: _Held
    p50_s: _Seconds
    p99_s: _Seconds
    max_s: _Seconds
    late: Count | None = None
    steps: tuple[tuple[_Step, _Held], ...]

    def __post_init__(self) -> None:
        if sum(held for _, held in self.steps) != self.count:
            raise ValueError("the steps do not add up to count")
        if (self.late or 0) > self.count:
            raise ValueError("more are late than there are")

    @classmethod
    def of(cls, steps: Mapping[int, int], max_s: float, late: int | None) -> Self | None:
        """Delays counted by step; None where nothing was measured."""
        held = tuple(sorted((step, many) for step, many in steps.items() if many > 0))
        if not held:
            return None
        return cls(
            count=sum(many for _, many in held),
            p50_s=min(_quantile(held, 0.5), max_s),
            p99_s=min(_quantile(held, 0.99), max_s),
            max_s=max_s,
            late=late,
            steps=held,
        )

    @classmethod
    def counted(cls, steps: Mapping[int, int], max_s: float, target_s: float | None) -> Self | None:
        """Return the same, `late` by the steps: those that begin beyond that of the target."""
        late = None
        if target_s is not None:
            late = sum(many for step, many in steps.items() if step > step_of(target_s))
        return cls.of(steps, max_s, late)

    @classmethod
    def measured(cls, delays_s: Iterable[float], target_s: float | None = None) -> Self | None:
        """Delays as they were measured, in seconds, against a target; None: there are none."""
        held = [max(delay, 0.0) for delay in delays_s]
        steps: dict[int, int] = {}
        for delay in held:
            steps[step_of(delay)] = steps.get(step_of(delay), 0) + 1
        late = None if target_s is None else sum(delay > target_s for delay in held)
        return cls.of(steps, max(held, default=0.0), late)


def together(parts: Iterable[Delays | None]) -> Delays | None:
    """Return all of them as one; None: nothing was measured. `late` if each part has it."""
    held = [part for part in parts if part is not None]
    steps: dict[int, int] = {}
    for part in held:
        for step, many in part.steps:
            steps[step] = steps.get(step, 0) + many
    lates = [part.late for part in held]
    known = [late for late in lates if late is not None]
    late = sum(known) if len(known) == len(lates) else None
    return Delays.of(steps, max((part.max_s for part in held), default=0.0), late)


def _quantile(steps: tuple[tuple[int, int], ...], share: float) -> float:
    wanted, seen = ceil(sum(many for _, many in steps) * share), 0
    for step, many in steps:
        seen += many
        if seen >= wanted:
            return step_end_s(step)
    raise AssertionError("a share is at most 1")
