"""`ringfence agreements`: terms agreed with other countries, and their effect on calls.

Exit codes: 0 done, 1 there is a contradiction, or no such agreement, 2 a file cannot be used.
"""

from typing import Annotated, Any

import typer

from stream.cli.common import moment_in, settings_of
from stream.cli.lazy_group import group
from stream.cli.options import ConfigFiles, Output
from stream.cli.output import NOTHING_DONE, USAGE, Format, fail, note, print_table, render, say
from stream.config.agreement_files import AgreementFolder, agreements_of
from stream.config.settings import Settings
from stream.core.model.moments import rfc3339
from stream.core.policy.contradictions import Contradiction, contradictions
from stream.insight.explain.agreement_text import (
    agreement_json,
    contradicted,
    contradiction_json,
    explained,
    notes,
)
from stream.ops.clock import now_s
from stream.ops.schema import checks
from stream.ops.schema.durations import spelled

app = group()
AtTime = Annotated[
    str | None,
    typer.Option("--at", metavar="TIME", help="As of this time: 2026-12-01T00:00:00Z, or 2h ago."),
]


@app.command()
def check(config: ConfigFiles = None, form: Output = Format.TABLE) -> None:
    """Check the agreement files, and find where they contradict each other.

    Where two files differ about a list in a country, now or later, the stricter one applies. Calls
    are still decided, but one file does not say what its author meant.

    Exit codes: 0 correct (there may be notes), 1 there is a contradiction, 2 a file cannot be used.

    Example: ringfence agreements check --config carrier.toml
    """
    settings = settings_of(config)
    folder = _folder(settings)
    folder.look()
    known, errors = folder.reading.agreements, folder.reading.errors
    found = [one for one in contradictions(known) if one.until_s > now_s()]
    noted = [*notes(settings, known, now_s())]
    wrong = [error for told in errors.values() for error in told]

    def draw() -> None:
        for error in wrong:
            say(f"error: {error}")
        for one in found:
            say(f"contradiction: {contradicted(one)}")
        for text in noted:
            say(f"note: {text}")
        say(f"{len(known.held)} agreements of {settings.agreements.dir}: {_sum(found, errors)}")

    told = {
        "agreements": [held.id for held in known.held],
        "errors": wrong,
        "contradictions": [contradiction_json(one) for one in found],
        "notes": noted,
    }
    render(form, told, draw)
    if errors:
        raise typer.Exit(USAGE)
    if found:
        raise typer.Exit(NOTHING_DONE)


def _sum(found: list[Contradiction], errors: Any) -> str:
    wrong = f"{len(errors)} files cannot be used, " if errors else ""
    return f"{wrong}{len(found) or 'no'} contradiction{'s' * (len(found) != 1)}"


@app.command("list")
def list_(config: ConfigFiles = None, at: AtTime = None, form: Output = Format.TABLE) -> None:
    """List the agreements: parties, lists, and status now or at --at.

    Example: ringfence agreements list --at 2027-01-01
    """
    settings, at_s = settings_of(config), _at(at)
    _folder(settings)
    known = agreements_of(settings)
    rows = [
        (
            held.id,
            held.state(at_s).replace("_", " "),
            (rfc3339(held.valid_until_s) or "-")[:10],
            " ".join(held.parties),
            " ".join(clause.list for clause in held.clauses) or "-",
            held.circle,
        )
        for held in known.held
    ]
    names = ("id", "state", "until", "parties", "lists", "circle")
    told = [agreement_json(held, at_s) for held in known.held]
    render(form, told, lambda: print_table(names, rows))


@app.command()
def show(
    name: Annotated[str, typer.Argument(metavar="ID", help="The name in `agreements list`.")],
    config: ConfigFiles = None,
    at: AtTime = None,
    form: Output = Format.TABLE,
) -> None:
    """Show one agreement: parties, contacts, terms of each list, dates, reports.

    Example: ringfence agreements show th-kh
    """
    settings, at_s = settings_of(config), _at(at)
    _folder(settings)
    known = {held.id: held for held in agreements_of(settings).held}
    if name not in known:
        fail(f"no agreement {name}; known: {', '.join(known) or 'there is none'}", NOTHING_DONE)
    told = agreement_json(known[name], at_s)
    render(form, told, lambda: _print(name, told), rows="lists")


def _print(name: str, told: dict[str, Any]) -> None:
    say(f"{name}: {told['title']}")
    until = told["valid_until"] or "further notice"
    say(f"  {told['kind']}, {_STATES[told['state']]}, from {told['valid_from']} until {until}")
    if told["kind"] == "pledge":
        confirmed = told["confirmed"]
        say(f"  confirmed: {confirmed or 'not yet: its lists are only observed'}")
    say(f"  circle {told['circle']}; answer within {_target(told['response_target_s'])}")
    for party, is_ in told["parties"].items():
        say(f"  {party}: {', '.join(is_['roles'])}; {is_['contact']}")
    for clause in told["lists"]:
        say(f"  {_clause(clause)}")
    report = told["report"]
    if report is not None:
        say(
            f"  a report each {report['every']}, {report['due_days']} days after its end, "
            f"to {', '.join(report['to'])}"
        )
    for text in told["texts"]:
        say(f"  text: {text}")


