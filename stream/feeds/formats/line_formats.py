"""Line formats: one number a line (`text`), or one JSON object a line (`jsonl`).

In `text` a `#` begins a comment, except in open digits like `+33899######`. In `jsonl` the keys are
those of `entry_fields.FIELDS`; others are passed over. A feed may give the place of each field:
`caller.number` is `number` in the object `caller`. `"removed": true` removes a report.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec

from stream.core.model.errors import UNREADABLE
from stream.feeds.formats.byte_columns import numbers_of
from stream.feeds.formats.json_objects import as_text
from stream.feeds.formats.rows import InputUnreadable, Lines, RejectedRow, Rows, Wrong

_OPEN_DIGITS = re.compile(r"[^#]*\d##+(?=\s|\Z)")


def read_text(chunks: Iterable[Lines]) -> Iterator[Rows]:
    """Yield the rows of a text file."""
    first = 1
    for chunk in chunks:
        plain = numbers_of(chunk)
        if plain is not None:
            places, column = plain
            yield Rows([first + place for place in places], column, column)
            first += len(chunk)
            continue
        lines, numbers = [], []
        for line, text in enumerate(chunk, first):
            pattern = _OPEN_DIGITS.match(text)
            number = (pattern[0] if pattern else text.partition("#")[0]).strip()
            if number:
                lines.append(line)
                numbers.append(number)
        yield Rows(lines, [chunk[line - first] for line in lines], numbers)
        first += len(chunk)


# Only what partners write in these places: msgspec rejects other JSON before it becomes objects.
_Value = str | int | float | None


class _Row(msgspec.Struct):
    number: str | int | None = None
    category: str | None = None
    source: str | None = None
    reported_at: _Value = None
    expires_at: _Value = None
    confidence: _Value = None
    removed: bool = False


def read_jsonl(
    chunks: Iterable[Lines], mapping: Mapping[str, str | int] | None = None
) -> Iterator[Rows]:
    """Yield the rows of a JSON lines file; `mapping` gives paths of keys, joined by dots.

    Raises InputUnreadable if `mapping` has no number.
    """
    decode = _mapped(mapping) if mapping else msgspec.json.Decoder(_Row).decode
    first = 1
    for chunk in chunks:
        lines: list[int] = []
        rows: list[_Row] = []
        unreadable: list[RejectedRow] = []
        for line, text in enumerate(chunk, first):
            if not text or text.isspace():
                continue
            try:
                # A wrong byte is a lone surrogate in the text, which UTF-8 cannot encode.
                rows.append(decode(text.encode("utf-8", "replace")))
                lines.append(line)
            except UNREADABLE as error:
                detail = str(error)
                if text.lstrip().startswith("["):
                    detail = 'a JSON array, which format = "json" reads'
                unreadable.append(RejectedRow(line, Wrong.UNREADABLE, detail, text))
        yield Rows(
            lines,
            [chunk[line - first] for line in lines],
            [as_text(row.number) for row in rows],
            [row.category for row in rows],
            [row.source for row in rows],
            [as_text(row.reported_at) for row in rows],
            [as_text(row.expires_at) for row in rows],
            [as_text(row.confidence) for row in rows],
            tuple(unreadable),
            removed=[row.removed for row in rows] if any(row.removed for row in rows) else None,
        )
        first += len(chunk)


def _mapped(mapping: Mapping[str, str | int]) -> Callable[[bytes], _Row]:
    """Return a decoder of rows with other places of fields. It costs several times the CPU."""
    if "number" not in mapping:
        raise InputUnreadable(f"columns names {', '.join(mapping)}: none is `number`")
    paths = {field: str(path).split(".") for field, path in mapping.items()}
    paths.setdefault("removed", ["removed"])
    decode = msgspec.json.Decoder(dict[str, Any]).decode

    def decode_mapped(line: bytes) -> _Row:
        document = decode(line)
        found = {field: _at(document, path) for field, path in paths.items()}
        return msgspec.convert({k: v for k, v in found.items() if v is not None}, _Row)

    return decode_mapped


def _at(value: Any, path: list[str]) -> Any:
    for key in path:
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value
