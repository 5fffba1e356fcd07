"""Keeps the live picture, or plain lines where nobody watches a terminal, up to date."""

import asyncio
import io
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live

from stream.lab.demo.picture import Picture
from stream.lab.demo.screen import draw
from stream.lab.demo.watch import clock_ms

FRAME_S = 0.2
LINE_S = 2.0
SETTLED_AFTER_MS = 300
"""A decision is read long before; only the final frame waits for every one."""
PICTURE_COLUMNS, PICTURE_ROWS = 100, 30


class Show:
    """Shows `picture` while it changes.

    On a terminal the alternate screen is used: what was printed before is back afterwards.
    """

    def __init__(self, console: Console, picture: Picture, *, plain: bool) -> None:
        self._console = console
        self._picture = picture
        self._plain = plain
        self._live: Live | None = None
        self._said_s = 0.0

    @contextmanager
    def shown(self) -> Iterator["Show"]:
        """Hold the screen while the block runs."""
        if self._plain:
            yield self
            return
        live = Live(console=self._console, screen=True, auto_refresh=False)
        with live:
            self._live = live
            yield self
        self._live = None

    async def keep_up(self, began_s: float) -> None:
        """Draw again and again until cancelled; `began_s` is when the demo began, monotonic."""
        while True:
            self._picture.elapsed_s = time.monotonic() - began_s
            self._picture.settled_ms = clock_ms() - SETTLED_AFTER_MS
            self.draw()
            await asyncio.sleep(FRAME_S)

    def draw(self, *, at_once: bool = False) -> None:
        """Draw what there is now; where lines are written one is, if it is time or `at_once`."""
        if self._live is not None:
            width, height = self._console.size
            self._live.update(draw(self._picture, width, height), refresh=True)
        elif self._plain and (at_once or time.monotonic() - self._said_s >= LINE_S):
            self._said_s = time.monotonic()
            self._console.print(line(self._picture), soft_wrap=True)


def line(picture: Picture) -> str:
    """The picture in one line."""
    latency = picture.latency()
    waits = (
        "" if latency.p50 is None else f", latency p50 {latency.p50:.0f} p99 {latency.p99:.0f} ms"
    )
    rate = picture.rates[-1] if picture.rates else 0.0
    return (
        f"{picture.phase}: {picture.done:,} of {picture.total:,} calls, {rate:,.0f}/s, "
        f"{picture.verdicts['block']:,} blocked, {picture.verdicts['flag']:,} flagged, "
        f"{picture.rejected:,} rejected{waits}"
    )


def as_svg(picture: Picture) -> str:
    """The picture as an SVG, for a page; its size does not depend on the terminal."""
    console = Console(
        width=PICTURE_COLUMNS,
        height=PICTURE_ROWS,
        record=True,
        file=io.StringIO(),
        force_terminal=True,
        color_system="truecolor",
    )
    console.print(draw(picture, PICTURE_COLUMNS, PICTURE_ROWS), height=PICTURE_ROWS)
    drawn = console.export_svg(title="make demo", unique_id="ringfence")
    # The page that shows it should fetch no fonts from elsewhere.
    drawn = re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL)
    return drawn.replace("Fira Code, monospace", "Menlo, Consolas, DejaVu Sans Mono, monospace")
