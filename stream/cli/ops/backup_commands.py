"""`ringfence backup|restore|backup-key`: the list store into a sealed file, and back."""

import asyncio
import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import msgspec
import typer

from stream.cli.common import settings_of
from stream.cli.options import OR_STDIN, Actor, ConfigFiles, Output, Reason, file_or_piped
from stream.cli.output import (
    NOTHING_DONE,
    STDOUT,
    USAGE,
    Format,
    fail,
    note,
    print_table,
    render,
    say,
)
from stream.cli.progress_bars import progress
from stream.cli.store_access import behind_calls, by
from stream.core.model.moments import rfc3339
from stream.lists.backup import backup_keys
from stream.lists.backup.backup_jobs import make_backup, open_backup, restore_backup
from stream.lists.backup.backup_records import BackupSummary
from stream.lists.backup.copy_store import LEFT_OUT
from stream.lists.backup.newer_states import NEVER_THERE, PutBack, read_follower
from stream.ops.clock import now_s
from stream.ops.private_files import sync_folder
from stream.ops.untrusted_folders import PRIVATE


def backup(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The file to write; `-` writes to stdout.")
    ],
    key: Annotated[Path, typer.Option("--key", help="The key that seals it: NAME.pub.")],
    config: ConfigFiles = None,
    form: Output = Format.TABLE,
) -> None:
    """Write the list store into a sealed file, as it is at one moment.

    Changes go on meanwhile. The file holds lists with bases, changes and history, the allowlist,
    promotions, appeals, the audit log, states of feeds, and enforcement counts. It leaves out
    sessions of the page and decisions by id.

    Example: ringfence backup /backup/lists.rfb --key /etc/ringfence/backup.pub
    """
    settings, sealing = settings_of(config), backup_keys.sealing_key(key)
    behind_calls(settings, 0)
    with _whole_file(file) as out, progress() as stage:
        summary, size = asyncio.run(
            make_backup(settings.list_store(), sealing, out, now_s(), stage)
        )
    told = _summary_json(summary) | {
        "file": str(file),
        "bytes": size,
        "key": sealing.name,
        "key_id": sealing.key_id,
        "left_out": dict(LEFT_OUT),
    }
    sealed = f"{size:,} bytes, sealed for {sealing.name} ({sealing.key_id})"
    lines = [f"{file}: {_held(summary)}, {sealed}"]
    lines += [f"left out: {prefix}* ({why})" for prefix, why in LEFT_OUT.items()]
    if file == STDOUT:
        for line in lines:
            note(line)
        return
    render(form, told, lambda: say("\n".join(lines)))


def restore_(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The backup." + OR_STDIN, callback=file_or_piped)
    ],
    key: Annotated[Path, typer.Option("--key", help="The key that opens it: NAME.pem.")],
    state: Annotated[
        list[Path] | None,
        typer.Option("--state", help="A worker's state directory, for newer lists. Repeatable."),
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Empty the list store first.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Read the whole backup and change nothing.")
    ] = False,
    reason: Reason = "",
    actor: Actor = None,
    config: ConfigFiles = None,
    form: Output = Format.TABLE,
) -> None:
    """Restore a backup into a list store, and add what workers know beyond it.

    It checks the whole file first. All of it goes live at once: an interrupted restore changes
    nothing. With --state it puts back newer lists, allow entries and promotions from there. It
    names what is still missing. Exit code 1: the list store is not empty, and nothing was done.

    Example: ringfence restore lists.rfb --key backup.pem --state /var/lib/ringfence
    """
    settings, opening = settings_of(config), backup_keys.opening_key(key)
    who = by(actor, reason or "restore from a backup")
    try:
        source = file.open("rb")
    except OSError as error:
        fail(f"{file}: {error.strerror}", USAGE)
    with source, progress() as stage:
        backup_of = open_backup(source, str(file), opening)
        if check:
            lines = [f"{file}: whole; {backup_of.header.said()}", _held(backup_of.summary)]
            told = _summary_json(backup_of.summary) | {
                "file": str(file),
                "key_id": opening.sealing.key_id,
            }
            render(form, told, lambda: say("\n".join(lines)))
            return
        keys = settings.circle_keys()
        # Before anything is changed: a folder that was misspelt ends it here.
        followers = [read_follower(place, keys) for place in state or []]
        found = asyncio.run(
            restore_backup(
                settings.list_store(), backup_of, followers, who, now_s(), stage, replace=replace
            )
        )
    _tell(file, backup_of.summary, found, form)


