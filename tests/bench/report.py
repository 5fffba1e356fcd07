"""The result of a benchmark: figures with all their rounds, targets, and their table and JSON."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Self

from rich.console import Console
from rich.table import Table

_VERDICT = {True: "[green]yes[/]", False: "[red]NO[/]"}


@dataclass(frozen=True, slots=True)
class Row:
    """One peer: its figures by name ("CDR/s"), each with the value of every round."""

    peer: str
    figures: Mapping[str, Sequence[float]]

    @classmethod
    def of(cls, peer: str, rounds: Sequence[Mapping[str, float]]) -> Self:
        """A row of rounds, each of which has every figure once."""
        return cls(peer, {name: [one[name] for one in rounds] for name in rounds[0]})

    def median(self, name: str) -> float:
        """The median of one figure's rounds."""
        return median(self.figures[name])


@dataclass(frozen=True, slots=True)
class Target:
    """A promised figure: at least `floor` (at most, where `less` is better), better `aim`."""

    what: str
    value: float
    unit: str
    floor: float
    aim: float | None = None
    less: bool = False

    @property
    def met(self) -> bool:
        """Report whether the floor is kept."""
        return self.value <= self.floor if self.less else self.value >= self.floor


@dataclass(slots=True)
class Report:
    """All that one benchmark has to say. `notes` are what a reader must know beside the figures."""

    name: str
    rows: list[Row] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, object]:
        """The report as JSON values: medians, rounds, targets."""
        return {
            "rows": [
                {
                    "peer": row.peer,
                    "median": {name: row.median(name) for name in row.figures},
                    "rounds": {name: list(values) for name, values in row.figures.items()},
                }
                for row in self.rows
            ],
            "targets": [
                {
                    "what": target.what,
                    "value": target.value,
                    "unit": target.unit,
                    "floor": target.floor,
                    "aim": target.aim,
                    "met": target.met,
                }
                for target in self.targets
            ],
            "notes": self.notes,
        }


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median over rounds of ours / theirs, round by round."""
    return median(a / b for a, b in zip(ours, theirs, strict=True))


def show(reports: Sequence[Report], console: Console, title: str) -> None:
    """Print a table for each bench (median, and the range of its rounds), targets and notes."""
    console.rule(title)
    for report in reports:
        table = Table(title=report.name, title_justify="left")
        table.add_column("peer")
        names = list(dict.fromkeys(name for row in report.rows for name in row.figures))
        for name in names:
            table.add_column(name, justify="right")
        for row in report.rows:
            table.add_row(row.peer, *(_cell(row.figures.get(name)) for name in names))
        console.print(table)
    targets = Table(title="Targets", title_justify="left")
    for name in ("benchmark", "target"):
        targets.add_column(name)
    for name in ("measured", "floor", "aim", "floor kept"):
        targets.add_column(name, justify="right")
    for report in reports:
        for target in report.targets:
            aim = "" if target.aim is None else f"{number(target.aim)} {target.unit}"
            targets.add_row(
                report.name,
                target.what,
                f"{number(target.value)} {target.unit}",
                f"{number(target.floor)} {target.unit}",
                aim,
                _VERDICT[target.met],
            )
    if targets.row_count:
        console.print(targets)
    for report in reports:
        for note in report.notes:
            console.print(f"[dim]{report.name}: {note}[/]")


def write(path: Path, header: Mapping[str, object], reports: Sequence[Report]) -> None:
    """Write everything as JSON."""
    whole = {**header, "benchmarks": {report.name: report.as_json() for report in reports}}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(whole, indent=2) + "\n")


def _cell(rounds: Sequence[float] | None) -> str:
    """The median, and below it from where to where the rounds go."""
    if not rounds:
        return ""
    middle = number(median(rounds))
    if min(rounds) == max(rounds):
        return middle
    return f"{middle}\n[dim]{number(min(rounds))} - {number(max(rounds))}[/]"


def number(value: float) -> str:
    """Three digits that mean something, thousands separated."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
