"""What trials would have done, counted for the pages: at most one count at a time, and kept."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from stream.config.settings import InsightSettings
from stream.core.model.errors import Fault
from stream.insight.trials.promote import figures_between
from stream.insight.trials.status import TrialCounts
from stream.kafka.call_events import CallEvent

COUNT_S_MAX: Final = 30.0
"""A count that takes longer is given up: `ringfence simulate list` has all the time it needs."""
FRESH_S: Final = 600
SPANS: Final = {"1h": 3_600, "1d": 86_400, "7d": 7 * 86_400}
"""How far back a page may have decisions counted, in seconds."""


@dataclass(frozen=True, slots=True)
class Counted:
    """The figures of the decisions since `from_s`, as of `at_s`."""

    figures: TrialCounts
    span: str
    at_s: int


@dataclass(slots=True)
class Counting:
    """Reads decisions by `read`, which is given milliseconds from and until."""

    read: Callable[[int, int], Awaitable[TrialCounts]]
    last: Counted | None = None
    why_not: str = ""
    _busy: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def count(self, span: str, now_s: int) -> None:
        """Count anew, unless just done; afterwards `last` has it, or `why_not` says why not."""
        async with self._busy:
            held = self.last
            if held is not None and held.span == span and now_s - held.at_s < 10:
                return
            self.why_not = ""
            try:
                async with asyncio.timeout(COUNT_S_MAX):
                    figures = await self.read((now_s - SPANS[span]) * 1000, (now_s + 1) * 1000)
            except TimeoutError:
                self.why_not = (
                    f"the decisions of that time could not be read in {COUNT_S_MAX:.0f} s: "
                    "`ringfence simulate list` takes its time"
                )
            except Fault as fault:
                self.why_not = str(fault)
            else:
                self.last = Counted(figures, span, now_s)

    def fresh(self, now_s: int) -> TrialCounts | None:
        """The figures, if they are new enough to stand in an audit entry of this moment."""
        held = self.last
        return held.figures if held is not None and now_s - held.at_s < FRESH_S else None


def counting_of(settings: InsightSettings) -> Counting:
    """The counting that reads the decisions topic of the settings."""

    async def read(from_ms: int, until_ms: int) -> TrialCounts:
        return await figures_between(settings, from_ms, until_ms, _ignored, _untold)

    return Counting(read)


def _ignored(_: CallEvent) -> None:
    """The page says that it was not counted."""


def _untold(_done: int, _whole: int) -> None:
    """Nobody watches."""
