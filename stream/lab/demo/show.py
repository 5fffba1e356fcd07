"""Keep the live picture up to date, or plain lines without a terminal."""

import asyncio
import io
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, Progress, SpinnerColumn, Task, TaskID, TextColumn
from rich.text import Text

from stream.lab.demo.screen import draw
from stream.lab.demo.watch import RunPicture, clock_ms


class SetUpStep:
    """One step under way."""

    def __init__(self, steps: "Steps", name: str, task: TaskID | None) -> None:
        self._steps = steps
        self._name = name
        self._task = task
        self._began_s = time.monotonic()

    def restart(self) -> None:
        """It only begins now: it had to wait for its turn."""
        self._began_s = time.monotonic()

    def at(self, done: int, whole: int) -> None:
        """Say how much of how much is done."""
        if self._task is not None:
            self._steps.progress.update(self._task, completed=done, total=whole)

    def done(self, detail: str = "") -> None:
        """The step is finished; `detail` says what came of it."""
        took_s = time.monotonic() - self._began_s
        if self._task is None:
            self._steps.say(f"{self._name}: {detail or 'done'} ({took_s:.1f} s)")
            return
        self._steps.progress.update(
            self._task, completed=1, total=1, detail=detail, took=f"{took_s:.1f} s"
        )


class Steps:
    """All steps of one set-up."""

    def __init__(self, console: Console, *, plain: bool) -> None:
        self.console = console
        self._plain = plain
        self.progress = Progress(
            SpinnerColumn("dots", style="cyan", finished_text=Text("✓", style="green")),
            TextColumn("{task.description}", table_column=None),
            _Bar(bar_width=24, complete_style="cyan", finished_style="green", pulse_style="cyan"),
            TextColumn("[bright_black]{task.fields[detail]}"),
            TextColumn("[bright_black]{task.fields[took]}"),
            console=console,
            refresh_per_second=8,
        )

    @contextmanager
    def shown(self) -> Iterator["Steps"]:
        """Keep the lines on the screen while the block runs, and after it."""
        if self._plain:
            yield self
        else:
            with self.progress:
                yield self

    def say(self, text: str) -> None:
        """Print one line without wrapping it: it may go into a file."""
        self.console.print(text, soft_wrap=True)

    def begin(self, name: str) -> SetUpStep:
        """Start a step."""
        task = None
        if not self._plain:
            task = self.progress.add_task(name, total=None, detail="", took="")
        return SetUpStep(self, name, task)


class _Bar(BarColumn):
    """A bar for what is under way; nothing for what is done."""

    def render(self, task: Task) -> Text:  # type: ignore[override]
        return Text(" " * 24) if task.finished else super().render(task)  # type: ignore[return-value]


FRAME_S = 0.2
LINE_S = 2.0
SETTLED_AFTER_MS = 300
"""A decision is read long before; only the final frame waits for every one."""
PICTURE_COLUMNS, PICTURE_ROWS = 100, 30


class Show:
    """Shows `picture` while it changes.

    On a terminal the alternate screen is used: what was printed before is back afterwards.
    """

    def __init__(self, console: Console, picture: RunPicture, *, plain: bool) -> None:
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


def line(picture: RunPicture) -> str:
    """Return the picture in one line."""
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


def as_svg(picture: RunPicture) -> str:
    """Return the picture as an SVG, for a page; its size does not depend on the terminal."""
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
