"""`ringfence appeals`: blocks that are said to be wrong, from receipt to answer."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final

import typer
from rich.text import Text

from stream.appeals.actions import AppealContext, number_of, open_appeal, reasons_of
from stream.appeals.actions import forward as forward_
from stream.appeals.actions import receive as receive_
from stream.appeals.actions import redress as redress_
from stream.appeals.appeal_json import appeal_json, shown
from stream.appeals.appeal_store import OPEN_MAX, AppealStore
from stream.cli.common import expiry, say_waiting, seconds_in, settings_of
from stream.cli.lazy_group import group
from stream.cli.options import (
    OR_STDIN,
    Actor,
    ConfigFiles,
    ExpiresIn,
    Full,
    Output,
    Reason,
    Region,
    typed_or_piped,
)
from stream.cli.output import NOTHING_DONE, USAGE, Format, fail, print_table, render, say
from stream.cli.progress_bars import progress
from stream.cli.store_access import T, by, with_list_store
from stream.config.agreement_files import agreements_of
from stream.config.settings import Settings
from stream.core.model.agreement import is_country, owner_of
from stream.core.model.appeal import OPEN, Appeal, AppealState, NamedList, Received
from stream.core.model.decision import Decision
from stream.core.model.moments import rfc3339
from stream.core.numbers.number import Kind, masked, parse
from stream.engine.live_lists import lists_now
from stream.insight.explain.agreement_text import named as clause_of
from stream.insight.explain.explain import contacts_of
from stream.insight.explain.list_answers import answer_for
from stream.kafka.decision_history import find_decision
from stream.lists.store.list_store import ListStore
from stream.ops.clock import now_ms, now_s

app = group()
_DECISION: Final = re.compile(r"(?=.*[A-Z])[0-9A-HJKMNP-TV-Z]{13}")
_COLOURS: Final = {
    AppealState.RECEIVED: "yellow",
    AppealState.PENDING_OWNER: "yellow",
    AppealState.REDRESSED: "green",
    AppealState.REJECTED: "",
}
_ACTS: Final = {"block", "flag"}

AppealId = Annotated[str, typer.Argument(metavar="ID", help="The appeal's id.")]


@app.command()
def create(
    what: Annotated[
        str,
        typer.Argument(
            metavar="NUMBER|DECISION",
            help="The blocked number, or a decision's id." + OR_STDIN,
            callback=typed_or_piped,
        ),
    ],
    reason: Reason = "",
    appellant: Annotated[str, typer.Option(help="Who gets the answer.")] = "",
    since: Annotated[str, typer.Option(help="How far back to search.")] = "7d",
    anyway: Annotated[bool, typer.Option(help="Also if nothing blocks the number.")] = False,
    region: Region = None,
    actor: Actor = None,
    config: ConfigFiles = None,
    form: Output = Format.TABLE,
) -> None:
    """Open an appeal, by the number or by the id of a decision (the SIP answer shows the id).

    It names the lists that block the number, their contacts, and the deadline. That is the shortest
    response target of the agreements on these lists, or [appeals] answer_hours. If the number has
    an open appeal, it returns that one. Exit codes: 0 opened, 1 nothing blocks the number, or the
    decision is not stored.

    Example: ringfence appeals create +85523900123 --reason "a clinic, says its owner"
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
    context = appeal_context(settings)

    async def work(store: ListStore, appeals: AppealStore) -> tuple[Appeal, bool]:
        return await open_appeal(
            store, appeals, context, number, lists, who, decision_id or None, appellant
        )

    _show_taken(
        settings, *with_appeals(settings, work), "there is an open appeal on this number", form
    )


@app.command()
def receive(
    partner: Annotated[str, typer.Argument(metavar="COUNTRY", help="The partner, e.g. TH.")],
    their_id: Annotated[str, typer.Argument(metavar="THEIR-ID", help="The partner's id.")],
    name: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="Our list.")],
    fingerprint: Annotated[str, typer.Argument(help="The fingerprint: 16 hex digits.")],
    reason: Reason = "",
    actor: Actor = None,
    config: ConfigFiles = None,
    form: Output = Format.TABLE,
) -> None:
    """Record an appeal that a partner made about a list of ours, by telephone or mail.

    Appeals in partners' enforcement documents are recorded automatically.

    Example: ringfence appeals receive TH A-4F7K2M9QX1RZC KH/scam 336e914774f97770
    """
    settings, who = settings_of(config), by(actor, reason)
    if not re.fullmatch(r"[0-9a-f]{16}", fingerprint.lower()):
        fail(f"{fingerprint!r} is no fingerprint: 16 hex digits", USAGE)
    if owner_of(name) != settings.calls.home_country:
        fail(f"{name} is no list of {settings.calls.home_country}: its owner answers", USAGE)
    said = Received(partner=partner, appeal_id=their_id, list=name, fingerprint=fingerprint.lower())
    context = appeal_context(settings)
    taken = with_appeals(settings, lambda _, appeals: receive_(appeals, context, said, who))
    _show_taken(settings, *taken, "it is known", form)


