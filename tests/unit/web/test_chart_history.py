"""The charts' past: bounded, coarser for a day, and marked where something changed."""

from stream.lists.store.audit_entries import AuditEntry
from stream.ops.monitor.collect import TrailPoint
from stream.ops.monitor.dashboard import ProcessState, ProcessStatus
from stream.ops.monitor.targets import ProcessKind
from stream.web.chart_history import MARKERS_MAX, SHOWN_MAX, ChartHistory, ChartSpan
from tests.browser.pictures import place

BEGIN_S = 1_764_000_000.0


def point(at_s: float, calls: float | None, p99_s: float | None = None) -> TrailPoint:
    return TrailPoint(at_s, calls, calls, None, None, p99_s, None if calls is None else 3)


def changed(second: float, name: str, op: str = "add") -> AuditEntry:
    at_s = int(BEGIN_S + second)
    return AuditEntry(f"{at_s}000-0", 1, at_s, "somchai", "why", name, op, 2, "", 1, "")


def engine(started_s: float) -> ProcessStatus:
    kind = ProcessKind.ENGINE
    return ProcessStatus(place(kind, 1), kind, ProcessState.READY, started_s, started_s)


def test_a_day_is_a_point_a_minute_without_losing_a_peak() -> None:
    """Rates are means; the worst p99 of a minute stays; what is not known stays not known."""
    history = ChartHistory()
    for second in range(0, 180, 5):
        slow = 0.9 if second == 30 else 0.01
        history.add(point(BEGIN_S + second, 100.0 if second < 60 else None, slow))
    first, second_minute = history.points(ChartSpan.DAY)
    assert (first.at_s, first.calls_per_s, first.latency_p99_s) == (BEGIN_S + 60, 100.0, 0.9)
    assert (second_minute.calls_per_s, second_minute.lag) == (None, None)
    assert len(history.points(ChartSpan.HOUR)) == 36


def test_memory_is_bounded() -> None:
    """Two days of looks and changes keep an hour, a day and the newest markers."""
    history = ChartHistory()
    for step in range(2 * 86_400 // 5):
        history.add(point(BEGIN_S + 5 * step, 1.0))
    history.changes(changed(100 * step, f"KH/l{step}") for step in range(3 * MARKERS_MAX))
    assert len(history.points(ChartSpan.HOUR)) == 720
    assert len(history.points(ChartSpan.DAY)) == 1440
    assert len(history.markers(ChartSpan.DAY, BEGIN_S + 60_000)) == SHOWN_MAX


def test_changes_and_restarts_are_marked() -> None:
    """Many steps of one list in a minute are one marker; what changes no call is none."""
    history = ChartHistory()
    history.changes(
        [changed(0, "KH/scam"), changed(9, "KH/scam"), changed(10, "KH/scam", "appeal")]
    )
    history.changes([changed(20, "KH/scam", "remove"), changed(100, "", "allow")], cut=True)
    history.processes([engine(BEGIN_S - 7_000)])
    history.processes([engine(BEGIN_S - 7_000.5), engine(BEGIN_S + 50)])
    told = [
        (one.kind, one.subject, one.what, f"{one.times}{'+' if one.more else ''}")
        for one in history.markers(ChartSpan.DAY, BEGIN_S + 200)
    ]
    assert told == [
        ("list", "(allowlist)", "allow", "1"),
        ("start", "engine", "restarted", "1"),
        ("list", "KH/scam", "changes", "3+"),
        ("start", "engine", "started", "1"),
    ]
    assert len(history.markers(ChartSpan.HOUR, BEGIN_S + 200)) == 3


def test_a_process_that_crashes_again_and_again_is_a_marker_a_minute() -> None:
    """Also with changes of lists between its starts."""
    history = ChartHistory()
    for second in range(0, 100, 10):
        history.processes([engine(BEGIN_S + second)])
        history.changes([changed(second + 5, "KH/scam")])
    told = [(one.subject, one.what, one.times) for one in history.markers(ChartSpan.HOUR, BEGIN_S)]
    assert told == [
        ("KH/scam", "add", 4),
        ("engine", "restarted", 4),
        ("KH/scam", "add", 6),
        ("engine", "restarted", 6),
    ]
