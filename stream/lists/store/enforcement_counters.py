"""What is noted when a followed list's version was decided: verdicts, and how old it was by then.

Written in the same transaction as the feed's own record, so that a crash leaves both or neither.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime

from redis.asyncio.client import Pipeline

from stream.core.model.delays import step_of
from stream.lists.store import enforcement_keys
from stream.lists.store.entry_codec import hex_of


@dataclass(frozen=True, slots=True)
class Effect:
    """A version that is live since `at_ms`: when each change in it was published, and the
    fingerprints that are new on the list by it. Times are ms since the epoch.
    """

    at_ms: int
    published_ms: tuple[int, ...] = ()
    fresh: tuple[int, ...] = ()


def day_of(at_ms: int) -> date:
    """The UTC day of a moment."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).date()


def note_verdict(pipe: Pipeline, list_name: str, feed: str, verdict: str, at_ms: int) -> None:
    """A version of the feed was accepted, held or refused."""
    day = enforcement_keys.day(list_name, day_of(at_ms))
    pipe.hincrby(day, f"versions:{verdict}", 1)
    pipe.expire(day, enforcement_keys.COUNTS_S)
    pipe.hset(enforcement_keys.FEEDS, list_name, feed)


def note_effect(pipe: Pipeline, list_name: str, effect: Effect) -> None:
    """How long the version took from its owner's publication until it was live here.

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
        fresh, oldest_ms = enforcement_keys.fresh(list_name), min(effect.published_ms)
        # One that is there already keeps its time: it was not stopped since.
        pipe.zadd(fresh, {hex_of(one): oldest_ms for one in effect.fresh}, nx=True)
        pipe.zremrangebyscore(fresh, "-inf", effect.at_ms - enforcement_keys.COUNTS_S * 1000)
        pipe.zremrangebyrank(fresh, 0, -enforcement_keys.FRESH_MAX - 1)
        pipe.expire(fresh, enforcement_keys.COUNTS_S)


def note_delays(
    pipe: Pipeline, list_name: str, day: date, what: str, delays_ms: Iterable[int]
) -> None:
    """Delays of one kind, `in_force` or `first`, of one day."""
    held = [max(delay, 0) for delay in delays_ms]
    if not held:
        return
    key = enforcement_keys.day(list_name, day)
    for delay_ms in held:
        pipe.hincrby(key, f"{what}:{step_of(delay_ms / 1000)}", 1)
    pipe.expire(key, enforcement_keys.COUNTS_S)
    note_peak(pipe, list_name, day, what, max(held))


def note_peak(pipe: Pipeline, list_name: str, day: date, what: str, value: int) -> None:
    """Something that is only kept if it is the greatest of the day."""
    peaks = enforcement_keys.peaks(list_name, day)
    pipe.zadd(peaks, {what: value}, gt=True)
    pipe.expire(peaks, enforcement_keys.COUNTS_S)
