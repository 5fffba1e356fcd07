"""`ringfence appeals`: a block that is said to be wrong, from receipt to answer."""

import asyncio
import re
from typing import Annotated, Final

import typer
from rich.table import Column, Table
from rich.text import Text

from stream.appeals.actions import forward as forward_
from stream.appeals.actions import number_of, open_appeal, reasons_of
from stream.appeals.actions import receive as receive_
from stream.appeals.actions import redress as redress_
from stream.appeals.appeal_json import shown
from stream.appeals.appeal_store import OPEN_MAX, AppealStore
from stream.cli.appeals.appeals_text import (
    desk_of,
    fingerprint_of,
    json_of,
    print_appeal,
    whom_to_ask,
    with_book,
)
from stream.cli.common import AsJson, ConfigFiles, say_waiting, settings_of
from stream.cli.list_store import (
    NOTHING_DONE,
    USAGE,
    Actor,
    ExpiresIn,
    ReasonText,
    Region,
    by,
    expiry,
    fail,
    now_s,
    say,
    seconds_in,
)
from stream.cli.number_arguments import OR_STDIN, typed_or_piped
from stream.cli.output import out, print_json
from stream.cli.progress import progress
from stream.config.agreement_files import agreements_of
from stream.config.settings import Settings
from stream.core.model.agreement import is_country, owner_of
from stream.core.model.appeal import OPEN, Appeal, AppealState, NamedList, Received
from stream.core.model.decision import Decision
from stream.core.model.moments import rfc3339
from stream.core.numbers.number import Kind, masked, parse
from stream.insight.explain.list_answers import answer_for, lists_now
from stream.kafka.decision_history import find_decision
from stream.lists.store.list_store import ListStore
from stream.ops.clock import now_ms

app = typer.Typer(no_args_is_help=True)
_DECISION: Final = re.compile(r"(?=.*[A-Z])[0-9A-HJKMNP-TV-Z]{13}")
_COLOURS: Final = {
    AppealState.RECEIVED: "yellow",
    AppealState.PENDING_OWNER: "yellow",
    AppealState.REDRESSED: "green",
    AppealState.REJECTED: "",
}
_ACTS: Final = {"block", "flag"}

AppealId = Annotated[str, typer.Argument(metavar="ID", help="E.g. A-4F7K2M9QX1RZC.")]
Full = Annotated[bool, typer.Option("--full", help="Numbers in whole, not masked.")]


@app.command()
def new(
    what: Annotated[
        str,
        typer.Argument(
            metavar="NUMBER|DECISION",
            help="Who was blocked, or by what." + OR_STDIN,
            callback=typed_or_piped,
        ),
    ],
    reason: ReasonText = "",
    appellant: Annotated[str, typer.Option(help="How whoever appeals can be answered.")] = "",
    since: Annotated[str, typer.Option(help="How far back a decision is looked for.")] = "7d",
    anyway: Annotated[bool, typer.Option(help="Also if nothing blocks the number now.")] = False,
    region: Region = None,
    actor: Actor = None,
    config: ConfigFiles = None,
    as_json: AsJson = False,
) -> None:
    """Take an appeal in: by the number, or by the id of a decision (it stands in the SIP answer).

    Names the lists that block it, whom to ask there, and by when it is to be answered: within the
    shortest response target of the agreements on those lists, else [appeals] answer_hours. A number
    whose appeal is open already keeps that one. Exit codes: 0 taken, 1 nothing blocks it, or no
    such decision is kept.

    Example: ringfence appeals new +85523900123 --reason "a clinic, says its owner"
    """
    settings, who = settings_of(config), by(actor, reason)
    if _DECISION.fullmatch(what):
        decision = asyncio.run(_decision(settings, what, since))
        if decision is None:
            fail(f"no decision {what} of the last {since}: --since looks further", NOTHING_DONE)
        if decision.number is None:
            fail(f"{what} is about a call without a number: nothing can be lifted", NOTHING_DONE)
        number, decision_id = decision.number, what
        lists = [*reasons_of(decision)]
    else:
        read = parse(what, region or settings.calls.home_country)
        if read.kind is not Kind.E164:
            fail(f"{what!r} is neither a phone number nor a decision's id", USAGE)
        number, decision_id = read.text, ""
        lists = _blocking(settings, number, anyway)
    desk = desk_of(settings)

    async def work(register: ListStore, book: AppealStore) -> tuple[Appeal, bool]:
        return await open_appeal(
            register, book, desk, number, lists, who, decision_id or None, appellant
        )

    appeal, is_new = with_book(settings, work)
    if as_json:
        print_json({**json_of(settings, appeal, full=False), "new": is_new})
        return
    if not is_new:
        say("there is an open appeal on this number already:")
    print_appeal(settings, appeal, full=False)


