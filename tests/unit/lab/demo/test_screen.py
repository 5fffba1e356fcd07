import io
import re

import pytest
from rich.console import Console

from stream.cli.ops.top import spark
from stream.lab.demo.changes import Probe
from stream.lab.demo.judge import GivenReason, SeenDecision
from stream.lab.demo.screen import bar, draw
from stream.lab.demo.show import as_svg, line
from stream.lab.demo.watch import RunPicture


@pytest.fixture
def picture():
    changes = (
        Probe("add", "+959258888168", "MM/scam", begun_ms=0, committed_ms=1),
        Probe("remove", "+855887363480", "KH/scam"),
    )
    changes[0].came_in("add-1", 30)
    changes[0].decided("add-1", "block", 35)
    made = RunPicture("Apache Kafka 4.1.1", "Redis 8.0.2", 320_000, changes, phase="Live calls")
    made.done, made.sent, made.rejected = 301_222, 310_000, 415
    made.rates.extend([100_000.0, 2_000.0, 2_000.0])
    for at in range(30):
        lists = [GivenReason("MM/scam", "call_centre"), GivenReason("TH/national", "loan")][
            : 1 + at % 2
        ]
        seen = SeenDecision(f"{at}", "block", f"c-{at}", "+85597000123", "caller", lists)
        made.decided(seen, f"10:00:{at:02}")
        made.waited(5.0 + at)
    return made


@pytest.mark.parametrize(("width", "height"), [(80, 24), (100, 30), (160, 50)])
def test_the_picture_fills_the_terminal_and_no_more(picture, width, height):
    """At any usual size: as many rows as the terminal has, none wider, nothing cut off."""
    out = io.StringIO()
    console = Console(file=out, width=width, height=height, color_system=None)
    console.print(draw(picture, width, height), height=height)
    rows = out.getvalue().rstrip("\n").split("\n")
    assert len(rows) == height
    assert {len(row) for row in rows} <= {width}
    assert "…" not in out.getvalue()
    for words in ("301,222 of 320,000 calls", "enforced in 30 ms", "to come", "MM/scam", "p99"):
        assert words in out.getvalue()


def test_no_whole_number_is_ever_shown(picture):
    """Numbers are personal data: the picture has them masked, in the terminal and in the SVG."""
    out = io.StringIO()
    Console(file=out, width=100, height=30).print(draw(picture, 100, 30), height=30)
    for shown in (out.getvalue(), as_svg(picture)):
        assert "***0123" in shown
        assert not re.search(r"\+\d{8,}", shown)


def test_the_plain_line_tells_the_same(picture):
    """Without a terminal one line says how far it is."""
    assert line(picture).startswith("Live calls: 301,222 of 320,000 calls, 2,000/s, 30 blocked")


@pytest.mark.parametrize(
    ("value", "drawn"),
    [(0, "    "), (1, "▏   "), (50, "██  "), (100, "████"), (200, "████"), (44, "█▊  ")],
)
def test_a_bar_is_always_as_wide_and_never_hides_something(value, drawn):
    """Bars line up whatever their value, and a small value is still seen."""
    assert bar(value, 100, 4) == drawn


def test_a_spark_line_is_scaled_to_its_largest_value():
    """The newest values at the right, the largest of them full."""
    assert spark([9, 0, 5, 10], 3) == "▁▄█"
    assert spark([10], 3) == "  █"
    assert spark([], 3) == "   "
