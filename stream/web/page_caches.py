"""Data that pages share: feeds, recent decisions, trial counts."""

import asyncio
import logging
import os
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from aiokafka.errors import KafkaError

from stream.config.feed_files import FeedContext, read_each
from stream.config.settings import InsightSettings
from stream.core.model.decision import Decision, read_decision
from stream.core.model.errors import ConfigInvalid, Fault
from stream.edge.http.languages import noted
from stream.feeds.feed import FeedState
from stream.feeds.feed_sources import FeedSetup
from stream.feeds.state_store import FeedStateStore
from stream.insight.trials.promote import figures_between
from stream.insight.trials.status import TrialCounts
from stream.kafka.settings import KafkaSettings
from stream.kafka.topic_reader import newest, reader, records_in
from stream.lists.store.settings import ListStoreSettings
from stream.ops.clock import monotonic_s

LOOK_S: Final = 5.0
"""Seconds between two readings of the folder of feed files."""


@dataclass(frozen=True, slots=True)
class Feeds:
    """The feeds that can be read, by name, and what is wrong with the files of the others.

    Each error in `wrong` names file and key; of the folder itself they stand under "".
    """

    setups: Mapping[str, FeedSetup] = field(default_factory=dict)
    wrong: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def of_list(self, name: str) -> list[FeedSetup]:
        """Return the feeds that fill a list."""
        return [setup for setup in self.setups.values() if setup.feed.list_name == name]


@dataclass(slots=True)
class FeedFolder:
    """The folder of feed files, read at most each `LOOK_S` seconds."""

    folder: Path
    context: FeedContext
    list_store: ListStoreSettings
    _feeds: Feeds = field(init=False, default_factory=Feeds)
    _looked_s: float | None = field(init=False, default=None)
    _reading: asyncio.Lock = field(init=False, default_factory=asyncio.Lock)

    async def now(self) -> Feeds:
        """Return the feeds that are there now."""
        # While one reads, others wait: the reading before may lack a feed, the first has none.
        async with self._reading:
            now_s = monotonic_s()
            if self._looked_s is None or now_s - self._looked_s > LOOK_S:
                self._looked_s = now_s
                self._feeds = await asyncio.to_thread(_read, self.folder, self.context)
            return self._feeds

    async def setups(self) -> Mapping[str, FeedSetup]:
        """Return those of them that can be used, by name."""
        return (await self.now()).setups

    async def states(self, names: Iterable[str]) -> dict[str, FeedState]:
        """Return the states of feeds by name. Raises ListStoreDown, ListStoreLost."""
        async with FeedStateStore.open(self.list_store) as states:
            return await states.states(list(names))


def _read(folder: Path, context: FeedContext) -> Feeds:
    try:
        setups, wrong = read_each(folder, os.environ, context)
    except ConfigInvalid as error:
        return Feeds(wrong={"": error.errors})
    shown = {
        name: tuple(one.removeprefix(f"{folder}/") for one in errors)
        for name, errors in wrong.items()
    }
    return Feeds(setups, shown)


log = logging.getLogger(__name__)

ROWS_MAX: Final = 20_000
"""Decisions held, of about 1.5 KB each."""
IDLE_S: Final = 120.0
"""Seconds that the topic is read on after the last look: the next page then has no gap."""
_FIRST: Final = 5_000
"""Records of each partition that are read for the first viewer."""
_AT_ONCE: Final = 500
"""Records decoded without a pause, 1 to 2 ms: lookups of this process wait no longer."""
_AGAIN_S: Final = 5.0
"""Seconds until the next try after a fault."""
_FIRST_S: Final = 5.0
"""Seconds that the first look waits for the topic; then it shows what there is."""
STILL_READING: Final = noted(
    "the newest decisions are still being read from Kafka; reload the page"
)