@app.command()
def receive(
    partner: Annotated[str, typer.Argument(metavar="COUNTRY", help="Who asks, e.g. TH.")],
    their_id: Annotated[str, typer.Argument(metavar="THEIR-ID", help="Its appeal there.")],
    name: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="The list of ours.")],
    fingerprint: Annotated[str, typer.Argument(help="As the partner has it: 16 hex digits.")],
    reason: ReasonText = "",
    actor: Actor = None,
    config: ConfigFiles = None,
    as_json: AsJson = False,
) -> None:
    """Take in what a partner asks about a list of ours, by telephone or mail.

    What partners find by themselves comes with their enforcement documents, and needs no hand.

    Example: ringfence appeals receive TH A-4F7K2M9QX1RZC KH/scam 336e914774f97770
    """
    settings, who = settings_of(config), by(actor, reason)
    if not re.fullmatch(r"[0-9a-f]{16}", fingerprint.lower()):
        fail(f"{fingerprint!r} is no fingerprint: 16 hex digits", USAGE)
    if owner_of(name) != settings.calls.home_country:
        fail(f"{name} is no list of {settings.calls.home_country}: its owner answers", USAGE)
    said = Received(partner=partner, appeal_id=their_id, list=name, fingerprint=fingerprint.lower())
    desk = desk_of(settings)
    appeal, is_new = with_book(settings, lambda _, book: receive_(book, desk, said, who))
    if as_json:
        print_json({**json_of(settings, appeal, full=False), "new": is_new})
        return
    if not is_new:
        say("it is known already:")
    print_appeal(settings, appeal, full=False)


