"""The live picture: drawn whole from a `Picture`, for any terminal from 80x24 on.

Heights are fixed and only the newest decisions take what is left, so that nothing jumps.
"""

from rich import box
from rich.align import Align
from rich.console import Group, RenderableType
from rich.layout import Layout
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from stream.cli.ops.top import spark
from stream.core.numbers.number import masked
from stream.lab.demo.changes import Probe
from stream.lab.demo.watch import RunPicture, RunResult
from stream.lab.demo.world import COUNTRIES

BLOCK, FLAG, GOOD, ACCENT, DIM = "red", "yellow", "green", "cyan", "bright_black"
VERDICT_STYLE = {"block": f"bold {BLOCK}", "flag": f"bold {FLAG}", "allow": GOOD}
EIGHTHS = " ▏▎▍▌▋▊▉█"
HEAD_HEIGHT = 3
MIDDLE_HEIGHT = 7
CHANGES_HEIGHT = 4
NARROW = 92
"""Below this width columns that repeat what another panel says are left out."""


def draw(picture: RunPicture, width: int, height: int) -> Layout:
    """Return the whole picture for a terminal of `width` columns and `height` rows."""
    layout = Layout()
    rows = height - HEAD_HEIGHT - MIDDLE_HEIGHT - CHANGES_HEIGHT
    layout.split_column(
        Layout(_head(picture), size=HEAD_HEIGHT),
        Layout(name="middle", size=MIDDLE_HEIGHT),
        Layout(_changes(picture, width), size=CHANGES_HEIGHT),
        Layout(_newest(picture, max(1, rows - 3), width), size=rows),
    )
    right = max(34, width * 2 // 5)
    layout["middle"].split_row(
        Layout(_by_list(picture, width - right)), Layout(_rates(picture, right), size=right)
    )
    return layout


def bar(value: float, most: float, width: int) -> str:
    """A bar of `width` cells for `value` of `most`, in eighths of a cell; always `width` long."""
    eighths = 0 if most <= 0 else round(width * 8 * min(1.0, value / most))
    if value > 0:
        eighths = max(1, eighths)  # something is never drawn as nothing
    full, rest = divmod(eighths, 8)
    return ("█" * full + (EIGHTHS[rest] if rest else "")).ljust(width)


def _panel(title: str, body: RenderableType) -> Panel:
    return Panel(
        body,
        title=f"[bold]{title}[/]",
        title_align="left",
        box=box.ROUNDED,
        border_style=DIM,
        padding=(0, 1),
    )


def _head(picture: RunPicture) -> RenderableType:
    top = Table.grid(expand=True)
    top.add_column()
    top.add_column(justify="right")
    minutes, seconds = divmod(int(picture.elapsed_s), 60)
    top.add_row(
        Text.assemble(
            (" Ringfence", f"bold {ACCENT}"), (f"  {picture.broker} · {picture.redis}", DIM)
        ),
        Text(f"{minutes:02}:{seconds:02} ", style=DIM),
    )
    progress = Table.grid(expand=True, padding=(0, 1))
    progress.add_column(width=27, no_wrap=True)
    progress.add_column(ratio=1)
    progress.add_column(justify="right", no_wrap=True)
    progress.add_row(
        Text(f" {picture.phase}"),
        ProgressBar(
            total=picture.total,
            completed=picture.done,
            complete_style=ACCENT,
            finished_style=GOOD,
            style=DIM,
        ),
        Text(f"{picture.done:,} of {picture.total:,} calls "),
    )
    return Group(top, progress)


def _by_list(picture: RunPicture, width: int) -> Panel:
    body = Table.grid(expand=True, padding=(0, 1))
    body.add_column(width=11, no_wrap=True)
    body.add_column(ratio=1, no_wrap=True)
    body.add_column(justify="right", width=7)
    most = max(picture.by_list.values(), default=0)
    for country in COUNTRIES:
        count = picture.by_list[country.list]
        style = BLOCK if country.action == "block" else FLAG
        # Panel borders and padding take 4 cells, the two other columns and their gaps 20.
        body.add_row(
            country.list, Text(bar(count, most, max(4, width - 24)), style=style), f"{count:,}"
        )
    return _panel("Decisions by list", body)


def _rates(picture: RunPicture, width: int) -> Panel:
    body = Table.grid(expand=True, padding=(0, 1))
    body.add_column(style=DIM, width=9, no_wrap=True)
    body.add_column(justify="right", no_wrap=True)
    latency = picture.latency()
    now = picture.rates[-1] if picture.rates else 0.0
    figure = f"{now:,.0f}/s"
    line = spark(picture.rates, max(4, width - 14 - len(figure) - 1))
    body.add_row("calls", Text.assemble((f"{line} ", ACCENT), (figure, "bold")))
    if latency.p50 is None or latency.p99 is None:
        body.add_row("latency", Text("with live calls", style=DIM))
    else:
        body.add_row(
            "latency",
            Text.assemble(
                ("p50 ", DIM), (f"{latency.p50:,.0f} ms", "bold"), ("  p99 ", DIM),
                (f"{latency.p99:,.0f} ms", "bold"),
            ),
        )  # fmt: skip
    for label, count, style in (
        ("blocked", picture.verdicts["block"], f"bold {BLOCK}"),
        ("flagged", picture.verdicts["flag"], f"bold {FLAG}"),
        ("rejected", picture.rejected, "bold"),
    ):
        body.add_row(label, Text(f"{count:,}", style=style))
    return _panel("Engine", body)


def _changes(picture: RunPicture, width: int) -> Panel:
    body = Table.grid(expand=True, padding=(0, 1))
    body.add_column(no_wrap=True, width=1)
    body.add_column(no_wrap=True, ratio=1)
    body.add_column(justify="right", no_wrap=True)
    for change in picture.changes:
        body.add_row(*_change(change, picture.settled_ms, width))
    return _panel("Changes while calls flow", body)


def _change(change: Probe, settled_ms: float, width: int) -> tuple[Text, Text, Text]:
    """Return a mark, what changes, and how long it took to hold, for one row."""
    verb, preposition = ("Add", "to") if change.kind == "add" else ("Remove", "from")
    of_how_many = f" of {change.calls:,} calls" if width >= NARROW else ""
    what = Text.assemble(
        f"{verb} ", (masked(change.number), "bold"), f" {preposition} {change.list}",
        (f"  {change.blocks:,}{of_how_many} blocked", DIM),
    )  # fmt: skip
    if change.begun_ms is None:
        return Text("·", style=DIM), what, Text("to come", style=DIM)
    took_ms = change.enforced_ms(settled_ms)
    if took_ms is None:
        return Text("…", style=ACCENT), what, Text("on its way", style=ACCENT)
    return Text("✓", style=GOOD), what, Text(f"enforced in {took_ms:,.0f} ms", style=f"bold {GOOD}")


def _newest(picture: RunPicture, rows: int, width: int) -> Panel:
    body = Table(box=None, expand=True, padding=(0, 1, 0, 0), header_style=DIM, show_edge=False)
    body.add_column("time", width=8, style=DIM, no_wrap=True)
    body.add_column("verdict", width=7, no_wrap=True)
    body.add_column("number", width=14, no_wrap=True)
    body.add_column("as", width=6, no_wrap=True)
    body.add_column("held by", ratio=1, no_wrap=True)
    body.add_column("for", width=13, no_wrap=True)
    for line in list(picture.newest)[:rows]:
        lists = line.lists if width >= NARROW else line.lists.replace(" + ", ", ")
        body.add_row(
            line.at,
            Text(line.verdict, style=VERDICT_STYLE.get(line.verdict, "")),
            line.number,
            line.role,
            lists,
            line.category,
        )
    if not picture.newest:
        return _panel("Newest decisions", Align.center(Text("none yet", style=DIM)))
    return _panel("Newest decisions", body)


def summary(result: RunResult, took_s: float) -> RenderableType:
    """Return all figures of a run, and one sentence on whether it was right."""
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
