"""Points for the next meeting: rules over the figures, each naming the figure it comes from.

Of what was not measured, a rule says only that it was not measured.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Final

from stream.core.model.agreement import Agreement, AgreementKind, AgreementState
from stream.core.model.decision import Action
from stream.core.policy.contradictions import Contradiction
from stream.insight.report.figure_catalogue import FIGURES, Key
from stream.insight.report.figures import PairingFigures
from stream.insight.report.pairs import Pairing, ReportMaterial
from stream.insight.report.pending import Waiting, WaitReason
from stream.insight.report.period import ReportPeriod, day_of, day_words, span_words
from stream.insight.report.words import capital, duration, in_sentence, listed, many, shown, worded

ENDS_SOON_S: Final = 120 * 86_400
"""Four months: what it takes to agree again."""
SLOWER: Final = 2
"""A 99th of 100 that took twice as long as before is worth a word."""
FEW: Final = 20
"""Of fewer changes than that the 99th of 100 is one change's luck."""


class Weight(IntEnum):
    """The urgency of a point, the most urgent first."""

    ACT = 0
    DISCUSS = 1
    NOTE = 2


class Rule(StrEnum):
    """The rule that a point comes from."""

    BEYOND_THE_TERMS = "beyond_the_terms"
    SILENT = "silent"
    OVERDUE = "overdue"
    STALE = "stale"
    HELD_NOW = "held_now"
    LATE = "late"
    ANSWERED_LATE = "answered_late"
    WRONG_ENTRIES = "wrong_entries"
    HELD = "held"
    REFUSED = "refused"
    WAS_STALE = "was_stale"
    SLOWER = "slower"
    GAPS = "gaps"
    OTHER_TARGET = "other_target"
    STOPPED_NOTHING = "stopped_nothing"
    ON_TRIAL = "on_trial"
    UNANSWERED = "unanswered"
    NO_TARGET = "no_target"
    NOT_CONFIRMED = "not_confirmed"
    ENDS = "ends"
    ENDED = "ended"
    NO_SCHEDULE = "no_schedule"
    CONTRADICTION = "contradiction"


@dataclass(frozen=True, slots=True)
class FigureSource:
    """The figure that a point comes from: its anchor on the page, its name, its value in words."""

    anchor: str
    label: str
    value: str


@dataclass(frozen=True, slots=True)
class AgendaPoint:
    """One thing to raise; `ask`: the party to whom, "" for all."""

    weight: Weight
    rule: Rule
    text: str
    ask: str
    source: FigureSource


def days_told(counted: PairingFigures) -> str:
    """`Key.DAYS_TOLD` for people: `22 of 24`."""
    told = int(counted.figures[Key.DAYS_TOLD] or 0)
    return f"{told:,} of {told + len(counted.missing):,}"


def anchor_of(pair: Pairing, key: Key) -> str:
    """Return the anchor of a figure on the page."""
    return f"{pair.slug}-{key}"


def points_of(
    material: ReportMaterial,
    pairs: Sequence[Pairing],
    waits: Sequence[Waiting],
    contradictions: Sequence[Contradiction],
) -> tuple[AgendaPoint, ...]:
    """Return all points, the most urgent first; of one urgency in the order of the rules."""
    found = [point for pair in pairs if pair.told for point in _of_pair(pair)]
    found += _silences(material, pairs)
    found += [point for one in waits if (point := _of_waiting(one, pairs)) is not None]
    found += _of_agreement(material, contradictions)
    order = list(Rule)
    return tuple(sorted(found, key=lambda one: (one.weight, order.index(one.rule))))


def _of_pair(pair: Pairing) -> Iterator[AgendaPoint]:
    yield from _gaps(pair)
    yield from _beyond(pair)
    yield from _speed(pair)
    yield from _mistakes(pair)
    yield from _versions(pair)
    yield from _calls(pair)


