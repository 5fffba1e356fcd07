r"""Dialect `mapping:<name>`: any JSON or CSV, by a table in the configuration.

    [mappings.acme]
    format = "json"                        # json | csv
    time = "%Y-%m-%d %H:%M:%S"             # strptime; empty: RFC 3339, or the epoch in s or ms
    utc_offset = "+07:00"                  # of times that do not say
    fields = { call_id = "variables.uuid", caller = "from.number", callee = "to.number" }
    constants = { stage = "end", trunk = "intl-1" }

A JSON path's steps are separated by dots; a dot inside a key is written `\.`. A CSV field is a
name from `columns` or a column's number, from 0; empty numbers are withheld ones.
"""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from operator import attrgetter
from typing import Any

import msgspec

from stream.calls.batch import Glance
from stream.calls.dialects import fields
from stream.calls.dialects.dialect import REQUIRED, Layout, NoCall, Value
from stream.core.call import Call, RejectReason
from stream.core.zones import zone_of

OPTIONAL = ("started_at", "stage", "ingress", "trunk", "carrier", "duration_s")
_TYPES: Mapping[str, Any] = {"call_id": str, "caller": str | None, "callee": str | None}


@dataclass(frozen=True, slots=True)
class MappingSettings:
    """One table `[mappings.<name>]`; see the module. `fields` and `constants` share no key."""

    format: str
    fields: Mapping[str, str]
    constants: Mapping[str, str] = field(default_factory=dict)
    columns: Sequence[str] = ()
    delimiter: str = ","
    time: str = ""
    utc_offset: str = "Z"

    def __post_init__(self) -> None:
        if wrong := [*self._wrong()]:
            raise ValueError("; ".join(wrong))

    def _wrong(self) -> Iterator[str]:
        known = (*REQUIRED, *OPTIONAL)
        if self.format not in ("json", "csv"):
            yield f"format is json or csv, not {self.format!r}"
        if len(self.delimiter) != 1:
            yield f"delimiter is one character, not {self.delimiter!r}"
        for key in (*self.fields, *self.constants):
            if key not in known:
                yield f"{key!r} is no field of a call; they are {', '.join(known)}"
        for key in sorted(self.fields.keys() & self.constants.keys()):
            yield f"{key!r} is both in fields and in constants"
        for key in REQUIRED:
            if key not in self.fields:
                yield f"fields must say where {key} is"
        for key, place in self.fields.items():
            if self.format == "csv" and place not in self.columns and not place.isdecimal():
                yield f"{key}: no column is called {place!r}"
            if self.format == "json" and not all(steps(place)):
                yield f"{key}: {place!r} is no path"
        if self.format == "json" and (clash := _clash(self.fields)):
            yield clash
        try:
            zone_of(self.utc_offset)
        except ValueError as error:
            yield f"utc_offset: {error}"


def _clash(paths: Mapping[str, str]) -> str:
    """What is wrong with paths of which one ends inside another; "" for paths that do not."""
    ends = [tuple(steps(path)) for path in paths.values()]
    for end in ends:
        for other in ends:
            if len(end) < len(other) and other[: len(end)] == end:
                return f"{'.'.join(end)} is a field and holds {'.'.join(other)}"
    if len(set(ends)) < len(ends):
        return "two fields have the same path"
    return ""


def steps(path: str) -> list[str]:
    r"""The keys that lead to a JSON field: `sip.code` has two, `sip\.code` is one."""
    return [step.replace("\\.", ".") for step in re.split(r"(?<!\\)\.", path)]


def _call(found: Mapping[str, Any], settings: MappingSettings) -> Call:
    return Call(
        call_id=found["call_id"],
        caller=found["caller"],
        callee=found["callee"],
        started_at_s=_started_at_s(found, settings),
        stage=fields.stage(found.get("stage")),
        ingress=fields.ingress(found.get("ingress")),
        trunk=fields.text(found.get("trunk")),
        carrier=fields.text(found.get("carrier")),
        duration_s=fields.duration_s(found.get("duration_s")),
    )


def _started_at_s(found: Mapping[str, Any], settings: MappingSettings) -> float | None:
    return fields.epoch_s(
        found.get("started_at"), written=settings.time or None, zone=zone_of(settings.utc_offset)
    )


class JsonMapping:
    """Any JSON: one msgspec type is made of the paths, so what nobody asked for is skipped."""

    def __init__(self, name: str, settings: MappingSettings) -> None:
        self.name = name
        self.json_keys = _keys_of(settings.fields)
        self._settings = settings
        wanted = (*REQUIRED, *(key for key in ("trunk", "ingress") if key in settings.fields))
        self._glance = _Reader({key: settings.fields[key] for key in wanted})
        self._lean = _Reader({key: settings.fields[key] for key in REQUIRED})
        constants = ((key, settings.constants.get(key)) for key in ("trunk", "ingress"))
        self.layout = Layout(
            tuple((key, tuple(steps(settings.fields[key]))) for key in wanted),
            tuple((key, text) for key, text in constants if text),
            empty_is_absent=True,
        )
        self._trunk = settings.constants.get("trunk")
        self._ingress = settings.constants.get("ingress")
        self._paths = {key: steps(path) for key, path in settings.fields.items()}

    def glance(self, value: Value, /) -> Glance:
        """See `Dialect`."""
        try:
            found = self._glance.read(value)
        except msgspec.ValidationError:
            # Only what can not be done without makes a record no call: see dialect `ringfence`.
            found = self._lean.read(value)
        return Glance(
            found["call_id"],
            found["caller"],
            found["callee"],
            fields.text(found.get("trunk")) or self._trunk,
            fields.text(found.get("ingress")) or self._ingress,
        )

    def call(self, value: Value, /) -> Call:
        """See `Dialect`."""
        record = fields.members(value)
        found = {key: _at(record, path) for key, path in self._paths.items()}
        return _call({**self._settings.constants, **found}, self._settings)

    def started_at_s(self, value: Value, /) -> float | None:
        """See `Dialect`."""
        path = self._paths.get("started_at")
        found = (
            self._settings.constants
            if path is None
            else {"started_at": _at(fields.members(value), path)}
        )
        return _started_at_s(found, self._settings)