def _show_taken(settings: Settings, appeal: Appeal, is_new: bool, known: str, form: Format) -> None:
    """Show an appeal that was taken in, or that is known already."""

    def draw() -> None:
        if not is_new:
            say(f"{known} already:")
        print_appeal(settings, appeal, full=False)

    render(form, {**json_of(settings, appeal, full=False), "new": is_new}, draw)


@app.command("list")
def list_(
    state: Annotated[
        AppealState | None, typer.Option(help="Only this status. Default: open.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Include answered appeals.")] = False,
    name: Annotated[str | None, typer.Option("--list", metavar="OWNER/NAME")] = None,
    overdue: Annotated[bool, typer.Option("--overdue", help="Past their deadline.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=OPEN_MAX)] = 100,
    full: Full = False,
    config: ConfigFiles = None,
    form: Output = Format.TABLE,
) -> None:
    """List appeals that wait for an answer, the next deadline first. With --all, list older ones
    too.

    Example: ringfence appeals list --overdue
    """
    settings, at_s = settings_of(config), now_s()
    states = [state] if state else [one for one in AppealState if everything or one in OPEN]

    async def work(_: ListStore, appeals: AppealStore) -> list[Appeal]:
        if name is not None:
            found = [*await appeals.about(name)]
        else:
            found = [one for kind in states for one in await appeals.in_state(kind)]
        return [
            one
            for one in found
            if one.state in states and (not overdue or (one.open and one.overdue(at_s)))
        ]

    found = with_appeals(settings, work)
    found.sort(
        key=lambda one: (not one.open, one.deadline_at_s if one.open else -one.received_at_s)
    )
    told = [json_of(settings, one, full=full) for one in found[:limit]]

    def draw() -> None:
        if not found:
            say("no appeal waits" if not everything and state is None else "none")
            return
        names = ("appeal", "state", "number", "lists", "from", "answer by")
        print_table(names, [_cells(one, at_s, full=full) for one in found[:limit]])
        if len(found) > limit:
            say(f"and {len(found) - limit:,} more: --limit")

    render(form, told, draw)


def _cells(appeal: Appeal, at_s: int, *, full: bool) -> tuple[str | Text, ...]:
    late = appeal.open and appeal.overdue(at_s)
    due = "-" if not appeal.open else rfc3339(appeal.deadline_at_s)
    return (
        appeal.id,
        Text(appeal.state.value, _COLOURS[appeal.state]),
        shown(appeal.number, full=full) or fingerprint_of(appeal),
        ", ".join(named.list for named in appeal.lists) or "(a rule)",
        appeal.partner or "here",
        Text(f"{due} (overdue)" if late else str(due), "bold red" if late else ""),
    )


@app.command()
def show(
    appeal_id: AppealId, full: Full = False, config: ConfigFiles = None, form: Output = Format.TABLE
) -> None:
    """Show one appeal: the lists that hold the number, contacts, and what was done by whom.

    For a partner's appeal, the number is found by its fingerprint if our list holds or covers it.

    Example: ringfence appeals show A-4F7K2M9QX1RZC
    """
    settings = settings_of(config)
    context = appeal_context(settings)

    async def work(store: ListStore, appeals: AppealStore) -> tuple[Appeal, str | None]:
        appeal = await appeals.get(appeal_id)
        return appeal, appeal.number or await number_of(store, context, appeal)

    appeal, number = with_appeals(settings, work)
    told = json_of(settings, appeal, full=full) | {"number": shown(number, full=full)}
    render(form, told, lambda: print_appeal(settings, appeal, full=full, number=number))


@app.command()
def forward(
    appeal_id: AppealId,
    reason: Reason = "",
    actor: Actor = None,
    config: ConfigFiles = None,
    form: Output = Format.TABLE,
) -> None:
    """Record that the list's owner was asked. Print the contact and what to ask.

    The block stays. When the owner publishes the list without the number, the appeal counts as
    redressed. You may redress it here before that.

    Example: ringfence appeals forward A-4F7K2M9QX1RZC --reason "mailed to KH's desk"
    """
    settings, who = settings_of(config), by(actor, reason)
    context = appeal_context(settings)
    appeal = with_appeals(settings, lambda _, appeals: forward_(appeals, context, appeal_id, who))
    told = json_of(settings, appeal, full=False)
    render(form, told, lambda: _print_forwarded(settings, appeal))


def _print_forwarded(settings: Settings, appeal: Appeal) -> None:
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
    reason: Reason = "",
    expires_in: ExpiresIn = None,
    actor: Actor = None,
    config: ConfigFiles = None,
    form: Output = Format.TABLE,
) -> None:
    """Put the block right now: every worker allows the number within a second.

    It stays allowed, whatever the lists say, until `ringfence allow remove` or --expires-in. Lists
    of ours lose the number and publish that. The owner of a partner's list gets a false-positive
    report.

    Example: ringfence appeals redress A-4F7K2M9QX1RZC --reason "a clinic since 2024"
    """
    settings, who, until_s = settings_of(config), by(actor, reason), expiry(expires_in)
    context = appeal_context(settings)
    done = with_appeals(
        settings, lambda store, appeals: redress_(store, appeals, context, appeal_id, who, until_s)
    )

    def draw() -> None:
        end = rfc3339(done.until_s)
        until = f"until {end}" if end else "until further notice"
        number = masked(done.number) if done.number else "the number"
        say(f"{done.appeal.id}: redressed: {number} is not blocked any more, {until}")
        for name in done.taken_off:
            say(f"  taken off {name}: what is published next lifts it at every partner")
        for owner in filter(is_country, done.appeal.owners(context.home)):
            say(f"  the next enforcement document reports it to {owner}")

    told = json_of(settings, done.appeal, full=False)
    found = {"number": shown(done.number, full=False), "taken_off": done.taken_off}
    render(form, told | found, draw)


@app.command()
def reject(
    appeal_id: AppealId,
    reason: Reason = "",
    actor: Actor = None,
    config: ConfigFiles = None,
    form: Output = Format.TABLE,
) -> None:
    """Answer that the block is right, and why (--reason). The block stays.

    Example: ringfence appeals reject A-4F7K2M9QX1RZC --reason "it called 300 people last night"
    """
    settings, who = settings_of(config), by(actor, reason)
    rejected = AppealState.REJECTED
    appeal = with_appeals(settings, lambda _, appeals: appeals.step(appeal_id, rejected, who))
    text = f"{appeal.id}: rejected; the block stays"
    render(form, json_of(settings, appeal, full=False), lambda: say(text))


async def _decision(settings: Settings, decision_id: str, since: str) -> Decision | None:
    at_ms = now_ms()
    with progress() as stage:
        return await find_decision(
            settings.kafka_client(),
            settings.calls.decisions_topic,
            decision_id,
            max(at_ms - seconds_in(since) * 1000, 0),
            at_ms + 60_000,
            say_waiting,
            lambda done, whole: stage("decisions", done, whole),
        )


def _blocking(settings: Settings, number: str, anyway: bool) -> list[NamedList]:
    """Return the lists that hold a number, as a worker here would load them.

    Ends with 1 if nothing blocks it.
    """
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


def appeal_context(settings: Settings) -> AppealContext:
    """Return keys, agreements and terms for answering appeals. Raises ConfigInvalid."""
    return AppealContext(
        settings.calls.home_country,
        settings.circle_keys(),
        agreements_of(settings),
        settings.appeals.answer_s,
    )


def with_appeals(settings: Settings, work: Callable[[ListStore, AppealStore], Awaitable[T]]) -> T:
    """Return the result of `work` on list store and appeals. A fault ends the command."""

    async def whole(store: ListStore) -> T:
        async with AppealStore.open(settings.list_store(), settings.appeals.kept_days) as appeals:
            return await work(store, appeals)

    return with_list_store(settings, whole)


def whom_to_ask(settings: Settings, appeal: Appeal) -> dict[str, str]:
    """Return the contact of each list: by its agreement, else by the settings and feed files."""
    agreements, home = agreements_of(settings), settings.calls.home_country
    known = contacts_of(settings)
    found = {}
    for one in appeal.lists:
        clause = one.agreement and clause_of(agreements, one.agreement, one.list, home)
        contact = clause["contact"] if clause else known.get(owner_of(one.list))
        if contact:
            found[one.list] = contact
    return found


def json_of(settings: Settings, appeal: Appeal, *, full: bool) -> dict[str, Any]:
    """Return an appeal as plain values, with the contact of each list."""
    return appeal_json(appeal, now_s(), full=full, contacts=whom_to_ask(settings, appeal))


def fingerprint_of(appeal: Appeal) -> str:
    """Return the fingerprint, for an appeal whose number is not known."""
    return appeal.lists[0].fingerprint if appeal.lists else "-"


def print_appeal(
    settings: Settings, appeal: Appeal, *, full: bool, number: str | None = None
) -> None:
    """Print an appeal."""
    told = json_of(settings, appeal, full=full)
    about = shown(number or appeal.number, full=full) or f"fingerprint {fingerprint_of(appeal)}"
    of = f", {appeal.partner}'s {appeal.partner_appeal}" if appeal.partner else ""
    say(f"{appeal.id}{of}: on {about}: {appeal.state.value}")
    if appeal.open:
        late = ": overdue" if told["overdue"] else ""
        say(f"  to be answered by {told['deadline_at']}{late}")
    if appeal.decision_id:
        say(f"  against decision {appeal.decision_id}")
    if appeal.appellant:
        say(f"  answer to: {appeal.appellant if full else '(--full shows it)'}")
    for one in told["lists"]:
        words = [one["category"], f"by its entry {one['prefix']}" if one["prefix"] else None]
        words += [f"agreement {one['agreement']}" if one["agreement"] else None]
        words += ["unconfirmed" if not one["confirmed"] else None]
        words += [f"ask {one['contact']}" if one["contact"] else None]
        say(f"  {one['list']}: {', '.join(filter(None, words)) or 'ours'}")
    for step in told["history"]:
        comment = f": {step['comment']}" if step["comment"] else ""
        say(f"  {step['at']}  {step['state']} by {step['by']}{comment}")
