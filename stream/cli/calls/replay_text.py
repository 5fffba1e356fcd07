"""A replay's report on the terminal."""

from collections.abc import Mapping
from typing import Any, Final

from rich.table import Column, Table
from rich.text import Text

from stream.cli.list_store import note, say
from stream.cli.output import out
from stream.insight.replay.replay_page import TITLES, sentences
from stream.insight.report.words import many

SHOWN: Final = 10
"""Rows of each table; the page and JSON have more."""


def print_report(report: Mapping[str, Any]) -> None:
    """The sentences, the verdicts, and for each change what, where and who."""
    say(f"Calls from {report['from']} to {report['to']} against {', '.join(report['candidates'])}")
    for sentence in (*sentences(report), *report["notes"]):
        say(f"  {sentence}")
    _verdicts(report["verdicts"])
    for name, title in TITLES.items():
        change = report["changes"][name]
        if change["calls"]:
            counts = f"{many(change['calls'], 'call')} of {many(change['numbers'], 'number')}"
            out.print(f"\n[bold]{title}[/]: {counts}")
            for key in ("rule", "country", "trunk"):
                _most(change[f"by_{key}"], key)
            _callers(change["top_callers"])
    _estimate(report["false_positives"])
    speed = f", {report['records_per_s']:,} a second" if report["records_per_s"] else ""
    note(
        f"{report['records']:,} records ({report['rejected']:,} no calls) in "
        f"{report['seconds']:.1f} s{speed}"
    )


def _table(*names: str) -> Table:
    columns = [
        Column(name, justify="right" if place else "left", overflow="fold")
        for place, name in enumerate(names)
    ]
    return Table(*columns, box=None, header_style="bold", pad_edge=False)


def _verdicts(verdicts: Mapping[str, Mapping[str, int]]) -> None:
    table = _table("calls", "production", "candidate", "difference")
    before, after = verdicts["production"], verdicts["candidate"]
    for key, label in (
        ("block", "blocked"),
        ("flag", "flagged"),
        ("allow", "allowed"),
        ("on_trial", "on trial only"),
    ):
        moved = after[key] - before[key]
        table.add_row(label, f"{before[key]:,}", f"{after[key]:,}", f"{moved:+,}" if moved else "")
    out.print(table)


def _most(rows: list[dict[str, Any]], key: str) -> None:
    shown = [f"{row[key]} {row['calls']:,}" for row in rows[:SHOWN]]
    if len(rows) > SHOWN:
        shown.append(f"others {sum(row['calls'] for row in rows[SHOWN:]):,}")
    out.print(Text(f"  by {key}: {', '.join(shown)}"), soft_wrap=True)


def _callers(callers: list[dict[str, Any]]) -> None:
    table = Table(
        Column("number"),
        Column("country"),
        Column("calls", justify="right"),
        Column("by", overflow="fold"),
        Column("signs of a mistake"),
        box=None,
        header_style="bold",
    )
    for caller in callers[:SHOWN]:
        signs = ["long call"] * caller["long_answered"] + ["called back"] * caller["called_back"]
        table.add_row(
            caller["number"] or "withheld",
            caller["country"] or "",
            f"{caller['calls']:,}",
            Text(caller["rule"]),
            ", ".join(signs),
        )
    out.print(table)


def _estimate(guess: Mapping[str, Any]) -> None:
    if not guess["newly_blocked_numbers"] and not guess["allow_listed"]:
        return

    def count(name: str) -> str:
        return "not measured" if guess[name] is None else f"{guess[name]:,}"

    out.print("\n[bold]Perhaps blocked wrongly[/], of the newly blocked numbers")
    say(f"  {count('estimated')} of {guess['newly_blocked_numbers']:,} show a sign of it:")
    say(f"  {count('long_answered')} with an answered call of {guess['long_answered_from_s']:g} s")
    say(f"  {count('called_back')} called back by somebody whom they had called")
    say(f"  besides, {count('allow_listed')} on the allowlist, which stay allowed")
    if guess["pairs_not_remembered"]:
        say(f"  {guess['pairs_not_remembered']:,} calls were too many to look for calls back")
