"""`ringfence lists history|diff|at|rollback|rebuild|rekey|repair|delete`: a list's past and end."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from stream.cli.common import key_of, moment_in, settings_of
from stream.cli.lazy_group import group
from stream.cli.lists.list_files import Form, check_form, write_list
from stream.cli.options import (
    Actor,
    ConfigFiles,
    FromState,
    ListName,
    Output,
    Reason,
    SameStore,
    ToFile,
)
from stream.cli.output import (
    NOTHING_DONE,
    USAGE,
    Format,
    fail,
    note,
    print_table,
    render,
    say,
    write_out,
)
from stream.cli.progress_bars import progress
from stream.cli.store_access import (
    ROWS_FOR_KERNELS,
    behind_calls,
    by,
    check_same_store,
    with_list_store,
)
from stream.config.agreement_files import agreements_of
from stream.config.feed_files import feed_context, read_each
from stream.config.settings import Settings
from stream.core.model.agreement import AgreementState
from stream.core.model.entry import Columns
from stream.core.model.errors import ConfigInvalid
from stream.core.model.moments import rfc3339
from stream.exchange.repository_files import METADATA
from stream.feeds.feed import FeedState, VersionRecord
from stream.feeds.feed_sources import FeedSetup
from stream.feeds.formats.change_file import increment
from stream.feeds.state_store import FeedStateStore
from stream.lists.follower.repair import Diagnosis, RepairStatus, look, put_back_from, take_over
from stream.lists.snapshot.list_text import written
from stream.lists.snapshot.merge import VersionDiff, difference
from stream.lists.store.history import HistoryRow, history
from stream.lists.store.list_content import Past, content, head_of, past_of
from stream.lists.store.list_store import ListStore
from stream.lists.store.rewrite import Move, Rebased, Stage, rebuild, rekey, rollback
from stream.ops.clock import now_s

app = group()

Generation = Annotated[int, typer.Argument(metavar="GENERATION", min=1)]


@app.command("history")
def history_(
    name: ListName,
    limit: Annotated[int, typer.Option(min=0, help="Show this many rows. 0: all.")] = 50,
    each: Annotated[bool, typer.Option("--each", help="One row for each generation.")] = False,
    config: ConfigFiles = None,
    form: Output = Format.TABLE,
) -> None:
    """Show a list's history, newest first: who made which generation, when and why.

    Similar changes within a minute share a row. `kept` marks generations that `lists at`, `diff`
    and `rollback` can still use.

    Example: ringfence lists history TH/national
    """
    settings = settings_of(config)

    async def work(store: ListStore) -> tuple[Past, tuple[HistoryRow, ...]]:
        past = await past_of(store, name)
        return past, await history(store, past, limit, each=each)

    past, rows = with_list_store(settings, work)
    told = {
        "list": name,
        "generation": past.head.generation,
        "kept": [[s.first, s.last] for s in reversed(past.stretches)],
        "history": [_row_json(row) for row in rows],
    }

    def draw() -> None:
        names = ("generation", "when", "who", "what", "numbers", "kept", "why")
        print_table(names, map(_cells, rows))
        note(f"{name}: available generations: {past.said()}")

    render(form, told, draw, rows="history")


def _cells(row: HistoryRow) -> tuple[str, ...]:
    span = f"{row.first}-{row.last}" if row.first != row.last else str(row.last)
    count = "-" if row.count is None else f"{row.count:,}"
    first = (span, rfc3339(row.at_s) or "-", row.actor or "-", _what(row), count)
    return *first, "yes" if row.kept else "no", row.reason or ""


def _what(row: HistoryRow) -> str:
    many = f" x {row.last - row.first + 1}" if row.last > row.first else ""
    return f"{row.what}{many}{f' to {row.of}' if row.of else ''}"


def _row_json(row: HistoryRow) -> dict[str, Any]:
    return {
        "first": row.first,
        "last": row.last,
        "at": rfc3339(row.at_s),
        "actor": row.actor,
        "reason": row.reason,
        "what": row.what,
        "of": row.of or None,
        "count": row.count,
        "kept": row.kept,
    }


@app.command()
def diff(
    name: ListName,
    old: Annotated[int, typer.Argument(metavar="A", min=1, help="The older generation.")],
    new: Annotated[
        int | None,
        typer.Argument(metavar="[B]", min=1, help="The newer generation. Default: the newest."),
    ] = None,
    form: Annotated[
        str, typer.Option("--format", help="text, json (lines), csv; `changes` for a feed.")
    ] = "text",
    output: ToFile = None,
    config: ConfigFiles = None,
) -> None:
    """Show the reports that were added, removed and changed between two generations.

    Example: ringfence lists diff TH/national 12 15 --format csv -o changes.csv
    """
    settings = settings_of(config)
    if form not in {"text", "json", "csv", "changes"}:
        fail(f"no format {form}: text, json, csv or changes", USAGE)

    async def work(store: ListStore) -> tuple[VersionDiff, int]:
        past = await past_of(store, name)
        key = key_of(settings, past.head.circle)
        newest = new or past.head.generation
        before, after = [await content(store, past, g, key) for g in (old, newest)]
        found = await asyncio.to_thread(difference, before, after)
        pieces = (
            increment(name, old, newest, found) if form == "changes" else written(found, form)  # type: ignore[arg-type]
        )
        write_out(output, (piece.encode() for piece in pieces))
        return found, newest

    found, newest = with_list_store(settings, work)
    added, removed, changed = len(found.added), len(found.removed), len(found.changed[0])
    counts = f"{added:,} added, {removed:,} removed, {changed:,} changed"
    note(f"{name}, {old} to {newest}: {counts}")


@app.command("at")
def at_(
    name: ListName,
    when: Annotated[
        str,
        typer.Argument(metavar="TIME", help="2026-11-25T14:00:00Z (UTC by default), or 2h ago."),
    ],
    form: Form = "csv",
    output: ToFile = None,
    config: ConfigFiles = None,
) -> None:
    """Write a list as it was at a given time, in the formats of `lists export`.

    Entries that had expired by then are included, with their expiry.

    Example: ringfence lists at TH/national 2026-11-25T14:00:00Z -o then.csv
    """
    settings = settings_of(config)
    check_form(form, output)
    at_ms = moment_in(when)

    async def work(store: ListStore) -> tuple[int, Columns]:
        past = await past_of(store, name)
        generation = past.generation_at(at_ms)
        key = key_of(settings, past.head.circle)
        columns = await content(store, past, generation, key)
        await write_list(replace(past.head, generation=generation), columns, key, form, output)
        return generation, columns

    generation, columns = with_list_store(settings, work)
    note(f"{name} at {rfc3339(at_ms // 1000)}: generation {generation}, {len(columns):,} entries")


@app.command("rollback")
def rollback_(
    name: ListName,
    generation: Generation,
    reason: Reason,
    actor: Actor = None,
    config: ConfigFiles = None,
    form: Output = Format.TABLE,
) -> None:
    """Roll a list back to a generation, as a new generation. Workers enforce it within seconds.

    Changes that others make meanwhile stay. If another version is published meanwhile, nothing
    changes, and it says by whom: exit code 1.

    Example: ringfence lists rollback TH/national 12 --reason "the feed of today is poisoned"
    """
    settings, who = settings_of(config), by(actor, reason)

    done = _rewritten(
        settings,
        name,
        lambda store, key, stage: rollback(store, name, generation, key, who, now_s(), stage),
    )
    _show(name, done, f"{name} is what it was at generation {generation}", form)
    for feed, live in with_list_store(settings, lambda _: _live_after(settings, name, generation)):
        note(_what_it_brings(feed, live))


def _what_it_brings(feed: str, live: VersionRecord) -> str:
    """Return what a feed does to the list after a rollback, and the command to type."""
    if live.whole:
        does = f"renews its version {live.id} and brings it again. If that was wrong"
        return f"feed {feed} {does}: ringfence feeds refuse {feed} --version {live.id} --reason ..."
    does = "brings increments: what went here comes with its next whole version"
    return f"feed {feed} {does}. Once its list is right: ringfence feeds pull {feed} --whole"


async def _live_after(
    settings: Settings, name: str, generation: int
) -> list[tuple[str, VersionRecord]]:
    """Return the feeds whose live version came to the list after `generation`, with that."""
    async with FeedStateStore.open(settings.list_store()) as feed_states:
        states = await feed_states.states(await feed_states.names())
    return [
        (feed, last)
        for feed, state in states.items()
        if (last := state.accepted) is not None
        and (last.list_name, last.verdict) == (name, "accepted")
        and last.generation > generation
    ]


@app.command("rebuild")
def rebuild_(
    name: ListName,
    reason: Reason = "",
    actor: Actor = None,
    config: ConfigFiles = None,
    form: Output = Format.TABLE,
) -> None:
    """Rebuild a list: compact its changes into a new base. The same numbers stay listed.

    `ringfence feeds run` does this after more than `rebuild_changes` numbers changed. If another
    base is published meanwhile, nothing changes: exit code 1.

    Example: ringfence lists rebuild TH/national
    """
    settings, who = settings_of(config), by(actor, reason)

    done = _rewritten(
        settings, name, lambda store, key, stage: rebuild(store, name, key, who, now_s(), stage)
    )
    _show(name, done, f"{name}: {done.folded:,} changes are in its base now", form)


@app.command("rekey")
def rekey_(
    name: ListName,
    circle: Annotated[str, typer.Option(help="The new circle, for example asean@2.")],
    reason: Reason = "",
    actor: Actor = None,
    config: ConfigFiles = None,
    form: Output = Format.TABLE,
) -> None:
    """Hash a list of ours again: for another circle, or for the next epoch of its own.

    The same numbers stay listed, and the list is published. Partners with the new key follow it;
    others keep their last good list. Earlier generations are no longer available. Exit code 1: the
    list changed all the time, and nothing was done.

    Example: ringfence lists rekey KH/scam --circle asean@2 --reason "a leaked key"
    """
    settings, who = settings_of(config), by(actor, reason)

    async def work(store: ListStore) -> Rebased:
        head = await head_of(store, name)
        if head.circle == circle:
            fail(f"{name} is of circle {circle} already; nothing was changed", NOTHING_DONE)
        move = Move(circle, key_of(settings, circle), key_of(settings, head.circle))
        behind_calls(settings, head.count)
        with progress() as stage:
            return await rekey(store, name, move, who, now_s(), stage)

    done = with_list_store(settings, work)
    text = f"{name}: {done.count:,} numbers, hashed in {circle} now; generation {done.generation}"
    render(form, {"list": name, "circle": circle, **asdict(done)}, lambda: say(text))


@app.command()
def repair(
    name: ListName,
    from_state: FromState = False,
    same_store: SameStore = False,
    reason: Reason = "",
    actor: Actor = None,
    config: ConfigFiles = None,
    form: Output = Format.TABLE,
) -> None:
    """Name what a damaged list store has lost and what to do, or put it back.

    Compares what workers of this machine know (state_dir) with Redis. With --from-state, the
    worker's last good list becomes a new generation above both, with the later changes of the list
    store on top. Run it where the workers know most. With --same-store, a Redis that was emptied
    and written to since becomes the workers' list store again; then repair each list. Exit codes: 0
    nothing is wrong, or it was put back; 1 something is wrong and was left as it is.

    Example: ringfence lists repair TH/national
    """
    check_same_store(same_store=same_store, from_state=from_state)
    settings, who = settings_of(config), by(actor, reason or "repair from the state of a worker")
    keys, state_dir = settings.circle_keys(), Path(settings.lists.state_dir)

    async def work(store: ListStore) -> tuple[Diagnosis, Rebased | None]:
        if same_store:
            await take_over(store, state_dir)
        found = await look(store, name, state_dir, keys)
        if not from_state or found.held is None:
            return found, None
        behind_calls(settings, found.head.count if found.head else ROWS_FOR_KERNELS)
        with progress() as stage:
            return found, await put_back_from(store, found, state_dir, keys, who, now_s(), stage)

    found, done = with_list_store(settings, work)

    def draw() -> None:
        if done is not None:
            say(_again(done, f"{name} is again what was known here"))
            return
        for line in _diagnosis_lines(found):
            say(line)

    render(form, _diagnosis_json(found) | {"put_back": done.generation if done else None}, draw)
    if done is None and (from_state or found.standing.wrong):
        raise typer.Exit(NOTHING_DONE)


def _diagnosis_json(found: Diagnosis) -> dict[str, Any]:
    held, head, since = found.held, found.head, found.since
    return {
        "list": found.name,
        "standing": found.standing.name.lower(),
        "generation_here": held.mark.generation if held else None,
        "generation_register": head.generation if head else None,
        "changes_since": None if since is None else [step.generation for step in since],
        "what_to_do": found.standing.value,
    }


def _diagnosis_lines(found: Diagnosis) -> Iterator[str]:
    held, head, since = found.held, found.head, found.since
    here = f"generation {held.mark.generation}" if held else "nothing"
    there = f"generation {head.generation}, {head.count:,} numbers" if head else "no such list"
    yield f"{found.name}: here {here}; in the list store {there}"
    if since:
        yield f"  the list store made {len(since):,} steps since it lost data:"
        yield from (f"    {step.generation}  {step.op}" for step in since[:20])
    elif since is None and found.standing is RepairStatus.FORKED:
        yield "  which changes the list store made since cannot be told: they would be undone"
    yield f"  {found.standing.value}"


def _rewritten(
    settings: Settings, name: str, make: Callable[[ListStore, bytes, Stage], Awaitable[Rebased]]
) -> Rebased:
    """Return the result of `make` with the list's key, behind calls and with a progress bar."""

    async def work(store: ListStore) -> Rebased:
        head = await head_of(store, name)
        behind_calls(settings, head.count)
        with progress() as stage:
            return await make(store, key_of(settings, head.circle), stage)

    return with_list_store(settings, work)


