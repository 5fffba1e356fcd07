"""`ringfence dialects`: the switches whose records are read, and what is read of a file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from stream.calls.detection.detect_dialect import (
    Detection,
    DialectProposal,
    NearMiss,
    find,
    settings_for,
)
from stream.calls.detection.preview import Understood, is_other_event, understood
from stream.calls.dialects import KNOWN
from stream.calls.dialects.dialect import Dialect, SwitchSettings, schema_number
from stream.calls.submitted_records import Framing, cut, framing_of, records_in
from stream.cli.common import say_comment, settings_of
from stream.cli.lazy_group import group
from stream.cli.options import OR_STDIN, ConfigFiles, Output, file_or_piped
from stream.cli.output import NOTHING_DONE, USAGE, Format, fail, print_table, render, say
from stream.config.settings import Settings
from stream.feeds.detection.foreign_files import what_it_is
from stream.ops.clock import now_s

HEAD_BYTES = 64 * 1024
BYTES_MAX = 64 * 1024 * 1024
"""Of a file that `test` reads, or whose records are too long for a piece."""
PIECE_BYTES = 1024 * 1024
"""Read of a larger file's start, middle and end: its records are as many as are looked at."""
RECORD = "record"
_REGISTRY = (
    "name its topic's dialect registry:<dialect>, and the schema registry in [schema_registry] url"
)

app = group()
FileName = Annotated[
    Path,
    typer.Argument(
        metavar="FILE", help="Records as the switch writes them." + OR_STDIN, callback=file_or_piped
    ),
]


@app.command("list")
def list_(config: ConfigFiles = None, form: Output = Format.TABLE) -> None:
    """List the dialects, how each is decoded, and which topics use it.

    `scan`: compiled kernels decode most records in columns, as for our own dialect. `record`: each
    record is decoded by itself, at several times the CPU. `time_zone`: the switch writes local
    times, and [switches.<name>] must name the zone.

    Example: ringfence dialects list
    """
    settings = settings_of(config)
    rows: list[dict[str, Any]] = [
        {
            "dialect": name,
            "reads": known.what,
            "decoded": way_of(known.make(name, SwitchSettings(time_zone="Z"))),
            "needs": "time_zone" if known.local_times else None,
            "topics": _topics_in(settings, name),
        }
        for name, known in KNOWN.items()
    ]
    rows += [
        {
            "dialect": f"mapping:{name}",
            "reads": f"{mapping.format.upper()}, by [mappings.{name}]",
            "decoded": way_of(settings.dialect(f"mapping:{name}")),
            "needs": None,
            "topics": _topics_in(settings, f"mapping:{name}"),
        }
        for name, mapping in settings.mappings.items()
    ]
    names = ("dialect", "reads", "decoded", "needs", "topics")
    render(form, rows, lambda: print_table(names, [_cells(row) for row in rows]))


def _cells(row: Mapping[str, Any]) -> Sequence[str]:
    texts = [", ".join(one) if isinstance(one, list) else one for one in row.values()]
    return [text or "-" for text in texts]


def way_of(dialect: Dialect) -> str:
    """Return the decoder of the dialect's usual records."""
    return "scan" if dialect.layout is not None else RECORD


def _topics_in(settings: Settings, name: str) -> list[str]:
    return [
        topic
        for topic, dialect in settings.calls.topics.items()
        if dialect == name or dialect.startswith(f"{name}:")
    ]


@app.command("detect")
def detect(file: FileName, config: ConfigFiles = None, form: Output = Format.TABLE) -> None:
    """Recognise the dialect of a file of records. Say why, and what the configuration needs.

    If no dialect fits, it names the nearest switch, what the records lack and how to fix it. For
    records of an unknown switch it drafts a table [mappings.NAME] and leaves open what it cannot
    know. It reads at most 200 records, from the start, the middle and the end of a file. Exit code
    1: no dialect fits as it is.

    Example: ringfence dialects detect Master.csv
    """
    settings = settings_of(config)
    head = _start(file, HEAD_BYTES)
    if framing_of(head) is not Framing.BER:
        if (number := schema_number(head)) is not None:
            fail(f"{file} is in Confluent's wire format, schema id {number}: {_REGISTRY}", USAGE)
        if what := what_it_is(head):
            fail(f"{file} is {what}", USAGE)
    records, whole = _sample(file)
    found = find(records, settings.calls.home_country)
    whole = whole and found.looked_at == len(records)
    told = {
        "records_looked_at": found.looked_at,
        "whole_file": whole,
        "proposals": [_proposal_json(one) for one in found.proposals],
        "near": [_near_json(one) for one in found.near],
        "mapping": found.mapping or None,
    }

    def draw() -> None:
        if not whole:
            parts = f"{found.looked_at} records of its start, middle and end were looked at"
            say_comment(f"{file}: {parts}")
        (_print_proposals if found.proposals else _print_near)(file, found)

    render(form, told, draw, rows="proposals")
    if not found.proposals:
        raise typer.Exit(NOTHING_DONE)


def _print_near(file: Path, found: Detection) -> None:
    """Print why no dialect fits, as comments: the whole can be kept as configuration."""
    if not found.near:
        say_comment(f"{file}: none of the dialects that `ringfence dialects list` names")
    for one in found.near:
        share = f"{one.calls:,} of {one.records:,} records are calls"
        say_comment(f"{file}: nearly {one.dialect} ({KNOWN[one.dialect].what}): {share}")
        for reason, count in one.reasons:
            say_comment(f"  {count:,} x {reason}")
    if found.near and not found.mapping:
        say_comment("With that fixed, the configuration needs this:")
        say(settings_for(found.near[0].dialect).rstrip())
    elif found.mapping:
        say_comment("A table to begin with; say what is left open, then `ringfence dialects test`:")
        say('[calls.topics]\n"calls.NAME" = "mapping:NAME"\n')
        say(found.mapping.rstrip())
    else:
        say_comment("No field of them looks like the numbers of who called and who was called")


