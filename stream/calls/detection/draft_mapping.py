"""A mapping to begin with, for records of no known switch, by names and values. Pure.

A field is proposed only where its name and its values agree; else it is left open, with the places
that may be meant. A SIP tag, a file name or a host is never a number, whatever its key is called.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from stream.calls.detection.draft_hints import (
    Lines,
    by_place,
    directions,
    is_mostly_written,
    kinds,
    lines_of,
    written,
)
from stream.calls.dialects import fields
from stream.core.numbers.number import Kind, parse

_LOOKED_AT: Final = 50
"""Records to read: fields of a file's other records are the same."""
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
        r"callee|called|\bdst|dest|\bto\b|\bb.?(?:number|party)|diall?ed|recipient|term|dnis|\bcld\b"
        r"|\bdid\b|\bddi\b",
        re.IGNORECASE,
    ),
    "started_at": re.compile(r"start|begin|created|setup|seiz|time|date", re.IGNORECASE),
    "duration_s": re.compile(r"duration|billsec|seconds", re.IGNORECASE),
    "trunk": re.compile(r"trunk|gateway|carrier|ingress|route", re.IGNORECASE),
}
_BEGINS: Final = re.compile(r"start|begin|creat|setup|seiz|orig", re.IGNORECASE)
_OURS: Final = re.compile(
    r"exten|\bext\b|user|\bown|local|agent|station|subscriber|served|msisdn", re.IGNORECASE
)
_THEIRS: Final = re.compile(r"party|remote|external|peer|other|customer|contact", re.IGNORECASE)
"""Names of the columns of one's own side of a call, and of the other side."""
_CLEAR: Final = re.compile(
    r"call(?:er|ing|ed|ee)|dial|src|dst|source|dest|\bfrom\b|\bto\b", re.IGNORECASE
)
"""Names that say who called, whatever the direction is."""
_EXTENSION: Final = re.compile(r"\d{2,6}\Z")
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
    """Draft a table `[mappings.NAME]`; "": no record has anything like two numbers.

    It can be kept as it is, but for places that are left empty: those are questions.
    """
    looked_at = records[:_LOOKED_AT]
    rows = [row for row in map(_json_row, looked_at) if row]
    if 2 * len(rows) >= len(looked_at) > 0:
        return _Draft("json", by_place(rows), region).text([])
    lines = lines_of(looked_at)
    if lines is None:
        return ""
    places = lines.names or tuple(map(str, range(len(lines.rows[0]))))
    columns = by_place([dict(zip(places, row, strict=True)) for row in lines.rows])
    draft = _Draft("csv", columns, region, named=bool(lines.names))
    return draft.text(_lines_said(lines))


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


def _lines_said(lines: Lines) -> list[str]:
    said = []
    if lines.delimiter != ",":
        said.append(f"delimiter = {_quoted(lines.delimiter)}")
    if lines.names:
        said.append(f"columns = [{', '.join(map(_quoted, lines.names))}]")
    if lines.skip:
        said.append(f"skip = [{', '.join(map(_quoted, lines.skip))}]")
    if lines.odd:
        said.append(f"# not sure: {lines.odd} lines have other columns; `skip` names no calls")
    return said


