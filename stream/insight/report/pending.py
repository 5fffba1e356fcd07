"""Lists and appeals that are stale, held or unanswered at the moment of the report. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from stream.insight.report.pairs import Pairing, ReportMaterial
from stream.insight.report.period import day_of, day_words
from stream.insight.report.words import country_name, duration, in_sentence, many, worded

STALE_S: Final = 86_400
"""The limit without an agreed response target: a day without word of a list."""

SILENT_DAYS: Final = 2
"""A day's document comes on the next day; one more day of delay is granted."""


class WaitReason(StrEnum):
    """A reason to wait."""

    NEVER = "never reported"
    STALE = "stale"
    DOWN = "cannot be fetched"
    HELD = "held"
    OVERDUE = "overdue"
    UNANSWERED = "unanswered"
    SILENT = "not reported"


@dataclass(frozen=True, slots=True)
class Waiting:
    """One thing that waits; `who` has to act; `since_s` None: not known. `pair` is its slug."""

    standing: WaitReason
    list: str
    text: str
    who: str
    since_s: int | None
    pair: str


def waiting(material: ReportMaterial, pairs: Sequence[Pairing]) -> tuple[Waiting, ...]:
    """Everything that waits now, the gravest first."""
    found = [one for pair in pairs for one in _of_pair(material, pair)]
    order = list(WaitReason)
    return tuple(sorted(found, key=lambda one: (order.index(one.standing), one.since_s or 0)))


def _of_pair(material: ReportMaterial, pair: Pairing) -> Iterator[Waiting]:
    if pair.ours:
        yield from _of_feeds(material, pair)
        yield from _of_appeals(material, pair)
    else:
        if pair.clause.owner == material.home:
            yield from _of_appeals(material, pair)
        yield from _of_partner(material, pair)


def _of_feeds(material: ReportMaterial, pair: Pairing) -> Iterator[Waiting]:
    name, owner = pair.clause.list, pair.clause.owner
    limit_s = pair.agreement.response_target_s or STALE_S
    for feed in material.feeds or ():
        if feed.list != name:
            continue
        silent_s = material.made_at_s - feed.heard_at_s
        why = f" ({worded(feed.fault)})" if feed.fault else ""
        if not feed.heard_at_s:
            text = f"Nothing of this list ever came{why}."
            yield Waiting(WaitReason.NEVER, name, text, owner, None, pair.slug)
        elif silent_s > limit_s:
            text = (
                f"Last word of this list came {duration(silent_s)} ago{why}: longer than the "
                f"{duration(limit_s)} in which a change is to be in force."
            )
            yield Waiting(WaitReason.STALE, name, text, owner, feed.heard_at_s, pair.slug)
        elif feed.fault:
            text = (
                f"The last try to fetch this list failed{why}; its last good version is in force."
            )
            yield Waiting(WaitReason.DOWN, name, text, owner, feed.heard_at_s, pair.slug)
        if feed.held_at_s is not None:
            text = (
                f"A version of this list waits for a person ({worded(feed.held_reason)}); the last "
                "good one is in force."
            )
            who = material.home
            yield Waiting(WaitReason.HELD, name, text, who, feed.held_at_s, pair.slug)


def _of_appeals(material: ReportMaterial, pair: Pairing) -> Iterator[Waiting]:
    """Received here, where the list is enforced here; passed on to us, where it is ours."""
    sender = None if pair.ours else pair.country
    held = [
        one
        for one in material.appeals or ()
        if (one.list, one.partner) == (pair.clause.list, sender)
    ]
    overdue = [one for one in held if one.deadline_at_s <= material.made_at_s]
    in_time = [one for one in held if one.deadline_at_s > material.made_at_s]
    for standing, appeals in ((WaitReason.OVERDUE, overdue), (WaitReason.UNANSWERED, in_time)):
        if not appeals:
            continue
        oldest = min(one.received_at_s for one in appeals)
        its, waits = ("its", "waits") if len(appeals) == 1 else ("their", "wait")
        passed = "" if sender is None else f" that {in_sentence(sender)} passed on"
        past = f" past {its} deadline" if standing is WaitReason.OVERDUE else ""
        text = (
            f"{many(len(appeals), 'appeal')}{passed} {waits} for an answer{past}, the oldest for "
            f"{duration(material.made_at_s - oldest)}."
        )
        yield Waiting(standing, pair.clause.list, text, material.home, oldest, pair.slug)


def _of_partner(material: ReportMaterial, pair: Pairing) -> Iterator[Waiting]:
    """By its newest document, of whatever day: the period may be over for long."""
    name, who = pair.clause.list, pair.country
    told = [one for one in material.documents if (one.list, one.country) == (name, who)]
    newest = max(told, key=lambda one: (one.day, one.made_at), default=None)
    if newest is None:
        if pair.counted.expected:
            text = "No enforcement document is here."
            yield Waiting(WaitReason.SILENT, name, text, who, None, pair.slug)
        return
    as_of = f"by {country_name(who)}'s document of {day_words(newest.day)}"
    if newest.appeals is not None:
        overdue = newest.appeals.overdue
        if overdue:
            text = f"{many(overdue, 'appeal')} past the deadline, {as_of}."
            yield Waiting(WaitReason.OVERDUE, name, text, who, None, pair.slug)
        if newest.appeals.pending > overdue:
            text = f"{many(newest.appeals.pending - overdue, 'appeal')} without an answer, {as_of}."
            yield Waiting(WaitReason.UNANSWERED, name, text, who, None, pair.slug)
    if (day_of(material.made_at_s) - newest.day).days > SILENT_DAYS:
        text = f"Its last enforcement document is of {day_words(newest.day)}."
        yield Waiting(WaitReason.SILENT, name, text, who, None, pair.slug)
