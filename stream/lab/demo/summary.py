"""The table at the end, and what was wrong, if anything was."""

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from stream.lab.demo.run import Result
from stream.lab.demo.screen import BLOCK, DIM, GOOD


def summary(result: Result, took_s: float) -> RenderableType:
    """All figures of a run, and one sentence on whether it was right."""
    figures, verdicts = result.figures, result.verdicts
    table = Table(box=box.ROUNDED, border_style=DIM, show_header=False, padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True, style="bold")
    table.add_column(style=DIM)
    latency, enforced = figures.latency_ms, figures.change_to_enforced_ms
    for name, figure, note in (
        ("calls", f"{figures.calls:,}", "all records, bad ones included"),
        ("listed", f"{figures.listed_calls:,}", "calls to be blocked or flagged"),
        ("blocked", f"{figures.blocked:,}", ""),
        ("flagged", f"{figures.flagged:,}", "on VN/spam only, which may flag"),
        ("missed", _must_be_none(figures.missed), "must be 0"),
        ("false blocks", _must_be_none(figures.false_blocks), "must be 0"),
        ("rejected", f"{figures.rejected:,}", "bad records, kept with a reason"),
        ("speed", _of(figures.cdr_per_s, "CDR/s"), "recorded calls, one worker"),
        ("latency p50", _of(latency.p50, "ms"), "live calls, append to append"),
        ("latency p99", _of(latency.p99, "ms"), ""),
        ("add enforced", _of(enforced.add, "ms"), "command to first call blocked"),
        ("unblock enforced", _of(enforced.remove, "ms"), "command to first call let through"),
    ):
        table.add_row(name, figure, note)
    lines: list[RenderableType] = [table]
    if verdicts.repeats:
        lines.append(
            Text(f"{verdicts.repeats:,} decisions were repeated under their ids", style=DIM)
        )
    lines += [Text(f"✗ {what}", style=BLOCK) for what in verdicts.wrong]
    if verdicts.clean:
        end = f"✓ Every decision is as the truth says. {took_s:.0f} s in all, on {figures.broker}."
        lines.append(Text(end, style=GOOD))
    else:
        lines.append(Text("✗ Not every decision is as the truth says.", style=f"bold {BLOCK}"))
    return Group(*lines)


def _must_be_none(count: int) -> Text:
    return Text(f"{count:,}", style=GOOD if not count else f"bold {BLOCK}")


def _of(figure: float | None, unit: str) -> str:
    return "none" if figure is None else f"{figure:,.0f} {unit}"
