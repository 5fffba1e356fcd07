"""The overview's figures, live: one reader for all who watch, each event made once.

A viewer that takes events slower than they come gets only the newest, so none costs memory. One
that takes nothing is cut off by the connection's own limit ([serve] answer_s_max). After `STREAM_S`
a stream ends and the browser asks again, with the id of its last event. The session is then checked
again.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import msgspec

from stream.core.model.appeal import OPEN
from stream.edge.http.languages import gettext as _
from stream.edge.http.languages import lasting, many, ngettext, reader, rounded, separated, word
from stream.edge.http.problems import ProblemError, ProblemKind
from stream.edge.http.rendering import fragment
from stream.ops.clock import monotonic_s
from stream.ops.metrics.catalogue import OTHERS
from stream.ops.monitor.collect import Monitor, TrailPoint
from stream.ops.monitor.dashboard import ListOverview, Overview
from stream.web.chart_history import ChartHistory, ChartSpan
from stream.web.store_watch import StoreFigures, no_store

LATE_S: Final = 0.1
"""Decisions whose p99 is above are marked: a caller hears the silence."""
BEHIND_S: Final = (5.0, 60.0)
"""Seconds that calls wait for their decision: a warning, and an error."""
STALE_S: Final = 120.0
"""A list that the engine has not compared with the list store for so many seconds is marked."""
LISTS_MAX: Final = 10
_POINTS_TOLD: Final = 10
_NOT_KNOWN: Final = "–"


@dataclass(frozen=True, slots=True)
class Tile:
    """One figure; `mark` is "", "warn" or "bad", `more` says what belongs to it.

    `link` leads to the page of the figure, or to the reason why there is none.
    """

    key: str
    name: str
    value: str
    unit: str = ""
    more: str = ""
    mark: str = ""
    link: str = ""


def tiles(seen: Overview, store_fault: str = "") -> tuple[Tile, ...]:
    """Return the figures of a moment, the most wanted first.

    `store_fault` says why feeds and appeals could not be read from the list store.
    """
    found = (
        Tile(
            "calls", _("Calls"), _rate(seen.calls_per_s), "/s", _rejected(seen), link="/decisions"
        ),
        _decided(seen),
        _blocked(seen),
        _latency(seen),
        _lag(seen),
        _lists(seen),
        _up("kafka", "Kafka", seen.kafka_up, _("calls wait; none is lost")),
        _up(
            "register",
            _("List store"),
            seen.register_up,
            _("decisions go on from the last good lists"),
        ),
        _feeds(seen, store_fault),
        _appeals(seen, store_fault),
    )
    return tuple(_explained(tile, seen) if tile.value == _NOT_KNOWN else tile for tile in found)


def _explained(tile: Tile, seen: Overview) -> Tile:
    """Return a tile without a value, with the reason and the page that says more."""
    if tile.more:
        return tile
    if not seen.engine_answers:
        return replace(tile, more=_("no engine answers"), link="/health")
    if tile.key in {"latency", "decisions", "blocked"} and seen.calls_per_s is not None:
        return replace(tile, more=_("no call was decided just now"))
    return replace(tile, more=_("known after the next look, in a few seconds"), link="/health")


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
    return many(value)


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


def _ms(value: float | None) -> float | None:
    return None if value is None else round(value * 1000, 3)


def _rejected(seen: Overview) -> str:
    rejected = sum(seen.rejected_per_s.values())
    return _("%(rate)s a second cannot be read", rate=_rate(rejected)) if rejected else ""


def _decided(seen: Overview) -> Tile:
    verdicts = seen.decisions_per_s
    whole = sum(verdicts.values()) if verdicts else None
    more = ", ".join(f"{_rate(rate)} {word(verdict)}" for verdict, rate in sorted(verdicts.items()))
    return Tile("decisions", _("Decisions"), _rate(whole), "/s", more, link="/decisions")


def _blocked(seen: Overview) -> Tile:
    verdicts = seen.decisions_per_s
    whole, blocked = sum(verdicts.values()), verdicts.get("block", 0.0)
    part = separated(f"{blocked / whole * 100:.2f}") + " %" if whole else ""
    share = _("%(share)s of decisions", share=part) if whole else ""
    simulated = sum(seen.simulated_per_s.values())
    tried = "; " + _("%(rate)s a second on trial", rate=_rate(simulated)) if simulated else ""
    value = _rate(blocked if verdicts else None)
    return Tile(
        "blocked", _("Blocked"), value, "/s", share + tried, link="/decisions?verdict=block"
    )


def _latency(seen: Overview) -> Tile:
    p50_s, p99_s = seen.latency_p50_s, seen.latency_p99_s
    more = _("half within %(time)s", time=lasting(p50_s)) if p50_s is not None else ""
    mark = "warn" if p99_s is not None and p99_s > LATE_S else ""
    value = _NOT_KNOWN if p99_s is None else rounded(p99_s * 1000)
    return Tile("latency", _("99 % decided within"), value, "ms", more, mark, "/health")


def _lag(seen: Overview) -> Tile:
    name, unit = _("Waiting for a decision"), _("calls")
    if not seen.lag:
        return Tile("lag", name, _NOT_KNOWN, unit, link="/health")
    whole = sum(seen.lag.values())
    wait_s = whole / seen.calls_per_s if seen.calls_per_s else 0.0
    mark = "bad" if wait_s > BEHIND_S[1] else "warn" if wait_s > BEHIND_S[0] else ""
    more = _("%(time)s behind", time=lasting(wait_s)) if wait_s >= 1 else ""
    more = more or ("" if whole else _("up to date"))
    if seen.partitions_stopped:
        count = seen.partitions_stopped
        more = ngettext("%(num)s partition has stopped", "%(num)s partitions have stopped", count)
        mark = "bad"
    return Tile("lag", name, many(whole), unit, more, mark, "/health")


def _lists(seen: Overview) -> Tile:
    ages = [one.age_s for one in seen.lists if one.age_s is not None]
    oldest_s = max(ages, default=0.0)
    more = _("the oldest compared %(time)s ago", time=lasting(oldest_s)) if ages else ""
    mark = "warn" if oldest_s > STALE_S else ""
    named = [one for one in seen.lists if one.name != OTHERS]
    more_there = "+" if len(named) < len(seen.lists) else ""
    value = many(len(named)) + more_there if seen.engine_answers else _NOT_KNOWN
    return Tile("lists", _("Lists in force"), value, "", more, mark, "/lists")


def _up(key: str, name: str, up: bool | None, meanwhile: str) -> Tile:
    if up is None:
        return Tile(key, name, _NOT_KNOWN, link="/health")
    value, more, mark = (_("up"), "", "") if up else (_("away"), meanwhile, "bad")
    return Tile(key, name, value, "", more, mark, "/health")


def _feeds(seen: Overview, store_fault: str) -> Tile:
    held = sum(feed.held for feed in seen.feeds)
    failing = sum(bool(feed.failures or feed.file_wrong) for feed in seen.feeds)
    name, more = _("Feeds"), []
    if held:
        more += [ngettext("%(num)s has a held version", "%(num)s have a held version", held)]
    if failing:
        more += [ngettext("%(num)s is down", "%(num)s are down", failing)]
    if not seen.feeds and store_fault:
        return Tile("feeds", name, _NOT_KNOWN, "", _(store_fault), "", "/health")
    link = "/feeds?which=down" if failing else "/feeds?which=waits" if held else "/feeds"
    text = ", ".join(more) or ("" if seen.feeds else _("none is set up"))
    return Tile("feeds", name, many(len(seen.feeds)), "", text, "warn" if more else "", link)


def _appeals(seen: Overview, store_fault: str) -> Tile:
    name = _("Appeals open")
    if not seen.appeals and store_fault:
        return Tile("appeals", name, _NOT_KNOWN, "", _(store_fault), "", "/health")
    waiting = sum(seen.appeals.get(state, 0) for state in OPEN)
    late = seen.appeals_overdue or 0
    more, mark = (_("%(num)s overdue", num=many(late)), "bad") if late else ("", "")
    link = "/appeals?overdue=1" if late else "/appeals"
    return Tile("appeals", name, many(waiting), "", more, mark, link)


LOOK_S: Final = 5.0
"""Seconds between two readings, watched or not: a visit then changes no curve.

