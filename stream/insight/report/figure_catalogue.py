"""Every figure of a report: its name, its unit, and how it is counted. Nothing else is reported.

It is printed under "How this was counted", and stands in JSON under "method". All but the days and
the numbers on the list come from the enforcing country's signed enforcement documents.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Unit(StrEnum):
    """What a figure counts; how it is written follows from it."""

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
    """Which way a figure should go: what is written beside a change, never a colour alone."""

    MORE = "more"
    LESS = "less"
    NEITHER = "neither"


class Basis(StrEnum):
    """What several figures are counted from, in the same way: as it is printed above them."""

    DAYS = (
        "Days of the period with a signed enforcement document that could be read. A day without "
        "one is in no figure. A day's document is expected when the next day is over."
    )
    REGISTER = (
        "From the audit here: numbers on the list after its last recorded change of the period, in "
        "the register of the country that made this report."
    )
    CALLS = (
        "From the decisions that the enforcing country recorded. One that was written twice counts "
        "once. A call that several lists were reasons for counts on each of them, so lists are not "
        "added up."
    )
    IN_FORCE = (
        "From the owner's publication of a change or version to the moment at which calls were "
        "decided by it in the enforcing country, by the clocks of both. A list that a country "
        "takes over for the first time is not in it."
    )
    FIRST_STOPPED = (
        "From the owner's publication of a number to the first call that it stopped in the "
        "enforcing country. Numbers that stopped no call are not in it."
    )
    VERSIONS = "Versions of the list at the enforcing country's gate."
    WRONG = (
        "Numbers of the list that turned out in the enforcing country not to be a scammer's, each "
        "counted once in the period."
    )
    APPEALS = "Appeals against decisions that the list was a reason for, in the enforcing country."
    ANSWERS = "From the receipt of an appeal to its answer, of those answered in the period."


@dataclass(frozen=True, slots=True)
class Figure:
    """`label` for people; what it is counted from, and `more` on how; `want`ed more or less of."""

    label: str
    unit: Unit
    basis: Basis
    more: str = ""
    want: Want = Want.NEITHER

    @property
    def how(self) -> str:
        """How it was counted, whole."""
        return f"{self.basis} {self.more}".strip()


_STEPS: Final = (
    "Days are put together from counts in steps of 5 %: at most 5 % too long, never too short."
)
_WORST: Final = "The slowest of all, exactly."
_TARGETS: Final = (
    "Where a document was held against another target, it is counted anew in steps of 5 %; what "
    "may have been late counts as late. Rounded down."
)

MEANINGS: Final[dict[Key, Figure]] = {
    Key.DAYS_TOLD: Figure("Days reported", Unit.DAYS, Basis.DAYS, want=Want.MORE),
    Key.LISTED: Figure("Numbers on the list", Unit.NUMBERS, Basis.REGISTER),
    Key.ENTRIES: Figure(
        "Numbers that called",
        Unit.NUMBERS,
        Basis.CALLS,
        "Different numbers of the list that calls were decided by, from the 1st of the month on. "
        "Months cannot be added: a number that calls in two of them is one. Above 4,096 it is an "
        "estimate (0.8 %).",
    ),
    Key.BLOCKED: Figure("Calls blocked", Unit.CALLS, Basis.CALLS),
    Key.FLAGGED: Figure(
        "Calls flagged", Unit.CALLS, Basis.CALLS, "A flagged call went through, with a mark."
    ),
    Key.SIMULATED: Figure(
        "Calls on trial",
        Unit.CALLS,
        Basis.CALLS,
        "The call went through as any other; had the list not been on trial, it would have been "
        "blocked or flagged.",
    ),
    Key.CHANGES: Figure("Changes that came into force", Unit.CHANGES, Basis.IN_FORCE),
    Key.IN_TIME: Figure(
        "Share in force in time",
        Unit.SHARE,
        Basis.IN_FORCE,
        "Changes that took no longer than the agreement's response target, of all that were "
        f"measured. {_TARGETS}",
        Want.MORE,
    ),
    Key.LATE: Figure(
        "Changes in force too late",
        Unit.CHANGES,
        Basis.IN_FORCE,
        "Changes that took longer than the agreement's response target.",
        Want.LESS,
    ),
    Key.IN_FORCE_P50: Figure(
        "Time to in force: half", Unit.SECONDS, Basis.IN_FORCE, _STEPS, Want.LESS
    ),
    Key.IN_FORCE_P99: Figure(
        "Time to in force: 99 of 100", Unit.SECONDS, Basis.IN_FORCE, _STEPS, Want.LESS
    ),
    Key.IN_FORCE_MAX: Figure(
        "Time to in force: slowest", Unit.SECONDS, Basis.IN_FORCE, _WORST, Want.LESS
    ),
    Key.FIRST_STOPPED: Figure("Numbers stopped a first time", Unit.NUMBERS, Basis.FIRST_STOPPED),
    Key.FIRST_STOPPED_P50: Figure(
        "Time to the first stopped call: half", Unit.SECONDS, Basis.FIRST_STOPPED, _STEPS
    ),
    Key.FIRST_STOPPED_P99: Figure(
        "Time to the first stopped call: 99 of 100", Unit.SECONDS, Basis.FIRST_STOPPED, _STEPS
    ),
    Key.FIRST_STOPPED_MAX: Figure(
        "Time to the first stopped call: slowest", Unit.SECONDS, Basis.FIRST_STOPPED, _WORST
    ),
    Key.ACCEPTED: Figure("Versions accepted", Unit.VERSIONS, Basis.VERSIONS, "Let in."),
    Key.HELD: Figure(
        "Versions held",
        Unit.VERSIONS,
        Basis.VERSIONS,
        "Not let in before a person looked; the last good one stayed in force.",
        Want.LESS,
    ),
    Key.REFUSED: Figure(
        "Versions refused",
        Unit.VERSIONS,
        Basis.VERSIONS,
        "Not let in; the last good one stayed in force.",
        Want.LESS,
    ),
    Key.STALE_MAX: Figure(
        "Longest time without word of the list",
        Unit.SECONDS,
        Basis.VERSIONS,
        "The greatest age that the list reached: time since its source last said what it has to "
        "say, new or not.",
        Want.LESS,
    ),
    Key.SIGHTINGS: Figure("Wrong entries found", Unit.REPORTS, Basis.WRONG, want=Want.LESS),
    Key.APPEALS: Figure("Appeals received", Unit.APPEALS, Basis.APPEALS, "Received in the period."),
    Key.REDRESSED: Figure(
        "Appeals redressed",
        Unit.APPEALS,
        Basis.APPEALS,
        "Answered in the period by letting the number through again.",
    ),
    Key.REJECTED: Figure(
        "Appeals rejected",
        Unit.APPEALS,
        Basis.APPEALS,
        "Answered in the period by leaving the block as it is.",
    ),
    Key.PENDING: Figure(
        "Appeals unanswered",
        Unit.APPEALS,
        Basis.APPEALS,
        "Without an answer when the period's last document was made.",
        Want.LESS,
    ),
    Key.OVERDUE: Figure(
        "Appeals overdue",
        Unit.APPEALS,
        Basis.APPEALS,
        "Without an answer, and past their deadline, when the period's last document was made.",
        Want.LESS,
    ),
    Key.ANSWERED_IN_TIME: Figure(
        "Share answered in time",
        Unit.SHARE,
        Basis.ANSWERS,
        f"Answers that took no longer than the agreement's response target. {_TARGETS}",
        Want.MORE,
    ),
    Key.ANSWERED_LATE: Figure(
        "Answered too late",
        Unit.APPEALS,
        Basis.ANSWERS,
        "Answers that took longer than the agreement's response target.",
        Want.LESS,
    ),
    Key.ANSWER_P50: Figure(
        "Time to the answer: half", Unit.SECONDS, Basis.ANSWERS, _STEPS, Want.LESS
    ),
    Key.ANSWER_P99: Figure(
        "Time to the answer: 99 of 100", Unit.SECONDS, Basis.ANSWERS, _STEPS, Want.LESS
    ),
    Key.ANSWER_MAX: Figure(
        "Time to the answer: slowest", Unit.SECONDS, Basis.ANSWERS, _WORST, Want.LESS
    ),
}
assert MEANINGS.keys() == set(Key), "every figure has its meaning"
