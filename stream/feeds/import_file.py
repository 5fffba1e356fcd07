"""Import a file into a list of the list store.

A few rows for an existing list become changes, live at once. More rows become a new base, built
beside the old one from the list's content and the file. Changes that others make meanwhile lie over
it. If another process publishes a base in between, the import merges and builds again.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from stream.core.model.entry import Columns
from stream.feeds.cleaning import CleanedRows
from stream.feeds.detection.column_names import names_call_records
from stream.feeds.detection.header_names import names_of
from stream.feeds.detection.lookalikes import ColumnTally, sampled
from stream.feeds.formats.format_words import words_of
from stream.feeds.formats.rows import Format, InputUnreadable, ReadOptions, Wrong
from stream.feeds.open import read_rows
from stream.feeds.parse import ColumnBuilder, Defaults, Parser
from stream.feeds.version_files import Rejects
from stream.lists.snapshot.merge import empty_columns, held_in, merged
from stream.lists.store.heads import By, EditOutcome, no_progress
from stream.lists.store.list_content import CHANGES_MAX, head_of
from stream.lists.store.list_store import ListStore
from stream.lists.store.rewrite import BaseOrigin, Draft, Stage, rewrite


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """One file for one list. `replace`: the file is the whole list; else it is added to it.

    `are_numbers`: a person says that they are numbers to list, whatever they look like. `options`
    say how its format is read.
    """

    name: str
    path: Path
    kind: Format
    names: tuple[str, ...] | None
    defaults: Defaults
    rejects: Path
    replace: bool
    key: bytes
    by: By
    are_numbers: bool = False
    options: ReadOptions = ReadOptions()  # noqa: RUF009 -- frozen


@dataclass(frozen=True, slots=True)
class ImportReport:
    """The effect of an import: numbers `added` to the list and `removed` from it, and further
    reports (`updated`) of numbers that were on it. `repeated` rows gave a number and source that a
    later row of the file gave again. `cleaned` are rows whose number was cleaned.
    """

    generation: int
    rows: int
    added: int
    updated: int
    removed: int
    repeated: int
    rejected: Mapping[Wrong, int]
    count: int
    cleaned: CleanedRows


@dataclass(frozen=True, slots=True)
class _FileRead:
    """The good rows of a file as columns, their count, and what became of the others."""

    columns: Columns
    rows: int
    rejected: Mapping[Wrong, int]
    cleaned: CleanedRows


def _read(request: ImportRequest, stage: Stage) -> _FileRead:
    """Return the content of the file. Blocks.

    It writes rejected rows into the rejects file. Raises InputUnreadable, also where the numbers
    look like something else: no gate follows.
    """
    parser = Parser(replace(request.defaults, may_remove=False), words_of(request.kind))
    gathered, tally, cleaned = ColumnBuilder(request.key), ColumnTally(), CleanedRows()
    with Rejects(request.rejects).open() as rejects:
        rows = read_rows(
            request.path,
            request.kind,
            request.names,
            lambda done, whole: stage("reading", done, whole),
            request.options,
        )
        for chunk in rows:
            parsed = parser.parse(chunk)
            sampled(chunk.number, tally)
            rejects.add(parsed.rejected)
            cleaned.update(parsed.cleaned)
            gathered.add(parsed)
    if gathered.rows and not request.are_numbers and (doubt := _doubt(request, tally)):
        raise InputUnreadable(
            f"{request.path}: nothing was imported: {doubt}. Name the column of the numbers with "
            "--columns; if they are numbers to list all the same, say --are-numbers"
        )
    stage("sorting", 0, 1)
    columns = gathered.columns(parser.sources)
    stage("sorting", 1, 1)
    return _FileRead(columns, gathered.rows, rejects.counts, cleaned)


def _doubt(request: ImportRequest, tally: ColumnTally) -> str:
    """Return why the numbers look like something else; "": they do not."""
    if (looks := tally.looks()) is not None:
        return f"what is read as numbers looks like {looks[0].value} ({looks[1]})"
    if request.kind == "text" or request.names is not None:
        return ""
    if names_call_records(names_of(request.path, request.kind, request.options)):
        return "its columns are those of call records, whose callers are everybody who called"
    return ""


async def import_file(
    list_store: ListStore, request: ImportRequest, now_s: int, stage: Stage = no_progress
) -> ImportReport:
    """Load a file into its list. Without one good row nothing changes.

    Raises InputUnreadable, ListUnknown, ListStoreDown, ListStoreLost, ChangeConflict and
    SnapshotUnreadable.
    """
    head = await head_of(list_store, request.name)
    read = await asyncio.to_thread(_read, request, stage)
    new, rows, rejected = read.columns, read.rows, read.rejected
    if not len(new):
        return ImportReport(head.generation, 0, 0, 0, 0, 0, rejected, head.count, read.cleaned)
    repeated = rows - len(new)
    if not request.replace and head.changes + len(new) <= CHANGES_MAX:
        entries = [new.entry(row) for row in range(len(new))]
        changed = await list_store.add(request.name, entries, request.by)
        done = Counter(changed.outcomes)
        added, updated = done[EditOutcome.ADDED], done[EditOutcome.UPDATED]
        head = await head_of(list_store, request.name)
        figures = (changed.generation, rows, added, updated, 0, repeated, rejected, head.count)
        return ImportReport(*figures, read.cleaned)
    old = empty_columns()

    async def whole(draft: Draft) -> Columns:
        nonlocal old  # the report counts what the try that was published found
        old = await draft.columns(request.key, skip_damaged=request.replace)
        return new if request.replace else await asyncio.to_thread(merged, old, new)

    origin = BaseOrigin("import", request.by)
    built = await rewrite(list_store, request.name, request.key, origin, whole, now_s, stage)
    known = int(held_in(old, new.fingerprint[new.begins]).sum())
    gone = old.numbers - known if request.replace else 0
    added = new.numbers - known
    updated = len(new) - added
    figures = (built.generation, rows, added, updated, gone, repeated, rejected, built.count)
    return ImportReport(*figures, read.cleaned)
