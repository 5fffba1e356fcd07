"""The overview's figures, live: one reader for all who watch, each event made once.

A viewer who takes events slower than they come gets the newest only, so none costs memory; one who
takes nothing is cut off by the connection's own limit ([serve] answer_s_max). After `STREAM_S` a
stream ends and the browser asks again, with the id of the last event it has: then the session is
checked again.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from stream.edge.http.problems import ProblemError, ProblemKind
from stream.edge.http.rendering import fragment
from stream.ops.clock import monotonic_s
from stream.ops.monitor.collect import Monitor, TrailPoint
from stream.ops.monitor.dashboard import ListOverview, Overview
from stream.ops.schema.durations import spelled

LATE_S: Final = 0.1
"""Decisions whose p99 is above are marked: a caller hears the silence."""
BEHIND_S: Final = (5.0, 60.0)
"""Calls that wait so long for their decision: worth a look; something is wrong."""
STALE_S: Final = 120.0
"""A list that the engine has not compared with the list store for so many seconds is marked."""
LISTS_MAX: Final = 10
_POINTS_TOLD: Final = 10
_NOT_KNOWN: Final = "–"


@dataclass(frozen=True, slots=True)
class Tile:
    """One figure; `mark` is "", "warn" or "bad", `more` says what belongs to it."""

    key: str
    name: str
    value: str
    unit: str = ""
    more: str = ""
    mark: str = ""


def tiles(seen: Overview) -> tuple[Tile, ...]:
    """Return the figures of a moment, the most wanted first."""
    return (
        Tile("calls", "Calls", _rate(seen.calls_per_s), "/s", _rejected(seen)),
        _decided(seen),
        _blocked(seen),
        _latency(seen),
        _lag(seen),
        _lists(seen),
        _up("kafka", "Kafka", seen.kafka_up, "calls wait; none is lost"),
        _up("register", "List store", seen.register_up, "decisions go on from the last good lists"),
        _feeds(seen),
        _appeals(seen),
    )


def behind(lists: Iterable[ListOverview]) -> list[ListOverview]:
    """Return the lists that were longest not compared with the list store, the oldest first."""
    known = [one for one in lists if one.age_s is not None]
    return sorted(known, key=lambda one: -(one.age_s or 0.0))[:LISTS_MAX]


def busiest(lists: Iterable[ListOverview]) -> list[ListOverview]:
    """Return the lists that block or flag most now."""
    acting = [one for one in lists if (one.blocks_per_s or 0) + (one.flags_per_s or 0) > 0]
    return sorted(acting, key=lambda one: -((one.blocks_per_s or 0) + (one.flags_per_s or 0)))[
        :LISTS_MAX
    ]


def points(trail: Iterable[TrailPoint], after_s: float = 0.0) -> list[list[float | None]]:
    """Return the points of the charts: time, calls, blocks, p50 and p99 in ms, lag."""
    return [
        [
            round(one.at_s, 3),
            _short(one.calls_per_s),
            _short(one.blocks_per_s),
            _ms(one.latency_p50_s),
            _ms(one.latency_p99_s),
            one.lag,
        ]
        for one in trail
        if one.at_s > after_s
    ]


def told(trail: Sequence[TrailPoint]) -> list[TrailPoint]:
    """Return a few points of the charts for a table, the newest first, evenly apart."""
    step = max(1, len(trail) // _POINTS_TOLD)
    return list(reversed(trail))[::step][:_POINTS_TOLD]


def event(at_s: float, html: str, drawn: list[list[float | None]]) -> bytes:
    """Return one server-sent event: the page's new parts, and points that the charts lack."""
    data = msgspec.json.encode({"html": html, "points": drawn})
    return b"id: %.3f\nevent: figures\ndata: %s\n\n" % (at_s, data)


def _rate(value: float | None) -> str:
    if value is None:
        return _NOT_KNOWN
    return f"{value:,.1f}" if 0 < value < 10 else f"{value:,.0f}"


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


def _ms(value: float | None) -> float | None:
    return None if value is None else round(value * 1000, 3)


def _rejected(seen: Overview) -> str:
    rejected = sum(seen.rejected_per_s.values())
    return f"{_rate(rejected)} a second cannot be read" if rejected else ""


def _decided(seen: Overview) -> Tile:
    verdicts = seen.decisions_per_s
    whole = sum(verdicts.values()) if verdicts else None
    more = ", ".join(f"{_rate(rate)} {verdict}" for verdict, rate in sorted(verdicts.items()))
    return Tile("decisions", "Decisions", _rate(whole), "/s", more)


def _blocked(seen: Overview) -> Tile:
    verdicts = seen.decisions_per_s
    whole, blocked = sum(verdicts.values()), verdicts.get("block", 0.0)
    share = f"{blocked / whole * 100:.2f} % of decisions" if whole else ""
    simulated = sum(seen.simulated_per_s.values())
    tried = f"; {_rate(simulated)} a second on trial" if simulated else ""
    return Tile("blocked", "Blocked", _rate(blocked if verdicts else None), "/s", share + tried)


def _latency(seen: Overview) -> Tile:
    p50_s, p99_s = seen.latency_p50_s, seen.latency_p99_s
    more = "half within " + spelled(p50_s) if p50_s is not None else ""
    mark = "warn" if p99_s is not None and p99_s > LATE_S else ""
    value = _NOT_KNOWN if p99_s is None else f"{p99_s * 1000:,.3g}"
    return Tile("latency", "99 % decided within", value, "ms", more, mark)


