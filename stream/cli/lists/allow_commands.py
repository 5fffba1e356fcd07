"""`ringfence allow`: numbers and prefixes that are never blocked."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from stream.cli.common import expiry, settings_of
from stream.cli.lazy_group import group
from stream.cli.options import (
    OR_STDIN,
    Actor,
    ConfigFiles,
    ExpiresIn,
    FromState,
    Output,
    Reason,
    Region,
    SameStore,
    typed_or_piped,
)
from stream.cli.output import NOTHING_DONE, USAGE, Format, fail, note, print_table, render, say
from stream.cli.store_access import by, check_same_store, numbers_in, with_list_store
from stream.core.model.allowlist import AllowEntry, Allowlist
from stream.core.model.moments import rfc3339
from stream.lists.follower.repair import AllowLoss, allowlist_loss, put_back_allowlist, take_over
from stream.lists.store.list_store import ListStore
from stream.ops.clock import now_s

app = group()

Texts = Annotated[
    list[str],
    typer.Argument(
        metavar="NUMBER|PREFIX*...",
        help="A number or a prefix: +6621234567, '+662123*'." + OR_STDIN,
        callback=typed_or_piped,
    ),
]


@app.command()
def add(
    texts: Texts,
    reason: Reason = "",
    expires_in: ExpiresIn = None,
    region: Region = None,
    actor: Actor = None,
    config: ConfigFiles = None,
) -> None:
    """Never block these numbers, or numbers with these prefixes.

    An entry that answers an appeal goes on to do so: no feed brings its number back to our lists.

    Example: ringfence allow add +6621234567 '+662123*' --reason "hospital" --expires-in 7d
    """
    settings, who, expires_at_s = settings_of(config), by(actor, reason), expiry(expires_in)
    names, wrong = _names(texts, region)
    try:
        entries = [AllowEntry(name, reason, who.actor, now_s(), expires_at_s) for name in names]
    except ValueError as error:
        fail(str(error), USAGE)

    async def work(store: ListStore) -> None:
        _, held = await store.allow_all()
        appeals = {entry.text: entry.appeal for entry in held}
        kept = [replace(entry, appeal=appeals.get(entry.text, "")) for entry in entries]
        await store.allow_add(kept, who)

    if entries:
        with_list_store(settings, work)
    say(f"allowed: {len(entries)}")
    if wrong:
        raise typer.Exit(NOTHING_DONE if entries else USAGE)


@app.command()
def remove(
    texts: Texts,
    reason: Reason = "",
    region: Region = None,
    actor: Actor = None,
    config: ConfigFiles = None,
) -> None:
    """Remove entries from the allowlist, each exactly as listed.

    Example: ringfence allow remove '+662123*' --reason "contract ended"
    """
    settings, who = settings_of(config), by(actor, reason)
    names, wrong = _names(texts, region)
    there = with_list_store(settings, lambda store: store.allow_remove(names, who))
    for name, was in zip(names, there, strict=True):
        if not was:
            note(f"{name} is not on the allowlist")
    say(f"removed: {sum(there)}")
    if wrong or not all(there):
        raise typer.Exit(NOTHING_DONE)


@app.command("list")
@app.command("show", hidden=True)
def list_(config: ConfigFiles = None, form: Output = Format.TABLE) -> None:
    """List the entries of the allowlist: who allowed what, why and until when.

    Example: ringfence allow list
    """
    settings = settings_of(config)
    _, held = with_list_store(settings, lambda store: store.allow_all())
    entries = Allowlist.of(held).entries()
    told = [
        {
            "text": entry.text,
            "reason": entry.reason,
            "actor": entry.actor,
            "appeal": entry.appeal or None,
            "added_at": rfc3339(entry.added_at_s),
            "expires_at": rfc3339(entry.expires_at_s),
            "live": entry.live(now_s()),
        }
        for entry in entries
    ]
    names = ("number or prefix", "reason", "by", "since", "until")
    render(form, told, lambda: print_table(names, map(_cells, told)))


def _cells(entry: Mapping[str, Any]) -> tuple[str, ...]:
    appeal = f" (appeal {entry['appeal']})" if entry["appeal"] else ""
    over = "" if entry["live"] else " (expired)"
    why, until = f"{entry['reason']}{appeal}", f"{entry['expires_at'] or '-'}{over}"
    return entry["text"], why, entry["actor"], entry["added_at"] or "-", until


@app.command()
def repair(
    from_state: FromState = False,
    same_store: SameStore = False,
    reason: Reason = "",
    actor: Actor = None,
    config: ConfigFiles = None,
    form: Output = Format.TABLE,
) -> None:
    """Name the allow entries that a damaged list store has lost, or put them back.

    Until then workers keep the allowlist that they know, and new entries have no effect. Exit
    codes: 0 nothing is wrong, or it was put back; 1 something is wrong.

    Example: ringfence allow repair --from-state
    """
    check_same_store(same_store=same_store, from_state=from_state)
    settings = settings_of(config)
    who = by(actor, reason or "repair from the state of a worker")

    async def work(store: ListStore) -> AllowLoss:
        if same_store:
            await take_over(store, Path(settings.lists.state_dir))
        loss = await allowlist_loss(store, Path(settings.lists.state_dir))
        if from_state:
            await put_back_allowlist(store, loss, who)
        return loss

    loss = with_list_store(settings, work)
    told = {
        "generation_here": loss.here,
        "generation_register": loss.there,
        "another_register": loss.other,
        "missing": [entry.text for entry in loss.missing],
        "gone": loss.gone,
        "put_back": from_state,
    }

    def draw() -> None:
        say(f"here generation {loss.here}; in the list store generation {loss.there}")
        if loss.lost:
            done = "put back" if from_state else "to put back with --from-state"
            say(f"  {done}: {len(loss.missing)} entries; taken off again: {len(loss.gone)}")

    render(form, told, draw)
    if (loss.lost or loss.other) and not from_state:
        raise typer.Exit(NOTHING_DONE)


def _names(texts: list[str], region: str | None) -> tuple[list[str], int]:
    """Return texts as the allowlist writes them, E.164 or a prefix, and how many are neither."""
    prefixes = [text for text in texts if text.endswith("*")]
    numbers, wrong = numbers_in([text for text in texts if not text.endswith("*")], region)
    return [*numbers, *prefixes], wrong
