"""Geometry and words of the charts; the page's template draws them. Pure.

A day that was not reported is a hatched gap, never a bar of height 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from math import log10
from typing import Final

from stream.insight.report.figures import Day
from stream.insight.report.period import MONTHS, day_words, span_words
from stream.insight.report.words import duration, many

WIDTH, HEIGHT = 480, 210
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 8, 20, 26
_PLOT_WIDTH, _PLOT_HEIGHT = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM
_TIMES: Final = (
    *((0.001, "1 ms"), (0.01, "10 ms"), (0.1, "0.1 s"), (1, "1 s"), (10, "10 s"), (60, "1 min")),
    *((600, "10 min"), (3600, "1 h"), (36_000, "10 h"), (86_400, "1 day"), (864_000, "10 days")),
    (8_640_000, "100 days"),
)
_TIMES_S: Final = tuple(seconds for seconds, _ in _TIMES)
_ROUND: Final = (10, 12, 16, 20, 24, 30, 40, 50, 60, 80, 100)
_X_TICKS: Final = 5
_BAR_MAX: Final = 26
"""A week's bars would be slabs without it."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A rectangle; `kind` is its class: blocked, flagged, simulated, or gap."""

    x: float
    y: float
    width: float
    height: float
    kind: str


@dataclass(frozen=True, slots=True)
class Span:
    """From the half to 99 of 100 of a day's delays, at `x`."""

    x: float
    half_y: float
    most_y: float


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on an axis."""

    at: float
    text: str
    anchor: str = "middle"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """`title` and `said` are its alternative in words. `target_y`: where the agreed time is."""

    title: str
    said: str
    bars: tuple[Bar, ...] = ()
    spans: tuple[Span, ...] = ()
    x_ticks: tuple[Tick, ...] = ()
    y_ticks: tuple[Tick, ...] = ()
    target_y: float | None = None
    target: str = ""
    left: float = _LEFT
    right: float = WIDTH - _RIGHT
    bottom: float = HEIGHT - _BOTTOM

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of bars in it, for the legend."""
        return frozenset(bar.kind for bar in self.bars)


def calls_chart(days: Sequence[Day], where: str) -> Chart | None:
    """Calls a day by what became of them; None where there is nothing to draw."""
    sums = [(day.blocked or 0) + (day.flagged or 0) + (day.simulated or 0) for day in days]
    if not any(sums):
        return None
    top = _above(max(sums))
    slot = _PLOT_WIDTH / len(days)
    width = min(slot * (0.72 if slot > 3 else 1), _BAR_MAX)
    bars = _gaps(days, [day.blocked is None for day in days])
    for place, day in enumerate(days):
        x, y = _LEFT + slot * place + (slot - width) / 2, float(HEIGHT - _BOTTOM)
        for kind, calls in (
            ("blocked", day.blocked),
            ("flagged", day.flagged),
            ("simulated", day.simulated),
        ):
            if calls:
                height = _PLOT_HEIGHT * calls / top
                y -= height
                bars.append(Bar(_at(x), _at(y), _at(width), _at(height), kind))
    most = sums.index(max(sums))
    told = [
        f"{sum(getattr(day, kind) or 0 for day in days):,} {word}"
        for kind, word in (
            ("blocked", "blocked"),
            ("flagged", "flagged"),
            ("simulated", "on trial"),
        )
    ]
    return Chart(
        title=f"Calls a day, {where}",
        said=f"{span_words(days[0].day, days[-1].day)}: {', '.join(told)}; most on "
        f"{day_words(days[most].day)} ({many(sums[most], 'call')}). {_gap_words(days)}",
        bars=tuple(bars),
        x_ticks=_x_ticks(days),
        y_ticks=tuple(
            Tick(_at(HEIGHT - _BOTTOM - _PLOT_HEIGHT * part / 2), f"{top * part // 2:,}", "end")
            for part in range(3)
        ),
    )


def delays_chart(days: Sequence[Day], target_s: int, where: str) -> Chart | None:
    """From publication to in force, by day, on a scale of powers; None: nothing was measured."""
    measured = [
        (place, day.in_force_p50_s, day.in_force_p99_s)
        for place, day in enumerate(days)
        if day.in_force_p50_s is not None and day.in_force_p99_s is not None
    ]
    if not measured:
        return None
    low = max((one for one in _TIMES_S if one <= min(m[1] for m in measured)), default=_TIMES_S[0])
    longest = max(*(m[2] for m in measured), target_s, low * 10)
    high = min((one for one in _TIMES_S if one >= longest), default=_TIMES_S[-1])

    def y_of(seconds: float) -> float:
        part = log10(min(max(seconds, low), high) / low) / log10(high / low)
        return _at(HEIGHT - _BOTTOM - _PLOT_HEIGHT * part)

    slot = _PLOT_WIDTH / len(days)
    worst = max(measured, key=lambda one: one[2])
    agreed = f" The agreed time is {duration(target_s)}." if target_s else ""
    worst_day = day_words(days[worst[0]].day)
    return Chart(
        title=f"Time from publication to in force, {where}",
        said=f"By day, {span_words(days[0].day, days[-1].day)}: half of a day's changes within "
        f"{duration(min(m[1] for m in measured))} to {duration(max(m[1] for m in measured))}; "
        f"99 of 100 within at most {duration(worst[2])}, on {worst_day}.{agreed} "
        f"{_gap_words(days)}",
        bars=tuple(_gaps(days, [day.silent for day in days])),
        spans=tuple(
            Span(_at(_LEFT + slot * (place + 0.5)), y_of(half), y_of(most))
            for place, half, most in measured
        ),
        x_ticks=_x_ticks(days),
        y_ticks=tuple(Tick(y_of(one), text, "end") for one, text in _TIMES if low <= one <= high),
        target_y=y_of(target_s) if target_s else None,
        target=f"agreed: {duration(target_s)}" if target_s else "",
    )


def _gaps(days: Sequence[Day], missing: Sequence[bool]) -> list[Bar]:
    """Days that say nothing, neighbours as one."""
    slot, found, place = _PLOT_WIDTH / len(days), [], 0
    while place < len(days):
        end = place
        while end < len(days) and missing[end]:
            end += 1
        if end > place:
            x, width = _at(_LEFT + slot * place), _at(slot * (end - place))
            found.append(Bar(x, _TOP, width, _PLOT_HEIGHT, "gap"))
        place = max(end, place + 1)
    return found


def _gap_words(days: Sequence[Day]) -> str:
    gaps = sum(day.silent for day in days)
    if not gaps:
        return "Every day was reported."
    return f"{many(gaps, 'day')} {'was' if gaps == 1 else 'were'} not reported."


def _x_ticks(days: Sequence[Day]) -> tuple[Tick, ...]:
    slot, last = _PLOT_WIDTH / len(days), len(days) - 1
    places = sorted({round(last * part / (_X_TICKS - 1)) for part in range(_X_TICKS)})
    return tuple(
        Tick(
            _at(_LEFT + slot * (place + 0.5)),
            _short(days[place].day),
            "end" if place == last and last > 0 else "middle",
        )
        for place in places
    )


def _short(day: date) -> str:
    return f"{day.day} {MONTHS[day.month - 1][:3]}"


def _above(most: int) -> int:
    """Return the even round number at or above: 2, 4, 10, 12, 16, 20, 24, 100, 120, ..."""
    if most < _ROUND[0]:
        return most + most % 2
    size = 1
    while _ROUND[-1] * size < most:
        size *= 10
    return next(step * size for step in _ROUND if step * size >= most)


def _at(place: float) -> float:
    return round(place, 1)
