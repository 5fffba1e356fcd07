"""`ringfence lists import` and `export`: a list from a file, and into one."""

import asyncio
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from stream.cli.common import expiry, key_of, region_of, settings_of, text_in
from stream.cli.feeds.feed_check import Told, asking, question_lines
from stream.cli.lazy_group import group
from stream.cli.options import (
    OR_STDIN,
    Actor,
    CategoryName,
    Confidence,
    ConfigFiles,
    DayOrder,
    ExpiresIn,
    ExpiresOrder,
    ItemsPath,
    ListName,
    NumberColumn,
    Output,
    Reason,
    Region,
    SheetName,
    Strict,
    ToFile,
    file_or_piped,
    is_piped,
)
from stream.cli.output import (
    NOTHING_DONE,
    USAGE,
    Format,
    fail,
    note,
    render,
    say,
    warn_of_rejected,
    write_out,
)
from stream.cli.progress_bars import progress
from stream.cli.store_access import ROW_BYTES, behind_calls, by, category_of, with_list_store
from stream.core.filters.snapshot import FILTER_PART
from stream.core.model.entry import Columns
from stream.core.model.free_text import SOURCE_CHARS_MAX, cleaned
from stream.feeds.detection.detect import file_head
from stream.feeds.detection.foreign_files import may_be_workbook
from stream.feeds.detection.format_candidates import is_document
from stream.feeds.detection.lookalikes import style_of
from stream.feeds.detection.proposal import FeedProposal
from stream.feeds.detection.text_encodings import encoding_of, legacy_encoding
from stream.feeds.file_report import cleaned_lines, cleaned_seen
from stream.feeds.formats import csv
from stream.feeds.formats.change_file import whole_list
from stream.feeds.formats.rows import ColumnsUnknown, InputUnreadable, ReadOptions
from stream.feeds.formats.rows import Format as ListFormat
from stream.feeds.import_file import ImportReport, ImportRequest, import_file
from stream.feeds.open import format_of
from stream.feeds.parse import Defaults
from stream.feeds.value_parsers import Dates
from stream.lists.snapshot.build import Version, build_snapshot
from stream.lists.snapshot.circle_keys import key_id
from stream.lists.snapshot.list_text import export as exported
from stream.lists.store.heads import ListHead
from stream.lists.store.list_content import entries_of, head_of
from stream.lists.store.list_store import ListStore
from stream.ops.clock import now_s

app = group()

IMPORTED: Final = ("text", "csv", "workbook", "jsonl", "json", "xml")
_HEAD_LINES: Final = 100
_LINES: Final = frozenset({"text", "csv", "jsonl"})
FORMS: Final = ("text", "csv", "jsonl", "changes", "pybloom")

Form = Annotated[
    str,
    typer.Option(
        "--format", help="text, csv, jsonl; `changes` for a feed; `pybloom` for a filter."
    ),
]


def check_form(form: str, output: Path | None) -> None:
    """End with 2 if a list cannot be written so."""
    if form not in FORMS:
        fail(f"no format {form}: text, csv, jsonl, changes or pybloom", USAGE)
    if form == "pybloom" and output is None and sys.stdout.isatty():
        fail("a pybloom file is binary: give -o FILE", USAGE)


async def write_list(
    head: ListHead, columns: Columns, key: bytes, form: str, output: Path | None
) -> None:
    """Write `columns`, a list at the generation of `head`, in one of `FORMS`.

    A report of which only the fingerprint is known has no line: ends with 1 where all are so.
    """
    unnamed = int((columns.number == 0).sum()) if form != "pybloom" else 0
    if unnamed:
        text = f"{unnamed:,} reports of {head.name} are known by their fingerprint alone"
        text = f"{text}, and are not in the file: only the list's owner can write them"
        if unnamed == len(columns):
            fail(text, NOTHING_DONE)
        note(text)
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


FileName = Annotated[
    Path,
    typer.Argument(
        metavar="FILE",
        help="Text, CSV, a workbook, JSON or XML." + OR_STDIN,
        callback=file_or_piped,
    ),
]
ImportForm = Annotated[
    str | None,
    typer.Option("--format", help="text, csv, workbook, jsonl, json or xml. Default: detected."),
]
ColumnNames = Annotated[
    str | None, typer.Option(help="Names of a CSV's columns: number,,category. Empty: skip.")
]
RejectsFile = Annotated[
    Path | None, typer.Option(help="For rejected rows. Default: FILE.rejects.csv.")
]
WholeList = Annotated[bool, typer.Option("--replace", help="Replace the list. Default: add to it.")]
AreNumbers = Annotated[
    bool, typer.Option("--are-numbers", help="Accept what looks like dates, ids or sums.")
]


