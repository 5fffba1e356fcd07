"""`ringfence ingest`: call records from files, for switches that only write those."""

from pathlib import Path
from typing import Annotated, Any

import typer

from stream.calls.dialects.preview import understood
from stream.cli.calls.dialects import print_result, result_as_json
from stream.cli.common import AsJson, ConfigFiles, own, settings_of
from stream.cli.output import err, out, print_json
from stream.config.settings import Settings
from stream.edge.ingest.lines import Line
from stream.edge.ingest.progress import State
from stream.ops.clock import now_s
from stream.services.ingest import Ingest, Reading, Request, follow, once, request_of

NOTHING_DONE = 1
SHOWN = 10_000
"""Records that a dry run looks at."""
REASONS_SHOWN = 5


def ingest(
    path: Annotated[
        Path, typer.Argument(help="A file that grows (Master.csv), or a folder of finished files.")
    ],
    dialect: Annotated[
        str, typer.Option(help="As calls.topics has it: asterisk-csv, asterisk-csv:bkk, mapping:x.")
    ],
    follow_: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what comes, until SIGTERM.")
    ] = False,
    topic: Annotated[
        str | None, typer.Option(help="Where several of calls.topics have the dialect.")
    ] = None,
    state: Annotated[
        Path | None, typer.Option(help="Where to keep how far was read; else in ingest.state_dir.")
    ] = None,
    from_end: Annotated[
        bool, typer.Option("--from-end", help="Of a file not read before: only what comes.")
    ] = False,
    last_line: Annotated[
        bool, typer.Option("--last-line", help="A last line without its newline is a record too.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be read; send and keep nothing.")
    ] = False,
    port: Annotated[
        int | None, typer.Option(min=0, max=65_535, help="Health pages; else ingest.http_port.")
    ] = None,
    config: ConfigFiles = None,
    as_json: AsJson = False,
) -> None:
    """Send the call records in a file, or in a folder's files, to Kafka, each at least once.

    It goes on where it ended, over restarts, kill -9 and log rotation. After 50 records none of
    which is a call it refuses to go on and names the likely dialect. With --follow it logs to
    stderr. Exit codes: 0 all that is there is sent, or stopped in order; 1 died; 2 wrong
    dialect, configuration or path; 3 Kafka is not set up as it has to be.

    Example: ringfence ingest --dialect asterisk-csv /var/log/asterisk/cdr-csv/Master.csv --follow
    """
    settings = settings_of(config)
    if not path.exists() and not follow_:
        raise typer.BadParameter(f"there is no {path}", param_hint="PATH")
    if path.is_dir() and (from_end or last_line):
        raise typer.BadParameter("is of a single file; a folder's files are read whole")
    request = request_of(settings, path, dialect, topic, state)
    if not dry_run:
        own(request.state.parent)
    if dry_run:
        _dry_run(settings, request, as_json=as_json)
    elif follow_:
        chosen = settings.ingest.http_port if port is None else port
        raise typer.Exit(follow(settings, _with(request, from_end, last_line), chosen))
    else:
        _tell(once(settings, _with(request, from_end, last_line)), request, as_json=as_json)


def _with(request: Request, from_end: bool, last_line: bool) -> Request:
    return Request(
        path=request.path,
        dialect=request.dialect,
        topic=request.topic,
        state=request.state,
        from_end=from_end,
        last_line=last_line,
    )


def _tell(done: Ingest, request: Request, *, as_json: bool) -> None:
    sent, waiting = done.sent, done.waiting
    if as_json:
        print_json(
            {
                "topic": request.topic,
                "calls": sent.taken,
                "unreadable": sent.unreadable,
                "too_long": sent.too_long,
                "waiting_bytes": waiting.size if waiting else 0,
                "reasons": dict(sent.reasons.most_common(REASONS_SHOWN)),
            }
        )
        return
    _say(f"{request.path}: {sent.taken} calls sent to {request.topic}")
    if sent.unreadable:
        _say(
            f"{sent.unreadable} records are no calls, the first is {sent.first}; they were sent "
            "too, and the engine keeps them on the topic of rejected records:"
        )
        for reason, count in sent.reasons.most_common(REASONS_SHOWN):
            _say(f"  {count} x {reason}")
    if sent.too_long:
        _say(f"{sent.too_long} lines are too long for a record: see the log")
    if waiting:
        _say(_waits(waiting))


def _waits(waiting: Line) -> str:
    return (
        f"{waiting.place}: {waiting.size} bytes have no newline yet and wait for the rest; "
        "--last-line takes them as they are"
    )


def _dry_run(settings: Settings, request: Request, *, as_json: bool) -> None:
    """Show from where it would go on, and what would be understood."""
    if request.state.exists():
        with State(request.state, str(request.path)) as state:
            place, done = state.place(), state.done()
            lines = _next_lines(settings, request, state)
    else:
        place, done = None, {}
        lines = _next_lines(settings, request, None)
    records = [line.value for line in lines if not line.too_long]
    dialect = settings.dialect(settings.calls.topics[request.topic])
    result = understood(dialect, records, settings.calls.home_country, now_s())
    if as_json:
        more: dict[str, Any] = {
            "topic": request.topic,
            "from_line": place.line if place else 1,
            "files_read_before": len(done),
            "too_long": len(lines) - len(records),
        }
        print_json({**more, **result_as_json(request.dialect, result)})
    else:
        where = f"line {place.line} (byte {place.at})" if place else "the beginning"
        what = f"{len(done)} files were read before" if done else f"it would go on from {where}"
        _say(f"# {request.path} for {request.topic}: {what}; of what comes next:")
        print_result(request.path, request.dialect, result)
        if len(lines) > len(records):
            _say(f"{len(lines) - len(records)} lines are too long for a record")
    if not result.records:
        raise typer.Exit(NOTHING_DONE)


def _next_lines(settings: Settings, request: Request, state: State | None) -> list[Line]:
    reader = Reading(settings, request, state).reader
    lines: list[Line] = []
    try:
        while len(lines) < SHOWN and (batch := reader.next()) is not None:
            lines += batch.lines
        if reader.waiting:
            err.print(_waits(reader.waiting), markup=False, soft_wrap=True)
    finally:
        reader.close()
    return lines[:SHOWN]


def _say(text: str) -> None:
    out.print(text, markup=False, soft_wrap=True)
