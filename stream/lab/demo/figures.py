"""What the demo measured, as one value, and its form as JSON."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from stream.lab.demo.judge import Verdicts


class Percentiles(msgspec.Struct, frozen=True):
    """Milliseconds; None where nothing was measured."""

    p50: float | None
    p99: float | None


class Enforced(msgspec.Struct, frozen=True):
    """Milliseconds from the command to the first call that got the new answer; None: never."""

    add: float | None
    remove: float | None


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """The file of `--json`. `calls` are all records sent, those that are no calls included."""

    calls: int
    listed_calls: int
    blocked: int
    flagged: int
    missed: int
    false_blocks: int
    rejected: int
    cdr_per_s: int | None
    latency_ms: Percentiles
    change_to_enforced_ms: Enforced
    broker: str
    redis: str


@dataclass
class Rate:
    """How fast the engine worked off the recorded calls, told by its own decisions alone.

    A worker's first decisions appear when it has done its first batch, so the clock starts there
    and that batch's share of the calls is left out: what remains is a rate, not a start-up time.
    """

    calls: int
    _appended_ms: list[int]

    @classmethod
    def of(cls, calls: int) -> "Rate":
        """A rate over `calls` recorded calls."""
        return cls(calls, [])

    def decided(self, appended_ms: int) -> None:
        """Note the append time of a decision about a recorded call."""
        self._appended_ms.append(appended_ms)

    def per_s(self) -> int | None:
        """Records per second between the first and the last decision; None: too few to say."""
        if not self._appended_ms:
            return None
        first, last = min(self._appended_ms), max(self._appended_ms)
        later = sum(each > first for each in self._appended_ms)
        if not later:
            return None
        share = later / len(self._appended_ms)
        return round(self.calls * share / ((last - first) / 1000))


def percentiles(values_ms: Sequence[float]) -> Percentiles:
    """Median and 99th percentile (nearest rank)."""
    if not values_ms:
        return Percentiles(None, None)
    ranked = sorted(values_ms)
    return Percentiles(ranked[(len(ranked) - 1) // 2], ranked[(len(ranked) * 99 - 1) // 100])


def figures_of(
    verdicts: Verdicts,
    *,
    calls: int,
    cdr_per_s: int | None,
    latency_ms: Sequence[float],
    enforced: Enforced,
    broker: str,
    redis: str,
) -> Figures:
    """The figures of one run."""
    return Figures(
        calls=calls,
        listed_calls=verdicts.listed,
        blocked=verdicts.blocked,
        flagged=verdicts.flagged,
        missed=verdicts.missed,
        false_blocks=verdicts.false_blocks,
        rejected=verdicts.rejected,
        cdr_per_s=cdr_per_s,
        latency_ms=percentiles(latency_ms),
        change_to_enforced_ms=enforced,
        broker=broker,
        redis=redis,
    )
