"""A mapping to begin with, for records of no known switch, by names and what stands there. Pure.

A field is proposed only where its name and its values agree; else it is left open, with the places
that may be meant. A SIP tag, a file name or a host is nobody's number, whatever its key is called.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC
from typing import Any, Final

from stream.calls.decode_one import NO_CALL
from stream.calls.dialects import fields
from stream.calls.dialects.columns import cells_of
from stream.core.numbers.number import Kind, parse

_LOOKED_AT: Final = 50
"""Records; what stands in these stands in a file's others too."""
_HALF: Final = 0.5
"""Of the values of a place must fit: test records and withheld numbers are among them."""
_SHOWN: Final = 40
"""Characters of a foreign text in a comment."""
_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d")
_ID: Final = re.compile(rf"(?:{fields.UUID.pattern})|(?:\S+-)?\d{{9,}}\.\d+\Z")
"""A UUID, or an Asterisk's uniqueid."""
_NAMES: Final[Mapping[str, re.Pattern[str]]] = {
    "call_id": re.compile(
        r"call.?id|call.?ref|uuid|unique.?id|session.?id|correlation.?id|\bid\b", re.IGNORECASE
    ),
    "caller": re.compile(
        r"caller|calling|\bsrc|source|\bfrom\b|\ba.?(?:number|party)|\bani\b|\bcli\b|msisdn|orig",
        re.IGNORECASE,
    ),
    "callee": re.compile(
        r"callee|called|\bdst|dest|\bto\b|\bb.?(?:number|party)|diall?ed|recipient|term",
        re.IGNORECASE,
    ),
    "started_at": re.compile(r"start|begin|created|setup|seiz|time|date", re.IGNORECASE),
    "duration_s": re.compile(r"duration|billsec|seconds", re.IGNORECASE),
    "trunk": re.compile(r"trunk|gateway|carrier|ingress|route", re.IGNORECASE),
}
_NUMBERS: Final = ("caller", "callee")
_NEEDED: Final = ("call_id", "caller", "callee")
_NEVER_NUMBERS: Final = re.compile(
    r"tag\b|file|path|name|host|\bip\b|addr|port|agent|codec|domain|context|country|city|cell|imei"
    r"|imsi|duration|time|date|start|begin|creat|setup|seiz|stamp|epoch|answer|\bend|cost|charge"
    r"|count|code|cause|status|type|uuid|\bid\b|token|hash|account|seq",
    re.IGNORECASE,
)
_NUMBER_ID: Final = re.compile(r"caller.?id|calling.?id|called.?id|callee.?id", re.IGNORECASE)
"""Names of numbers that have `id` in them."""


def mapping_draft(records: Sequence[bytes], region: str) -> str:
    """Draft a table `[mappings.NAME]`; "": no record has anything like two numbers."""
    rows = [row for row in map(_json_row, records[:_LOOKED_AT]) if row]
    if 2 * len(rows) >= len(records[:_LOOKED_AT]) > 0:
        return _draft("json", _columns(rows), region, {})
    return _csv_draft(records[:_LOOKED_AT], region)


def _json_row(value: bytes) -> dict[str, Any]:
    try:
        record = json.loads(value)
    except (ValueError, RecursionError):
        return {}
    return dict(_leaves(record, "")) if isinstance(record, dict) else {}


