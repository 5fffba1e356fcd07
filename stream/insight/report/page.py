"""A report as one HTML page that needs nothing else: no script, no font, no request.

Jinja escapes everywhere what others wrote (names, contacts, categories). Should that ever fail, a
policy in the page lets no script run and nothing be fetched.
"""

import hashlib
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cache
from importlib import resources
from itertools import groupby
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from stream import __version__
from stream.core.model.agreement import FOREVER, AgreementKind, Clause, Party, PartyRole, Shared
from stream.core.model.decision import Action
from stream.insight.report.charts import HEIGHT, WIDTH, calls_chart, delays_chart
from stream.insight.report.figure_catalogue import BASES, FIGURES, Key, Unit
from stream.insight.report.pairs import Pairing
from stream.insight.report.period import day_words, span_words
from stream.insight.report.points import AgendaPoint, Weight, anchor_of, days_told
from stream.insight.report.whole import AgreementReport
from stream.insight.report.words import (
    FEW,
    NOT_MEASURED,
    capital,
    change,
    country_name,
    day_text,
    duration,
    in_sentence,
    listed,
    many,
    minute_text,
    scrubbed,
    shown,
    tied,
    worded,
)
from stream.ops.schema.durations import spelled

_RUNS_MAX: Final = 6
"""Runs of missing days that are named; a country that was silent half the year has dozens."""
_ADD_UP: Final = frozenset(
    {
        *(Key.ENTRIES, Key.BLOCKED, Key.FLAGGED, Key.SIMULATED, Key.CHANGES, Key.LATE),
        *(Key.FIRST_STOPPED, Key.ACCEPTED, Key.HELD, Key.REFUSED, Key.SIGHTINGS, Key.APPEALS),
        *(Key.REDRESSED, Key.REJECTED, Key.ANSWERED_LATE),
    }
)
"""Figures that grow with the number of reported days."""
_CARDS: Final = (Key.BLOCKED, Key.IN_TIME, Key.SIGHTINGS, Key.PENDING)
_WEIGHTS: Final = {Weight.ACT: "Urgent", Weight.DISCUSS: "To discuss", Weight.NOTE: "To note"}
_ROLES: Final = {
    PartyRole.OWNER: "shares lists",
    PartyRole.ENFORCER: "enforces lists",
    PartyRole.OBSERVER: "reads reports, gets no number",
}
_SHARED: Final = {
    Shared.NUMBERS: "numbers",
    Shared.FINGERPRINTS: "fingerprints of numbers",
    Shared.FILTER: "a filter alone",
}
_ACTIONS: Final = {Action.BLOCK: "block", Action.FLAG: "flag", Action.OBSERVE: "observe only"}


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureRow:
    """One figure as it is shown; `measured` False: the value says that it was not."""

    key: Key
    anchor: str
    label: str
    how: str
    value: str
    before: str
    change: str
    measured: bool


def page(report: AgreementReport) -> str:
    """Return the whole page."""
    return (
        _environment()
        .get_template("report.html")
        .render(
            report=report,
            agreement=report.agreement,
            material=report.material,
            sections=[_section(pair) for pair in report.pairs],
            points=_grouped(report.points),
            figures=FIGURES,
            method=[
                (text, [(key, one) for key, one in FIGURES.items() if one.basis == basis])
                for basis, text in BASES.items()
            ],
            style=style(),
            chart_width=WIDTH,
            chart_height=HEIGHT,
            version=__version__,
            made=minute_text(report.material.made_at_s),
            made_by=in_sentence(report.material.home),
            period_words=report.period.words(),
            days_words=report.days.words(),
            before_words=report.before.words(),
            in_force=_in_force(report),
            target=_target(report.agreement.response_target_s),
            schedule=_schedule(report),
            actions=_ACTIONS,
            day_words=day_words,
            day_text=day_text,
            anchor_of=anchor_of,
            duration=duration,
            Key=Key,
            shown=shown,
            not_measured=NOT_MEASURED,
            roles=_roles,
            conditions=_conditions,
            unseen=[*_unseen(report)],
        )
    )


def style_source() -> str:
    """Return the CSP source (`style-src`) that allows the page's one style and no other."""
    digest = hashlib.sha256(f"\n{style()}\n".encode()).digest()
    return f"'sha256-{b64encode(digest).decode()}'"


@cache
def style() -> str:
    """Return the style of our reports, as CSS."""
    return (
        resources.files("stream.insight.report").joinpath("templates/style.css").read_text("utf-8")
    )


@cache
def _environment() -> Environment:
    return environment(
        "stream.insight.report",
        country=country_name,
        worded=worded,
        scrubbed=scrubbed,
        count=_count,
        capital=capital,
        tied=tied,
    )


def environment(package: str, **filters: Callable[..., str]) -> Environment:
    """Templates of a package that escape everything and stop at a name that is not there."""
    made = Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= filters
    return made


def _count(value: int | None) -> str:
    return NOT_MEASURED if value is None else f"{value:,}"


def _section(pair: Pairing) -> dict[str, Any]:
    """Return a list in a country for the template; `compared`: the period before is known."""
    where = f"{pair.clause.list} in {in_sentence(pair.country)}"
    target_s = pair.agreement.response_target_s
    charts = (
        calls_chart(pair.counted.days, where),
        delays_chart(pair.counted.days, target_s, where),
    )
    groups = groupby(FIGURES, lambda key: FIGURES[key].group)
    return {
        "pair": pair,
        "title": where,
        "lede": _lede(pair),
        "cards": [_row(pair, key) for key in _CARDS],
        "groups": [_group(pair, title, keys) for title, keys in groups],
        "charts": [chart for chart in charts if chart is not None],
        "target": _target(target_s),
        "missing": _missing(pair),
        "compared": pair.before is not None and pair.before.last_told is not None,
    }


