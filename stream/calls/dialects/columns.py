"""Lines into columns: by a delimiter of any length, with quotes or escapes, or by widths."""

import csv
from collections.abc import Callable
from functools import cache
from itertools import accumulate, pairwise
from typing import Any

from stream.calls.dialects.dialect import NoCall, Value
from stream.calls.dialects.mapping_settings import MappingSettings
from stream.core.model.call import RejectReason

Cut = Callable[[Value], list[str]]
"""From a line to its cells. Raises NoCall or UnicodeDecodeError."""


def cells_of(value: Value, delimiter: str, escape: str = "") -> list[str]:
    """Read the cells of one line, quoted as RFC 4180 says, or with `escape` before a delimiter.

    Raises NoCall or UnicodeDecodeError.
    """
    line = str(value, "utf-8")
    try:
        rows = list(csv.reader((line,), _quoting(delimiter, escape)))
    except csv.Error as error:
        raise NoCall(RejectReason.NOT_CSV, str(error)) from error
    if len(rows) != 1:
        raise NoCall(RejectReason.NOT_CSV, f"{len(rows)} lines where one is a record")
    return rows[0]


@cache
def _quoting(delimiter: str, escape: str) -> Any:
    # Made once: making it costs as much as reading a line.
    if escape:
        return csv.reader(
            (), delimiter=delimiter, escapechar=escape, quoting=csv.QUOTE_NONE, strict=True
        ).dialect
    return csv.reader((), delimiter=delimiter, strict=True).dialect


def columns_cut(settings: MappingSettings) -> Cut:
    """Return what cuts the lines of a mapping; what it skips is an event of another kind."""
    cut = _cut(settings)
    beginnings = tuple(beginning.encode() for beginning in settings.skip)
    if not beginnings:
        return cut
    longest = max(map(len, beginnings))

    def cut_or_skip(value: Value) -> list[str]:
        if bytes(value[:longest]).startswith(beginnings):
            raise NoCall(RejectReason.OTHER_EVENT, "the line begins as `skip` in the mapping says")
        return cut(value)

    return cut_or_skip


def _cut(settings: MappingSettings) -> Cut:
    if settings.widths:
        spans = [slice(*ends) for ends in pairwise(accumulate(settings.widths, initial=0))]
        return lambda value: _spans(str(value, "utf-8"), spans)
    return cut_by(settings.delimiter, settings.escape)


def cut_by(delimiter: str, escape: str = "") -> Cut:
    """Return what cuts lines at a delimiter of any length."""
    if len(delimiter) == 1:
        return lambda value: cells_of(value, delimiter, escape)
    return lambda value: [*map(_unquoted, str(value, "utf-8").rstrip("\r\n").split(delimiter))]


def _spans(line: str, spans: list[slice]) -> list[str]:
    """Cut at fixed places; columns past the line's end are absent."""
    return [line[span].strip() for span in spans if span.start < len(line)]


def _unquoted(cell: str) -> str:
    """Take the quotes off a cell. Raises NoCall where one is left: the delimiter was in a text."""
    if not cell.startswith('"'):
        return cell
    inside = cell[1:-1].replace('""', "")
    if len(cell) < 2 or not cell.endswith('"') or '"' in inside:
        raise NoCall(RejectReason.NOT_CSV, "a quotation mark has no end in its column")
    return cell[1:-1].replace('""', '"')
