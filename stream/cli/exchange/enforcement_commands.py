"""`ringfence enforcement`: effects of partners' lists here and of ours there, told both ways."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Final, TypeVar

import msgspec
import typer
from prometheus_client import CollectorRegistry

from stream.cli.common import key_of, own, settings_of
from stream.cli.exchange.exchange_commands import ring_of, validity_of
from stream.cli.lazy_group import group
from stream.cli.options import (
    OR_STDIN,
    Actor,
    ConfigFiles,
    ListName,
    Output,
    Reason,
    typed_or_piped,
)
from stream.cli.output import NOTHING_DONE, USAGE, Format, fail, note, print_table, render, say
from stream.cli.store_access import by, with_list_store
from stream.config.settings import Settings
from stream.core.filters.digests import fingerprints_of
from stream.core.model.delays import Delays
from stream.core.model.enforcement_document import DOCUMENT_BYTES_MAX, Enforcement, Sighting, read
from stream.core.model.errors import DocumentUnreadable, Fault
from stream.core.numbers.number import Kind, parse
from stream.enforcement.import_documents import Imported
from stream.enforcement.rounds import EnforcementPlan, Enforcing
from stream.lists.store.enforcement_store import EnforcementStore
from stream.lists.store.list_store import ListStore
from stream.lists.store.store_codec import hex_of
from stream.ops.clock import now_s
from stream.ops.metrics.exchange_catalogue import EnforcementMetrics
from stream.services import enforcement

app = group()
T = TypeVar("T")
_SHA256: Final = re.compile(r"[0-9a-f]{64}\.")
_FINGERPRINT: Final = re.compile(r"[0-9a-f]{16}\Z")


def _plan(settings: Settings) -> EnforcementPlan:
    return enforcement.plan_of(settings, ring_of(settings, None), validity_of(settings))


def _once(plan: EnforcementPlan, work: Callable[[Enforcing], Awaitable[T]]) -> T:
    """Return what `work` gives. Raises Faults."""

    async def whole() -> T:
        async with Enforcing(plan, EnforcementMetrics(CollectorRegistry())) as made:
            return await work(made)

    return asyncio.run(whole())


@app.command()
def run(config: ConfigFiles = None) -> None:
    """Count decisions, publish the counts, read partners' documents. Runs until SIGTERM or Ctrl-C.

    Needs the role `TH/enforcement` in our repository (`ringfence exchange add-list TH/enforcement`)
    and partners in [enforcement.partners]. Without them it does only what it can. Exit codes as for
    `run`.

    Example: ringfence enforcement run --config carrier.toml
    """
    settings = settings_of(config)
    raise typer.Exit(enforcement.run(settings, _plan(settings)))


@app.command()
def publish(
    count: Annotated[
        bool, typer.Option("--count/--no-count", help="Count the waiting decisions first.")
    ] = True,
    config: ConfigFiles = None,
    form: Output = Format.TABLE,
) -> None:
    """Publish once, signed, what partners' lists did here, for their owners.

    Exit code 1: it cannot be published; it says why.

    Example: ringfence enforcement publish
    """
    settings = settings_of(config)
    own(settings.exchange.dir, settings.exchange.keys_dir, settings.exchange.state_dir)
    plan = _plan(settings)

    async def work(made: Enforcing) -> int:
        if count:
            await made.count()
        return await made.publish()

    published = _once(plan, work)
    text = f"published {published:,} documents" if published else "nothing is new"
    render(form, {"published": published}, lambda: say(text))


@app.command("import")
def import_(
    countries: Annotated[
        list[str] | None, typer.Argument(metavar="[COUNTRY...]", help="A partner. Default: all.")
    ] = None,
    config: ConfigFiles = None,
    form: Output = Format.TABLE,
) -> None:
    """Read once what partners did with our lists. Lower the confidence of numbers they found
    innocent.

    Exit code 1: a partner cannot be read, or a document was refused; it says why.

    Example: ringfence enforcement import TH
    """
    settings = settings_of(config)
    own(settings.exchange.state_dir)
    plan = _plan(settings)
    known = {partner.country: partner for partner in plan.partners}
    for country in countries or ():
        if country not in known:
            fail(f"{country} is no partner: [enforcement.partners.{country}] names one", USAGE)
    wanted = countries or list(known)
    if not wanted:
        fail("there is no partner: [enforcement.partners.TH] names one", USAGE)

    async def work(made: Enforcing) -> dict[str, Imported | Fault]:
        found: dict[str, Imported | Fault] = {}
        for country in wanted:
            try:
                found[country] = await made.read(known[country])
            except Fault as fault:
                found[country] = fault
        return found

    found = _once(plan, work)

    def draw() -> None:
        for country, one in found.items():
            _tell_imported(country, one)

    render(form, {country: _imported_json(one) for country, one in found.items()}, draw)
    if any(isinstance(one, Fault) or one.refused for one in found.values()):
        raise typer.Exit(NOTHING_DONE)


def _imported_json(one: Imported | Fault) -> dict[str, object]:
    if isinstance(one, Fault):
        return {"fault": str(one)}
    return {
        "taken": len(one.documents),
        "refused": one.refused,
        "sightings": one.sightings,
        "unlisted": one.unlisted,
    }


def _tell_imported(country: str, one: Imported | Fault) -> None:
    if isinstance(one, Fault):
        note(f"{country}: {type(one).__name__}: {one}")
        return
    for why in one.refused.values():
        note(f"{country}: refused: {why}")
    text = f"{country}: {len(one.documents):,} new documents"
    if one.sightings:
        text += f"; {one.sightings:,} of our numbers are no scammers' there: we doubt them now"
    if one.unlisted:
        text += f"; {one.unlisted:,} that we do not list (any more)"
    say(text)


@app.command()
def sight(
    name: ListName,
    number: Annotated[
        str,
        typer.Argument(
            help="The number, or its fingerprint: 16 hex digits." + OR_STDIN,
            callback=typed_or_piped,
        ),
    ],
    reason: Reason,
    actor: Actor = None,
    config: ConfigFiles = None,
) -> None:
    """Report with the next document that a number on a partner's list is innocent.

    `ringfence appeals` does this automatically. Only the number's fingerprint leaves this country.

    Example: ringfence enforcement sight KH/scam +85531234567 --reason "a hospital's switchboard"
    """
    settings = settings_of(config)

    async def work(store: ListStore) -> str:
        circle = (await store.state(name)).head.circle
        if _FINGERPRINT.match(number.lower()):
            found = number.lower()
        else:
            read_number = parse(number, None)
            if read_number.kind is not Kind.E164:
                fail(f"{number!r} is no number in E.164 (+...) and no fingerprint", USAGE)
            found = hex_of(fingerprints_of(read_number.text, key_of(settings, circle))[0])
        seen_at = datetime.fromtimestamp(now_s(), UTC)
        async with EnforcementStore.open(settings.list_store()) as documents:
            await documents.sighted(
                name, Sighting(fingerprint=found, seen_at=seen_at), by(actor, reason)
            )
        return found

    say(f"{name}: the next document reports {with_list_store(settings, work)} to its owner")


@app.command("list", hidden=True)
@app.command()
def show(
    name: Annotated[
        str | None, typer.Argument(metavar="[OWNER/NAME]", help="A list. Default: all.")
    ] = None,
    country: Annotated[
        str | None,
        typer.Option("--by", metavar="COUNTRY", help="The country that enforced. Default: all."),
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=3660, help="Cover this many days.")] = 7,
    file: Annotated[
        Path | None, typer.Option(help="Read this document instead, as a partner does.")
    ] = None,
    refused: Annotated[
        bool, typer.Option("--refused", help="Show partners' documents that were refused, and why.")
    ] = False,
    config: ConfigFiles = None,
    form: Output = Format.TABLE,
) -> None:
    """Show the effects of partners' lists here and of our lists there, from the documents.

    Per list: numbers that called; calls blocked, flagged, and on trial (simulated); false
    positives, and open appeals. Also the time from publication until it was live (p99) and until
    the first call was stopped (p50). -o json has all of it.

    Exit codes: 0 shown, also if there is nothing; 2 --file cannot be read; it says why.

    Example: ringfence enforcement show KH/scam --by TH --days 30
    """
    settings = settings_of(config)
    if file is not None:
        _show([_in_file(file)], form)
        return
    if refused:
        _show_refused(settings, form)
        return
    last = datetime.fromtimestamp(now_s(), UTC).date()
    first = last - timedelta(days=days - 1)
    home = settings.calls.home_country
    countries = [country] if country else [home, *sorted(settings.enforcement.partners)]

    async def work(store: ListStore) -> list[Enforcement]:
        names = [name] if name else sorted((await store.heads()).lists)
        async with EnforcementStore.open(settings.list_store()) as documents:
            return [
                document
                for each in names
                for one in countries
                for document in await documents.documents(each, one, first, last)
            ]

    _show(with_list_store(settings, work), form)


def _in_file(file: Path) -> Enforcement:
    *above, last = file.absolute().parts[-4:]
    target = "/".join([*above, _SHA256.sub("", last, count=1)])
    try:
        with file.open("rb") as opened:
            return read(opened.read(DOCUMENT_BYTES_MAX + 1), target)
    except OSError as error:
        fail(f"{file} cannot be read: {error.strerror}", USAGE)
    except DocumentUnreadable as error:
        fail(str(error), USAGE)


def _show(documents: Sequence[Enforcement], form: Format) -> None:
    def draw() -> None:
        if not documents:
            say("nothing yet: `ringfence enforcement run` counts, publishes and reads")
            return
        figures = ("numbers", "block", "flag", "trial", "live\np99", "stop\np50", "false", "open")
        rows = [(one.list, one.country, one.day.isoformat(), *_cells(one)) for one in documents]
        print_table(("list", "by", "day", *figures), rows, right=figures)

    render(form, [msgspec.to_builtins(one) for one in documents], draw)


def _cells(one: Enforcement) -> list[str]:
    counts = None if one.by_category is None else list(one.by_category.values())
    calls = [
        "-" if counts is None else f"{sum(getattr(each, name) or 0 for each in counts):,}"
        for name in ("entries", "blocked", "flagged", "simulated")
    ]
    return [
        *calls,
        _seconds(one.in_force, "p99_s"),
        _seconds(one.first_stopped, "p50_s"),
        f"{len(one.sightings):,}",
        "-" if one.appeals is None else f"{one.appeals.pending:,}",
    ]


def _seconds(delays: Delays | None, name: str) -> str:
    return "-" if delays is None else f"{getattr(delays, name):,.1f} s"


def _show_refused(settings: Settings, form: Format) -> None:
    async def work(_: ListStore) -> dict[str, dict[str, str]]:
        partners = sorted(settings.enforcement.partners)
        async with EnforcementStore.open(settings.list_store()) as documents:
            return {one: await documents.refused(one) for one in partners}

    found = with_list_store(settings, work)

    def draw() -> None:
        for country, documents in found.items():
            for why in documents.values():
                say(f"{country}: {why}")

    render(form, found, draw)