def _point(
    pair: Pairing, weight: Weight, rule: Rule, key: Key, text: str, ask: str = ""
) -> AgendaPoint:
    value = shown(pair.value(key), FIGURES[key].unit)
    if key is Key.DAYS_TOLD:
        value = days_told(pair.counted)
    source = FigureSource(anchor_of(pair, key), f"{_place(pair)}: {FIGURES[key].label}", value)
    return AgendaPoint(weight, rule, text, ask or pair.country, source)


def _place(pair: Pairing) -> str:
    return f"{pair.clause.list} in {in_sentence(pair.country)}"


def _silences(material: ReportMaterial, pairs: Sequence[Pairing]) -> Iterator[AgendaPoint]:
    """One point a country, however many lists it does not report."""
    silent: dict[str, list[Pairing]] = {}
    for pair in pairs:
        if not pair.told and pair.counted.expected:
            silent.setdefault(pair.country, []).append(pair)
    for country, held in silent.items():
        ask = "Find out why" if country == material.home else "Ask for its documents"
        text = (
            f"{capital(in_sentence(country))} reported nothing on "
            f"{listed([pair.clause.list for pair in held])} for any of "
            f"{many(max(pair.counted.expected for pair in held), 'day')}: whether it acts, and how "
            f"fast, is not known. {ask}."
        )
        yield _point(held[0], Weight.ACT, Rule.SILENT, Key.DAYS_TOLD, text)


def _gaps(pair: Pairing) -> Iterator[AgendaPoint]:
    missing = pair.counted.missing
    if missing:
        days = span_words(missing[0], missing[-1]) if len(missing) > 1 else day_words(missing[0])
        within = "within " if len(missing) > 2 else ""
        text = (
            f"{capital(in_sentence(pair.country))} did not report on {pair.clause.list} on "
            f"{many(len(missing), 'day')} ({within}{days}): these days are in no figure."
        )
        yield _point(pair, Weight.DISCUSS, Rule.GAPS, Key.DAYS_TOLD, text)


def _beyond(pair: Pairing) -> Iterator[AgendaPoint]:
    """More was done than the agreement allows; by another list or policy, or by mistake."""
    allowed = {Action.FLAG: (Key.BLOCKED,), Action.OBSERVE: (Key.BLOCKED, Key.FLAGGED)}
    for key in allowed.get(pair.ceiling, ()):
        calls = pair.value(key)
        if calls:
            done = "blocked" if key is Key.BLOCKED else "flagged"
            most = "flags" if pair.ceiling is Action.FLAG else "observation"
            text = (
                f"{many(int(calls), 'call')} {'was' if calls == 1 else 'were'} {done} in "
                f"{in_sentence(pair.country)} where {pair.clause.list} was a reason, while "
                f"{pair.agreement.id} allows this list no more than {most}. Ask what else was a "
                "reason."
            )
            yield _point(pair, Weight.ACT, Rule.BEYOND_THE_TERMS, key, text)


def _speed(pair: Pairing) -> Iterator[AgendaPoint]:
    target_s, where = pair.agreement.response_target_s, in_sentence(pair.country)
    late, changes = pair.value(Key.LATE), pair.value(Key.CHANGES)
    if late and changes:
        text = (
            f"{int(late):,} of {many(int(changes), 'change')} of {pair.clause.list} came into "
            f"force in {where} later than the agreed {duration(target_s)}; the slowest took "
            f"{shown(pair.value(Key.IN_FORCE_MAX), FIGURES[Key.IN_FORCE_MAX].unit)}."
        )
        yield _point(pair, Weight.DISCUSS, Rule.LATE, Key.LATE, text)
    now, before = pair.value(Key.IN_FORCE_P99), pair.value_before(Key.IN_FORCE_P99)
    enough = min(changes or 0, pair.value_before(Key.CHANGES) or 0) >= FEW
    if now and before and enough and now >= SLOWER * before:
        text = (
            f"Changes of {pair.clause.list} take longer in {where}: 99 of 100 within "
            f"{duration(now)}, in the period before within {duration(before)}."
        )
        yield _point(pair, Weight.NOTE, Rule.SLOWER, Key.IN_FORCE_P99, text)
    if target_s and (others := sorted(_looser(pair))):
        told = listed([duration(one) if one else "none" for one in others])
        text = (
            f"{capital(where)} measures {pair.clause.list} against another response target "
            f"({told}) than {pair.agreement.id} names ({duration(target_s)})."
        )
        yield _point(pair, Weight.NOTE, Rule.OTHER_TARGET, Key.IN_TIME, text)


