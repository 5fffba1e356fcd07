"""What is shown while the demo sets itself up: one line per step, on a terminal or in a file."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, Task, TaskID, TextColumn
from rich.text import Text


class Step:
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
        """Print one line as it is; whoever reads a file does not want it wrapped."""
        self.console.print(text, soft_wrap=True)

    def begin(self, name: str) -> Step:
        """Start a step."""
        task = None
        if not self._plain:
            task = self.progress.add_task(name, total=None, detail="", took="")
        return Step(self, name, task)


class _Bar(BarColumn):
    """A bar for what is under way; nothing for what is done."""

    def render(self, task: Task) -> Text:  # type: ignore[override]
        return Text(" " * 24) if task.finished else super().render(task)  # type: ignore[return-value]
