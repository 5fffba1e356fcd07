"""How commands write a list, or what they found in it, into a file or onto stdout."""

import asyncio
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from stream.cli.common import ConfigFiles, settings_of
from stream.cli.list_store import USAGE, ListName, fail, key_of, note, now_s, with_list_store
from stream.core.filters.snapshot import FILTER_PART
from stream.core.model.entry import Columns
from stream.feeds.formats.change_file import whole_list
from stream.lists.snapshot.build import Version, build_snapshot
from stream.lists.snapshot.circle_keys import key_id
from stream.lists.snapshot.list_text import export as exported
from stream.lists.store.heads import ListHead
from stream.lists.store.list_content import entries_of, head_of
from stream.lists.store.list_store import ListStore
from stream.ops.untrusted_folders import PRIVATE

FORMS = ("text", "csv", "jsonl", "changes", "pybloom")

Form = Annotated[
    str, typer.Option("--format", help="text, csv, jsonl; changes: for a feed; pybloom: a filter.")
]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="A file; else stdout.")]

app = typer.Typer()


def check_form(form: str, output: Path | None) -> None:
    """End with 2 if a list cannot be written so."""
    if form not in FORMS:
        fail(f"no format {form}: text, csv, jsonl, changes or pybloom", USAGE)
    if form == "pybloom" and output is None and sys.stdout.isatty():
        fail("a pybloom file is binary: give -o FILE", USAGE)


async def write_list(
    head: ListHead, columns: Columns, key: bytes, form: str, output: Path | None
) -> None:
    """Write `columns`, what a list was at the generation of `head`, in one of `FORMS`."""
    if form == "pybloom":
        owner, _, short = head.name.partition("/")
        version = Version(owner, short, head.generation, head.circle, key, key_id(key))
        parts = await asyncio.to_thread(build_snapshot, version, columns, now_s())
        write_out(output, [parts[FILTER_PART]])
    elif form == "changes":
        lines = whole_list(head.name, head.generation, columns)
        write_out(output, (line.encode() for line in lines))
    else:
        pieces = exported(columns, form)  # type: ignore[arg-type]
        write_out(output, (piece.encode() for piece in pieces))


def write_out(output: Path | None, pieces: Iterable[bytes]) -> None:
    """Pieces of a file into a file or onto stdout.

    A new file is private to who runs the command: most have whole numbers. One that is there keeps
    its mode.
    """
    try:
        if output is None:
            sys.stdout.buffer.writelines(pieces)
            sys.stdout.buffer.flush()
        else:
            with open(output, "wb", opener=_private) as file:
                file.writelines(pieces)
    except BrokenPipeError:
        raise typer.Exit(0) from None
    except OSError as error:
        fail(f"{output}: {error.strerror}", USAGE)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, PRIVATE)


@app.command()
def export(
    name: ListName, form: Form = "csv", output: Output = None, config: ConfigFiles = None
) -> None:
    """Write a list as it is now: every number whole, or as a pybloom-live file.

    Example: ringfence lists export TH/national --format jsonl -o national.jsonl
    """
    settings = settings_of(config)
    check_form(form, output)

    async def work(register: ListStore) -> tuple[int, int]:
        key = key_of(settings, (await head_of(register, name)).circle)
        head, columns = await entries_of(register, name, key)
        await write_list(head, columns, key, form, output)
        return columns.numbers, len(columns)

    numbers, reports = with_list_store(settings, work)
    note(f"{name}: {numbers:,} numbers, {reports:,} reports")
