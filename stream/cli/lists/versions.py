"""`ringfence lists history|diff|at|rollback|rebuild|rekey|repair`: a list's past and way back."""

import asyncio
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Column, Table

from stream.cli.common import AsJson, ConfigFiles, settings_of
from stream.cli.list_store import (
    NOTHING_DONE,
    ROWS_FOR_KERNELS,
    USAGE,
    Actor,
    ListName,
    ReasonText,
    behind_calls,
    by,
    fail,
    key_of,
    moment_in,
    note,
    now_s,
    say,
    with_list_store,
)
from stream.cli.lists.export import Form, Output, check_form, write_list, write_out
from stream.cli.output import out, print_json
from stream.cli.progress import progress
from stream.core.model.entry import Columns
from stream.core.model.moments import rfc3339
from stream.feeds.formats.change_file import increment
from stream.lists.follower.repair import Diagnosis, RepairStatus, look, put_back
from stream.lists.snapshot.list_text import written
from stream.lists.snapshot.merge import VersionDiff, difference
from stream.lists.store.history import HistoryRow, history
from stream.lists.store.list_content import Past, content, past_of
from stream.lists.store.list_store import ListStore
from stream.lists.store.rewrite import Move, Rebased, rebuild, rekey, rollback

app = typer.Typer()

Generation = Annotated[int, typer.Argument(metavar="GENERATION", min=1)]


@app.command("history")
def history_(
    name: ListName,
    limit: Annotated[int, typer.Option(min=0, help="How many rows; 0: all.")] = 50,
    each: Annotated[
        bool, typer.Option("--each", help="Every generation on a row of its own.")
    ] = False,
    config: ConfigFiles = None,
    as_json: AsJson = False,
) -> None:
    """Show what became of a list, newest first: who made which generation, when and why.

    Like changes within a minute are one row. `kept` are generations that `lists at`, `diff` and
    `rollback` can still have.

    Example: ringfence lists history TH/national
    """
    settings = settings_of(config)

    async def work(register: ListStore) -> tuple[Past, tuple[HistoryRow, ...]]:
        past = await past_of(register, name)
        return past, await history(register, past, limit, each=each)

    past, rows = with_list_store(settings, work)
    if as_json:
        print_json(
            {
                "list": name,
                "generation": past.head.generation,
                "kept": [[s.first, s.last] for s in reversed(past.stretches)],
                "history": [_row_json(row) for row in rows],
            }
        )
        return
    names = ("generation", "when", "who", "what", "numbers", "kept", "why")
    table = Table(*(Column(n, overflow="fold") for n in names), box=None, header_style="bold")
    for row in rows:
        span = f"{row.first}-{row.last}" if row.first != row.last else str(row.last)
        count = "-" if row.count is None else f"{row.count:,}"
        table.add_row(
            *(span, rfc3339(row.at_s), row.actor or "-", _what(row), count),
            *("yes" if row.kept else "no", row.reason or ""),
        )
    out.print(table)
    note(f"{name}: generations that can be had: {past.said()}")


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
        int | None, typer.Argument(metavar="[B]", min=1, help="The newer one; else the newest.")
    ] = None,
    form: Annotated[
        str,
        typer.Option("--format", help="text, json (one object a line), csv; changes: for a feed."),
    ] = "text",
    output: Output = None,
    config: ConfigFiles = None,
) -> None:
    """Show which reports were added, removed and changed from one generation to another.

    Example: ringfence lists diff TH/national 12 15 --format csv -o changes.csv
    """
    settings = settings_of(config)
    if form not in {"text", "json", "csv", "changes"}:
        fail(f"no format {form}: text, json, csv or changes", USAGE)

    async def work(register: ListStore) -> tuple[VersionDiff, int]:
        past = await past_of(register, name)
        key = key_of(settings, past.head.circle)
        newest = new or past.head.generation
        before, after = [await content(register, past, g, key) for g in (old, newest)]
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
        typer.Argument(
            metavar="TIME", help="2026-11-25T14:00:00Z (UTC unless said), or 2h: so long ago."
        ),
    ],
    form: Form = "csv",
    output: Output = None,
    config: ConfigFiles = None,
) -> None:
    """Write a list as it was at a moment, in the formats of `lists export`.

    Entries that had expired by then are among them, with their expiry.

    Example: ringfence lists at TH/national 2026-11-25T14:00:00Z -o then.csv
    """
    settings = settings_of(config)
    check_form(form, output)
    at_ms = moment_in(when)

    async def work(register: ListStore) -> tuple[int, Columns]:
        past = await past_of(register, name)
        generation = past.generation_at(at_ms)
        key = key_of(settings, past.head.circle)
        columns = await content(register, past, generation, key)
        await write_list(replace(past.head, generation=generation), columns, key, form, output)
        return generation, columns

    generation, columns = with_list_store(settings, work)
    note(f"{name} at {rfc3339(at_ms // 1000)}: generation {generation}, {len(columns):,} entries")


