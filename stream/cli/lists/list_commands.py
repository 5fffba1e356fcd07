"""`ringfence lists create|add|remove|list|show`: the commands that a list needs each day."""

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from stream.cli.common import expiry, key_of, region_of, settings_of, text_in
from stream.cli.lazy_group import group
from stream.cli.options import (
    OR_STDIN,
    Actor,
    CategoryName,
    Confidence,
    ConfigFiles,
    ExpiresIn,
    ListName,
    Output,
    Reason,
    Region,
    typed_or_piped,
)
from stream.cli.output import NOTHING_DONE, USAGE, Format, fail, note, print_table, render, say
from stream.cli.store_access import by, category_of, entries_in, with_list_store
from stream.core.model.entry import Entry
from stream.core.model.free_text import SOURCE_CHARS_MAX
from stream.core.model.moments import rfc3339
from stream.lists.snapshot.circle_keys import PLAIN
from stream.lists.store.heads import EditOutcome, EditResult, ListHead, Removal, Retraction
from stream.lists.store.list_content import covering, fingerprints_of, head_of
from stream.lists.store.list_store import ListStore
from stream.ops.clock import now_s

app = group()

NumberTexts = Annotated[
    list[str],
    typer.Argument(
        metavar="NUMBER...",
        help="A number (+66812345678), prefix (+6681234*) or range "
        "(+66812345000-+66812345999)." + OR_STDIN,
        callback=typed_or_piped,
    ),
]


@app.command()
def create(
    name: ListName,
    circle: Annotated[str, typer.Option(help="The circle whose key hashes the numbers.")] = PLAIN,
    reason: Reason = "",
    actor: Actor = None,
    config: ConfigFiles = None,
) -> None:
    """Make an empty list.

    Example: ringfence lists create TH/national
    """
    settings = settings_of(config)
    if circle not in settings.circle_keys():
        fail(f"no circle {circle}: it needs [circles.{circle}] in the settings", USAGE)
    made = with_list_store(settings, lambda store: store.create(name, circle, by(actor, reason)))
    if not made:
        fail(f"{name} is there already; nothing was changed", NOTHING_DONE)
    say(f"created {name} (circle {circle})")


@app.command()
def add(
    name: ListName,
    texts: NumberTexts,
    category: CategoryName = "other",
    expires_in: ExpiresIn = None,
    confidence: Confidence = 100,
    source: Annotated[str | None, typer.Option(help="The source. Default: the actor.")] = None,
    region: Region = None,
    reason: Reason = "",
    actor: Actor = None,
    config: ConfigFiles = None,
) -> None:
    """Add numbers and prefixes to a list, or update existing ones. Enforced at once.

    With --category legitimate, a number or a longer prefix is excluded from a listed prefix.

    Example: ringfence lists add TH/national +66812345678 --category parcel --expires-in 10d
    """
    settings, who, kind = settings_of(config), by(actor, reason), category_of(category)
    source = text_in(source or who.actor[:SOURCE_CHARS_MAX], "--source", SOURCE_CHARS_MAX)
    numbers, wrong = entries_in(texts, region_of(region), settings.lists.prefixes())
    until = expiry(expires_in)

    async def work(store: ListStore) -> EditResult:
        key = key_of(settings, (await head_of(store, name)).circle)
        entries = [
            Entry(number, fp, kind, source, now_s(), until, confidence)
            for number, fp in zip(numbers, fingerprints_of(numbers, key), strict=True)
        ]
        return await store.add(name, entries, who)

    done = Counter(with_list_store(settings, work).outcomes)
    added, updated = done[EditOutcome.ADDED], done[EditOutcome.UPDATED]
    say(f"{name}: {added} added, {updated} updated")
    if wrong:
        raise typer.Exit(NOTHING_DONE if numbers else USAGE)


