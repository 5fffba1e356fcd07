"""The kinds of fault on one side of a history, and how often each of them happens."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from random import Random
from typing import Self


@dataclass(frozen=True)
class FaultKinds:
    """For each kind of fault the mean time between two in seconds; 0: never.

    A subclass has a field for each kind of its side.
    """

    @classmethod
    def some(cls, rng: Random, share: float, mean_s: tuple[float, float] = (1.0, 8.0)) -> Self:
        """Draw each kind with the chance `share`, and its mean time from `mean_s`."""
        means = {one.name: rng.uniform(*mean_s) for one in fields(cls) if rng.random() < share}
        return replace(cls(), **means)

    @property
    def kinds(self) -> list[str]:
        """Names of the kinds that there are."""
        return [one.name for one in fields(self) if getattr(self, one.name)]

    def rarer(self, times: float) -> Self:
        """Return them with so many times the time between two of a kind."""
        return replace(self, **{kind: getattr(self, kind) * times for kind in self.kinds})

    def without(self) -> Iterator[Self]:
        """Yield them with one kind less, for each kind."""
        for kind in self.kinds:
            yield replace(self, **{kind: 0.0})