def _tell(file: Path, summary: BackupSummary, found: PutBack, form: Format) -> None:
    moment = rfc3339(summary.moment_ms // 1000)
    missing = [f"{NEVER_THERE} after {moment}"]
    missing += [f"{one.name}: {one.what}" for one in found.lists if not one.complete]
    missing += found.refused
    told = _summary_json(summary) | {
        "file": str(file),
        "restored": [asdict(one) for one in found.lists],
        "allow_entries_put_back": found.allow,
        "promotions_put_back": found.trials,
        "missing": missing,
    }

    def draw() -> None:
        say(f"restored from {file}: list store {summary.list_store} as of {moment}")
        rows = [
            (one.name, _or_none(one.in_backup), _or_none(one.in_state), _or_none(one.generation),
             one.what)
            for one in found.lists
        ]  # fmt: skip
        print_table(("list", "backup", "state", "now", "what"), rows, ("backup", "state", "now"))
        say(f"put back besides: {found.allow} allow entries, {found.trials} promotions")
        for one in missing:
            say(f"missing: {one}")

    render(form, told, draw)


def backup_key(
    file: Annotated[
        Path, typer.Argument(metavar="NAME.pem", help="The private half. NAME.pub goes beside it.")
    ],
) -> None:
    """Make a key pair for backups: one half writes them, the other half reads them.

    Machines that write backups need only NAME.pub, beside NAME.pem. Keep two copies of NAME.pem
    elsewhere: without it no backup can be read.

    Example: ringfence backup-key /media/safe/backup.pem
    """
    key = backup_keys.new_key(file)
    say(f"{key.name}: key {key.key_id}")
    say(f"{file} reads backups: keep it elsewhere, in two places")
    say(f"{file.with_suffix(backup_keys.PUBLIC_SUFFIX)} writes them: `ringfence backup --key`")


def _or_none(generation: int | None) -> str:
    return "-" if generation is None else str(generation)


def _held(summary: BackupSummary) -> str:
    moment = rfc3339(summary.moment_ms // 1000)
    many = "1 list" if len(summary.lists) == 1 else f"{len(summary.lists):,} lists"
    return f"{many} as of {moment}, {summary.keys:,} keys"


def _summary_json(summary: BackupSummary) -> dict[str, Any]:
    return {
        "list_store": summary.list_store,
        "moment": rfc3339(summary.moment_ms // 1000),
        "lists": msgspec.to_builtins(summary.lists),
        "allow_generation": summary.allow_generation,
        "audit": {"number": summary.audit_count, "hash": summary.audit_hash},
        "keys": summary.keys,
    }


@contextmanager
def _whole_file(path: Path) -> Iterator[BinaryIO]:
    """Give a file to write that has its name only once it is whole; stdout for `-`.

    A pipe or a device is written as it is: a file in its place would reach nobody.
    """
    if path == STDOUT:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    try:
        if path.exists() and not path.is_file():
            with path.open("wb") as file:
                yield file
            return
        with _alone(path.with_name(f".{path.name}.writing"), path) as file:
            yield file
        sync_folder(path.parent)
    except OSError as error:
        fail(f"{path}: {error.strerror}: no backup was written", USAGE)


@contextmanager
def _alone(aside: Path, path: Path) -> Iterator[BinaryIO]:
    """Give the empty file `aside`, which becomes `path` at the end. Ends with 1 if another has it.

    Two backups that wrote into it together would leave one that nobody can restore.
    """
    handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, PRIVATE)
    with os.fdopen(handle, "wb") as file:
        if not _is_ours(handle, aside):
            fail(f"{path}: another `ringfence backup` writes it; nothing was done", NOTHING_DONE)
        try:
            file.truncate()  # a backup that was killed has left its part
            yield file
            file.flush()
            os.fsync(handle)
            aside.rename(path)  # while the lock is held: afterwards another may begin
        except BaseException:
            aside.unlink(missing_ok=True)
            raise


def _is_ours(handle: int, aside: Path) -> bool:
    """Lock an open file; return whether it is ours alone and still has its name."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(handle), aside.stat())
    except (BlockingIOError, FileNotFoundError):
        return False