@app.command()
def remove(
    name: ListName,
    texts: NumberTexts,
    source: Annotated[str | None, typer.Option(help="Only the reports of this source.")] = None,
    region: Region = None,
    reason: Reason = "",
    actor: Actor = None,
    config: ConfigFiles = None,
) -> None:
    """Remove numbers and prefixes from a list, or one source's report of them. Enforced at once.

    Example: ringfence lists remove TH/national +66812345678 --reason "appeal 4711"
    """
    settings, who = settings_of(config), by(actor, reason)
    numbers, wrong = entries_in(texts, region_of(region), settings.lists.prefixes())

    async def work(store: ListStore) -> tuple[EditResult, dict[str, str]]:
        key = key_of(settings, (await head_of(store, name)).circle)
        pairs = list(zip(fingerprints_of(numbers, key), numbers, strict=True))
        if source is not None:
            retractions = [Retraction(*pair, source) for pair in pairs]
            changed = await store.retract(name, retractions, who)
        else:
            changed = await store.remove(name, [Removal(*pair) for pair in pairs], who)
        return changed, await covering(store, name, key, numbers, now_s())

    changed, covered = with_list_store(settings, work)
    outcomes = changed.outcomes
    for number, outcome in zip(numbers, outcomes, strict=True):
        if outcome is EditOutcome.ABSENT:
            by_whom = f" by {source}" if source else ""
            note(f"{number} is not on {name}{by_whom}")
    for number, prefix in covered.items():
        note(
            f"{number} is still held by {prefix} on {name}; `ringfence lists add {name} {number} "
            "--category legitimate` takes it out of that, `ringfence allow add` out of every list"
        )
    done = Counter(outcomes)
    told = [f"{done[EditOutcome.REMOVED]} removed"]
    if source is not None:
        told.append(f"{done[EditOutcome.UPDATED]} still reported by others")
    say(f"{name}: {', '.join(told)}")
    if wrong or done[EditOutcome.ABSENT]:
        raise typer.Exit(NOTHING_DONE)


@app.command("list")
def list_(config: ConfigFiles = None, form: Output = Format.TABLE) -> None:
    """List all lists: count of numbers, generation, size in Redis.

    Example: ringfence lists list -o csv
    """

    async def work(store: ListStore) -> list[tuple[ListHead, int]]:
        heads = (await store.heads()).lists.values()
        return [(head, await store.size(head)) for head in heads]

    lists = with_list_store(settings_of(config), work)
    render(form, [_head_json(*one) for one in lists], lambda: _print(lists))


@app.command()
def show(
    name: Annotated[
        str | None, typer.Argument(metavar="[OWNER/NAME]", help="A list. Default: all.")
    ] = None,
    config: ConfigFiles = None,
    form: Output = Format.TABLE,
) -> None:
    """Show one list: its circle, count, generation, and the countries whose numbers it may hold.

    Without a name it shows all lists, as `lists list` does.

    Example: ringfence lists show TH/national
    """
    if name is None:
        list_(config, form)
        return
    wanted = name

    async def work(store: ListStore) -> tuple[ListHead, int]:
        head = await head_of(store, wanted)
        return head, await store.size(head)

    head, size = with_list_store(settings_of(config), work)

    def draw() -> None:
        _print([(head, size)])
        if head.scope is not None:
            say(f"its hashes may name numbers of {head.scope.words} (feed {head.scope.feed})")

    render(form, _head_json(head, size), draw)


def _print(lists: Sequence[tuple[ListHead, int]]) -> None:
    rows = []
    for head, size in lists:
        made = f"{rfc3339(head.created_at_s)} by {head.actor}"
        figures = (f"{n:,}" for n in (head.count, head.generation, head.base, head.changes, size))
        rows.append((head.name, head.circle, *figures, made))
    names = ("list", "circle", "numbers", "generation", "base", "changes", "bytes", "made")
    print_table(names, rows)


def _head_json(head: ListHead, size: int) -> dict[str, Any]:
    return {
        "list": head.name,
        "circle": head.circle,
        "count": head.count,
        "generation": head.generation,
        "base": head.base,
        "changes": head.changes,
        "bytes": size,
        "created_at": rfc3339(head.created_at_s),
        "created_by": head.actor,
        "may_list": None
        if head.scope is None
        else {
            "feed": head.scope.feed,
            "calling_codes": None if head.scope.codes is None else sorted(head.scope.codes),
        },
    }
