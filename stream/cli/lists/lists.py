"""`ringfence lists`: make lists, fill them, change them, look at them."""

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Column, Table

from stream.cli.common import AsJson, ConfigFiles, out, print_json, settings_of
from stream.cli.list_store import (
    NOTHING_DONE,
    ROW_BYTES,
    USAGE,
    Actor,
    ExpiresIn,
    ReasonText,
    Region,
    behind_calls,
    by,
    entries_in,
    expiry,
    fail,
    key_of,
    note,
    now_s,
    progress,
    say,
    text_in,
    with_register,
)
from stream.cli.lists import lists_delete
from stream.cli.lists.export import Form, Output, check_form, write_list
from stream.cli.number_arguments import OR_STDIN, typed_or_piped
from stream.core.model.entry import Category, Entry
from stream.core.model.free_text import cleaned
from stream.feeds.import_file import ImportReport, ImportRequest, import_file
from stream.feeds.open import format_of
from stream.feeds.parse import SOURCE_CHARS_MAX, Defaults
from stream.lists.snapshot.circle_keys import PLAIN
from stream.lists.snapshot.export import moment
from stream.lists.store.contents import covering, entries_of, fingerprints_of, head_of
from stream.lists.store.heads import Changed, ListHead, Outcome, Removal, Retraction
from stream.lists.store.list_store import Register
from stream.ops.schema import checks

app = typer.Typer(no_args_is_help=True, help="Make lists, fill them, change them, look at them.")
app.command("delete")(lists_delete.delete)

ListName = Annotated[str, typer.Argument(metavar="OWNER/NAME", help="The list, e.g. TH/national.")]
NumberTexts = Annotated[
    list[str],
    typer.Argument(
        metavar="NUMBER...",
        help="A number (+66812345678), prefix (+6681234*) or range (+66812345000-+66812345999)."
        + OR_STDIN,
        callback=typed_or_piped,
    ),
]
CategoryName = Annotated[str, typer.Option("--category", help="What they were reported for.")]
Confidence = Annotated[int, typer.Option("--confidence", min=0, max=100, help="0 to 100.")]
RejectsFile = Annotated[
    Path | None, typer.Option(help="Where rejected rows go; else FILE.rejects.csv.")
]
AreNumbers = Annotated[
    bool, typer.Option("--are-numbers", help="They are, though they look like dates, ids or sums.")
]


@app.command()
def create(
    name: ListName,
    circle: Annotated[str, typer.Option(help="The circle whose key hashes the numbers.")] = PLAIN,
    reason: ReasonText = "",
    actor: Actor = None,
    config: ConfigFiles = None,
) -> None:
    """Make an empty list.

    Example: ringfence lists create TH/national
    """
    settings = settings_of(config)
    if circle not in settings.circle_keys():
        fail(f"no circle {circle}: it needs [circles.{circle}] in the settings", USAGE)
    made = with_register(
        settings, lambda register: register.create(name, circle, by(actor, reason))
    )
    if not made:
        fail(f"{name} is there already; nothing was changed", NOTHING_DONE)
    say(f"created {name} (circle {circle})")