def _lede(pair: Pairing) -> str:
    owner, country = in_sentence(pair.clause.owner), capital(in_sentence(pair.country))
    action = pair.ceiling
    may = "only observes" if action is Action.OBSERVE else f"may {_ACTIONS[action]} by it"
    target_s = pair.agreement.response_target_s
    within = f"is to be in force within {spelled(target_s)}" if target_s else "has no agreed time"
    return f"A list of {owner}. {country} {may}; a change {within}."


def _group(pair: Pairing, title: str, keys: Iterable[Key]) -> dict[str, Any]:
    """Figures of one kind; where none was measured there are no `rows`: `left_out` names them."""
    rows = [_row(pair, key) for key in keys]
    told = any(row.measured or pair.value_before(row.key) is not None for row in rows)
    return {"title": title, "rows": rows if told else [], "left_out": [] if told else rows}


def _row(pair: Pairing, key: Key) -> FigureRow:
    meaning, value, before = FIGURES[key], pair.value(key), pair.value_before(key)
    row = FigureRow(
        key=key,
        anchor=anchor_of(pair, key),
        label=meaning.label,
        how=meaning.how,
        value=shown(value, meaning.unit),
        before="not in force" if pair.before is None else shown(before, meaning.unit),
        change=_change(pair, key),
        measured=value is not None,
    )
    if key is Key.DAYS_TOLD:
        before_told = row.before if pair.before is None else days_told(pair.before)
        return replace(row, value=days_told(pair.counted), before=before_told, change="")
    return row


def _change(pair: Pairing, key: Key) -> str:
    """Return the change of a figure; of its daily average, if it adds up and the days differ."""
    meaning, value, before = FIGURES[key], pair.value(key), pair.value_before(key)
    days, days_before = pair.value(Key.DAYS_TOLD), pair.value_before(Key.DAYS_TOLD)
    if key not in _ADD_UP or days == days_before or min(value or 0, before or 0) < FEW:
        return change(value, before, meaning.unit, meaning.want)
    if key is Key.ENTRIES:
        return ""  # of numbers, days can neither be added nor divided
    daily, daily_before = (value or 0) / (days or 1), (before or 0) / (days_before or 1)
    text = change(daily, daily_before, Unit.SECONDS, meaning.want)
    moved, comma, praise = text.partition(",")
    return f"{moved} a day{comma}{praise}"


def _missing(pair: Pairing) -> str:
    missing = pair.counted.missing
    if not missing or not pair.told:
        return ""
    runs: list[list[int]] = []
    for day in missing:
        if runs and day.toordinal() == runs[-1][-1] + 1:
            runs[-1].append(day.toordinal())
        else:
            runs.append([day.toordinal()])
    told = [
        span_words(date.fromordinal(run[0]), date.fromordinal(run[-1])) for run in runs[:_RUNS_MAX]
    ]
    more = len(runs) - _RUNS_MAX
    return listed([*told, many(more, "other time")] if more > 0 else told)


def _grouped(points: Sequence[AgendaPoint]) -> list[tuple[str, str, list[AgendaPoint]]]:
    return [
        (weight.name.lower(), title, [point for point in points if point.weight is weight])
        for weight, title in _WEIGHTS.items()
        if any(point.weight is weight for point in points)
    ]


def _target(seconds: int) -> str:
    return spelled(seconds) if seconds else "none agreed"


def _in_force(report: AgreementReport) -> str:
    agreement = report.agreement
    begin = f"from {day_text(agreement.valid_from_s)}"
    if agreement.valid_until_s >= FOREVER:
        text = f"{begin} until further notice"
    else:
        text = f"{begin} to {day_text(agreement.valid_until_s - 1)}"
    if agreement.kind is AgreementKind.PLEDGE:
        confirmed = agreement.confirmed_s
        told = "not yet" if confirmed >= FOREVER else day_text(confirmed)
        text += f"; confirmed: {told}"
    return text


def _schedule(report: AgreementReport) -> str:
    reporting = report.agreement.reporting
    if reporting is None:
        return "none agreed"
    to = listed([in_sentence(name) for name in reporting.to])
    text = f"each {reporting.every}, within {many(reporting.due_days, 'day')} of its end, to {to}"
    if report.period.kind.value != reporting.every.value:
        return text  # no report that was agreed on
    due = report.period.last + timedelta(days=reporting.due_days)
    return f"{text}; this one is due by {day_words(due)}"


def _roles(party: Party) -> str:
    return listed([_ROLES[role] for role in PartyRole if role in party.roles])


def _conditions(clause: Clause) -> str:
    terms, found = clause.terms, []
    if terms.confidence_min:
        found.append(f"confidence at least {terms.confidence_min}")
    if terms.categories is not None:
        found.append(", ".join(worded(one.label) for one in sorted(terms.categories)))
    if terms.countries_min > 1:
        found.append(f"{terms.countries_min} countries agree")
    found.append(f"shared: {_SHARED[clause.shares]}")
    return capital("; ".join(found))


def _unseen(report: AgreementReport) -> Iterator[str]:
    """Sources that are not available, so that an empty table does not say that nothing waits."""
    material = report.material
    if not any(pair.ours for pair in report.pairs):
        return
    if material.feeds is None:
        yield "Whether lists are stale or held here was not measured: no feeds are set up here."
    if material.appeals is None:
        yield "Whether appeals wait here was not measured: no appeals are taken here."