def _keys_of(paths: Mapping[str, str]) -> tuple[str, ...]:
    """Every key on the way to a required field; one that several share counts once."""
    ways = {
        tuple(steps(paths[key])[:depth])
        for key in REQUIRED
        for depth in range(1, len(steps(paths[key])) + 1)
    }
    return tuple(sorted(way[-1] for way in ways))


def _at(record: Mapping[str, msgspec.Raw], path: Sequence[str]) -> Any:
    *parents, last = path
    for step in parents:
        record = fields.members(record[step]) if step in record else {}
    return fields.read(record[last]) if last in record else None


class _Reader:
    """Reads fields of a call by their paths, through one msgspec type that is nested as they are.

    Attributes of that type are numbered (`a0`, `a1`...): a JSON key need not be an identifier.
    """

    def __init__(self, paths: Mapping[str, str]) -> None:
        self._keys = tuple(paths)
        self._numbers = count()
        self._attribute_of: dict[tuple[str, ...], str] = {}
        root: dict[str, Any] = {}
        for key, path in paths.items():
            node = root
            *parents, last = steps(path)
            for step in parents:
                node = node.setdefault(step, {})
            node[last] = key
        self._decode = msgspec.json.Decoder(self._struct(root, ())).decode
        self._values_of = attrgetter(*(self._dotted(steps(path)) for path in paths.values()))

    def read(self, value: Value) -> dict[str, Any]:
        """The fields by name; raises what msgspec raises."""
        return dict(zip(self._keys, self._values_of(self._decode(value)), strict=True))

    def _dotted(self, path: Sequence[str]) -> str:
        return ".".join(self._attribute_of[tuple(path[: depth + 1])] for depth in range(len(path)))

    def _struct(self, node: Mapping[str, Any], above: tuple[str, ...]) -> type[msgspec.Struct]:
        """The struct of one object: `node` maps its keys to fields of a call or nested objects."""
        members: list[tuple[str, Any, Any]] = []
        rename = {}
        for step, below in node.items():
            attribute = f"a{next(self._numbers)}"
            self._attribute_of[(*above, step)] = attribute
            rename[attribute] = step
            if not isinstance(below, str):
                nested = self._struct(below, (*above, step))
                absent = (
                    msgspec.field() if _required(below) else msgspec.field(default_factory=nested)
                )
                members.append((attribute, nested, absent))
            elif below in REQUIRED:
                members.append((attribute, _TYPES[below], msgspec.field()))
            else:
                members.append((attribute, Any, msgspec.field(default=None)))
        return msgspec.defstruct("Record", members, rename=rename, gc=False, kw_only=True)


def _required(node: Mapping[str, Any]) -> bool:
    return any(
        below in REQUIRED if isinstance(below, str) else _required(below) for below in node.values()
    )


class CsvMapping:
    """One CSV line per record, quoted as RFC 4180 says."""

    json_keys = ()
    layout = None

    def __init__(self, name: str, settings: MappingSettings) -> None:
        self.name = name
        self._settings = settings
        places = {name: place for place, name in enumerate(settings.columns)}
        self._places = {
            key: places[column] if column in places else int(column)
            for key, column in settings.fields.items()
        }
        self._least = 1 + max(self._places[key] for key in REQUIRED)

    def glance(self, value: Value, /) -> Glance:
        """See `Dialect`."""
        found = self._fields(value)
        return Glance(
            found["call_id"],
            found["caller"],
            found["callee"],
            fields.text(found.get("trunk")),
            fields.text(found.get("ingress")),
        )

    def call(self, value: Value, /) -> Call:
        """See `Dialect`."""
        return _call(self._fields(value), self._settings)

    def started_at_s(self, value: Value, /) -> float | None:
        """See `Dialect`."""
        return _started_at_s(self._fields(value), self._settings)

    def _fields(self, value: Value) -> dict[str, Any]:
        line = str(value, "utf-8")
        try:
            rows = list(csv.reader([line], delimiter=self._settings.delimiter, strict=True))
        except csv.Error as error:
            raise NoCall(RejectReason.NOT_CSV, str(error)) from error
        if len(rows) != 1:
            raise NoCall(RejectReason.NOT_CSV, f"{len(rows)} lines where one is a record")
        cells = rows[0]
        if len(cells) < self._least:
            raise NoCall(
                RejectReason.MISSING_FIELD, f"{len(cells)} columns where {self._least} are needed"
            )
        found: dict[str, Any] = dict(self._settings.constants)
        for key, place in self._places.items():
            found[key] = (cells[place] if place < len(cells) else "") or None
        if found["call_id"] is None:
            raise NoCall(RejectReason.MISSING_FIELD, "call_id is empty")
        return found