@app.command("import")
def import_(
    name: ListName,
    file: Annotated[
        Path, typer.Argument(help="Text, CSV or JSON lines.", exists=True, dir_okay=False)
    ],
    form: Annotated[
        str | None, typer.Option("--format", help="text, csv or jsonl; else by the file's name.")
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(help="Names of a CSV's columns, e.g. number,,category; empty: passed over."),
    ] = None,
    region: Region = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="The file is the whole list; else it is added to it.")
    ] = False,
    category: CategoryName = "other",
    source: Annotated[str | None, typer.Option(help="Who says so; else the file's name.")] = None,
    expires_in: ExpiresIn = None,
    confidence: Confidence = 100,
    rejects: RejectsFile = None,
    are_numbers: AreNumbers = False,
    reason: ReasonText = "",
    actor: Actor = None,
    config: ConfigFiles = None,
    as_json: AsJson = False,
) -> None:
    """Load a file into a list. Bad rows are kept in a file with their reason, good rows load.

    What a row says of itself goes before the options. Exit code 1: some rows were rejected.

    Example: ringfence lists import TH/national numbers.csv --region TH --expires-in 10d
    """
    settings = settings_of(config)
    kind = form or format_of(file)
    if kind not in {"text", "csv", "jsonl"}:
        fail(f"no format {kind}: text, csv or jsonl", USAGE)
    defaults = Defaults(
        text_in(source or cleaned(file.name)[:SOURCE_CHARS_MAX], "--source", SOURCE_CHARS_MAX),
        now_s(),
        _region(region),
        _category(category),
        expiry(expires_in),
        confidence,
        now_s=now_s(),
        prefixes=settings.lists.prefixes(),
    )
    behind_calls(settings, file.stat().st_size // ROW_BYTES)

    async def work(register: Register) -> tuple[ImportReport, Path]:
        head = await head_of(register, name)
        request = ImportRequest(
            name=name,
            path=file,
            kind=kind,  # type: ignore[arg-type]
            names=tuple(part.strip() for part in columns.split(",")) if columns else None,
            defaults=defaults,
            rejects=rejects or file.with_name(f"{file.name}.rejects.csv"),
            replace=replace,
            key=key_of(settings, head.circle),
            by=by(actor, reason or f"import of {file.name}"),
            are_numbers=are_numbers,
        )
        with progress() as stage:
            return await import_file(register, request, now_s(), stage), request.rejects

    report, kept = with_register(settings, work)
    _print_report(name, report, kept, as_json)
    if report.rejected or not report.rows:
        raise typer.Exit(NOTHING_DONE)


def _print_report(name: str, report: ImportReport, kept: Path, as_json: bool) -> None:
    rejected = {wrong.label: count for wrong, count in report.rejected.items()}
    if as_json:
        print_json(
            {
                "list": name,
                "generation": report.generation,
                "count": report.count,
                "added": report.added,
                "updated": report.updated,
                "removed": report.removed,
                "repeated": report.repeated,
                "rejected": rejected,
                "rejects_file": str(kept) if rejected else None,
            }
        )
        return
    if not report.rows:
        say(f"{name}: no good row; nothing was changed")
    else:
        parts = [f"{report.added:,} added", f"{report.updated:,} updated"]
        parts += [f"{report.removed:,} removed"] if report.removed else []
        parts += [f"{report.repeated:,} repeated in the file"] if report.repeated else []
        holds = f"holds {report.count:,} numbers at generation {report.generation}"
        say(f"{name}: {', '.join(parts)}; {holds}")
    for wrong, count in report.rejected.items():
        say(f"  rejected {count:,}: {wrong.label}: {wrong.value}")
    if rejected:
        say(f"  the rejected rows are in {kept}")


@app.command()
def add(
    name: ListName,
    texts: NumberTexts,
    category: CategoryName = "other",
    expires_in: ExpiresIn = None,
    confidence: Confidence = 100,
    source: Annotated[str | None, typer.Option(help="Who says so; else the actor.")] = None,
    region: Region = None,
    reason: ReasonText = "",
    actor: Actor = None,
    config: ConfigFiles = None,
) -> None:
    """Put numbers and prefixes on a list; one that is there is updated. Enforced at once.

    With --category legitimate a number, or a longer prefix, is taken out of a prefix on the list.

    Example: ringfence lists add TH/national +66812345678 --category parcel --expires-in 10d
    """
    settings, who, kind = settings_of(config), by(actor, reason), _category(category)
    source = text_in(source or who.actor[:SOURCE_CHARS_MAX], "--source", SOURCE_CHARS_MAX)
    numbers, wrong = entries_in(texts, _region(region), settings.lists.prefixes())
    until = expiry(expires_in)

    async def work(register: Register) -> Changed:
        key = key_of(settings, (await head_of(register, name)).circle)
        entries = [
            Entry(number, fp, kind, source, now_s(), until, confidence)
            for number, fp in zip(numbers, fingerprints_of(numbers, key), strict=True)
        ]
        return await register.add(name, entries, who)

    done = Counter(with_register(settings, work).outcomes)
    added, updated = done[Outcome.ADDED], done[Outcome.UPDATED]
    say(f"{name}: {added} added, {updated} updated")
    if wrong:
        raise typer.Exit(NOTHING_DONE if numbers else USAGE)


@app.command()
def remove(
    name: ListName,
    texts: NumberTexts,
    source: Annotated[
        str | None, typer.Option(help="Take back only what this source reported.")
    ] = None,
    region: Region = None,
    reason: ReasonText = "",
    actor: Actor = None,
    config: ConfigFiles = None,
) -> None:
    """Take numbers and prefixes off a list, or one source's report of them. Enforced at once.

    Example: ringfence lists remove TH/national +66812345678 --reason "appeal 4711"
    """
    settings, who = settings_of(config), by(actor, reason)
    numbers, wrong = entries_in(texts, _region(region), settings.lists.prefixes())

    async def work(register: Register) -> tuple[Changed, dict[str, str]]:
        key = key_of(settings, (await head_of(register, name)).circle)
        pairs = list(zip(fingerprints_of(numbers, key), numbers, strict=True))
        if source is not None:
            retractions = [Retraction(*pair, source) for pair in pairs]
            changed = await register.retract(name, retractions, who)
        else:
            changed = await register.remove(name, [Removal(*pair) for pair in pairs], who)
        return changed, await covering(register, name, key, numbers, now_s())

    changed, covered = with_register(settings, work)
    outcomes = changed.outcomes
    for number, outcome in zip(numbers, outcomes, strict=True):
        if outcome is Outcome.ABSENT:
            by_whom = f" by {source}" if source else ""
            note(f"{number} is not on {name}{by_whom}")
    for number, prefix in covered.items():
        note(
            f"{number} is still held by {prefix} on {name}; `ringfence lists add {name} {number} "
            "--category legitimate` takes it out of that, `ringfence allow add` out of every list"
        )
    done = Counter(outcomes)
    told = [f"{done[Outcome.REMOVED]} removed"]
    if source is not None:
        told.append(f"{done[Outcome.UPDATED]} still reported by others")
    say(f"{name}: {', '.join(told)}")
    if wrong or done[Outcome.ABSENT]:
        raise typer.Exit(NOTHING_DONE)


@app.command()
def show(
    name: Annotated[str | None, typer.Argument(metavar="[OWNER/NAME]", help="One list.")] = None,
    config: ConfigFiles = None,
    as_json: AsJson = False,
) -> None:
    """Show all lists, or one: how many numbers, which generation, how large in Redis.

    Example: ringfence lists show TH/national
    """
    settings = settings_of(config)

    async def work(register: Register) -> list[tuple[ListHead, int]]:
        heads = (await register.heads()).lists
        wanted = heads.values() if name is None else [await head_of(register, name)]
        return [(head, await register.size(head)) for head in wanted]

    lists = with_register(settings, work)
    if as_json:
        shown = [_head_json(head, size) for head, size in lists]
        print_json(shown if name is None else shown[0])
        return
    names = ("list", "circle", "numbers", "generation", "base", "changes", "bytes", "made")
    table = Table(*(Column(n, overflow="fold") for n in names), box=None, header_style="bold")
    for head, size in lists:
        made = f"{moment(head.created_at_s)} by {head.actor}"
        figures = (f"{n:,}" for n in (head.count, head.generation, head.base, head.changes, size))
        table.add_row(head.name, head.circle, *figures, made)
    out.print(table)
    for head, _ in lists if name is not None else ():
        if head.scope is not None:
            say(f"its hashes may name numbers of {head.scope.words} (feed {head.scope.feed})")


def _head_json(head: ListHead, size: int) -> dict[str, Any]:
    return {
        "list": head.name,
        "circle": head.circle,
        "count": head.count,
        "generation": head.generation,
        "base": head.base,
        "changes": head.changes,
        "bytes": size,
        "created_at": moment(head.created_at_s),
        "created_by": head.actor,
        "may_list": None
        if head.scope is None
        else {
            "feed": head.scope.feed,
            "calling_codes": None if head.scope.codes is None else sorted(head.scope.codes),
        },
    }


@app.command()
def export(
    name: ListName, form: Form = "csv", output: Output = None, config: ConfigFiles = None
) -> None:
    """Write a list as it is now: every number whole, or as a pybloom-live file.

    Example: ringfence lists export TH/national --format jsonl -o national.jsonl
    """
    settings = settings_of(config)
    check_form(form, output)

    async def work(register: Register) -> tuple[int, int]:
        key = key_of(settings, (await head_of(register, name)).circle)
        head, columns = await entries_of(register, name, key)
        await write_list(head, columns, key, form, output)
        return columns.numbers, len(columns)

    numbers, reports = with_register(settings, work)
    note(f"{name}: {numbers:,} numbers, {reports:,} reports")


def _category(label: str) -> Category:
    category = Category.__members__.get(label.strip().upper().replace("-", "_"))
    if category is None:
        known = ", ".join(category.label for category in Category)
        fail(f"no category {label}: {known}", USAGE)
    return category


def _region(region: str | None) -> str | None:
    if region is not None and (wrong := checks.country(region)) is not None:
        fail(f"--region {wrong}", USAGE)
    return region