def _target(seconds: int | None) -> str:
    return spelled(seconds) if seconds else "no promised time"


def _clause(clause: dict[str, Any]) -> str:
    limits = [f"{_may(clause['action'])} in {', '.join(clause['to'])}"]
    if clause["simulate"]:
        limits.append("on trial")
    if clause["confidence_min"]:
        limits.append(f"confidence at least {clause['confidence_min']}")
    if clause["categories"] is not None:
        limits.append(", ".join(clause["categories"]))
    if clause["countries_min"] > 1:
        limits.append(f"where {clause['countries_min']} countries agree")
    if clause["may_list"] is not None:
        limits.append(f"numbers of {', '.join(clause['may_list'])} alone")
    limits.append(f"shared: {clause['shares']}")
    reference = f" ({clause['reference']})" if clause["reference"] else ""
    return f"{clause['list']}{reference}: {'; '.join(limits)}"


@app.command()
def explain(
    list_name: Annotated[str, typer.Argument(metavar="LIST", help="The list, e.g. KH/scam.")],
    config: ConfigFiles = None,
    country: Annotated[
        str | None, typer.Option("--country", help="The country. Default: [calls] home_country.")
    ] = None,
    at: AtTime = None,
    form: Output = Format.TABLE,
) -> None:
    """Explain what a list may do to a call in a country, by which term, and what changes soon.

    Soon means within a week. For another country only the agreements are known here, not its
    [policy].

    Example: ringfence agreements explain KH/scam --country TH --at 2026-12-31T12:00:00Z
    """
    settings = settings_of(config)
    where = country or settings.calls.home_country
    for wrong in (checks.list_name(list_name), checks.country(where)):
        if wrong is not None:
            fail(f"{list_name} in {where}: {wrong}", USAGE)
    told = explained(settings, agreements_of(settings), list_name, where, _at(at))
    render(form, told, lambda: _print_explained(list_name, where, told), rows="clauses")


def _print_explained(list_name: str, where: str, told: dict[str, Any]) -> None:
    say(f"{list_name} in {where} at {told['at']}: {_may(told['may'])}, rule {told['rule']}")
    if not told["policy_known"]:
        say(f"  at most: {where}'s own policy is not known here")
    for term, known in told["terms"].items():
        if known["value"] not in _NO_LIMIT:
            say(f"  {_TERMS[term]}: {_value(known['value'])}; so says {known['by']}")
    for clause in told["clauses"]:
        say(f"  {clause['agreement']}, {_clause(clause)}")
        until = clause["valid_until"] or "further notice"
        say(f"    {clause['title']}: {clause['kind']}, {_STATES[clause['state']]}")
        say(f"    from {clause['valid_from']} until {until}; ask {clause['contact']}")
    for clause in told["not_in_force"]:
        when = clause["valid_from"] if clause["state"] == "to_come" else clause["valid_until"]
        say(f"  {clause['agreement']}: {_STATES[clause['state']]} {when}")
    for change in told["changes"]:
        say(f"From {change['at']}: {_may(change['may'])}, rule {change['rule']}")
    if not told["changes"]:
        say("In a week from then it is the same.")


_NO_LIMIT = (None, False, 0, 1)
_TERMS = {
    "action": "confirmed entries",
    "unconfirmed": "hits that nothing confirms",
    "confidence_min": "confidence at least",
    "countries_min": "countries that must agree",
    "agree_min": "lists that must agree",
    "simulate": "on trial",
    "categories": "categories",
    "may_list": "numbers of",
}
_STATES = {
    "to_come": "begins",
    "ended": "ended",
    "in_force": "in force",
    "pledged": "in force, but not confirmed",
}


def _may(action: str) -> str:
    return "may only be observed" if action == "observe" else f"may {action}"


def _value(value: Any) -> str:
    if value is None:
        return "all"
    if isinstance(value, list):
        return ", ".join(value) or "none"
    return str(value).lower()


def _at(text: str | None) -> int:
    return now_s() if text is None else moment_in(text) // 1000


def _folder(settings: Settings) -> AgreementFolder:
    """Return the folder of agreements. Say so if none is named."""
    if not settings.agreements.dir:
        note(
            "there are no agreements: [agreements] dir names no folder; lists do what [policy] says"
        )
    return AgreementFolder(settings.agreements.folder())
