"""A whole report from what was gathered: periods, figures, what waits, what to raise. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from stream.core.model.agreement import Agreement, Agreements, Every
from stream.core.model.errors import Fault
from stream.core.policy.contradictions import contradictions
from stream.insight.report.figure_catalogue import Key
from stream.insight.report.pairs import Pairing, ReportMaterial, elsewhere, pairs_of
from stream.insight.report.pending import Waiting, waiting
from stream.insight.report.period import PeriodKind, ReportPeriod, day_of, newest, period_of
from stream.insight.report.points import AgendaPoint, Weight, points_of
from stream.insight.report.words import (
    capital,
    country_name,
    duration,
    in_sentence,
    listed,
    many,
    share,
)


class NoReport(Fault):
    """There can be no report on this agreement and period; the text says why."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence of the summary; `lead` is its subject, or ""."""

    lead: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreementReport:
    """All of it. `period` is as asked for, `days` those of it that are reported on (so far).

    `summary` are plain sentences, `elsewhere` lists and countries of which others report.
    """

    material: ReportMaterial
    period: ReportPeriod
    days: ReportPeriod
    before: ReportPeriod
    pairs: tuple[Pairing, ...]
    elsewhere: tuple[tuple[str, str], ...]
    waiting: tuple[Waiting, ...]
    points: tuple[AgendaPoint, ...]
    summary: tuple[Sentence, ...]

    @property
    def agreement(self) -> Agreement:
        """The agreement that it is on."""
        return self.material.agreement

    @property
    def running(self) -> bool:
        """The period is not over yet: on its last day too, when `days` are all of it."""
        return self.period.end_s > self.material.made_at_s


def period_for(agreement: Agreement, asked: ReportPeriod | None, now_s: int) -> ReportPeriod:
    """Return the period to report on; if none is asked for, the last by the agreement that is over.

    Raises NoReport, where the agreement was not in force on any day of it so far.
    """
    today = day_of(now_s)
    began = day_of(agreement.valid_from_s)
    if asked is None:
        every = agreement.reporting.every if agreement.reporting else Every.MONTH
        # Of one that has ended, the period of its last day: a report on it is still due.
        period = period_of(every, day_of(min(now_s, agreement.valid_until_s - 1)))
        if period.end_s > now_s:
            period = newest(every, today, began)
    else:
        period = asked
    if agreement.valid_from_s > now_s:
        raise NoReport(f"{agreement.id} begins on {began}: there is nothing to report yet")
    if period.first > today:
        raise NoReport(f"{period.text()} has not begun: today is {today} (UTC)")
    if period.end_s <= agreement.valid_from_s:
        raise NoReport(f"{agreement.id} began on {began}, after {period.text()}")
    if period.begin_s >= agreement.valid_until_s:
        until = day_of(agreement.valid_until_s - 1)
        raise NoReport(f"{agreement.id} was in force until {until}, before {period.text()}")
    return period


def days_of(period: ReportPeriod, now_s: int) -> ReportPeriod:
    """Return the days of a period so far: a running month is not compared with a whole one."""
    last = min(period.last, day_of(now_s))
    return period if last == period.last else ReportPeriod(PeriodKind.DAYS, period.first, last)


def before_of(period: ReportPeriod, days: ReportPeriod) -> ReportPeriod:
    """Return the days to compare with: the period before, cut to as much as has passed of this."""
    whole = period.before()
    if days == period or days.days >= whole.days:
        return whole
    return ReportPeriod(PeriodKind.DAYS, whole.first, whole.dates()[days.days - 1])


def reported(material: ReportMaterial) -> AgreementReport:
    """Return the report on what was gathered."""
    period = material.period
    days = days_of(period, material.made_at_s)
    before = before_of(period, days)
    pairs = tuple(pairs_of(material, days, before))
    waits = waiting(material, pairs)
    differ = [
        one
        for one in contradictions(Agreements(material.known, needed=True))
        if material.agreement.id in one.ids and one.until_s > material.made_at_s
    ]
    points = points_of(material, pairs, waits, differ)
    return AgreementReport(
        material=material,
        period=period,
        days=days,
        before=before,
        pairs=pairs,
        elsewhere=elsewhere(material, days),
        waiting=waits,
        points=points,
        summary=tuple(_summary(material, days, before, pairs, points)),
    )


