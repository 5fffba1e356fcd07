"""`ringfence ingest`: call records from files, for switches that only write those."""

import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from stream.calls.detection.preview import understood
from stream.cli.calls.dialect_commands import print_result, result_as_json
from stream.cli.common import own, settings_of
from stream.cli.options import ConfigFiles, Output
from stream.cli.output import NOTHING_DONE, Format, note, render, say
from stream.config.settings import Settings
from stream.edge.ingest.file_lines import FileLine
from stream.edge.ingest.position_file import PositionFile
from stream.ops.clock import monotonic_s, now_s
from stream.ops.remote.remote_files import RemoteAddress, address_in, is_remote
from stream.services.ingest import (
    IngestJob,
    IngestRequest,
    everything_read,
    follow,
    once,
    position_of,
    reader_for,
    request_of,
)

SHOWN = 10_000
"""Records that a dry run looks at."""
REASONS_SHOWN = 5


def ingest(
    path: Annotated[
        str,
        typer.Argument(
            help="A growing file (Master.csv) or a folder of finished files: a local "
            "path, s3://BUCKET/PREFIX/ or sftp://USER@HOST/FOLDER/."
        ),
    ],
    dialect: Annotated[
        str, typer.Option(help="As in calls.topics: asterisk-csv, asterisk-csv:bkk, mapping:x.")
    ],
    follow_: Annotated[
        bool, typer.Option("--follow", "-f", help="Keep sending new records until SIGTERM.")
    ] = False,
    topic: Annotated[str | None, typer.Option(help="If several of calls.topics have it.")] = None,
    state: Annotated[
        Path | None, typer.Option(help="For the read position. Default: ingest.state_dir.")
    ] = None,
    from_end: Annotated[
        bool, typer.Option("--from-end", help="Skip what a new file already holds.")
    ] = False,
    last_line: Annotated[
        bool, typer.Option("--last-line", help="Send a last record that has no line end.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be read. Send and store nothing.")
    ] = False,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65_535, help="The health port. Default: ingest.http_port."),
    ] = None,
    config: ConfigFiles = None,
    form: Output = Format.TABLE,
) -> None:
    """Send call records from a file or a folder of files to Kafka, each at least once.

    It continues where it stopped, also after a restart, kill -9 or log rotation. If the first 50
    records hold no call, it stops and names the likely dialect. With --follow it logs to stderr.
    Exit codes: 0 everything is sent, or stopped in order; 1 crashed; 2 wrong dialect, configuration
    or path; 3 Kafka lacks a topic or a right.

    Example: ringfence ingest --dialect asterisk-csv /var/log/asterisk/cdr-csv/Master.csv --follow
    """
    settings = settings_of(config)
    place = _place(path, follow=follow_)
    is_folder = place.is_dir() if isinstance(place, Path) else True
    if is_folder and (from_end or last_line):
        raise typer.BadParameter("is of a single file; a folder's files are read whole")
    request = request_of(settings, place, dialect, topic, state)
    wanted = replace(request, from_end=from_end, last_line=last_line)
    if dry_run:
        _dry_run(settings, request, form)
        return
    own(request.state.parent)
    if follow_:
        chosen = settings.ingest.http_port if port is None else port
        raise typer.Exit(follow(settings, wanted, chosen))
    _tell(once(settings, wanted), request, form)


def _place(path: str, *, follow: bool) -> Path | RemoteAddress:
    """Return the place that PATH names. Raises BadParameter."""
    if is_remote(path):
        try:
            return address_in(path)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="PATH") from error
    if not Path(path).exists() and not follow:
        raise typer.BadParameter(f"there is no {path}", param_hint="PATH")
    return Path(path)


def _tell(done: IngestJob, request: IngestRequest, form: Format) -> None:
    sent, waiting = done.sent, done.waiting
    told = {
        "topic": request.topic,
        "calls": sent.taken,
        "unreadable": sent.unreadable,
        "other_events": sent.other_events,
        "too_long": sent.too_long,
        "waiting_bytes": waiting.size if waiting else 0,
        "reasons": dict(sent.reasons.most_common(REASONS_SHOWN)),
    }
    render(form, told, lambda: _print_done(done, request))


def _print_done(done: IngestJob, request: IngestRequest) -> None:
    sent, waiting = done.sent, done.waiting
    say(f"{request.path}: {sent.taken} calls sent to {request.topic}")
    if sent.unreadable:
        say(
            f"{sent.unreadable} records are no calls, the first is {sent.first}; they were sent "
            "too, and the engine keeps them on the topic of rejected records:"
        )
    if sent.other_events:
        say(f"{sent.other_events} records are of other events, which the engine counts alone:")
    if sent.reasons:
        for reason, count in sent.reasons.most_common(REASONS_SHOWN):
            say(f"  {count} x {reason}")
    if sent.too_long:
        say(f"{sent.too_long} lines are too long for a record: see the log")
    if waiting:
        say(_waits(waiting))


def _waits(waiting: FileLine) -> str:
    return (
        f"{waiting.place}: {waiting.size} bytes have no end yet and wait for the rest; "
        "--last-line takes them as they are"
    )


def _dry_run(settings: Settings, request: IngestRequest, form: Format) -> None:
    """Show from where it would go on, and what would be understood."""
    known = request.state.exists()
    with position_of(request) if known else nullcontext() as state:
        place, done = (state.place(), state.done()) if state else (None, {})
        lines = _next_lines(settings, request, state)
    records = [line.value for line in lines if not line.too_long]
    dialect = settings.dialect(settings.calls.topics[request.topic])
    result = understood(dialect, records, settings.calls.home_country, now_s())
    too_long = len(lines) - len(records)
    told = {
        "topic": request.topic,
        "from_line": place.line if place else 1,
        "files_read_before": len(done),
        "too_long": too_long,
    }

    def draw() -> None:
        where = f"line {place.line} (byte {place.at})" if place else "the beginning"
        what = f"{len(done)} files were read before" if done else f"it would go on from {where}"
        say(f"# {request.path} for {request.topic}: {what}; of what comes next:")
        print_result(request.path, request.dialect, result)
        if too_long:
            say(f"{too_long} lines are too long for a record")

    render(form, {**told, **result_as_json(request.dialect, result)}, draw)
    if not result.records:
        raise typer.Exit(NOTHING_DONE)


def _next_lines(
    settings: Settings, request: IngestRequest, state: PositionFile | None
) -> list[FileLine]:
    """Return what a run would read first; it waits as a run does for a file just written."""
    reader, began_s = reader_for(settings, request, state), monotonic_s()
    lines: list[FileLine] = []
    try:
        while len(lines) < SHOWN:
            batch = reader.next()
            if batch is not None:
                lines += batch.lines
            elif everything_read(reader, settings.ingest, began_s):
                break
            else:
                time.sleep(settings.ingest.look_s)
        if reader.waiting:
            note(_waits(reader.waiting))
    finally:
        reader.close()
    return lines[:SHOWN]