class _Draft:
    """A mapping to begin with: fields that are known, and those that are open."""

    def __init__(
        self, form: str, columns: Mapping[str, list[Any]], region: str, *, named: bool = True
    ) -> None:
        self._form = form
        self._columns = columns
        self._named = named
        self._region = region
        self._numbers = [place for place in columns if self._has_numbers(place)]
        self._known: dict[str, str] = {}

    def text(self, lines_said: Sequence[str]) -> str:
        """Write the table; "": nothing like two numbers is there."""
        direction = self._direction()
        sides = self._sides(*direction) if direction else {}
        if len(self._numbers) < (1 if sides else 2):
            return ""
        fitting = {
            field: [place for place in self._columns if self._fits(field, place)]
            for field in _NAMES
        }
        for field, able in fitting.items():
            self._choose(field, able)
        if direction:
            for key in _NUMBERS:
                # The number of a switch's own user is the caller's in half of the records only.
                place = self._known.get(key, "")
                if _OURS.search(place) and not _CLEAR.search(place):
                    del self._known[key]
        chosen = sides if not self._known.keys() >= {*_NUMBERS} else {}
        if chosen:
            for key in _NUMBERS:
                self._known.pop(key, None)
        head = ["[mappings.NAME]", f'format = "{self._form}"', *lines_said]
        head += [*self._kinds_said(), *self._time_said()]
        for key, (place, by_value) in chosen.items():
            ways = ", ".join(f"{_quoted(said)} = {_quoted(to)}" for said, to in by_value.items())
            head.append(f"choose.{key}.{_quoted(place)} = {{ {ways} }}")
        return (
            "\n".join(
                [*head, "", "[mappings.NAME.fields]", *self._fields(fitting, chosen, direction)]
            )
            + "\n"
        )

    def _fields(
        self,
        fitting: Mapping[str, list[str]],
        chosen: Mapping[str, object],
        direction: tuple[str, Mapping[str, bool]] | None,
    ) -> Iterator[str]:
        for field, able in fitting.items():
            if field in self._known:
                yield f"{field} = {_quoted(self._known[field])}"
            elif field in _NEEDED and field not in chosen:
                free = [place for place in able if place not in self._known.values()]
                choices = ", ".join(map(self._shown, free[:4])) or "where it is"
                if direction and field in _NUMBERS:
                    choices += f"; {_plain(direction[0])} may say which: see `choose`"
                yield f'{field} = ""   # -> {choices}'

    def _choose(self, field: str, able: Sequence[str]) -> None:
        """Take the place of a field where its name and its values agree."""
        free = [place for place in able if place not in self._known.values()]
        likely = [place for place in free if _NAMES[field].search(place)]
        if not self._named:
            likely = [place for place in free if _is_evident(field, self._columns[place])]
        if field == "started_at":
            likely.sort(key=lambda place: _BEGINS.search(place) is None)
        if len(likely) == 1 or (likely and field not in _NUMBERS):
            self._known[field] = likely[0]

    def _has_numbers(self, place: str) -> bool:
        values = self._columns[place]
        if _share(values, lambda value: _is_number(value, self._region)) < _HALF:
            return False
        # A column without a name is called by its number, which has no meaning.
        return not (_NEVER_NUMBERS.search(_last(place)) and not _NUMBER_ID.search(place))

    def _fits(self, field: str, place: str) -> bool:
        """Return whether the values of a place can be the field."""
        values = self._columns[place]
        if field in _NUMBERS:
            return place in self._numbers
        if field in ("call_id", "started_at") and place in self._numbers:
            return False
        if field == "call_id":
            return _may_be_id(values)
        if field == "started_at":
            return is_mostly_written(values)
        if field == "duration_s":
            return _share(values, lambda value: fields.duration_s(value) is not None) >= _HALF
        return all(isinstance(value, str) for value in values)

    def _direction(self) -> tuple[str, Mapping[str, bool]] | None:
        """Return the place that says which way a call goes, and its values, True for inbound."""
        found = [(place, by) for place in self._columns if (by := directions(self._columns[place]))]
        return found[0] if len(found) == 1 else None

    def _sides(
        self, place: str, inbound: Mapping[str, bool]
    ) -> dict[str, tuple[str, dict[str, str]]]:
        """Return which place is whose by the direction; {}: names do not tell."""
        able = [one for one in self._columns if self._may_be_side(one)]
        ours = [one for one in able if _OURS.search(one)]
        theirs = [one for one in able if _THEIRS.search(one)]
        if len(ours) != 1 or len(theirs) != 1 or ours == theirs:
            return {}
        caller = {said: theirs[0] if comes else ours[0] for said, comes in inbound.items()}
        callee = {said: ours[0] if comes else theirs[0] for said, comes in inbound.items()}
        return {"caller": (place, caller), "callee": (place, callee)}

    def _may_be_side(self, place: str) -> bool:
        """Return whether a place has numbers or extensions."""
        short = _share(self._columns[place], lambda value: _EXTENSION.match(str(value)) is not None)
        return place in self._numbers or short >= _HALF

    def _kinds_said(self) -> Iterator[str]:
        for place, values in self._columns.items():
            found = kinds(values)
            if found is None or place in self._known.values():
                continue
            calls = ", ".join(map(_quoted, found.calls))
            others = _plain(", ".join((*found.others, *found.unknown)))
            is_sure = found.calls and not found.unknown
            told = "are no calls" if is_sure else "-> which of these are calls?"
            yield f"only.{_quoted(place)} = [{calls}]   # {others}: {told}"

    def _time_said(self) -> Iterator[str]:
        place = self._known.get("started_at")
        said = written(self._columns[place]) if place else None
        if said is None or place is None:
            return
        if len(said.forms) > 1:
            # A day taken for a month is a time all the same, so nothing is proposed.
            del self._known["started_at"]
            ways = " or ".join(map(_quoted, said.forms))
            yield f"# not sure: {self._shown(place)} is started_at, with time = {ways}"
            return
        if said.forms[0] not in ("", "s"):
            yield f"time = {_quoted(said.forms[0])}"
        if said.local:
            yield 'time_zone = ""   # -> the switch\'s, "Asia/Bangkok": its times do not say'

    def _shown(self, place: str) -> str:
        return f"{_plain(place)} ({_plain(str(self._columns[place][0]))})"


def _quoted(text: str) -> str:
    """Return a text as TOML has it: JSON's, but for what TOML and UTF-8 cannot hold."""
    held = text.encode(errors="replace").decode()
    return json.dumps(held, ensure_ascii=False).replace("\x7f", "\\u007f")


def _last(path: str) -> str:
    return path.rpartition(".")[2]


def _plain(text: str) -> str:
    """Return a foreign text for a comment: in one line, and short."""
    return "".join(char if char.isprintable() else " " for char in text)[:_SHOWN]


def _may_be_id(values: Sequence[Any]) -> bool:
    """Return whether texts differ from call to call, or look like ids."""
    texts = [value for value in values if isinstance(value, str | int)]
    is_id = _share(texts, lambda value: fields.UUID.match(str(value)) is not None) >= _HALF
    # An id is of one call: values that come again are something else.
    differ = len({*map(str, texts)}) >= _HALF * len(values)
    return bool(texts) and (is_id or (differ and len(str(texts[0])) > 1))


def _is_evident(field: str, values: Sequence[Any]) -> bool:
    """Return whether texts tell by themselves what they are, where no name does."""
    if field == "call_id":
        return _share(values, lambda value: _ID.match(str(value)) is not None) >= _HALF
    if field == "started_at":
        found = written(values)
        return found is not None and found.forms != ("s",)
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