def _looser(pair: Pairing) -> set[int]:
    """Targets in its documents that promise less than the agreement; 0: none at all."""
    targets = {one or 0 for one in pair.counted.targets_s}
    return {one for one in targets if not one or one > pair.agreement.response_target_s}


def _mistakes(pair: Pairing) -> Iterator[AgendaPoint]:
    where, owner = in_sentence(pair.country), pair.clause.owner
    wrong = pair.value(Key.SIGHTINGS)
    if wrong:
        one = wrong == 1
        said, they_are, they = (
            ("number was", "it is", "it") if one else ("numbers were", "they are", "they")
        )
        text = (
            f"{int(wrong):,} {said} found in {where} to be on {pair.clause.list} by mistake. "
            f"{capital(in_sentence(owner))} says whether {they_are} off the list, and how {they} "
            "came on it."
        )
        yield _point(pair, Weight.DISCUSS, Rule.WRONG_ENTRIES, Key.SIGHTINGS, text, owner)
    late = pair.value(Key.ANSWERED_LATE)
    if late:
        text = (
            f"{many(int(late), 'appeal')} against {pair.clause.list} got an answer in {where} "
            f"later than the agreed {duration(pair.agreement.response_target_s)}."
        )
        yield _point(pair, Weight.DISCUSS, Rule.ANSWERED_LATE, Key.ANSWERED_LATE, text)


def _versions(pair: Pairing) -> Iterator[AgendaPoint]:
    where, owner = in_sentence(pair.country), pair.clause.owner
    for key, rule in ((Key.HELD, Rule.HELD), (Key.REFUSED, Rule.REFUSED)):
        count = pair.value(key)
        if count:
            rows = [row for row in pair.reasons or () if row.verdict == key.value]
            why = [f"{worded(row.reason)}: {row.count:,}" for row in rows]
            because = f" ({', '.join(why)})" if why else ""
            verdict = "held back" if key is Key.HELD else "refused"
            were = "was" if count == 1 else "were"
            text = (
                f"{many(int(count), 'version')} of {pair.clause.list} {were} {verdict} in {where}"
                f"{because}. Ask {in_sentence(owner)} what it changed."
            )
            yield _point(pair, Weight.DISCUSS, rule, key, text, owner)
    stale, target_s = pair.value(Key.STALE_MAX), pair.agreement.response_target_s
    if stale and target_s and stale > target_s:
        text = (
            f"{capital(where)} had no word of {pair.clause.list} for {duration(stale)}: longer "
            f"than the {duration(target_s)} in which a change is to be in force."
        )
        yield _point(pair, Weight.DISCUSS, Rule.WAS_STALE, Key.STALE_MAX, text, owner)


def _calls(pair: Pairing) -> Iterator[AgendaPoint]:
    calls = [pair.value(key) for key in (Key.BLOCKED, Key.FLAGGED, Key.SIMULATED)]
    if calls == [0, 0, 0] and pair.ceiling is not Action.OBSERVE:
        text = (
            f"{pair.clause.list} stopped no call in {in_sentence(pair.country)}: its numbers did "
            "not call there, or it is not enforced."
        )
        yield _point(pair, Weight.NOTE, Rule.STOPPED_NOTHING, Key.BLOCKED, text)
    trial = pair.value(Key.SIMULATED)
    if trial and not calls[0] and not calls[1]:
        text = (
            f"{pair.clause.list} is on trial in {in_sentence(pair.country)}: "
            f"{many(int(trial), 'call')} would have been stopped, and none was. Agree whether and "
            "when the trial ends."
        )
        yield _point(pair, Weight.DISCUSS, Rule.ON_TRIAL, Key.SIMULATED, text)


