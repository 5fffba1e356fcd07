"""`ringfence why NUMBER`: the reasons of a block, from the entry to the sinks."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import typer
from rich.text import Text

from stream.cli.common import moment_in, quiet_clients, settings_of
from stream.cli.options import OR_STDIN, ConfigFiles, Output, typed_or_piped
from stream.cli.output import Format, render, say, waiting
from stream.cli.store_access import with_list_store
from stream.config.agreement_files import agreements_of
from stream.config.settings import Settings
from stream.core.model.agreement import Agreements
from stream.core.model.moments import rfc3339
from stream.core.numbers.number import Kind, parse
from stream.core.numbers.operator_prefixes import hides_mark, mark_of
from stream.engine.live_lists import lists_now
from stream.lists.store.list_store import ListStore

LISTED, NOT_LISTED = 0, 1
DECISIONS = 5
"""The number of last decisions shown by default."""
HOLD = ("listed", "unconfirmed")
"""The states of a list that holds the number, or may."""


def why(
    number: Annotated[
        str,
        typer.Argument(
            help="The number as a switch writes it: +66812345678, 0812345678." + OR_STDIN,
            callback=typed_or_piped,
        ),
    ],
    config: ConfigFiles = None,
    trunk: Annotated[str | None, typer.Option(help="The trunk on which the call arrives.")] = None,
    callee: Annotated[str | None, typer.Option(help="The called number.")] = None,
    at: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="As of this time: 2026-11-25T14:00:00Z, or 2h ago."),
    ] = None,
    history: Annotated[
        bool,
        typer.Option("--history", help="Show when lists gained and lost it. With --at always."),
    ] = False,
    decisions: Annotated[
        int, typer.Option(min=0, max=1000, help="Show its last decisions. 0: do not ask Kafka.")
    ] = DECISIONS,
    form: Output = Format.TABLE,
) -> None:
    """Explain why NUMBER is blocked or not: entries, lists, agreements, decisions, sinks.

    Shows what a call from it would get, and which lists hold it, since when and by whose report.
    Names the term of the agreement that decides. Then it shows the recent decisions and their
    effect: the key for SIP proxies, and the deliveries to webhooks.

    The number is shown whole: you asked for it. With --at it uses the lists as far as they are
    stored, and the agreements of that time. It also uses the decisions up to then, and today's
    [policy]. Exit codes: 0 a list holds it, 1 no list holds it, 2 it is not a phone number.

    Example: ringfence why 0812345678 --trunk intl-1
    """
    quiet_clients()
    settings = settings_of(config)
    agreements = agreements_of(settings)
    trunks = settings.trunks_by_name()
    country = trunks.country(trunk)
    read = parse(number, country, trunks.prefix(trunk))
    hides = read.kind is Kind.E164 and hides_mark(number, read.text, country)
    marked = mark_of(number, country) if hides or read.kind is Kind.INVALID else None
    if marked is not None:
        mark, behind = marked
        raise typer.BadParameter(f"{number!r} has a mark ({mark}): ask for {behind}, behind it")
    if read.kind is not Kind.E164:
        raise typer.BadParameter(f"{number!r} is no phone number in {country}")
    at_ms = None if at is None else moment_in(at)
    question = (read.text, trunk, callee, at_ms, decisions)
    with waiting("asking"):
        answer = _answer(settings, agreements, question, history=history)
    render(form, answer, lambda: _print(answer), rows="lists")
    raise typer.Exit(LISTED if any(e["state"] in HOLD for e in answer["lists"]) else NOT_LISTED)


_Question = tuple[str, str | None, str | None, int | None, int]


def _answer(
    settings: Settings, agreements: Agreements, question: _Question, *, history: bool
) -> dict[str, Any]:
    """Return the answer; `question` are the fields of a `WhyQuestion`."""

    # What decides and explains takes 0.2 s of CPU to load. It is loaded once the list store has
    # answered: a store that is away is reported without it.
    async def then(store: ListStore) -> dict[str, Any]:
        from stream.insight.explain.explain import WhyQuestion, explain_at, with_history

        answer = await explain_at(settings, agreements, store, WhyQuestion(*question))
        return await with_history(settings, store, answer)

    async def now() -> dict[str, Any]:
        blocklists, store_state = await lists_now(settings)
        from stream.insight.explain.explain import WhyQuestion, explain_now

        asked = WhyQuestion(*question)
        return await explain_now(settings, agreements, blocklists, store_state, asked)

    async def past(store: ListStore) -> dict[str, Any]:
        from stream.insight.explain.explain import with_history

        return await with_history(settings, store, answer)

    *_, at_ms, _decisions = question
    if at_ms is not None:
        return with_list_store(settings, then)
    answer = asyncio.run(now())
    return with_list_store(settings, past) if history else answer


_TOLD = {
    "removed": "it was on it, and was taken off",
    "unconfirmed": "its filter may hold it, and no entry can confirm that",
    "expired": "what was reported of it has expired",
    "legitimate": "who reports it says that it is no scammer's",
}


def _until(held: Mapping[str, Any]) -> str:
    return f"until {held['expires_at'] or 'it is taken off'}"


def _turned(one: Mapping[str, Any]) -> str:
    """Return a promotion or demotion in a line."""
    stands = "in force" if one["standing"] == "force" else "on trial"
    return f"{one['what']} is {stands} since {one['at']}: {one['reason']} ({one['actor']})"


def _print(answer: dict[str, Any]) -> None:
    call = answer["call"]
    would = f" (simulated: would {call['would']})" if call["would"] else ""
    verdict = f"{call['verdict']}{would}"
    trunk = f" on trunk {call['trunk']}" if call["trunk"] else ""
    when = f" at {answer['at']}" if "at" in answer else ""
    head = Text(f"A call from {answer['number']}{trunk}{when}: ")
    say(head.append(verdict, "bold").append(f", rule {call['rule']}"))
    for one in call["turned"]:
        say(_turned(one))
    if call["rules_not_told"]:
        rules = ", ".join(call["rules_not_told"])
        say(f"A number alone does not show all: {rules} may say more")
    allow = answer["allow"]
    if allow is not None:
        until = allow["expires_at"] or "further notice"
        of = f", appeal {allow['appeal']}" if allow["appeal"] else ""
        say(f"Allowed by {allow['entry']} until {until}: {allow['reason']} ({allow['actor']}{of})")
    for held in answer["lists"]:
        known = _TOLD.get(held["state"]) or (
            f"{held['category']}, confidence now {held['confidence']}, {_until(held)}"
        )
        where = f"{held['list']} (of {held['owner']}, generation {held['generation']})"
        where += f", by its entry {held['prefix']}" if held["prefix"] else ""
        say(f"{where}: {held['state']}; {known}")
        for rule in held["asked_by"]:
            say(f"  only the rule {rule} asks it: as a list it blocks nobody")
        agreed = held["agreement"]
        if agreed is not None:
            clause = f", {agreed['reference']}" if agreed["reference"] else ""
            may = "only be observed" if held["may"] == "observe" else held["may"]
            say(f"  it may {may} by agreement {agreed['id']}{clause}: {agreed['title']}")
            if agreed["conditions"]:
                say(f"  where its conditions hold: {'; '.join(agreed['conditions'])}")
        elif held["needs_agreement"]:
            say("  no agreement on it is in force: it is only observed")
        if held["decides"] is not None:
            say(f"  what decides: {_term(held['decides'])}")
        for one in held["turned"]:
            say(f"  {_turned(one)}")
        for report in held["reports"]:
            until = _until(report) if report["live"] else f"expired {report['expires_at']}"
            say(
                f"  {report['source']}: {report['category']}, confidence {report['confidence']}, "
                f"now {report['confidence_now']}, reported {report['reported_at']}, {until}"
            )
        if held["state"] in HOLD:
            ask = " or ".join(held["ask"]) or (
                f"{held['owner']} (no contact is set: [owners.{held['owner']}] contact)"
            )
            say(f"  to have it taken off, ask {ask}")
    if not answer["lists"]:
        say("No list holds it.")
    for name, why_not in answer.get("not_known", {}).items():
        say(f"{name} is not known of then: {why_not}")
    for name in answer["not_asked"]:
        say(f"{name} could not be asked: it has no data here")
    if answer.get("history"):
        say("History:")
        _print_turns(answer["history"], answer["number"])
    _print_decided(answer)
    say(f"List store: {answer['register']}")


def _term(term: Mapping[str, Any]) -> str:
    """Return the deciding term in a line."""
    has = f"; the number has {term['has']}" if term["has"] else ""
    then = "" if term["holds"] else ", so the list does not act"
    return f"{term['term']}: {term['wants']} ({term['by']}){has}{then}"


def _print_decided(answer: Mapping[str, Any]) -> None:
    """Print the recent decisions, and what the sinks did with them."""
    decided = answer.get("decided")
    if decided is None:
        return
    found = decided["decisions"]
    if decided["why"]:
        say(f"Decisions: {decided['why']}")
    elif not found:
        far = "" if decided["whole"] else f" among the last {decided['looked_back']:,} records"
        say(f"No decision about it is kept{far}.")
    else:
        say(f"Its last {len(found)} decisions:" if len(found) > 1 else "Its last decision:")
    for one in found:
        would = f" (would {one['would']})" if one.get("simulated") else ""
        lists = " ".join(
            f"{reason.get('list')}@{reason.get('generation')}"
            for reason in one.get("reasons") or ()
        )
        sinks = ", ".join(f"{name} {did}" for name, did in one["sinks"].items())
        say(
            f"  {one.get('decided_at')}  {one.get('verdict')}{would}, rule {one.get('rule')}"
            f"  {lists}  {one.get('decision_id')} ({one['record']})"
            f"{'; sinks: ' + sinks if sinks else ''}"
        )
    _print_key(answer["sinks"]["key"])
    if answer["sinks"]["why"]:
        say(answer["sinks"]["why"])


def _print_key(key: Mapping[str, Any]) -> None:
    """Print the key in the SIP proxies' Redis."""
    held = key["held"]
    if held is None:
        say(f"SIP proxies have no key of it{': ' + key['why'] if key['why'] else ''}")
        return
    until = rfc3339(int(held["expires_at"])) if held.get("expires_at", "").isdigit() else "?"
    say(
        f"SIP proxies have bl:{held['entry']}: {held.get('action')}, {held.get('reason')} by "
        f"{held.get('list')}, until {until} (decision {held.get('decision_id') or 'none yet'})"
    )


def _print_turns(history: Iterable[Mapping[str, Any]], e164: str) -> None:
    """Print a number's history."""
    for turn in history:
        entry = f" {turn['entry']}" if turn["entry"] not in {e164, ""} else ""
        who = f" by {turn['actor']}" if turn["actor"] else ""
        why = f": {turn['reason']}" if turn["reason"] else ""
        sources = ", ".join(
            f"{report['category']} {report['confidence']} from {report['source']}"
            for report in turn["reports"]
        )
        how = "in generations that are not kept" if turn["how"] == "unknown" else turn["how"]
        after = f"; then {sources}" if sources else ""
        say(
            f"  {turn['at']}  {turn['list']}, generation {turn['generation']}:{entry} "
            f"{turn['what']} ({how}){who}{why}{after}"
        )