@app.command("rollback")
def rollback_(
    name: ListName,
    generation: Generation,
    reason: Annotated[str, typer.Option("--reason", help="Why, for the audit; needed.")],
    actor: Actor = None,
    config: ConfigFiles = None,
    as_json: AsJson = False,
) -> None:
    """Make a list what it was at a generation, as a new generation; workers have it in seconds.

    What others change while it is made lies over it and stays. If somebody publishes another
    version meanwhile, nothing is changed, and it is said what he did: exit code 1.

    Example: ringfence lists rollback TH/national 12 --reason "the feed of today is poisoned"
    """
    settings, who = settings_of(config), by(actor, reason)
    if not reason.strip():
        fail("--reason is empty: the audit has to say why", USAGE)

    async def work(register: ListStore) -> Rebased:
        head = (await register.state(name)).head
        key = key_of(settings, head.circle)
        behind_calls(settings, head.count)
        with progress() as stage:
            return await rollback(register, name, generation, key, who, now_s(), stage)

    done = with_list_store(settings, work)
    _told(name, done, f"{name} is what it was at generation {generation}", as_json=as_json)


@app.command("rebuild")
def rebuild_(
    name: ListName,
    reason: ReasonText = "",
    actor: Actor = None,
    config: ConfigFiles = None,
    as_json: AsJson = False,
) -> None:
    """Fold the changes since a list's base into a new base. What is listed stays the same.

    `ringfence feeds run` does it by itself when more than `rebuild_changes` numbers were changed.
    If somebody publishes another base meanwhile, nothing is changed: exit code 1.

    Example: ringfence lists rebuild TH/national
    """
    settings, who = settings_of(config), by(actor, reason)

    async def work(register: ListStore) -> Rebased:
        head = (await register.state(name)).head
        key = key_of(settings, head.circle)
        behind_calls(settings, head.count)
        with progress() as stage:
            return await rebuild(register, name, key, who, now_s(), stage)

    done = with_list_store(settings, work)
    _told(name, done, f"{name}: {done.folded:,} changes are in its base now", as_json=as_json)


@app.command("rekey")
def rekey_(
    name: ListName,
    circle: Annotated[str, typer.Option(help="The circle to go to, e.g. asean@2.")],
    reason: ReasonText = "",
    actor: Actor = None,
    config: ConfigFiles = None,
    as_json: AsJson = False,
) -> None:
    """Move a list of ours to another circle, or to the next epoch of its own: hash it anew.

    What is listed stays the same, and goes out by itself; partners who have the new key follow by
    themselves, the others keep their last good list. Generations before it cannot be had any more.
    Exit code 1: it was changed without a pause, and nothing was done.

    Example: ringfence lists rekey KH/scam --circle asean@2 --reason "a leaked key"
    """
    settings, who = settings_of(config), by(actor, reason)

    async def work(register: ListStore) -> Rebased:
        head = (await register.state(name)).head
        if head.circle == circle:
            fail(f"{name} is of circle {circle} already; nothing was changed", NOTHING_DONE)
        move = Move(circle, key_of(settings, circle), key_of(settings, head.circle))
        behind_calls(settings, head.count)
        with progress() as stage:
            return await rekey(register, name, move, who, now_s(), stage)

    done = with_list_store(settings, work)
    if as_json:
        print_json({"list": name, "circle": circle, **asdict(done)})
    else:
        say(f"{name}: {done.count:,} numbers, hashed in {circle} now; generation {done.generation}")


@app.command()
def repair(
    name: ListName,
    from_state: Annotated[
        bool, typer.Option("--from-state", help="Put back what this machine knows.")
    ] = False,
    reason: ReasonText = "",
    actor: Actor = None,
    config: ConfigFiles = None,
    as_json: AsJson = False,
) -> None:
    """Say what a register that lost data has lost, and what to do; or put it back.

    Compares what workers of this machine know (state_dir) with what Redis has. With --from-state
    the worker's last good list becomes a new generation above both, with the register's changes
    since then over it. Run it where the workers know most. Exit codes: 0 nothing is wrong, or it
    was put back; 1 something is wrong and was left as it is.

    Example: ringfence lists repair TH/national
    """
    settings, who = settings_of(config), by(actor, reason or "repair from the state of a worker")
    keys, state_dir = settings.circle_keys(), Path(settings.lists.state_dir)

    async def work(register: ListStore) -> tuple[Diagnosis, Rebased | None]:
        found = await look(register, name, state_dir, keys)
        if not from_state or found.held is None:
            return found, None
        behind_calls(settings, found.head.count if found.head else ROWS_FOR_KERNELS)
        with progress() as stage:
            key = found.held.live.key
            return found, await put_back(register, found, key, who, now_s(), stage)

    found, done = with_list_store(settings, work)
    if as_json:
        print_json(_diagnosis_json(found) | {"put_back": done.generation if done else None})
    elif done is not None:
        _told(name, done, f"{name} is again what was known here", as_json=False)
    else:
        for line in _diagnosis_lines(found):
            say(line)
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
    yield f"{found.name}: here {here}; in the register {there}"
    if since:
        yield f"  the register made {len(since):,} steps since it lost data:"
        yield from (f"    {step.generation}  {step.op}" for step in since[:20])
    elif since is None and found.standing is RepairStatus.FORKED:
        yield "  which changes the register made since cannot be told: they would be undone"
    yield f"  {found.standing.value}"


def _told(name: str, done: Rebased, what: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"list": name, "generation": done.generation, "count": done.count})
    else:
        say(f"{what}; it holds {done.count:,} numbers at generation {done.generation}")
