"""The head of a file: the names of its columns or of its JSON objects' keys, or another kind."""

from pathlib import Path

from stream.feeds.detection.column_names import Says, names_call_records, says, says_at
from stream.feeds.detection.foreign_files import what_it_is
from stream.feeds.detection.table_head import keys_in, names_in
from stream.feeds.formats.json_array import KEY
from stream.feeds.formats.rows import Format, ReadOptions
from stream.feeds.open import lines_of
from stream.feeds.workbooks import workbook

_HEAD_LINES = 100
"""Lines of a table among which its header is: offices put titles above it."""

_KIND_BYTES = 64 << 10
"""Bytes that tell a file's kind: a workbook's parts are named in the first ones."""


def foreign_kind(path: Path) -> str:
    """Return what a file is that is no list of ours, and what to do; "": unknown, or a folder."""
    if path.is_dir():
        return ""
    with path.open("rb") as file:
        return what_it_is(file.read(_KIND_BYTES))


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
