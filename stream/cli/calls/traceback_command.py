"""`ringfence traceback`: the calls of a number in a span of time, for an authority that asks."""

import asyncio
from collections.abc import Iterable
from contextlib import aclosing
from typing import Annotated, Any, Final, Literal, Protocol

import msgspec
import typer

from stream.cli.common import say_waiting, seconds_in, settings_of, since_ms, text_in, until_ms
from stream.cli.options import (
    OR_STDIN,
    Actor,
    ConfigFiles,
    Region,
    UntilTime,
    given,
    typed_or_piped,
)
from stream.cli.output import USAGE, fail, note, out
from stream.cli.progress_bars import progress
from stream.cli.store_access import behind_calls, by, with_list_store
from stream.config.settings import Settings
from stream.core.model import csv_cells
from stream.core.model.moments import rfc3339
from stream.core.numbers.number import Kind, masked, parse
from stream.insight.replay.traced_calls import (
    Recorded,
    Traced,
    TracedCall,
    TracedSide,
    TraceQuestion,
    traceback,
)
from stream.lists.store.heads import By
from stream.lists.store.list_store import ListStore
from stream.ops.clock import now_s

SORTED_MAX: Final = 100_000
"""Calls that are held to be sorted by time, about 100 MB; what is beyond comes as it is found."""
_COLUMNS: Final = tuple(TracedCall.__struct_fields__)


def traceback_command(
    number: Annotated[
        str, typer.Argument(help="+85523900123, or 0812345678." + OR_STDIN, callback=typed_or_piped)
    ],
    since: Annotated[
        str, typer.Option("--from", metavar="TIME", help="The start: 2026-11-24, or 2d.")
    ],
    authority: Annotated[str, typer.Option("--for", metavar="AUTHORITY", help="Who asks.")],
    reason: Annotated[str, typer.Option("--reason", help="Why: case or order.", callback=given)],
    until: UntilTime = "now",
    form: Annotated[Literal["json", "csv"], typer.Option("--format")] = "json",
    side: Annotated[
        TracedSide, typer.Option(help="Calls made, received, or both.")
    ] = TracedSide.CALLER,
    late: Annotated[str, typer.Option(help="How late a record may come.")] = "1d",
    region: Region = None,
    actor: Actor = None,
    config: ConfigFiles = None,
) -> None:
    """Write the calls of NUMBER in a period: reference, trunk, carrier, time, verdict.

    Reads the recorded topics of calls and decisions, as far back as Kafka keeps them. No position
    of a group moves. The audit log records who asked and why before the first record is read, and
    the number of calls afterwards. Without the list store it writes nothing. Exit codes: 0 written,
    also if there are none; 1 cut off; 2 wrong usage; 3 no list store, or no topic.

    Example: ringfence traceback +85523900123 --from 2026-11-24 --for police --reason "case 1234"
    """
    settings, who = settings_of(config), by(actor, reason)
    read = parse(number, region or settings.calls.home_country)
    if read.kind is not Kind.E164:
        fail(f"{number!r} is no phone number", USAGE)
    authority = text_in(authority, "--for")
    if not authority:
        fail("--for is empty: the audit log has to say who asks", USAGE)
    from_s = since_ms(since) // 1000
    until_s = until_ms(until) // 1000
    if not from_s < until_s:
        fail(f"--from {rfc3339(from_s)} is not before --to {rfc3339(until_s)}", USAGE)
    asked = TraceQuestion(read.text, from_s, until_s, seconds_in(late), side)
    span = f"{masked(read.text)} {rfc3339(from_s)} to {rfc3339(until_s)}, for {authority}"
    _audit(settings, who, "traceback", span)
    behind_calls(settings, 0)
    head = {
        "number": read.text,
        "side": side.value,
        "from": rfc3339(from_s),
        "to": rfc3339(until_s),
        "for": authority,
        "reason": reason,
        "by": who.actor,
        "at": rfc3339(now_s()),
    }
    traced = Traced()
    writer: _Writer = _Csv() if form == "csv" else _Json(head)
    outcome = "cut off"
    try:
        asyncio.run(_write(settings, asked, traced, writer))
        outcome = "whole"
    finally:
        told = f"{span}: {traced.found:,} calls handed out, {outcome}"
        _audit(settings, who, "traceback_done", told)
    writer.end(_summary(traced))
    note(f"{traced.found:,} calls in {traced.records:,} records; the audit has who asked and why")
    if traced.unreadable:
        note(f"{traced.unreadable:,} records of that time could not be read as calls")