_NOW: Final = {
    WaitReason.NEVER: (Weight.ACT, Rule.STALE),
    WaitReason.STALE: (Weight.ACT, Rule.STALE),
    WaitReason.DOWN: (Weight.NOTE, Rule.STALE),
    WaitReason.HELD: (Weight.ACT, Rule.HELD_NOW),
    WaitReason.OVERDUE: (Weight.ACT, Rule.OVERDUE),
    WaitReason.UNANSWERED: (Weight.NOTE, Rule.UNANSWERED),
}


def _of_waiting(one: Waiting, pairs: Sequence[Pairing]) -> AgendaPoint | None:
    """Return the point of something that waits; `_silences` has the days that were not reported."""
    if one.standing not in _NOW:
        return None
    weight, rule = _NOW[one.standing]
    place = next(_place(pair) for pair in pairs if pair.slug == one.pair)
    source = FigureSource("now", f"{place}: waiting now", one.standing.value)
    return AgendaPoint(weight, rule, f"{place}: {one.text}", one.who, source)


def _of_agreement(
    material: ReportMaterial, contradictions: Sequence[Contradiction]
) -> Iterator[AgendaPoint]:
    agreement, at_s = material.agreement, material.made_at_s
    if agreement.clauses and not agreement.response_target_s:
        text = "No response time is agreed: answers cannot be measured against it. Agree one."
        yield _said(Weight.DISCUSS, Rule.NO_TARGET, text, "Response target", "none")
    if agreement.kind is AgreementKind.PLEDGE and agreement.state(at_s) is AgreementState.PLEDGED:
        text = "The pledge is not confirmed: its lists are only observed. Agree when it is."
        yield _said(Weight.DISCUSS, Rule.NOT_CONFIRMED, text, "Confirmed", "not yet")
    yield from _end(agreement, material.period, at_s)
    if agreement.reporting is None:
        text = "No regular report is agreed. Agree how often, and to whom."
        yield _said(Weight.NOTE, Rule.NO_SCHEDULE, text, "Reports", "none")
    for one in contradictions:
        text = (
            f"{one.list}: {one.ids[0]} and {one.ids[1]} say different things ({worded(one.what)}: "
            f"{one.said[0]}, {one.said[1]}); what counts is {one.counts}. Agree on one."
        )
        yield _said(Weight.DISCUSS, Rule.CONTRADICTION, text, "Agreements", worded(one.what))


def _end(agreement: Agreement, period: ReportPeriod, at_s: int) -> Iterator[AgendaPoint]:
    # It counts until before this moment: the day before is its last.
    last = day_of(min(agreement.valid_until_s - 1, 253_370_764_800))
    if agreement.state(at_s) is AgreementState.ENDED:
        text = (
            f"It ended: its last day was {day_words(last)}. Its lists stopped no call since then."
        )
        yield _said(Weight.DISCUSS, Rule.ENDED, text, "In force until", day_words(last))
    elif agreement.valid_until_s - max(at_s, period.end_s) < ENDS_SOON_S:
        text = f"It ends: its last day is {day_words(last)}. Agree whether it goes on."
        yield _said(Weight.DISCUSS, Rule.ENDS, text, "In force until", day_words(last))


def _said(weight: Weight, rule: Rule, text: str, label: str, value: str) -> AgendaPoint:
    return AgendaPoint(weight, rule, text, "", FigureSource("promised", label, value))
