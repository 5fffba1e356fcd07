"""The names of a file's columns: of a table's header, or the paths of a JSON object's keys."""

from pathlib import Path

from stream.feeds.detection.column_names import Says, names_call_records, says, says_at
from stream.feeds.detection.table_head import keys_in, names_in
from stream.feeds.formats.json_array import KEY
from stream.feeds.formats.rows import Format, ReadOptions
from stream.feeds.open import lines_of
from stream.feeds.workbooks import workbook

_HEAD_LINES = 100
"""Lines of a table among which its header is: offices put titles above it."""


def names_of(path: Path, kind: Format, options: ReadOptions | None = None) -> tuple[str, ...]:
    """Return the names of a table's columns, or of the first JSON object's keys, as paths."""
    options = options or ReadOptions()
    if kind == "workbook":
        lines = workbook.first_lines(path, options.sheet, _HEAD_LINES)
        return names_in(lines, workbook.DELIMITER)
    lines = list(next(lines_of(path, options.encoding), [])[:_HEAD_LINES])
    return keys_in(lines) if kind == "jsonl" else names_in(lines)


def number_name(
    path: Path, kind: Format, options: ReadOptions, *, has_names: bool
) -> tuple[str, Says, bool]:
    """Return the name of the numbers' column, its meaning, and whether the file has call records.

    The header is that of the partner's file: a column that is given by its place has a name too.
    """
    place = options.columns.get("number", "")
    names: tuple[str, ...] = ()
    if kind in {"csv", "workbook", "jsonl"} and has_names:
        names = names_of(path, kind, options)
    are_calls = names_call_records(names)
    if kind in {"jsonl", "json", "xml"}:
        # Members have their numbers for names: that place names nothing.
        name = "" if kind == "json" and place == KEY else str(place).replace("@", "")
        return str(place), says_at(name), are_calls
    name = place if isinstance(place, str) else dict(enumerate(names, 1)).get(place, "")
    return name, says(name), are_calls