def _near_json(one: NearMiss) -> dict[str, object]:
    return {
        "dialect": one.dialect,
        "records": one.records,
        "calls": one.calls,
        "reasons": [{"reason": reason, "records": count} for reason, count in one.reasons],
    }


def _proposal_json(one: DialectProposal) -> dict[str, object]:
    return {
        "dialect": one.dialect,
        "calls": one.calls,
        "records": one.records,
        "why": one.why,
        "settings": one.settings,
    }


def _print_proposals(file: Path, found: Detection) -> None:
    first, *others = found.proposals
    say_comment(f"{file}: {first.dialect} ({KNOWN[first.dialect].what})")
    say_comment(first.why)
    for one in others:
        say_comment(f"or {one.dialect}: {one.why}")
    say(first.settings.rstrip())


TimeZone = Annotated[str, typer.Option(help="The zone of local times, e.g. Asia/Bangkok.")]
Count = Annotated[int, typer.Option("--records", min=1, help="Read this many records.")]


@app.command("test")
def try_out(
    dialect: Annotated[str, typer.Argument(help="As in calls.topics: kamailio, mapping:acme.")],
    file: FileName,
    time_zone: TimeZone = "",
    records: Count = 10_000,
    config: ConfigFiles = None,
    form: Output = Format.TABLE,
) -> None:
    """Read a file as a dialect. Show each field as it was understood, and why others were not.

    Exit codes: 0 every record is a call or another event of the switch, 1 some are neither, 2 the
    dialect does not exist.

    Example: ringfence dialects test asterisk-csv Master.csv --time-zone Asia/Bangkok
    """
    settings = settings_of(config)
    try:
        read = _dialect(settings, dialect, time_zone)
    except ValueError as error:
        fail(f"{dialect}: {error}", USAGE)
    result = understood(read, _records(file)[:records], settings.calls.home_country, now_s())
    told = result_as_json(dialect, result)
    render(form, told, lambda: print_result(file, dialect, result))
    if not result.calls or result.calls + result.other_events < result.records:
        raise typer.Exit(NOTHING_DONE)


def _dialect(settings: Settings, name: str, time_zone: str) -> Dialect:
    """The dialect; `time_zone` is for one that is named without a switch."""
    if time_zone and ":" not in name and name in KNOWN:
        return KNOWN[name].make(name, SwitchSettings(time_zone=time_zone))
    return settings.dialect(name)


def result_as_json(dialect: str, result: Understood) -> dict[str, object]:
    """Return the result as plain values."""
    return {
        "dialect": dialect,
        "records": result.records,
        "calls": result.calls,
        "fields": {
            name: {
                "place": column.place or None,
                "read": column.read,
                "example": {"record": column.raw, "read_as": column.value},
                "remarks": dict(column.remarks),
            }
            for name, column in result.columns.items()
        },
        "rejected": [
            {"reason": reason, "records": count, "first": result.first[reason]}
            for reason, count in result.rejected.most_common()
        ],
    }


def print_result(file: object, dialect: str, result: Understood) -> None:
    """Print the fields that were understood of a file, and the rest with its reasons."""
    say(f"{file} as {dialect}: {result.records} records, {result.calls} calls")
    if result.columns:
        head = ("field", "read", "place", "for example", "read as", "not understood, or to look at")
        rows = []
        for name, column in result.columns.items():
            remarks = "; ".join(
                f"{count} x {text}" for text, count in column.remarks.most_common(4)
            )
            cells = (column.place, column.raw, column.value, remarks)
            rows.append([name, str(column.read), *(text or "-" for text in cells)])
        print_table(head, rows)
    for reason, count in result.rejected.most_common():
        what = "no call" if is_other_event(reason) else "rejected"
        say(f"{what} {count}, first record {result.first[reason]}: {reason}")


def _records(file: Path) -> list[bytes]:
    return records_in(_start(file, BYTES_MAX))


def _sample(file: Path) -> tuple[list[bytes], bool]:
    """Return records of a file's start, middle and end, and whether they are all it has.

    Where nothing marks the end of a record within a file (BER, JSON over many lines), they are of
    its start. Records that a piece cuts are left out.
    """
    head = _start(file, 3 * PIECE_BYTES + 1)
    if len(head) <= 3 * PIECE_BYTES:
        return records_in(head), True
    framing, size = framing_of(head), file.stat().st_size
    first = head.lstrip()[:1]
    line = head.lstrip().partition(b"\n")[0].rstrip()
    is_ended = framing in (Framing.BLOCKS, Framing.XML) or (
        framing is Framing.LINES and (first not in b"{[" or line[-1:] == b"}")
    )
    starts = (0, size // 2, size - PIECE_BYTES) if is_ended else (0,)
    found: list[bytes] = []
    for at in starts:
        piece = _start(file, PIECE_BYTES, at)
        records = cut(piece, framing) if is_ended else records_in(piece)
        found += records[bool(at) : None if at + PIECE_BYTES >= size else -1]
    return (found, False) if found else (_records(file), False)


def _start(file: Path, size: int, at: int = 0) -> bytes:
    try:
        with file.open("rb") as source:
            source.seek(at)
            return source.read(size)
    except OSError as error:
        fail(f"{file}: cannot be read: {error.strerror}", USAGE)
