"""Points and markers of the overview's charts: an hour in steps of seconds, a day in minutes.

Memory is bounded: 720 points, 1,440 coarser ones and 200 markers, of about 100 bytes each.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import takewhile
from statistics import fmean
from typing import Final

from stream.lists.store.audit_entries import AuditEntry
from stream.lists.store.history import place_of
from stream.lists.store.store_codec import Op, base_of
from stream.ops.monitor.collect import STARTED_S_TOLERANCE, TrailPoint
from stream.ops.monitor.dashboard import ProcessStatus
from stream.ops.monitor.targets import MonitorTarget

HOUR_S: Final = 3_600
DAY_S: Final = 86_400
COARSE_S: Final = 60
"""Seconds of a point of the day."""
MARKERS_MAX: Final = 200
SHOWN_MAX: Final = 20
"""Markers on a chart: more lines than that hide the curve."""
_TOGETHER_S: Final = 60
"""Events of one list or process within so many seconds are one marker: an import is many steps, and
a process that crashes at its start begins again every few seconds."""
_FINE_MAX: Final = 720
_MIXED: Final = {"list": "changes", "start": "restarted"}
"""The word of a marker for events of several kinds."""
_CHANGES: Final = frozenset({Op.ADD, Op.REMOVE, Op.BASE, Op.DELETE, Op.ALLOW, Op.DISALLOW})
"""Operations after which a call may be decided otherwise."""


class ChartSpan(StrEnum):
    """Time that the charts show."""

    HOUR = "hour"
    DAY = "day"

    @property
    def seconds(self) -> int:
        """Length of the span."""
        return HOUR_S if self is ChartSpan.HOUR else DAY_S


@dataclass(frozen=True, slots=True)
class ChartMarker:
    """One event on the charts: changes of a list, or a process that started.

    `times` counts the changes or starts that it stands for; `more`: there were more than that.
    """

    at_s: float
    kind: str
    subject: str
    what: str
    times: int = 1
    more: bool = False


@dataclass(slots=True)
class ChartHistory:
    """Points and markers of the last day."""

    _fine: deque[TrailPoint] = field(default_factory=lambda: deque(maxlen=_FINE_MAX))
    _coarse: deque[TrailPoint] = field(default_factory=lambda: deque(maxlen=DAY_S // COARSE_S))
    _minute: list[TrailPoint] = field(default_factory=list)
    _markers: deque[ChartMarker] = field(default_factory=lambda: deque(maxlen=MARKERS_MAX))
    _started_s: dict[MonitorTarget, float] = field(default_factory=dict)

    def add(self, point: TrailPoint) -> None:
        """Add a point; a minute that it ends becomes one point of the day."""
        self._fine.append(point)
        if self._minute and point.at_s // COARSE_S != self._minute[0].at_s // COARSE_S:
            self._coarse.append(_merged(self._minute, point.at_s))
            self._minute.clear()
        self._minute.append(point)

    def points(self, span: ChartSpan) -> Sequence[TrailPoint]:
        """Return the points of a span, the oldest first."""
        return self._fine if span is ChartSpan.HOUR else self._coarse

    def processes(self, seen: Iterable[ProcessStatus]) -> None:
        """Mark the starts of processes that were not marked yet."""
        for one in seen:
            if one.started_s is None:
                continue
            known_s = self._started_s.get(one.place)
            if known_s is None or one.started_s > known_s + STARTED_S_TOLERANCE:
                self._started_s[one.place] = one.started_s
                what = "started" if known_s is None else "restarted"
                self._mark(ChartMarker(one.started_s, "start", one.place.name, what))

    def changes(self, entries: Iterable[AuditEntry], cut: bool = False) -> None:
        """Mark changes of lists, the oldest first. `cut`: there were more before these."""
        for entry in entries:
            if entry.op not in _CHANGES:
                continue
            record = base_of(entry.detail.encode()) if entry.op == Op.BASE else None
            what = record.what if record else entry.op
            self._mark(ChartMarker(float(entry.at_s), "list", place_of(entry), what, more=cut))
            cut = False

    def _mark(self, event: ChartMarker) -> None:
        """Add a marker, or count the event in that of the same list or process within a minute."""
        for place in range(len(self._markers) - 1, -1, -1):
            last = self._markers[place]
            if (last.kind, last.subject) == (event.kind, event.subject):
                if abs(event.at_s - last.at_s) < _TOGETHER_S:
                    what = last.what if last.what == event.what else _MIXED[event.kind]
                    more = last.more or event.more
                    self._markers[place] = replace(last, what=what, times=last.times + 1, more=more)
                    return
                break
        self._markers.append(event)

    def markers(self, span: ChartSpan, now_s: float) -> list[ChartMarker]:
        """Return the newest markers of a span, the newest first, at most `SHOWN_MAX`."""
        newest = sorted(self._markers, key=lambda one: -one.at_s)
        return list(takewhile(lambda one: one.at_s > now_s - span.seconds, newest))[:SHOWN_MAX]


def _merged(points: Sequence[TrailPoint], at_s: float) -> TrailPoint:
    """Return one point for many: mean rates, but the worst p99 and lag, so no peak is lost.

    `at_s` is the moment that ends it: a browser asks for points after the last that it has.
    """
    return TrailPoint(
        at_s,
        _mean([one.calls_per_s for one in points]),
        _mean([one.decisions_per_s for one in points]),
        _mean([one.blocks_per_s for one in points]),
        _mean([one.latency_p50_s for one in points]),
        _worst([one.latency_p99_s for one in points]),
        max((one.lag for one in points if one.lag is not None), default=None),
    )


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _worst(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)
