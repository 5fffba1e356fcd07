"""An appeal: a person says that a number is blocked wrongly, and its owner must answer in time.

It is received here, and may be forwarded to the owner of a list that named the number. It ends as
redressed (the number is no longer blocked) or rejected. An appeal received from a partner names a
list of ours, by fingerprint: the partner has put the block right at home already.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

import msgspec

from stream.core.model.agreement import Agreements, owner_of
from stream.core.model.delays import Delays
from stream.core.model.enforcement_document import Appeals, Sighting

COMMENT_CHARS_MAX: Final = 1000
APPELLANT_CHARS_MAX: Final = 200
"""Everybody may appeal, without a token: this bounds what an unknown client can store here."""
LISTS_MAX: Final = 64
"""Lists that one appeal names: as many as one decision can."""


class AppealState(StrEnum):
    """State of an appeal: a metric label."""

    RECEIVED = "received"
    """It has no answer yet."""
    PENDING_OWNER = "pending_owner"
    """The owner of a list was asked; the number is still blocked here."""
    REDRESSED = "redressed"
    """The block was wrong, and is no more."""
    REJECTED = "rejected"
    """The block was right; it stays, and the comment says why."""


OPEN: Final = frozenset({AppealState.RECEIVED, AppealState.PENDING_OWNER})
_NEXT: Final[Mapping[AppealState, frozenset[AppealState]]] = {
    AppealState.RECEIVED: frozenset(AppealState) - {AppealState.RECEIVED},
    AppealState.PENDING_OWNER: frozenset({AppealState.REDRESSED, AppealState.REJECTED}),
    AppealState.REDRESSED: frozenset(),
    AppealState.REJECTED: frozenset(),
}


class NamedList(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A list that holds the number, as the decision names it.

    `fingerprint` is the *number's* in the list's circle, 16 hex digits, also if the list has a
    `prefix` ("+8552390*") that covers it. It is "" if the key of that circle is not here.
    """

    list: str
    fingerprint: str
    agreement: str | None = None
    category: str | None = None
    confirmed: bool = True
    prefix: str | None = None


class AppealStep(msgspec.Struct, frozen=True, kw_only=True):
    """One step of an appeal: its actor, time (seconds since the epoch), state and comment."""

    at_s: int
    actor: str
    state: AppealState
    comment: str = ""