def _summary(
    material: ReportMaterial,
    days: ReportPeriod,
    before: ReportPeriod,
    pairs: Sequence[Pairing],
    points: Sequence[AgendaPoint],
) -> Iterator[Sentence]:
    if not pairs:
        home = in_sentence(material.home)
        outside = f"{capital(home)} neither shares nor enforces a list of it, and"
        none = "It shares no list, and its parties enforce none:"
        yield Sentence(
            "", f"{outside if material.agreement.clauses else none} nothing is known here."
        )
    for pair in pairs:
        if pair.told:
            owner, where = country_name(pair.clause.owner), in_sentence(pair.country)
            lead = f"{owner}'s list {pair.clause.list} in {where}"
            yield Sentence(lead, " ".join(_of_pair(pair, before)))
    silent: dict[str, list[str]] = {}
    for pair in pairs:
        if not pair.told:
            silent.setdefault(pair.country, []).append(pair.clause.list)
    for country, lists in silent.items():
        text = f"nothing is known of what it did: no document of {days.words()} is here."
        yield Sentence(f"{listed(lists)} in {in_sentence(country)}", text)
    urgent = sum(point.weight is Weight.ACT for point in points)
    if len(points) == 1:
        yield Sentence("", f"There is 1 point to raise{', an urgent one' * urgent}.")
    elif points:
        which = "all" if urgent == len(points) else f"{urgent:,}"
        more = f", {which} of them urgent" if urgent else ""
        yield Sentence("", f"There are {many(len(points), 'point')} to raise{more}.")
    else:
        yield Sentence("", "There is nothing to raise by the figures that were measured.")


def _of_pair(pair: Pairing, before: ReportPeriod) -> Iterator[str]:
    blocked, flagged, trial = (pair.value(key) for key in (Key.BLOCKED, Key.FLAGGED, Key.SIMULATED))
    if blocked is None:
        yield "calls were not counted."
    else:
        done = [many(int(blocked), "call") + " blocked"]
        done += [f"{int(flagged):,} flagged"] if flagged else []
        done += [f"{int(trial):,} on trial only"] if trial else []
        was = pair.value_before(Key.BLOCKED)
        then = f" ({before.words()}: {was:,} blocked)" if was is not None else ""
        yield f"{listed(done)}{then}."
    yield from _speed(pair)
    yield from _mistakes(pair)


def _speed(pair: Pairing) -> Iterator[str]:
    changes, part = pair.value(Key.CHANGES), pair.value(Key.IN_TIME)
    half = pair.value(Key.IN_FORCE_P50)
    if changes is None or half is None:
        yield "How fast changes came into force was not measured."
        return
    if changes == 1:
        agreed_s = pair.agreement.response_target_s
        agreed = f"agreed: {duration(agreed_s)}" if agreed_s else "no response time is agreed"
        yield f"1 change came into force, within {duration(half)} ({agreed})."
        return
    if part is None:
        yield (
            f"{capital(many(int(changes), 'change'))} came into force, half of them within "
            f"{duration(half)}; no response time is agreed."
        )
        return
    was = pair.value_before(Key.IN_TIME)
    then = f"; before: {share(was)}" if was is not None else ""
    yield (
        f"{share(part)} of {many(int(changes), 'change')} came into force within the agreed "
        f"{duration(pair.agreement.response_target_s)}, half of them within {duration(half)}{then}."
    )


def _mistakes(pair: Pairing) -> Iterator[str]:
    wrong, pending = pair.value(Key.SIGHTINGS), pair.value(Key.PENDING)
    overdue = pair.value(Key.OVERDUE)
    if wrong:
        yield f"{many(int(wrong), 'wrong entry', 'wrong entries')} found."
    if pending:
        late = f", {int(overdue):,} of them overdue" if overdue else ""
        was = "was" if pending == 1 else "were"
        yield f"{many(int(pending), 'appeal')} {was} unanswered at the end{late}."