def _audit(settings: Settings, who: By, op: str, detail: str) -> None:
    async def work(store: ListStore) -> None:
        await store.note(op, detail, who)

    with_list_store(settings, work)


def _summary(traced: Traced) -> dict[str, Any]:
    return {
        "calls": traced.found,
        "without_decision": traced.without_decision,
        "records_read": traced.records,
        "records_unreadable": traced.unreadable,
    }


class _Writer(Protocol):
    def begin(self) -> None: ...
    def write(self, calls: Iterable[TracedCall]) -> None: ...
    def end(self, summary: dict[str, Any]) -> None: ...


async def _write(settings: Settings, asked: TraceQuestion, traced: Traced, writer: _Writer) -> None:
    recorded = Recorded(
        settings.kafka_client(),
        {topic: settings.dialect(name) for topic, name in settings.calls.topics.items()},
        settings.calls.decisions_topic,
        settings.trunks_by_name(),
        settings.calls.record_bytes_max,
    )
    held: list[TracedCall] | None = []
    writer.begin()
    with progress() as stage:
        calls = traceback(
            asked, recorded, traced, say_waiting, lambda done, whole: stage("records", done, whole)
        )
        async with aclosing(calls):
            async for found in calls:
                held = _kept(found, held, writer)
    writer.write(sorted(held or (), key=_by_time))


def _kept(
    found: list[TracedCall], held: list[TracedCall] | None, writer: _Writer
) -> list[TracedCall] | None:
    """Return the calls held back to be sorted, with `found`; None: all were written."""
    if held is None:
        writer.write(found)
        return None
    if len(held) + len(found) <= SORTED_MAX:
        held += found
        return held
    note(f"more than {SORTED_MAX:,} calls: those that follow are not sorted")
    writer.write(sorted([*held, *found], key=_by_time))
    return None


def _by_time(call: TracedCall) -> tuple[str, str]:
    return call.time, call.origin


class _Csv:
    """A header and a row a call. A text that a spreadsheet would take for a formula gets a `'`."""

    def begin(self) -> None:
        self._row(_COLUMNS)

    def write(self, calls: Iterable[TracedCall]) -> None:
        for call in calls:
            self._row([_cell(name, getattr(call, name)) for name in _COLUMNS])

    def end(self, summary: dict[str, Any]) -> None:
        """The summary is on stderr."""

    def _row(self, cells: Iterable[Any]) -> None:
        out.file.write(csv_cells.lines([cells]))


def _cell(name: str, value: Any) -> object:
    safe = csv_cells.cell_of_list if name in {"caller", "callee"} else csv_cells.cell
    return "" if value is None else safe(str(value))


class _Json:
    """One document, a line a call, written as the calls are found."""

    def __init__(self, head: dict[str, Any]) -> None:
        self._head = head
        self._first = True

    def begin(self) -> None:
        self._line(f'{{"request": {_text(self._head)},\n "calls": [')

    def write(self, calls: Iterable[TracedCall]) -> None:
        for call in calls:
            self._line(f"{'  ' if self._first else ', '}{_text(call)}")
            self._first = False

    def end(self, summary: dict[str, Any]) -> None:
        self._line(f'], "summary": {_text(summary)}}}')

    def _line(self, text: str) -> None:
        out.file.write(f"{text}\n")


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()
