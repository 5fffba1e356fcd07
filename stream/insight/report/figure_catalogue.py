"""The figures of a report: names, units, and how each is counted, from `figures.toml`."""

import tomllib
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Unit(StrEnum):
    """The unit of a figure; its spelling follows from it."""

    NUMBERS = "numbers"
    CALLS = "calls"
    CHANGES = "changes"
    SECONDS = "seconds"
    SHARE = "share"
    VERSIONS = "versions"
    REPORTS = "reports"
    APPEALS = "appeals"
    DAYS = "days"


class Key(StrEnum):
    """A figure's name in JSON, and in the page's anchors."""

    DAYS_TOLD = "days_told"
    LISTED = "listed"
    ENTRIES = "entries"
    BLOCKED = "blocked"
    FLAGGED = "flagged"
    SIMULATED = "simulated"
    CHANGES = "changes"
    IN_TIME = "in_time"
    LATE = "late"
    IN_FORCE_P50 = "in_force_p50"
    IN_FORCE_P99 = "in_force_p99"
    IN_FORCE_MAX = "in_force_max"
    FIRST_STOPPED = "first_stopped"
    FIRST_STOPPED_P50 = "first_stopped_p50"
    FIRST_STOPPED_P99 = "first_stopped_p99"
    FIRST_STOPPED_MAX = "first_stopped_max"
    ACCEPTED = "accepted"
    HELD = "held"
    REFUSED = "refused"
    STALE_MAX = "stale_max"
    SIGHTINGS = "sightings"
    APPEALS = "appeals"
    REDRESSED = "redressed"
    REJECTED = "rejected"
    PENDING = "pending"
    OVERDUE = "overdue"
    ANSWERED_IN_TIME = "answered_in_time"
    ANSWERED_LATE = "answered_late"
    ANSWER_P50 = "answer_p50"
    ANSWER_P99 = "answer_p99"
    ANSWER_MAX = "answer_max"


class Want(StrEnum):
    """The direction that a figure should take: written beside a change, never a colour alone."""

    MORE = "more"
    LESS = "less"
    NEITHER = "neither"


@dataclass(frozen=True, slots=True)
class Figure:
    """`label` for people; `basis` names what it is counted from; `want`ed more or less of.

    `group` is the title above it in a table. `more` is how it is counted beyond its basis, `how`
    all of it.
    """

    label: str
    group: str
    unit: Unit
    basis: str
    more: str
    how: str
    want: Want


def _read() -> tuple[dict[str, str], dict[Key, Figure]]:
    tables = tomllib.loads(Path(__file__).with_name("figures.toml").read_text("utf-8"))
    notes, bases, figures = {"": "", **tables.pop("notes")}, {}, {}
    for basis, held in tables.items():
        bases[basis], group = held.pop("basis"), held.pop("group")
        for name, one in held.items():
            more = f"{one.get('more', '')} {notes[one.get('note', '')]}".strip()
            how = f"{bases[basis]} {more}".strip()
            want = Want(one.get("want", Want.NEITHER))
            unit = Unit(one["unit"])
            figures[Key(name)] = Figure(one["label"], group, unit, basis, more, how, want)
    assert list(figures) == list(Key), "every figure is described, in the order of its keys"
    return bases, figures


BASES, FIGURES = _read()
"""The texts of the bases by name, and each figure."""
