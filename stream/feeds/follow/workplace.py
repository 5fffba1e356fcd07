"""The parts that all followers of feeds share."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from stream.core.model.agreement import Agreements
from stream.feeds.follow.subprocess_job import JobLimits
from stream.feeds.row_checks import Surroundings
from stream.feeds.settings import FeedsSection
from stream.feeds.state_store import FeedStateStore
from stream.lists.store.settings import ListStoreSettings
from stream.ops.metrics.feed_catalogue import FeedMetrics


@dataclass(frozen=True, slots=True, kw_only=True)
class Workplace:
    """Settings, stores and metrics of all followers.

    `kernels` is the folder of compiled kernels. `places` bounds the large versions under way.
    `agreements` gives those of the moment; None: those of `around` stay.
    """

    settings: FeedsSection
    list_store: ListStoreSettings
    state_dir: Path
    kernels: Path
    around: Surroundings
    states: FeedStateStore
    metrics: FeedMetrics
    places: asyncio.Semaphore
    agreements: Callable[[], Agreements] | None = None

    @property
    def limits(self) -> JobLimits:
        """Limits of one version, or one fetch."""
        settings = self.settings
        return JobLimits(memory_max=settings.memory_mb_max << 20, cpu_s_max=settings.cpu_s_max)

    def surroundings(self) -> Surroundings:
        """Surroundings by which versions are judged now."""
        # Asked again for each version: an agreement may end or be extended while we run.
        if self.agreements is None:
            return self.around
        return replace(self.around, agreements=self.agreements())
