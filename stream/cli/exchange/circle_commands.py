"""`ringfence circle`: the keys by which the countries of a circle hash numbers."""

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from stream.cli.common import own, settings_of
from stream.cli.lazy_group import group
from stream.cli.options import ConfigFiles, Output
from stream.cli.output import NOTHING_DONE, USAGE, Format, fail, note, print_table, render, say
from stream.cli.store_access import with_list_store
from stream.config.settings import Settings
from stream.core.model.entry import NEVER, Entry
from stream.core.model.errors import SecretUnsafe
from stream.core.model.moments import rfc3339
from stream.lists.snapshot import circle_keys
from stream.lists.store.list_content import hashed_now
from stream.lists.store.list_store import ListStore

app = group()
Circle = Annotated[str, typer.Argument(metavar="CIRCLE", help="asean, or an epoch: asean@2.")]


@app.command()
def create(
    name: Circle,
    key_file: Annotated[
        Path | None, typer.Option(help="The key of another member: 64 hex digits.")
    ] = None,
    config: ConfigFiles = None,
) -> None:
    """Make a circle's key, or take a key that another member gave you. The key is never printed.

    One member makes it. The others get the file on a path that only they can read (not by mail,
    never in the repository). They take it with --key-file. All members compare the key's id.

    Example: ringfence circle create asean
    """
    settings = settings_of(config)
    folder = _folder(settings)
    own(settings.lists.state_dir, folder)
    key = circle_keys.new_key(folder, name, circle_keys.key_in(key_file) if key_file else None)
    say(f"{name}: key {circle_keys.key_id(key)} in {circle_keys.file_of(folder, name)}")
    say("give that file to the other members by a way that only they can read; compare the id")


@app.command()
def rotate(name: Circle, config: ConfigFiles = None) -> None:
    """Begin the circle's next epoch: a new key beside the old one until all lists have moved.

    In the overlap, lists of both epochs are read, each with its key. A member with the new key
    follows each list when its owner moves it. After the last owner, `ringfence circle retire` ends
    the old epoch. Running processes use a new key without a restart.

    Example: ringfence circle rotate asean
    """
    settings = settings_of(config)
    stem, _, _ = name.partition("@")
    if stem == circle_keys.PLAIN:
        fail(f"{stem} has no key to rotate: `ringfence circle create asean` makes one", USAGE)
    last = circle_keys.newest(stem, settings.circle_keys())
    if last is None:
        fail(f"no circle {name}: `ringfence circle create {name}` makes it", USAGE)
    follows = circle_keys.next_epoch(last)
    folder = _folder(settings)
    own(settings.lists.state_dir, folder)
    key = circle_keys.new_key(folder, follows)
    say(f"{follows}: key {circle_keys.key_id(key)} in {circle_keys.file_of(folder, follows)}")
    take = f"ringfence circle create {follows} --key-file FILE"
    say(f"1. give that file to the other members: `{take}`")
    say(f"2. when all have it, each owner: `ringfence lists rekey OWNER/NAME --circle {follows}`")
    say(f"3. when no list of {last} is left: `ringfence circle retire {last}`")


@app.command()
def retire(
    name: Circle,
    force: Annotated[
        bool, typer.Option("--force", help="Even if lists are hashed by it. Asks no list store.")
    ] = False,
    config: ConfigFiles = None,
) -> None:
    """End an epoch: delete its key here. Lists hashed by it can no longer be read.

    Exit code 1: there are such lists, and nothing was done. --force deletes the key all the same.

    Example: ringfence circle retire asean
    """
    settings = settings_of(config)
    path = circle_keys.file_of(_folder(settings), name)
    if path.exists() and not force:
        _check_unused(settings, name)
    try:
        path.unlink()
    except OSError as error:
        raise SecretUnsafe(f"{path} cannot be deleted: {error.strerror}") from error
    say(f"{name}: the key is deleted; restart what runs, so that it is forgotten there too")


def _check_unused(settings: Settings, circle: str) -> None:
    """End with 1 where lists here are hashed by the circle's key, ours or partners'."""
    heads = with_list_store(settings, ListStore.heads).lists.values()
    if left := [head.name for head in heads if head.circle == circle]:
        for name in left:
            note(f"{name} is hashed by it")
        how = "`ringfence lists rekey` moves a list of ours, its owner moves another"
        fail(f"{circle}: nothing was deleted: {how}; --force deletes it all the same", NOTHING_DONE)


@app.command("list")
def list_(config: ConfigFiles = None, form: Output = Format.TABLE) -> None:
    """List the circles whose key is here, with the key ids that members compare.

    Example: ringfence circle list
    """
    settings = settings_of(config)
    folder = _folder(settings)
    rows = []
    for name, key in sorted(settings.circle_keys().items()):
        source = settings.circles[name].key_env if name in settings.circles else ""
        where = source or (
            "" if name == circle_keys.PLAIN else str(circle_keys.file_of(folder, name))
        )
        rows.append((name, circle_keys.key_id(key), where))
    told = [{"circle": n, "key_id": i or None, "from": w or None} for n, i, w in rows]
    cells = [[text or "-" for text in row] for row in rows]
    render(form, told, lambda: print_table(("circle", "key id", "from"), cells))


@app.command()
def why(
    name: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="Our list.")],
    fingerprint: Annotated[str, typer.Argument(help="The fingerprint: 16 hex digits.")],
    config: ConfigFiles = None,
    form: Output = Format.TABLE,
) -> None:
    """Find the number behind a fingerprint on a list of ours, and who reported it: for an appeal.

    Partners who share only fingerprints cannot name the number. The owner can, also for an earlier
    epoch while its key is here. The number is shown whole. Exit codes: 0 it is listed, 1 it is not.

    Example: ringfence circle why KH/scam 336e914774f97770
    """
    settings = settings_of(config)
    if not re.fullmatch(r"[0-9a-f]{16}", fingerprint.lower()):
        fail(f"{fingerprint!r} is no fingerprint: 16 hex digits", USAGE)
    value = int(fingerprint, 16)

    async def work(store: ListStore) -> tuple[Entry, ...]:
        keys = settings.circle_keys()
        now = (await hashed_now(store, name, [value], keys)).get(value, value)
        return (await store.reports(name, [now])).get(now, ())

    reports = with_list_store(settings, work)
    told = [_report_json(one) for one in reports]

    def draw() -> None:
        if not told:
            say(f"{name} does not hold it now; its history: `ringfence lists history {name}`")
        for one in told:
            until = one["expires_at"] or "it is taken off"
            what = f"{one['category']}, confidence {one['confidence']}"
            say(f"{one['number']}: {one['source']}: {what}, {one['reported_at']} until {until}")

    render(form, {"list": name, "reports": told}, draw, rows="reports")
    if not reports:
        raise typer.Exit(NOTHING_DONE)


def _report_json(one: Entry) -> dict[str, Any]:
    return {
        "number": one.number or None,
        "source": one.source,
        "category": one.category.label,
        "confidence": one.confidence,
        "reported_at": rfc3339(one.reported_at_s),
        "expires_at": None if one.expires_at_s == NEVER else rfc3339(one.expires_at_s),
    }


def _folder(settings: Settings) -> Path:
    return Path(settings.exchange.circles_dir)
