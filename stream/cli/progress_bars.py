"""Bars for what takes long, apart from the rest: a command without a bar does not load them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from stream.cli.output import err
from stream.lists.store.rewrite import Stage

ROWS_TOLD = 10_000
"""Stages with fewer steps count no rows: parts that are written, a sort."""


class _Rate(ProgressColumn):
    """Speed of a stage: bytes of the file while it is read, else rows."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed or 0.0
        if task.description == "reading":
            return Text(f"{speed / 1e6:,.1f} MB/s")
        return Text(f"{speed:,.0f} rows/s" if (task.total or 0) >= ROWS_TOLD else "")


@contextmanager
def progress() -> Iterator[Stage]:
    """A bar on the terminal for each stage, how fast it goes, how long it took and will take.

    Nothing where stderr is no terminal.
    """
    with Progress(
        TextColumn("{task.description:9}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f} %"),
        _Rate(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=err,
        disable=not err.is_terminal,
        transient=True,
    ) as bars:
        tasks: dict[str, Any] = {}

        def stage(name: str, done: int, whole: int) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(name, total=whole)
            bars.update(tasks[name], completed=done, total=whole)

        yield stage