@app.command("ls")
def ls_(
    state: Annotated[AppealState | None, typer.Option(help="Only these; else open ones.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Answered ones too.")] = False,
    name: Annotated[str | None, typer.Option("--list", metavar="OWNER/NAME")] = None,
    overdue: Annotated[bool, typer.Option("--overdue", help="Beyond their deadline.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=OPEN_MAX)] = 100,
    full: Full = False,
    config: ConfigFiles = None,
    as_json: AsJson = False,
) -> None:
    """Show appeals that wait for an answer, the next deadline first; with --all also older ones.

    Example: ringfence appeals ls --overdue
    """
    settings, at_s = settings_of(config), now_s()
    states = [state] if state else [one for one in AppealState if everything or one in OPEN]

    async def work(_: ListStore, book: AppealStore) -> list[Appeal]:
        if name is not None:
            found = [*await book.about(name)]
        else:
            found = [one for kind in states for one in await book.in_state(kind)]
        return [
            one
            for one in found
            if one.state in states and (not overdue or (one.open and one.overdue(at_s)))
        ]

    found = with_book(settings, work)
    found.sort(
        key=lambda one: (not one.open, one.deadline_at_s if one.open else -one.received_at_s)
    )
    if as_json:
        print_json([json_of(settings, one, full=full) for one in found[:limit]])
        return
    names = ("appeal", "state", "number", "lists", "from", "answer by")
    columns = [
        Column(name, no_wrap=name in {"appeal", "number"}, overflow="fold") for name in names
    ]
    table = Table(*columns, box=None, header_style="bold")
    for one in found[:limit]:
        late = one.open and one.overdue(at_s)
        due = "-" if not one.open else rfc3339(one.deadline_at_s)
        table.add_row(
            one.id,
            Text(one.state.value, _COLOURS[one.state]),
            shown(one.number, full=full) or fingerprint_of(one),
            ", ".join(named.list for named in one.lists) or "(a rule)",
            one.partner or "here",
            Text(f"{due} (overdue)" if late else str(due), "bold red" if late else ""),
        )
    if found:
        out.print(table)
    else:
        say("no appeal waits" if not everything and state is None else "none")
    if len(found) > limit:
        say(f"and {len(found) - limit:,} more: --limit")


@app.command()
def show(
    appeal_id: AppealId, full: Full = False, config: ConfigFiles = None, as_json: AsJson = False
) -> None:
    """Show one appeal: the lists that named the number, whom to ask, what was done and by whom.

    The number of a partner's appeal is found by its fingerprint, if our list holds or covers it.

    Example: ringfence appeals show A-4F7K2M9QX1RZC
    """
    settings = settings_of(config)
    desk = desk_of(settings)

    async def work(register: ListStore, book: AppealStore) -> tuple[Appeal, str | None]:
        appeal = await book.get(appeal_id)
        return appeal, appeal.number or await number_of(register, desk, appeal)

    appeal, number = with_book(settings, work)
    if as_json:
        print_json(json_of(settings, appeal, full=full) | {"number": shown(number, full=full)})
    else:
        print_appeal(settings, appeal, full=full, number=number)


@app.command()
def forward(
    appeal_id: AppealId,
    reason: ReasonText = "",
    actor: Actor = None,
    config: ConfigFiles = None,
    as_json: AsJson = False,
) -> None:
    """Note that the list's owner was asked, and say whom and what to ask.

    The block stays; once the owner publishes the list without the number, the appeal is redressed
    by itself. You may redress it here before.

    Example: ringfence appeals forward A-4F7K2M9QX1RZC --reason "mailed to KH's desk"
    """
    settings, who = settings_of(config), by(actor, reason)
    desk = desk_of(settings)
    appeal = with_book(settings, lambda _, book: forward_(book, desk, appeal_id, who))
    if as_json:
        print_json(json_of(settings, appeal, full=False))
        return
    say(f"{appeal.id}: waits for its owner, until {rfc3339(appeal.deadline_at_s)}")
    contacts = whom_to_ask(settings, appeal)
    for named in appeal.lists:
        if owner_of(named.list) == settings.calls.home_country:
            continue
        whom = contacts.get(named.list, f"{owner_of(named.list)} (no contact is known)")
        say(f"  ask {whom}: {named.list}, fingerprint {named.fingerprint or 'unknown'}")
        if not is_country(owner_of(named.list)):
            continue
        say(
            f"  there: ringfence appeals receive {settings.calls.home_country} {appeal.id} "
            f"{named.list} {named.fingerprint}"
        )


@app.command()
def redress(
    appeal_id: AppealId,
    reason: ReasonText = "",
    expires_in: ExpiresIn = None,
    actor: Actor = None,
    config: ConfigFiles = None,
    as_json: AsJson = False,
) -> None:
    """Put the block right, now: the number is allowed in every worker within a second.

    It stays so whatever lists go on saying, until `ringfence allow remove` or --expires-in. Lists
    of ours lose the number, and publish that; a partner's list gets a false-positive sighting.

    Example: ringfence appeals redress A-4F7K2M9QX1RZC --reason "a clinic since 2024"
    """
    settings, who, until_s = settings_of(config), by(actor, reason), expiry(expires_in)
    desk = desk_of(settings)
    done = with_book(
        settings, lambda register, book: redress_(register, book, desk, appeal_id, who, until_s)
    )
    if as_json:
        told = json_of(settings, done.appeal, full=False)
        print_json(told | {"number": shown(done.number, full=False), "taken_off": done.taken_off})
        return
    until = f"until {rfc3339(until_s)}" if until_s else "until further notice"
    number = masked(done.number) if done.number else "the number"
    say(f"{done.appeal.id}: redressed: {number} is not blocked any more, {until}")
    for name in done.taken_off:
        say(f"  taken off {name}: what is published next lifts it at every partner")
    for owner in filter(is_country, done.appeal.owners(desk.home)):
        say(f"  {owner} is told by the next enforcement document")


@app.command()
def reject(
    appeal_id: AppealId,
    reason: ReasonText = "",
    actor: Actor = None,
    config: ConfigFiles = None,
    as_json: AsJson = False,
) -> None:
    """Answer that the block is right, and why (--reason): it stays.

    Example: ringfence appeals reject A-4F7K2M9QX1RZC --reason "it called 300 people last night"
    """
    settings, who = settings_of(config), by(actor, reason)
    appeal = with_book(settings, lambda _, book: book.step(appeal_id, AppealState.REJECTED, who))
    if as_json:
        print_json(json_of(settings, appeal, full=False))
    else:
        say(f"{appeal.id}: rejected; the block stays")


async def _decision(settings: Settings, decision_id: str, since: str) -> Decision | None:
    at_ms = now_ms()
    with progress() as stage:
        return await find_decision(
            settings.kafka_client(),
            settings.calls.decisions_topic,
            decision_id,
            at_ms - seconds_in(since) * 1000,
            at_ms + 60_000,
            say_waiting,
            lambda done, whole: stage("decisions", done, whole),
        )


def _blocking(settings: Settings, number: str, anyway: bool) -> list[NamedList]:
    """The lists that hold a number, by what a worker here would load; ends if nothing blocks it."""
    blocklists, _ = asyncio.run(lists_now(settings))
    agreements = agreements_of(settings)
    answer = answer_for(settings, agreements, blocklists, number, None, None, now_ms())
    call = answer["call"]
    if not anyway and not _ACTS & {call["verdict"], call["would"]}:
        text = f"a call from {masked(number)} gets: {call['verdict']}, rule {call['rule']}"
        fail(f"{text}; nothing to put right (--anyway takes the appeal)", NOTHING_DONE)
    return [
        NamedList(
            list=held["list"],
            fingerprint="",
            agreement=held["agreement"],
            category=held["category"],
            confirmed=held["state"] == "listed",
            prefix=held["prefix"],
        )
        for held in answer["lists"]
        if held["state"] in {"listed", "unconfirmed"}
    ]