def _lag(seen: Overview) -> Tile:
    if not seen.lag:
        return Tile("lag", "Waiting for a decision", _NOT_KNOWN, "calls")
    whole = sum(seen.lag.values())
    wait_s = whole / seen.calls_per_s if seen.calls_per_s else 0.0
    mark = "bad" if wait_s > BEHIND_S[1] else "warn" if wait_s > BEHIND_S[0] else ""
    more = f"{spelled(wait_s)} behind" if wait_s >= 1 else "up to date" if not whole else ""
    if seen.partitions_stopped:
        more, mark = f"{seen.partitions_stopped} partitions have stopped", "bad"
    return Tile("lag", "Waiting for a decision", f"{whole:,}", "calls", more, mark)


def _lists(seen: Overview) -> Tile:
    ages = [one.age_s for one in seen.lists if one.age_s is not None]
    oldest_s = max(ages, default=None)
    more = f"the oldest compared {spelled(oldest_s)} ago" if oldest_s is not None else ""
    mark = "warn" if oldest_s is not None and oldest_s > STALE_S else ""
    value = f"{len(seen.lists):,}" if seen.engine else _NOT_KNOWN
    return Tile("lists", "Lists in force", value, "", more, mark)


def _up(key: str, name: str, up: bool | None, meanwhile: str) -> Tile:
    if up is None:
        return Tile(key, name, _NOT_KNOWN, "", "unknown")
    return Tile(key, name, "up" if up else "away", "", "" if up else meanwhile, "" if up else "bad")


def _feeds(seen: Overview) -> Tile:
    held = [feed.name for feed in seen.feeds if feed.held]
    failing = [feed.name for feed in seen.feeds if feed.failures or feed.file_wrong]
    more = [f"{len(held)} {'waits' if len(held) == 1 else 'wait'} for you"] if held else []
    more += [f"{len(failing)} are down"] if failing else []
    value = f"{len(seen.feeds):,}" if seen.feeds else _NOT_KNOWN
    return Tile("feeds", "Feeds", value, "", ", ".join(more), "warn" if more else "")


def _appeals(seen: Overview) -> Tile:
    if not seen.appeals:
        return Tile("appeals", "Appeals open", _NOT_KNOWN)
    waiting = sum(seen.appeals.get(state, 0) for state in ("received", "pending_owner"))
    late = seen.appeals_overdue or 0
    more = f"{late:,} overdue" if late else ""
    return Tile("appeals", "Appeals open", f"{waiting:,}", "", more, "bad" if late else "")


WATCHED_S: Final = 2.0
"""Seconds between two readings while somebody watches."""
UNWATCHED_S: Final = 10.0
"""Seconds between two readings while nobody watches: charts then begin with a past."""
STREAM_S: Final = 300.0
"""Seconds until a stream ends and the browser asks again, with its session."""
RETRY_S: Final = 15
"""Seconds after which one viewer too many may ask again."""
_RETRY_MS: Final = 3000


@dataclass(slots=True)
class LiveFigures:
    """One reader of all metrics, and its viewers, at most `watchers_max` at once."""

    watch: Monitor
    watchers_max: int
    seen: Overview | None = field(init=False, default=None)
    watchers: int = field(init=False, default=0)
    _event: bytes = field(init=False, default=b"")
    _next: asyncio.Event = field(init=False, default_factory=asyncio.Event)
    _wanted: asyncio.Event = field(init=False, default_factory=asyncio.Event)
    _closed: bool = field(init=False, default=False)

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            before_s = self.seen.at_s if self.seen is not None else 0.0
            seen = self.seen = await self.watch.look()
            html = fragment("figures.html", **self.given(seen))
            self._event = event(seen.at_s, html, points(self.watch.trail, after_s=before_s))
            self._tell()
            self._wanted.clear()
            try:
                async with asyncio.timeout(WATCHED_S if self.watchers else UNWATCHED_S):
                    await self._wanted.wait()
            except TimeoutError:
                continue

    def given(self, seen: Overview | None) -> dict[str, Any]:
        """Return the values of the figures' templates."""
        return {
            "seen": seen,
            "tiles": tiles(seen) if seen is not None else (),
            "behind": behind(seen.lists) if seen is not None else (),
            "busiest": busiest(seen.lists) if seen is not None else (),
            "told": told(self.watch.trail),
        }

    async def events(self, last_id: str) -> AsyncGenerator[bytes]:
        """The stream of one viewer who has all up to `last_id` ("": nothing).

        Raises ProblemError, before anything is sent, if too many watch.
        """
        if self.watchers >= self.watchers_max:
            text = f"{self.watchers_max} watch already ([serve] watchers_max); the page is not live"
            raise ProblemError(ProblemKind.BUSY, text, retry_after_s=RETRY_S)
        self.watchers += 1
        try:
            async for part in self._events(_seconds(last_id)):
                yield part
        finally:
            self.watchers -= 1

    async def _events(self, after_s: float) -> AsyncGenerator[bytes]:
        until_s = monotonic_s() + STREAM_S
        yield b"retry: %d\n\n" % _RETRY_MS
        if self.seen is not None:
            html = fragment("figures.html", **self.given(self.seen))
            missing = points(self.watch.trail, after_s=after_s)
            yield event(self.seen.at_s, html, missing)
        self._wanted.set()  # the next look comes at once, not only when the last wait has ended
        while not self._closed and monotonic_s() < until_s:
            await self._next.wait()
            yield self._event

    def close(self) -> None:
        """End all streams: the server waits for what is being answered."""
        self._closed = True
        self._tell()

    def _tell(self) -> None:
        told, self._next = self._next, asyncio.Event()
        told.set()


def _seconds(last_id: str) -> float:
    """Return the time of an event's id; 0 if it is none of ours."""
    digits = last_id.replace(".", "", 1)
    return float(last_id) if digits.isascii() and digits.isdigit() and len(last_id) < 20 else 0.0
