"""`ringfence audit`: the record of all changes, and its verification."""

from typing import Annotated, Any

import typer

from stream.cli.common import settings_of, since_ms
from stream.cli.lazy_group import Group
from stream.cli.options import ConfigFiles, Output
from stream.cli.output import NOTHING_DONE, Format, render, say
from stream.cli.store_access import with_list_store
from stream.core.model.moments import rfc3339
from stream.lists.store.audit_entries import AuditEntry, Verification
from stream.lists.store.history import AuditRun, detail_of_run, place_of
from stream.lists.store.list_store import AUDIT_MAX, ListStore

app = typer.Typer(cls=Group, invoke_without_command=True)


@app.callback()
def audit(
    context: typer.Context,
    name: Annotated[
        str | None,
        typer.Option("--list", metavar="OWNER/NAME", help='A list; "" for the allowlist.'),
    ] = None,
    who: Annotated[str | None, typer.Option("--actor", help="Only this person's.")] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Since 2026-11-25T14:00:00Z, or 2h ago.")
    ] = None,
    limit: Annotated[int, typer.Option(min=0, help="How many, newest first. 0: all.")] = 50,
    each: Annotated[bool, typer.Option("--each", help="One line for each number.")] = False,
    config: ConfigFiles = None,
    form: Output = Format.TABLE,
) -> None:
    """Show who changed what, when and why, newest first. Numbers are masked.

    Numbers that one person added or removed together are one line. JSON and CSV have each entry.

    Example: ringfence audit --list TH/national --since 2d
    """
    if context.invoked_subcommand is not None:
        return
    settings = settings_of(config)
    from_ms = since_ms(since) if since else 0
    joined = form is Format.TABLE and not each

    async def work(store: ListStore) -> list[AuditRun]:
        found: list[AuditRun] = []
        async for entry in store.past.audit(from_ms):
            if name not in (None, entry.list_name) or who not in (None, entry.actor):
                continue
            if joined and found and found[-1].takes(entry):
                continue
            if limit and len(found) == limit:
                break
            found.append(AuditRun(entry, entry))
        return found

    runs = with_list_store(settings, work)

    def draw() -> None:
        for run in runs:
            say(_line(run))

    render(form, [_entry_json(run.newest) for run in runs], draw)


def _line(run: AuditRun) -> str:
    """Return a run as a line: number, time, actor, change of which list, and reason."""
    entry, first = run.newest, run.oldest.generation
    at = f" generation {entry.generation}" if entry.generation else ""
    if run.entries > 1:
        at = f" generations {first} to {entry.generation}"
    detail, why = detail_of_run(run), f" ({entry.reason})" if entry.reason else ""
    return (
        f"{entry.number or '-':>6}  {rfc3339(entry.at_s)}  {entry.actor}: {entry.op} "
        f"{place_of(entry)}{at}{': ' * bool(detail)}{detail}{why}"
    )


def _entry_json(entry: AuditEntry) -> dict[str, Any]:
    return {
        "entry": entry.number or None,
        "at": rfc3339(entry.at_s),
        "actor": entry.actor,
        "reason": entry.reason,
        "list": entry.list_name,
        "op": entry.op,
        "generation": entry.generation,
        "detail": entry.detail,
        "count": entry.count,
        "hash": entry.hash or None,
    }


@app.command()
def verify(
    noted: Annotated[
        str, typer.Option("--head", metavar="HASH", help="A head stored elsewhere.")
    ] = "",
    config: ConfigFiles = None,
    form: Output = Format.TABLE,
) -> None:
    """Find audit entries that are missing, changed, moved, inserted or cut off at the end.

    It names the place and the verified entries. The list store removes the oldest entries by
    design; this is not an error. A person who can rewrite the audit log and its head can deceive
    this check. So store the printed head elsewhere and pass it with --head, which must be found
    again. Exit codes: 0 the audit log is complete, 1 it is not.

    Example: ringfence audit verify
    """
    settings = settings_of(config)

    async def work(store: ListStore) -> Verification:
        head = await store.past.audit_head()
        found = Verification(head, AUDIT_MAX, noted.strip().lower())
        if head.last_id:
            async for identity, fields in store.past.audit_items(head.last_id):
                found.take(identity, fields)
        found.finish()
        return found

    found = with_list_store(settings, work)
    told = {
        "whole": not found.troubles,
        "first": found.first,
        "last": found.last,
        "head": found.head.hash or None,
        "noted_entry": found.noted_at or None,
        "unchained": found.unchained,
        "troubles": [{"where": t.where, "what": t.what} for t in found.troubles],
    }
    render(form, told, lambda: _print(found))
    if found.troubles:
        raise typer.Exit(NOTHING_DONE)


def _print(found: Verification) -> None:
    for trouble in found.troubles:
        say(f"{trouble.where}: {trouble.what}")
    span = f"entries {found.first:,} to {found.last:,}" if found.last else "no entries"
    state = f"{len(found.troubles)} troubles in" if found.troubles else "whole:"
    say(f"{state} {span}; head {found.head.hash or '-'}")
    if found.cut_off:
        say(f"  entries before {found.first:,} were cut off by age and are not verified")
    if found.unchained:
        say(f"  {found.unchained:,} older entries are from before entries were chained")
    if found.noted_at:
        say(f"  the noted head is entry {found.noted_at:,}: what was before it is as it was then")
