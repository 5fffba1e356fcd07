"""`ringfence lists import`: load a file into a list."""

from pathlib import Path
from typing import Annotated

import typer

from stream.cli.common import AsJson, ConfigFiles, settings_of
from stream.cli.list_store import (
    NOTHING_DONE,
    ROW_BYTES,
    USAGE,
    Actor,
    ExpiresIn,
    ListName,
    ReasonText,
    Region,
    behind_calls,
    by,
    expiry,
    fail,
    key_of,
    now_s,
    say,
    text_in,
    with_list_store,
)
from stream.cli.lists.lists import CategoryName, Confidence, category_of, region_of
from stream.cli.output import print_json
from stream.cli.progress import progress
from stream.core.model.free_text import SOURCE_CHARS_MAX, cleaned
from stream.feeds.import_file import ImportReport, ImportRequest, import_file
from stream.feeds.open import format_of
from stream.feeds.parse import Defaults
from stream.lists.store.list_content import head_of
from stream.lists.store.list_store import ListStore

app = typer.Typer()

RejectsFile = Annotated[
    Path | None, typer.Option(help="Where rejected rows go; else FILE.rejects.csv.")
]
AreNumbers = Annotated[
    bool, typer.Option("--are-numbers", help="They are, though they look like dates, ids or sums.")
]


@app.command("import")
def import_(
    name: ListName,
    file: Annotated[
        Path, typer.Argument(help="Text, CSV or JSON lines.", exists=True, dir_okay=False)
    ],
    form: Annotated[
        str | None, typer.Option("--format", help="text, csv or jsonl; else by the file's name.")
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(help="Names of a CSV's columns, e.g. number,,category; empty: passed over."),
    ] = None,
    region: Region = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="The file is the whole list; else it is added to it.")
    ] = False,
    category: CategoryName = "other",
    source: Annotated[str | None, typer.Option(help="Who says so; else the file's name.")] = None,
    expires_in: ExpiresIn = None,
    confidence: Confidence = 100,
    rejects: RejectsFile = None,
    are_numbers: AreNumbers = False,
    reason: ReasonText = "",
    actor: Actor = None,
    config: ConfigFiles = None,
    as_json: AsJson = False,
) -> None:
    """Load a file into a list. Bad rows are kept in a file with their reason, good rows load.

    What a row says of itself goes before the options. Exit code 1: some rows were rejected.

    Example: ringfence lists import TH/national numbers.csv --region TH --expires-in 10d
    """
    settings = settings_of(config)
    kind = form or format_of(file)
    if kind not in {"text", "csv", "jsonl"}:
        fail(f"no format {kind}: text, csv or jsonl", USAGE)
    defaults = Defaults(
        text_in(source or cleaned(file.name)[:SOURCE_CHARS_MAX], "--source", SOURCE_CHARS_MAX),
        now_s(),
        region_of(region),
        category_of(category),
        expiry(expires_in),
        confidence,
        now_s=now_s(),
        prefixes=settings.lists.prefixes(),
    )
    behind_calls(settings, file.stat().st_size // ROW_BYTES)

    async def work(register: ListStore) -> tuple[ImportReport, Path]:
        head = await head_of(register, name)
        request = ImportRequest(
            name=name,
            path=file,
            kind=kind,  # type: ignore[arg-type]
            names=tuple(part.strip() for part in columns.split(",")) if columns else None,
            defaults=defaults,
            rejects=rejects or file.with_name(f"{file.name}.rejects.csv"),
            replace=replace,
            key=key_of(settings, head.circle),
            by=by(actor, reason or f"import of {file.name}"),
            are_numbers=are_numbers,
        )
        with progress() as stage:
            return await import_file(register, request, now_s(), stage), request.rejects

    report, kept = with_list_store(settings, work)
    _print_report(name, report, kept, as_json)
    if report.rejected or not report.rows:
        raise typer.Exit(NOTHING_DONE)


def _print_report(name: str, report: ImportReport, kept: Path, as_json: bool) -> None:
    rejected = {wrong.label: count for wrong, count in report.rejected.items()}
    if as_json:
        print_json(
            {
                "list": name,
                "generation": report.generation,
                "count": report.count,
                "added": report.added,
                "updated": report.updated,
                "removed": report.removed,
                "repeated": report.repeated,
                "rejected": rejected,
                "rejects_file": str(kept) if rejected else None,
            }
        )
        return
    if not report.rows:
        say(f"{name}: no good row; nothing was changed")
    else:
        parts = [f"{report.added:,} added", f"{report.updated:,} updated"]
        parts += [f"{report.removed:,} removed"] if report.removed else []
        parts += [f"{report.repeated:,} repeated in the file"] if report.repeated else []
        holds = f"holds {report.count:,} numbers at generation {report.generation}"
        say(f"{name}: {', '.join(parts)}; {holds}")
    for wrong, count in report.rejected.items():
        say(f"  rejected {count:,}: {wrong.label}: {wrong.value}")
    if rejected:
        say(f"  the rejected rows are in {kept}")