def _leaves(node: dict[str, Any], above: str) -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        path = above + key.replace(".", "\\.")
        if isinstance(value, dict):
            yield from _leaves(value, f"{path}.")
        elif not isinstance(value, list):
            yield path, value


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Collect the values of each path, or column, in all rows that have one there."""
    columns: dict[str, list[Any]] = {}
    for row in rows:
        for path, value in row.items():
            if value not in (None, ""):
                columns.setdefault(path, []).append(value)
    return columns


def _csv_draft(records: Sequence[bytes], region: str) -> str:
    for delimiter in (",", ";", "\t", "|"):
        rows = []
        for value in records:
            try:
                rows.append(cells_of(value, delimiter))
            except NO_CALL:
                continue
        rows = [row for row in rows if len(row) >= len(_NEEDED)]
        if 2 * len(rows) < len(records) or not rows:
            continue
        names: dict[str, str] = {}
        if not any(sum(c.isdigit() for c in cell) >= 5 for cell in rows[0]) and len(rows) > 1:
            names = {str(at): name for at, name in enumerate(rows[0])}
            rows = rows[1:]
        columns = _columns([{str(at): cell for at, cell in enumerate(row)} for row in rows])
        if draft := _draft("csv", columns, region, names):
            return draft + (f"# delimiter = {json.dumps(delimiter)}\n" * (delimiter != ","))
    return ""


def _draft(
    form: str, columns: Mapping[str, list[Any]], region: str, names: Mapping[str, str]
) -> str:
    """Write the table. `names` are those of CSV columns, which the table counts from 0."""

    def called(place: str) -> str:
        return names.get(place, place) if form == "csv" else place

    numbers = [
        place
        for place, values in columns.items()
        if _share(values, lambda value: _is_number(value, region)) >= _HALF
        and not (
            _NEVER_NUMBERS.search(_last(called(place))) and not _NUMBER_ID.search(called(place))
        )
    ]
    if len(numbers) < 2:
        return ""
    fitting = {
        field: [place for place, values in columns.items() if _fits(field, values, place, numbers)]
        for field in _NAMES
    }
    known: dict[str, str] = {}
    for field, able in fitting.items():
        free = [place for place in able if place not in known.values()]
        likely = [place for place in free if _NAMES[field].search(called(place))]
        if form == "csv" and not names:
            likely = [place for place in free if _is_evident(field, columns[place])]
        if len(likely) == 1 or (likely and field not in _NUMBERS):
            known[field] = likely[0]
    lines = ["[mappings.NAME]", f'format = "{form}"', "", "[mappings.NAME.fields]"]
    for field, able in fitting.items():
        if field in known:
            place = known[field]
            shown = f"   # {_plain(called(place))}" * (called(place) != place)
            lines.append(f"{field} = {json.dumps(place, ensure_ascii=False)}{shown}")
        elif field in _NEEDED:
            free = [place for place in able if place not in known.values()]
            choices = ", ".join(_shown(place, columns[place], called) for place in free[:4])
            lines.append(f'{field} = ""   # -> {choices or "where it is"}')
    return "\n".join(lines) + "\n"


def _last(path: str) -> str:
    return path.rpartition(".")[2]


def _shown(place: str, values: Sequence[Any], called: Callable[[str], str]) -> str:
    name = f" {_plain(called(place))}" * (called(place) != place)
    return f"{_plain(place)}{name} ({_plain(str(values[0]))})"


def _plain(text: str) -> str:
    """Return a foreign text for a comment: in one line, and short."""
    return "".join(char if char.isprintable() else " " for char in text)[:_SHOWN]


def _fits(field: str, values: Sequence[Any], place: str, numbers: Sequence[str]) -> bool:
    """Return whether the values of a place can be the field."""
    if field in _NUMBERS:
        return place in numbers
    if field == "call_id":
        texts = [value for value in values if isinstance(value, str | int)]
        is_id = _share(texts, lambda value: fields.UUID.match(str(value)) is not None) >= _HALF
        # An id is of one call: values that come again are something else.
        differ = len({*map(str, texts)}) >= _HALF * len(values)
        return (
            place not in numbers and bool(texts) and (is_id or (differ and len(str(texts[0])) > 1))
        )
    if field == "started_at":
        return _share(values, lambda value: fields.moment_s(value, UTC) is not None) >= _HALF
    if field == "duration_s":
        return _share(values, lambda value: fields.duration_s(value) is not None) >= _HALF
    return all(isinstance(value, str) for value in values)


def _is_evident(field: str, values: Sequence[Any]) -> bool:
    """Return whether texts tell by themselves what they are, where no name does."""
    if field == "call_id":
        return _share(values, lambda value: _ID.match(str(value)) is not None) >= _HALF
    if field == "started_at":
        return _share(values, lambda value: _DAY.match(str(value)) is not None) >= _HALF
    return False


def _is_number(value: Any, region: str) -> bool:
    """Return whether a value is a telephone number: whole, or a URI of one."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return False
    text = str(value)
    is_other = _DAY.match(text) is not None or _ID.match(text) is not None
    return not is_other and parse(text, region).kind is Kind.E164


def _share(values: Sequence[Any], test: Callable[[Any], bool]) -> float:
    return sum(map(test, values)) / len(values) if values else 0.0
