"""Look at our processes again and again: readings become pictures, pictures a trail."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Self

from stream.ops.clock import now_ms
from stream.ops.monitor import metric_names, rates
from stream.ops.monitor.dashboard import (
    Overview,
    ProcessState,
    ProcessStatus,
    kind_of,
    overview,
    version_of,
)
from stream.ops.monitor.rates import MetricsReading, ReadingPair
from stream.ops.monitor.scrape import ScrapeAnswer, ask_all
from stream.ops.monitor.targets import MonitorTarget

TRAIL_MAX = 300
"""Points that are kept: five minutes of a look each second."""

STARTED_S_TOLERANCE = 1.5
"""A process' start is known to a hundredth of a second; a clock that is set moves it."""

Ask = Callable[[Sequence[MonitorTarget], float], Awaitable[list[ScrapeAnswer]]]


@dataclass(frozen=True, slots=True)
class TrailPoint:
    """One look, for a line of a chart; None: not known."""

    at_s: float
    calls_per_s: float | None
    decisions_per_s: float | None
    blocks_per_s: float | None
    latency_p50_s: float | None
    latency_p99_s: float | None
    lag: int | None

    @classmethod
    def of(cls, seen: Overview) -> Self:
        """Return the picture's point."""
        decisions = seen.decisions_per_s
        return cls(
            seen.at_s,
            seen.calls_per_s,
            sum(decisions.values()) if decisions else None,
            decisions.get("block", 0.0) if decisions else None,
            seen.latency_p50_s,
            seen.latency_p99_s,
            sum(seen.lag.values()) if seen.lag else None,
        )


class Monitor:
    """Known state of the processes at `places`; `look` asks them again.

    Several may look at once: each look's pictures are made of the readings of that look and of the
    one before it. `ask` and `now_s` are replaced in tests.
    """

    def __init__(
        self,
        places: Sequence[MonitorTarget],
        ask: Ask = ask_all,
        now_s: Callable[[], float] = lambda: now_ms() / 1000,
    ) -> None:
        self.places = tuple(places)
        self.trail: deque[TrailPoint] = deque(maxlen=TRAIL_MAX)
        self._ask, self._now_s = ask, now_s
        self._readings: dict[MonitorTarget, MetricsReading] = {}
        self._processes: dict[MonitorTarget, ProcessStatus] = {}
        # A look between two others would make rates of a time that is not theirs.
        self._one_at_a_time = asyncio.Lock()

    async def look(self) -> Overview:
        """Ask every process once; the figures since the look before."""
        async with self._one_at_a_time:
            answers = await self._ask(self.places, self._now_s())
            at_s = self._now_s()
            pairs: dict[str, ReadingPair] = {}
            for answer in answers:
                before = self._readings.get(answer.place)
                process = _process(self._processes.get(answer.place), before, answer, at_s)
                self._processes[answer.place] = process
                if answer.reading is not None:
                    if before is not None and _restarted(before, answer.reading):
                        before = replace(before, samples={})  # it counts from 0 again
                    pairs[answer.place.url] = ReadingPair(before, answer.reading)
                    self._readings[answer.place] = answer.reading
            seen = overview(at_s, [self._processes[place] for place in self.places], pairs)
            self.trail.append(TrailPoint.of(seen))
            return seen

    async def look_twice(self, apart_s: float) -> Overview:
        """Two looks, `apart_s` seconds apart: the least that has rates."""
        await self.look()
        await asyncio.sleep(apart_s)
        return await self.look()


def _process(
    known: ProcessStatus | None, before: MetricsReading | None, answer: ScrapeAnswer, at_s: float
) -> ProcessStatus:
    """Return how a process is now, given how it was."""
    if answer.reading is None:
        if known is None or known.state is ProcessState.UNHEARD:
            return ProcessStatus(
                answer.place, answer.place.kind, ProcessState.UNHEARD, None, why=answer.why
            )
        since_s = known.since_s if known.state is ProcessState.AWAY else (before or _NEVER).at_s
        return replace(known, state=ProcessState.AWAY, since_s=since_s, missing=(), why=answer.why)
    state = ProcessState.READY if answer.ready else ProcessState.NOT_READY
    started_s = rates.one([answer.reading], metric_names.STARTED, max)
    again = before is not None and _restarted(before, answer.reading)
    same = known is not None and known.state is state and not again
    return ProcessStatus(
        answer.place,
        kind_of(answer.place, answer.reading),
        state,
        known.since_s if known is not None and same else at_s,
        started_s,
        (known.restarts if known is not None else 0) + again,
        answer.missing,
        "",
        version_of(answer.reading),
    )


_NEVER = MetricsReading(0.0, 0.0)


def _restarted(before: MetricsReading, now: MetricsReading) -> bool:
    """Return whether the process restarted: it began later, or its counters fell."""
    then_s = rates.one([before], metric_names.STARTED, max)
    since_s = rates.one([now], metric_names.STARTED, max)
    if then_s is not None and since_s is not None:
        return since_s > then_s + STARTED_S_TOLERANCE
    return any(
        value < before.samples.get(name, {}).get(labels, 0.0)
        for name, series in now.samples.items()
        if name.endswith("_total")
        for labels, value in series.items()
    )
