"""`ringfence top`: the picture fits its terminal, and says what is not known and what to do."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stream.cli.ops.top import Sort, View, lines_of, rate
from stream.ops.monitor.collect import TrailPoint
from stream.ops.monitor.dashboard import (
    ListOverview,
    Overview,
    ProcessState,
    ProcessStatus,
    SinkOverview,
)
from stream.ops.monitor.targets import MonitorTarget, ProcessKind

AT_S = 1_764_104_645.0
ENGINE = MonitorTarget("engine", ProcessKind.ENGINE, "http://127.0.0.1:9464")
FEEDS = MonitorTarget("feeds", ProcessKind.FEEDS, "http://127.0.0.1:9465")
DECISION = {
    "decided_at": "2025-11-25T21:04:01.123Z",
    "verdict": "block",
    "number": "+8552***0123",
    "rule": "list:KH/scam",
    "reasons": [{"list": "KH/scam", "category": "call_centre"}, "damaged"],
}


def busy(lists: int) -> Overview:
    """An engine at work, with so many lists; feeds are away."""
    return Overview(
        at_s=AT_S,
        span_s=1.0,
        processes=(
            ProcessStatus(
                ENGINE,
                ProcessKind.ENGINE,
                ProcessState.READY,
                AT_S - 9000,
                AT_S - 9000,
                version="0.8.0",
            ),
            ProcessStatus(
                FEEDS, ProcessKind.FEEDS, ProcessState.AWAY, AT_S - 65, why="connection refused"
            ),
        ),
        calls_per_s=12_345.6,
        decisions_per_s={"block": 12.0, "flag": 0.25},
        latency_p50_s=0.0041,
        latency_p99_s=0.012,
        lag={"calls": 250, "calls.kamailio": 0},
        kafka_up=True,
        register_up=False,
        lists=tuple(
            ListOverview(f"KH/scam{n:03}", n, 10.0 * n, 1000 * n, 0, n / 10, 0.0)
            for n in range(lists)
        ),
        sinks=SinkOverview(lag={"redis": 3}),
        workers_ready=2,
        versions=("0.8.0",),
    )


def shown(picture: Overview, width: int = 80, height: int | None = 24, **more) -> str:
    """The picture as text."""
    trail = [TrailPoint(AT_S, n, n, n, None, None, None) for n in range(70)]
    view = View(picture, trail, [DECISION] * 60, **more)
    return "\n".join(line.plain for line in lines_of(view, width, height))


@pytest.mark.parametrize("lists", [0, 1, 3, 200])
@pytest.mark.parametrize(("width", "height"), [(80, 24), (60, 12), (200, 60)])
def test_the_picture_fits_its_terminal(lists, width, height) -> None:
    """From 80x24 on, and smaller ones are not overrun: a line too many would scroll the screen."""
    lines = shown(busy(lists), width, height).splitlines()
    assert len(lines) == height
    assert max(map(len, lines)) <= width
    assert lines[-1].startswith(" q  quit")


def test_80x24_has_all_that_an_operator_looks_for() -> None:
    """Rates, latency, lag, lists, who is away and what starts it, decisions: on one screen."""
    text = shown(busy(5))
    for part in (
        *("0.8.0", "up 2 h", "Kafka up", "Redis AWAY", "2 workers ready", "12,346", "4.1 ms"),
        *("12.0 ms", "calls 250", "sink redis 3", "KH/scam004", "AWAY since 21:03:00Z"),
        *(
            "connection refused; `ringfence feeds run`",
            "+8552***0123    list:KH/scam  KH/scam call",
        ),
        *("▇█", "block 12", "flag 0.2"),
    ):
        assert part in text, part


def test_what_is_printed_once_leaves_no_list_out() -> None:
    """Piped into a file it is not bound to a terminal's height."""
    text = shown(busy(90), height=None)
    assert "KH/scam089" in text
    assert "KH/scam000" in text
    assert "quit" not in text


def test_nobody_there_is_said_with_what_to_do() -> None:
    """A user who sees nothing reads which address was used, and how to start an engine."""
    nobody = Overview(
        at_s=AT_S,
        span_s=0.0,
        processes=(
            ProcessStatus(
                ENGINE, ProcessKind.ENGINE, ProcessState.UNHEARD, None, why="connection refused"
            ),
            ProcessStatus(
                FEEDS, ProcessKind.FEEDS, ProcessState.UNHEARD, None, why="connection refused"
            ),
        ),
    )
    text = shown(nobody, decisions_why="Kafka at 127.0.0.1:9092 does not answer")
    assert "engine at http://127.0.0.1:9464: connection refused" in text
    assert "`ringfence run` starts it; elsewhere: its address in [ops] watch" in text
    assert "not running here: feeds" in text
    assert "Kafka not known" in text
    assert "Kafka at 127.0.0.1:9092 does not answer" in text


def test_lists_are_sorted_by_what_one_asks_for() -> None:
    """Each press of s sorts by the next column, and round again."""
    lists = busy(3).lists
    assert [one.name[-1] for one in Sort.BLOCKS.sorted(lists)] == ["2", "1", "0"]
    assert [one.name[-1] for one in Sort.NAME.sorted(lists)] == ["0", "1", "2"]
    assert Sort.NAME.next() is Sort.BLOCKS


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0.0, "0"), (0.01, "<0.1"), (0.25, "0.2"), (9.96, "10.0"), (12_345.6, "12,346")],
)
def test_rates_have_as_few_digits_as_say_something(value, text) -> None:
    """0 is a figure; what is not known is no 0; something small is not nothing."""
    assert rate(value) == text


@contextmanager
def terminal(arguments: list[str]) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A command on a terminal of 80x24."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    environ = {**os.environ, "TERM": "xterm-256color", "PYTHONPATH": str(Path.cwd())}
    environ.pop("COLUMNS", None)
    environ.pop("LINES", None)
    command = [sys.executable, "-m", "stream", *arguments]
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=environ, start_new_session=True
    )
    os.close(theirs)
    try:
        yield process, ours
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def until(handle: int, seen: Callable[[str], bool]) -> str:
    """Return the output until it is `seen`; the test's own limit ends it otherwise."""
    text = ""
    while not seen(text):
        text += os.read(handle, 65_536).decode(errors="replace")
    return text


def test_the_live_view_obeys_its_keys(tmp_path) -> None:
    """On a real terminal: it draws, s sorts, p pauses, q ends it with 0 and the screen is back."""
    config = tmp_path / "x.toml"
    ports = "[ops]\nhttp_port = 1\n[feeds]\nhttp_port = 0\n[serve]\nhealth_port = 0\n"
    config.write_text(ports + '[kafka]\nbootstrap_servers = "127.0.0.1:1"\n')
    with terminal(["top", "--config", str(config), "--every", "0.2"]) as (process, handle):
        until(handle, lambda text: "sorted by blocks/s" in text)
        os.write(handle, b"s")
        until(handle, lambda text: "sorted by age" in text)
        os.write(handle, b"p")
        until(handle, lambda text: "go on" in text)
        os.write(handle, b"q")
        until(handle, lambda text: "\x1b[?1049l" in text)
        assert process.wait() == 0
