"""Counts of what lists did: batches of decisions, figures of a day, and delays of versions.

The counts of a version are written in the same transaction as the feed's own record, so that a
crash leaves both or neither.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Final, NamedTuple

from redis.asyncio.client import Pipeline

from stream.core.model.delays import Delays, step_of
from stream.core.model.enforcement_document import CallOutcome, Counts, VersionCounts
from stream.lists.store import redis_keys
from stream.lists.store.store_codec import hex_of

DAY_S: Final = 86_400
REBUILT_DAYS: Final = 8
"""Documents of so many days are made again when more is counted: decisions stay 7 days in Kafka."""
COUNTS_S: Final = 40 * DAY_S
"""A monthly report needs 31 days; the rest is time to ask about it."""
DAY_NUMBERS_S: Final = (REBUILT_DAYS + 2) * DAY_S
"""A day is counted again for `REBUILT_DAYS`; two days more allow for clocks and outages."""
MONTH_NUMBERS_S: Final = 45 * DAY_S
"""A month, and two weeks in which its report is made and asked about."""
EXACT_MAX: Final = 4096
"""Numbers of a day or month, list and category that are counted one by one, 60 bytes each. Beyond
them Redis estimates, with a standard error of 0.8 %, in 12 KB."""
FRESH_MAX: Final = 100_000
"""Bounds Redis' memory: the oldest numbers without a stopped call go first."""
SEEN: Final = 65_536
"""Decisions of a partition among which a repeat is recognised: half a megabyte. A worker repeats
after a crash what it had not committed, which is at most a second's calls."""


class CountPosition(NamedTuple):
    """The position in a partition: the next offset, and the next place in the ring of ids.

    `offset` None: nothing of it was counted yet.
    """

    offset: int | None = None
    place: int = 0


class Cell(NamedTuple):
    """The dimensions of a count of calls, beside their outcome."""

    list: str
    day: date
    category: str


@dataclass(slots=True)
class DecisionCounts:
    """Counts of some decisions. `ids` of those counted, 8 bytes each; `numbers` by fingerprint.
    `stopped`: time of the first blocked or flagged call of each number of a list, ms.
    """

    ids: list[bytes] = field(default_factory=list)
    calls: Counter[tuple[Cell, CallOutcome]] = field(default_factory=Counter)
    numbers: dict[Cell, set[int]] = field(default_factory=dict)
    stopped: dict[tuple[str, int], int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DayCounts:
    """Counts of a list on a day; the `..._steps` are counts by step of `core.model.delays`.

    `peaks`: the greatest of `in_force` and `first` (ms) and `stale` (s). `followed`: a feed of ours
    brings the list. `counted`: decisions are counted here at all.
    """

    by_category: Mapping[str, Counts]
    in_force_steps: Mapping[int, int]
    first_steps: Mapping[int, int]
    peaks: Mapping[str, int]
    verdicts: Mapping[str, int]
    followed: bool
    counted: bool

    def in_force(self, target_s: int | None) -> Delays | None:
        """Return the delays from the owner's publication until it was live here."""
        return Delays.counted(self.in_force_steps, self.peaks.get("in_force", 0) / 1000, target_s)

    def first_stopped(self) -> Delays | None:
        """Return the delays from the owner's publication to the first call stopped."""
        return Delays.counted(self.first_steps, self.peaks.get("first", 0) / 1000, None)

    def versions(self) -> VersionCounts | None:
        """Return the counts of the list's versions; None: no feed here follows it."""
        if not self.followed and not self.verdicts:
            return None
        return VersionCounts(
            accepted=self.verdicts.get("accepted", 0),
            held=self.verdicts.get("held", 0),
            refused=self.verdicts.get("refused", 0),
            stale_s_max=self.peaks.get("stale"),
        )


@dataclass(frozen=True, slots=True)
class Effect:
    """A version that is live since `at_ms`. It has the publication time of each change in it, and
    the fingerprints that it adds to the list. Times are ms since the epoch.
    """

    at_ms: int
    published_ms: tuple[int, ...] = ()
    fresh: tuple[int, ...] = ()


def day_of(at_ms: int) -> date:
    """Return the UTC day of a moment."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).date()


def note_verdict(pipe: Pipeline, list_name: str, feed: str, verdict: str, at_ms: int) -> None:
    """Count a version of the feed as accepted, held or refused."""
    day = redis_keys.enforced_day(list_name, day_of(at_ms))
    pipe.hincrby(day, f"versions:{verdict}", 1)
    pipe.expire(day, COUNTS_S)
    pipe.hset(redis_keys.ENFORCED_FEEDS, list_name, feed)


def note_effect(pipe: Pipeline, list_name: str, effect: Effect) -> None:
    """Count the delay of a version from its owner's publication until it was live here.

    Its new numbers are remembered until a call of each was stopped. Several changes that come at
    once count as old as the oldest of them there.
    """
    if not effect.published_ms:
        return
    note_delays(
        pipe,
        list_name,
        day_of(effect.at_ms),
        "in_force",
        [effect.at_ms - published_ms for published_ms in effect.published_ms],
    )
    if effect.fresh:
        fresh, oldest_ms = redis_keys.enforced_fresh(list_name), min(effect.published_ms)
        # One that is there already keeps its time: it was not stopped since.
        pipe.zadd(fresh, {hex_of(one): oldest_ms for one in effect.fresh}, nx=True)
        pipe.zremrangebyscore(fresh, "-inf", effect.at_ms - COUNTS_S * 1000)
        pipe.zremrangebyrank(fresh, 0, -FRESH_MAX - 1)
        pipe.expire(fresh, COUNTS_S)


def note_delays(
    pipe: Pipeline, list_name: str, day: date, what: str, delays_ms: Iterable[int]
) -> None:
    """Count delays of one kind, `in_force` or `first`, of one day."""
    held = [max(delay, 0) for delay in delays_ms]
    if not held:
        return
    key = redis_keys.enforced_day(list_name, day)
    for delay_ms in held:
        pipe.hincrby(key, f"{what}:{step_of(delay_ms / 1000)}", 1)
    pipe.expire(key, COUNTS_S)
    note_peak(pipe, list_name, day, what, max(held))


def note_peak(pipe: Pipeline, list_name: str, day: date, what: str, value: int) -> None:
    """Keep a value if it is the greatest of the day."""
    peaks = redis_keys.enforced_peaks(list_name, day)
    pipe.zadd(peaks, {what: value}, gt=True)
    pipe.expire(peaks, COUNTS_S)