Rates and quantiles are of the time between two readings, so points of another distance look like
an incident. A reading of 10,000 lists takes an engine and this process about 0.1 s.
"""
STREAM_S: Final = 300.0
"""Seconds until a stream ends and the browser asks again, with its session."""
RETRY_S: Final = 15
"""Seconds after which one viewer too many may ask again."""
_RETRY_MS: Final = 3000


@dataclass(slots=True)
class LiveFigures:
    """One reader of all metrics and of the list store, and its viewers, `watchers_max` at once."""

    watch: Monitor
    watchers_max: int
    store: Callable[[], Awaitable[StoreFigures]] = no_store
    seen: Overview | None = field(init=False, default=None)
    history: ChartHistory = field(init=False, default_factory=ChartHistory)
    watchers: int = field(init=False, default=0)
    _store_fault: str = field(init=False, default="")
    _before_s: float = field(init=False, default=0.0)
    _events: dict[tuple[ChartSpan, str], bytes] = field(init=False, default_factory=dict)
    _next: asyncio.Event = field(init=False, default_factory=asyncio.Event)
    _closed: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        for point in self.watch.trail:
            self.history.add(point)

    async def run(self) -> None:
        """Poll until cancelled."""
        while True:
            begun_s = monotonic_s()
            await self._look()
            await asyncio.sleep(max(0.0, begun_s + LOOK_S - monotonic_s()))

    async def _look(self) -> None:
        seen, store = await asyncio.gather(self.watch.look(), self.store())
        self._before_s = self.seen.at_s if self.seen is not None else 0.0
        self.seen, self._store_fault = store.onto(seen), store.fault
        self.history.add(TrailPoint.of(self.seen))
        self.history.processes(seen.processes)
        self.history.changes(store.changes, store.changes_cut)
        self._events.clear()
        told, self._next = self._next, asyncio.Event()
        told.set()

    def given(self, span: ChartSpan) -> dict[str, Any]:
        """Return the values of the figures' templates."""
        seen = self.seen
        at_s = seen.at_s if seen is not None else 0.0
        return {
            "seen": seen,
            "tiles": tiles(seen, self._store_fault) if seen is not None else (),
            "behind": behind(seen.lists) if seen is not None else (),
            "busiest": busiest(seen.lists) if seen is not None else (),
            "told": told(self.history.points(span)),
            "markers": self.history.markers(span, at_s),
            "span": span,
        }

    async def events(self, last_id: str, span: ChartSpan) -> AsyncGenerator[bytes]:
        """Return the stream of one viewer who has all up to `last_id` ("": nothing).

        Raises ProblemError, before anything is sent, if too many watch.
        """
        if self.watchers >= self.watchers_max:
            text = f"{self.watchers_max} watch already ([serve] watchers_max); the page is not live"
            raise ProblemError(ProblemKind.BUSY, text, retry_after_s=RETRY_S)
        self.watchers += 1
        try:
            async for part in self._stream(_seconds(last_id), span):
                yield part
        finally:
            self.watchers -= 1

    async def _stream(self, after_s: float, span: ChartSpan) -> AsyncGenerator[bytes]:
        until_s = monotonic_s() + STREAM_S
        yield b"retry: %d\n\n" % _RETRY_MS
        if self.seen is not None:
            yield self._event(self.seen, span, after_s)
            after_s = self.seen.at_s
        while not self._closed and monotonic_s() < until_s:
            await self._next.wait()
            seen = self.seen
            if seen is None:
                return
            yield self._event(seen, span, after_s)
            after_s = seen.at_s

    def _event(self, seen: Overview, span: ChartSpan, after_s: float) -> bytes:
        """Return the event of a viewer with all up to `after_s`: one for each span and language."""
        newest, key = after_s == self._before_s, (span, reader())
        if newest and key in self._events:
            return self._events[key]
        html = fragment("figures.html", **self.given(span))
        made = event(seen.at_s, html, points(self.history.points(span), after_s=after_s))
        if newest:
            self._events[key] = made
        return made

    def close(self) -> None:
        """End all streams: the server waits for what is being answered."""
        self._closed = True
        self._next.set()


def _seconds(last_id: str) -> float:
    """Return the time of an event's id; 0 if it is none of ours."""
    digits = last_id.replace(".", "", 1)
    return float(last_id) if digits.isascii() and digits.isdigit() and len(last_id) < 20 else 0.0