@app.command("import")
def import_(
    name: ListName,
    file: FileName,
    kind: ImportForm = None,
    columns: ColumnNames = None,
    region: Region = None,
    replace: WholeList = False,
    category: CategoryName = "other",
    source: Annotated[str | None, typer.Option(help="Their source; else the file's name.")] = None,
    expires_in: ExpiresIn = None,
    confidence: Confidence = 100,
    rejects: RejectsFile = None,
    are_numbers: AreNumbers = False,
    number: NumberColumn = "",
    sheet: SheetName = "",
    items: ItemsPath = "",
    dates: DayOrder = None,
    expires_dates: ExpiresOrder = None,
    reason: Reason = "",
    actor: Actor = None,
    config: ConfigFiles = None,
    strict: Strict = False,
    form: Output = Format.TABLE,
) -> None:
    """Load a file into a list. Good rows load; bad rows go to a file with their reason.

    Values in a row override the options. --number, --sheet and --items say where the numbers are;
    --dates says how to read 01/02/2026. Exit codes: 0 loaded, with a warning if rows were rejected
    (1 with --strict); 1 no row is good, and nothing changed.

    Example: ringfence lists import TH/national numbers.csv --region TH --expires-in 10d
    """
    settings = settings_of(config)
    told = Told(region, number, sheet, items, dates, expires_dates)
    reading = _reading(file, kind, columns, told)
    kept = rejects or _rejects_of(file)
    defaults = Defaults(
        text_in(source or cleaned(file.name)[:SOURCE_CHARS_MAX], "--source", SOURCE_CHARS_MAX),
        now_s(),
        region_of(region),
        category_of(category),
        expiry(expires_in),
        confidence,
        now_s=now_s(),
        dates=reading.dates,
        prefixes=settings.lists.prefixes(),
    )
    behind_calls(settings, file.stat().st_size // ROW_BYTES)

    async def work(store: ListStore) -> ImportReport:
        request = ImportRequest(
            name=name,
            path=file,
            kind=reading.kind,
            names=tuple(part.strip() for part in columns.split(",")) if columns else None,
            defaults=defaults,
            rejects=kept,
            replace=replace,
            key=key_of(settings, (await head_of(store, name)).circle),
            by=by(actor, reason or f"import of {cleaned(file.name)}"),
            are_numbers=are_numbers,
            options=reading.options,
        )
        return await _imported(store, request)

    report = with_list_store(settings, work)
    render(form, _report_json(name, report, kept), lambda: _print_report(name, report, kept))
    if warn_of_rejected(sum(report.rejected.values()), strict=strict) or not report.rows:
        raise typer.Exit(NOTHING_DONE)


async def _imported(store: ListStore, request: ImportRequest) -> ImportReport:
    with progress() as stage:
        try:
            return await import_file(store, request, now_s(), stage)
        except ColumnsUnknown as error:
            text = f"{error}; for this import: --columns number,,category"
            raise InputUnreadable(text) from error


def _reading(file: Path, kind: str | None, names: str | None, told: Told) -> FeedProposal:
    """Return how the file is read: lines as their format is, others as `feeds detect` reads them.

    Ends with 2 where the file cannot be read, and with the question where there is one.
    """
    if kind not in {None, *IMPORTED}:
        fail(f"no format {kind}: {', '.join(IMPORTED)}", USAGE)
    place: str | int = int(told.number) if told.number.isdecimal() else told.number
    options = ReadOptions({"number": place} if place else {}, sheet=told.sheet, items=told.items)
    try:
        head = file_head(file)
        named = "csv" if not file.suffix and _has_header(head) else format_of(file)
        by_name: ListFormat = kind or named  # type: ignore[assignment]
        is_other = may_be_workbook(head) or is_document(head)
        if kind in _LINES or (kind is None and not is_other and by_name in _LINES):
            options = replace(options, encoding=legacy_encoding(head))
            plain = FeedProposal(by_name, 0, "", options, dates=told.spelling)
            if by_name != "csv" or names is not None or place or _is_plain(head, plain):
                return plain
        elif kind is not None or names is not None:
            form: ListFormat = kind or "workbook"  # type: ignore[assignment]
            return FeedProposal(form, 0, "", options, dates=told.spelling)
        only = region_of(told.region)
        found = told.found(file, (only,) if only else ())
    except InputUnreadable as error:
        fail(str(error), USAGE)
    asked = found[0].question if found else None
    if not found or asked is not None:
        command = asking("lists import LIST", file, told)
        lines = question_lines(found[0], command) if found else ["nothing in it is a list"]
        if asked is None or not asked.is_of_dates:
            lines += ["or name the columns of a table: --columns number,,category"]
        fail("\n  ".join((f"{file}: nothing was imported:", *lines)), USAGE)
    if found[0].kind not in IMPORTED:
        fail(f"{file} is {found[0].kind}: a feed reads it, or --format says how to read it", USAGE)
    return _without_unknown_words(found[0])


def _has_header(head: bytes) -> bool:
    """Return whether the first line names columns: what came by stdin has no ending to go by."""
    first = head.partition(b"\n")[0].decode(errors="replace")
    return (
        not first.startswith("#")
        and any(sign in first for sign in ",;\t")
        and any(letter.isalpha() for letter in first)
    )


def _is_plain(head: bytes, plain: FeedProposal) -> bool:
    """Return whether a CSV's header names its columns as we do, or nothing but numbers is in it.

    Days whose order has to be found first make it a file like any other.
    """
    text = head.decode(plain.options.encoding or encoding_of(head, Path("the file")), "replace")
    lines = text.removeprefix("\ufeff").splitlines()[:_HEAD_LINES]
    try:
        shape = csv.shape_of(lines)
    except InputUnreadable:
        return False
    dated = [at for name, at in shape.columns.items() if name in {"reported_at", "expires_at"}]
    if plain.dates != Dates() or not dated:
        return True
    rows = [line.split(shape.delimiter) for line in lines[shape.skipped :]]
    styles = (style_of([row[at].strip(' "') for row in rows if at < len(row)]) for at in dated)
    return all(style is None or style.dates == "iso" for style in styles)


def _without_unknown_words(one: FeedProposal) -> FeedProposal:
    """Return a proposal without the column of categories if its words have no meaning here."""
    if "category" not in one.options.columns or not one.unknown_words:
        return one
    words = ", ".join(map(repr, one.unknown_words[:3]))
    note(f"column {one.options.columns['category']!r} is not read: {words} are no categories")
    columns = {name: at for name, at in one.options.columns.items() if name != "category"}
    return replace(one, options=replace(one.options, columns=columns))


def _rejects_of(file: Path) -> Path:
    beside = file.with_name(f"{file.name}.rejects.csv")
    # What came by stdin lies in a folder that goes with the command: its rejects must not.
    return Path(beside.name) if is_piped(file) else beside


def _report_json(name: str, report: ImportReport, kept: Path) -> dict[str, Any]:
    return {
        "list": name,
        "generation": report.generation,
        "count": report.count,
        "added": report.added,
        "updated": report.updated,
        "removed": report.removed,
        "repeated": report.repeated,
        "rejected": {wrong.label: count for wrong, count in report.rejected.items()},
        "cleaned": [asdict(kind) for kind in cleaned_seen(report.cleaned)],
        "rejects_file": str(kept) if report.rejected else None,
    }


def _print_report(name: str, report: ImportReport, kept: Path) -> None:
    if not report.rows:
        say(f"{name}: no good row; nothing was changed")
    else:
        parts = [f"{report.added:,} added", f"{report.updated:,} updated"]
        parts += [f"{report.removed:,} removed"] if report.removed else []
        parts += [f"{report.repeated:,} repeated in the file"] if report.repeated else []
        holds = f"holds {report.count:,} numbers at generation {report.generation}"
        say(f"{name}: {', '.join(parts)}; {holds}")
    for line in cleaned_lines(cleaned_seen(report.cleaned)):
        say(f"  {line}")
    for wrong, count in report.rejected.items():
        say(f"  rejected {count:,}: {wrong.label}: {wrong.value}")
    if report.rejected:
        say(f"  the rejected rows are in {kept}")


@app.command()
def export(
    name: ListName, form: Form = "csv", output: ToFile = None, config: ConfigFiles = None
) -> None:
    """Write a list as it is now: whole numbers, or a pybloom-live file.

    Example: ringfence lists export TH/national --format jsonl -o national.jsonl
    """
    settings = settings_of(config)
    check_form(form, output)

    async def work(store: ListStore) -> tuple[int, int]:
        key = key_of(settings, (await head_of(store, name)).circle)
        head, columns = await entries_of(store, name, key)
        await write_list(head, columns, key, form, output)
        return columns.numbers, len(columns)

    numbers, reports = with_list_store(settings, work)
    note(f"{name}: {numbers:,} numbers, {reports:,} reports")