class Appeal(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One appeal. Times are seconds since the epoch.

    `number` is E.164, None where only a fingerprint is known; `appellant` is the address for the
    answer. `partner` is the country whose appeal `partner_appeal` this is, None: it was received
    here. `history` begins with the receipt; `version` counts its steps.
    """

    id: str
    number: str | None
    lists: tuple[NamedList, ...]
    received_at_s: int
    deadline_at_s: int
    history: tuple[AppealStep, ...]
    decision_id: str | None = None
    partner: str | None = None
    partner_appeal: str | None = None
    appellant: str = ""

    @property
    def version(self) -> int:
        """Count of its steps, from 1."""
        return len(self.history)

    @property
    def state(self) -> AppealState:
        """Its state now."""
        return self.history[-1].state

    @property
    def open(self) -> bool:
        """Return whether it still needs an answer."""
        return self.state in OPEN

    @property
    def answered_at_s(self) -> int | None:
        """When it was answered; None: not yet."""
        return None if self.open else self.history[-1].at_s

    @property
    def subject(self) -> str:
        """The thing with one open appeal at most: a number, or a partner's appeal on a list."""
        if self.partner is None:
            return self.number or self.id
        return f"{self.partner} {self.partner_appeal} {self.lists[0].list}"

    def overdue(self, at_s: int) -> bool:
        """Return whether it should have been answered by then and was not."""
        return self.deadline_at_s <= (at_s if self.open else self.history[-1].at_s)

    def names(self, list_name: str) -> bool:
        """Return whether it is about that list."""
        return any(named.list == list_name for named in self.lists)

    def owners(self, home: str) -> tuple[str, ...]:
        """Return the owners, other than `home`, of the lists that it names."""
        owners = dict.fromkeys(owner_of(named.list) for named in self.lists)
        return tuple(owner for owner in owners if owner != home)


class Received(msgspec.Struct, frozen=True, kw_only=True):
    """Notice of a partner: a list of ours blocked wrongly; `appeal_id` is the partner's."""

    partner: str
    appeal_id: str
    list: str
    fingerprint: str


class StepRefused(StrEnum):
    """Reason for which an appeal cannot take a step."""

    CLOSED = "it was answered already"
    FORWARDED = "its list's owner was asked already"
    NO_COMMENT = "the appellant has to learn why: give a reason (--reason)"


def stepped(appeal: Appeal, step: AppealStep) -> Appeal | StepRefused:
    """Return the appeal after a step; or why it cannot take it."""
    if not appeal.open:
        return StepRefused.CLOSED
    if step.state not in _NEXT[appeal.state]:
        return StepRefused.FORWARDED
    if step.state is AppealState.REJECTED and not step.comment.strip():
        return StepRefused.NO_COMMENT
    return msgspec.structs.replace(appeal, history=(*appeal.history, step))


def deadline_of(
    agreements: Agreements, names: Iterable[str], country: str, at_s: int, default_s: int
) -> int:
    """By when an appeal of that moment is to be answered.

    It is the shortest response target of the agreements in force by which `country` enforces a list
    in `names`; `default_s` where none says any.
    """
    wanted = frozenset(names)
    targets = [
        agreement.response_target_s
        for agreement, clause, _ in agreements.here(country, at_s)
        if clause.list in wanted and agreement.response_target_s > 0
    ]
    return at_s + min(targets, default=default_s)


def sightings(
    appeals: Iterable[Appeal], list_name: str, from_s: int, until_s: int
) -> tuple[Sighting, ...]:
    """Return the false positives of a list in a span of time, for its owner, oldest first.

    They are the blocks that were put right here on appeals received here, of numbers whose
    fingerprint in the list's circle is known.
    """
    found = [
        (appeal.history[-1].at_s, named.fingerprint, appeal.id)
        for appeal in appeals
        if appeal.partner is None and appeal.state is AppealState.REDRESSED
        for named in appeal.lists
        if named.list == list_name and named.fingerprint
    ]
    return tuple(
        Sighting(
            fingerprint=fingerprint, seen_at=datetime.fromtimestamp(at_s, UTC), appeal_id=appeal_id
        )
        for at_s, fingerprint, appeal_id in sorted(found)
        if from_s <= at_s < until_s
    )


def figures(
    appeals: Iterable[Appeal],
    list_name: str,
    from_s: int,
    until_s: int,
    target_s: int | None = None,
    partner: str | None = None,
) -> Appeals:
    """Count appeals on a list from `from_s` until before `until_s`, for reports.

    Of those received here (`partner` None), or of those received from that partner. `pending` and
    `overdue` are those of the end of the time; answers are measured against `target_s`.
    """
    mine = [one for one in appeals if one.partner == partner and one.names(list_name)]
    answers = [
        (one.state, at_s - one.received_at_s)
        for one in mine
        if (at_s := one.answered_at_s) is not None and from_s <= at_s < until_s
    ]
    pending = [
        one
        for one in mine
        if one.received_at_s < until_s and ((at_s := one.answered_at_s) is None or at_s >= until_s)
    ]
    return Appeals(
        received=sum(from_s <= one.received_at_s < until_s for one in mine),
        redressed=sum(state is AppealState.REDRESSED for state, _ in answers),
        rejected=sum(state is AppealState.REJECTED for state, _ in answers),
        pending=len(pending),
        overdue=sum(one.deadline_at_s < until_s for one in pending),
        answers=Delays.measured([took_s for _, took_s in answers], target_s),
    )