@dataclass(slots=True)
class RecentDecisions:
    """The newest decisions, read from their topic while there are viewers, in no group."""

    kafka: KafkaSettings
    topic: str
    idle_s: float = IDLE_S
    trouble: str = field(init=False, default="")
    _rows: deque[Decision] = field(init=False, default_factory=lambda: deque(maxlen=ROWS_MAX))
    _looked_s: float = field(init=False, default=0.0)
    _wanted: asyncio.Event = field(init=False, default_factory=asyncio.Event)
    _there: asyncio.Event = field(init=False, default_factory=asyncio.Event)

    async def look(self, wait_s: float = _FIRST_S) -> list[Decision]:
        """Return the decisions, newest first; the first look waits at most `wait_s` for them."""
        self._looked_s = monotonic_s()
        self._wanted.set()
        try:
            async with asyncio.timeout(wait_s):
                await self._there.wait()
        except TimeoutError:
            self.trouble = self.trouble or STILL_READING
        return list(self._rows)

    async def run(self) -> None:
        """Read while there are viewers, until cancelled."""
        while True:
            await self._wanted.wait()
            try:
                await self._read()
            except (Fault, KafkaError) as error:
                self.trouble = f"the decisions cannot be read now: {error!r}"
                self._there.set()
                await asyncio.sleep(_AGAIN_S)
            finally:
                self._rows.clear()  # what comes while nobody reads would be missing after them

    async def _read(self) -> None:
        async with reader(self.kafka, [self.topic], lambda _: None) as consumer:
            first: list[tuple[int, Decision]] = []
            spans = await newest(consumer, _FIRST)
            async for fetched in records_in(consumer, spans, records_max=_AT_ONCE):
                first += decisions_in(fetched)
            first.sort(key=lambda each: each[0])
            self._rows.extendleft(decision for _, decision in first)
            self.trouble = ""
            self._there.set()
            while monotonic_s() - self._looked_s < self.idle_s:
                fetched = await consumer.getmany(timeout_ms=500, max_records=_AT_ONCE)
                self._rows.extendleft(decision for _, decision in decisions_in(fetched))
            self._wanted.clear()
            self._there.clear()


def decisions_in(fetched: Mapping[Any, list[Any]]) -> list[tuple[int, Decision]]:
    """Return decisions with their time in Kafka, oldest first; what is none is left out."""
    found = (
        (record.timestamp, decision)
        for records in fetched.values()
        for record in records
        if (decision := read_decision(record.value)) is not None
    )
    return sorted(found, key=lambda each: each[0])  # partitions come one after the other


COUNT_S_MAX: Final = 30.0
"""A count that takes longer is given up: `ringfence simulate list` has all the time it needs."""
FRESH_S: Final = 600
"""Older counts are not put into the audit: meanwhile calls may have changed."""
_JUST_S: Final = 10
"""A count so young is shown again: a reload is no wish for a new one."""
SPANS: Final = {"1h": 3_600, "1d": 86_400, "7d": 7 * 86_400}
"""Times that a page may have decisions counted for, in seconds."""


@dataclass(frozen=True, slots=True)
class CountedTrials:
    """Counts of the decisions of a time (`span`, of SPANS), as of `at_s`."""

    figures: TrialCounts
    span: str
    at_s: int


@dataclass(slots=True)
class TrialCounting:
    """Count what trials would have done, for all pages: one count at a time, and kept."""

    settings: InsightSettings
    last: CountedTrials | None = None
    why_not: str = ""
    _busy: asyncio.Lock = field(default_factory=asyncio.Lock)
    """A count reads a week of decisions: a second one at once would read them twice."""

    async def count(self, span: str, now_s: int) -> None:
        """Count again, unless just done; afterwards `last` has it, or `why_not` says why not."""
        async with self._busy:
            held = self.last
            if held is not None and held.span == span and now_s - held.at_s < _JUST_S:
                return
            self.why_not = ""
            try:
                async with asyncio.timeout(COUNT_S_MAX):
                    figures = await figures_between(
                        self.settings,
                        (now_s - SPANS[span]) * 1000,
                        (now_s + 1) * 1000,
                        lambda _: None,
                        lambda _done, _whole: None,
                    )
            except TimeoutError:
                self.why_not = (
                    f"the decisions of that time could not be read in {COUNT_S_MAX:.0f} s: "
                    "`ringfence simulate list` takes its time"
                )
            except Fault as fault:
                self.why_not = str(fault)
            else:
                self.last = CountedTrials(figures, span, now_s)

    def fresh(self, now_s: int) -> TrialCounts | None:
        """Return the counts, if they are new enough for an audit entry of this moment."""
        held = self.last
        return held.figures if held is not None and now_s - held.at_s < FRESH_S else None