def _show(name: str, done: Rebased, what: str, form: Format) -> None:
    told = {"list": name, "generation": done.generation, "count": done.count}
    render(form, told, lambda: say(_again(done, what)))


def _again(done: Rebased, what: str) -> str:
    return f"{what}; it holds {done.count:,} numbers at generation {done.generation}"


@app.command()
def delete(
    name: ListName,
    reason: Reason,
    force: Annotated[
        bool, typer.Option("--force", help="Even if an agreement or a feed uses it.")
    ] = False,
    actor: Actor = None,
    config: ConfigFiles = None,
    form: Output = Format.TABLE,
) -> None:
    """Delete a list with its entries and history. Workers drop it at once. The audit log stays.

    Exit code 1: an agreement in force shares it, or a feed fills it, and nothing was done. --force
    deletes it anyway; a feed with a file fills it again.

    Example: ringfence lists delete TH/trial --reason "the trial is over"
    """
    settings, who = settings_of(config), by(actor, reason)
    against = [*_shared_by(settings, name), *_filled_by(settings, name)]
    for text in against:
        note(text)
    if against and not force:
        fail(f"{name}: nothing was deleted; --force deletes it all the same", NOTHING_DONE)

    async def work(store: ListStore) -> int:
        await head_of(store, name)
        redis = settings.list_store()
        async with FeedStateStore.open(redis) as feed_states:
            states = await feed_states.states(await feed_states.names())
            numbers = await store.delete(name, who)
            # What a feed remembers of its versions would keep it from filling the list again.
            for feed in _filling(states, name):
                await feed_states.forget(
                    feed, name, who, f"feed {feed}: its list {name} was deleted"
                )
        return numbers

    numbers = with_list_store(settings, work)
    text = f"{name} is deleted: {numbers:,} numbers are not listed by it any more"
    render(form, {"list": name, "deleted": True, "numbers": numbers}, lambda: say(text))
    if any((Path(settings.exchange.dir) / METADATA).glob(f"*.{name.replace('/', '~')}.json")):
        note(f"its last edition stays in {settings.exchange.dir}, and partners follow it")


def _shared_by(settings: Settings, name: str) -> Iterator[str]:
    """Agreements that share the list, now or later."""
    for one in agreements_of(settings).held:
        if one.state(now_s()) is not AgreementState.ENDED and any(
            c.list == name for c in one.clauses
        ):
            yield f"agreement {one.id} shares {name}"


def _filled_by(settings: Settings, name: str) -> Iterator[str]:
    """Feeds whose files fill the list."""
    setups: Mapping[str, FeedSetup]
    try:
        setups, _ = read_each(Path(settings.feeds.dir), os.environ, feed_context(settings))
    except ConfigInvalid:
        return  # who follows no feeds has none
    for setup in setups.values():
        if setup.feed.list_name == name:
            yield f"feed {setup.feed.name} fills {name}: {setup.path}"


def _filling(states: Mapping[str, FeedState], name: str) -> Iterator[str]:
    """Feeds whose last versions were of the list."""
    for feed, state in states.items():
        records = (state.accepted, state.held, state.refused)
        if any(one is not None and one.list_name == name for one in records):
            yield feed
