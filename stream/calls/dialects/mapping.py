r"""Dialect `mapping:<name>`: any JSON or CSV, by a table in the configuration.

    [mappings.acme]
    format = "json"                        # json | csv
    time = "%Y-%m-%d %H:%M:%S"             # strptime; empty: RFC 3339, or the epoch in s or ms
    time_zone = "Asia/Bangkok"             # or "+07:00": of times that do not say
    fields = { call_id = "variables.uuid", caller = "from.number", callee = "to.number" }
    patterns = { caller = '^(?:sip:)?([^@]+)', trunk = '^([a-z]+)-' }
    constants = { stage = "end", trunk = "intl-1" }

A JSON path's steps are separated by dots; a dot inside a key is written `\.`. A CSV field is a
name from `columns` or a column's number, from 0; empty numbers are withheld ones. Of a pattern
(a regular expression, see `linear_patterns`) counts the first group, or all that it matches; where
it does not match, a call id or number stays as it is, so that no listed number gets by, and an
optional field is none.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Any

import msgspec

from stream.calls.call_batch import FIELDS, SIGNED, KeyFields
from stream.calls.dialects import fields
from stream.calls.dialects.csv_form import cells_of
from stream.calls.dialects.dialect import REQUIRED, Details, FieldLayout, NoCall, RecordField, Value
from stream.calls.dialects.json_form import PathReader, keys_of, value_at
from stream.calls.dialects.linear_patterns import cutter
from stream.core.model.call import RejectReason
from stream.core.model.time_zones import zone_named

OPTIONAL = ("started_at", "stage", "ingress", "trunk", "carrier", "duration_s", *SIGNED)
_KEYS = (*FIELDS, *SIGNED)
_MAY_BE = tuple(key for key in _KEYS if key not in REQUIRED)
"""Fields of `KeyFields` that a call may lack, in its order."""
_ZONED = re.compile(r"%(?:z|:z|Z|s)")
"""In a time format: the times say their zone."""


@dataclass(frozen=True, slots=True)
class MappingSettings:
    """One table `[mappings.<name>]`; see the module. `fields` and `constants` share no key."""

    format: str
    fields: Mapping[str, str]
    constants: Mapping[str, str] = field(default_factory=dict)
    columns: Sequence[str] = ()
    delimiter: str = ","
    time: str = ""
    time_zone: str = ""
    utc_offset: str = ""
    patterns: Mapping[str, str] = field(default_factory=dict)

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
        for key, pattern in self.patterns.items():
            if key not in self.fields:
                yield f"patterns: {key!r} is not in fields"
            try:
                cutter(pattern)
            except ValueError as error:
                yield f"patterns: {key}: {error}"
        yield from self._wrong_times()

    def _wrong_times(self) -> Iterator[str]:
        if self.time_zone and self.utc_offset:
            yield "time_zone and utc_offset say the same: keep one"
        for key in ("time_zone", "utc_offset"):
            if text := getattr(self, key):
                try:
                    zone_named(text)
                except ValueError as error:
                    yield f"{key}: {error}"
        local = self.time and not _ZONED.search(self.time) and "started_at" in self.fields
        if local and not (self.time_zone or self.utc_offset):
            yield f"time {self.time!r} has no zone: time_zone says which, e.g. Asia/Bangkok"

    @property
    def zone(self) -> tzinfo | None:
        """Of times that do not say theirs; None: those are not read."""
        name = self.time_zone or self.utc_offset
        return zone_named(name) if name else None


def _clash(paths: Mapping[str, str]) -> str:
    """Return what is wrong where one path ends inside another; "": none does."""
    ends = [tuple(steps(path)) for path in paths.values()]
    for end in ends:
        for other in ends:
            if len(end) < len(other) and other[: len(end)] == end:
                return f"{'.'.join(end)} is a field and holds {'.'.join(other)}"
    if len(set(ends)) < len(ends):
        return "two fields have the same path"
    return ""


def steps(path: str) -> list[str]:
    r"""Return the keys that lead to a JSON field: `sip.code` has two, `sip\.code` is one."""
    return [step.replace("\\.", ".") for step in re.split(r"(?<!\\)\.", path)]


def _details(found: Mapping[str, Any], settings: MappingSettings) -> Details:
    return Details(
        started_at_s=_started_at_s(found, settings),
        stage=fields.stage(found.get("stage")),
        carrier=fields.text(found.get("carrier")),
        duration_s=fields.duration_s(found.get("duration_s")),
    )


def _started_at_s(found: Mapping[str, Any], settings: MappingSettings) -> float | None:
    written = settings.time or None
    return fields.epoch_s(found.get("started_at"), written=written, zone=settings.zone)


class _Patterns:
    """The patterns of a mapping, by field."""

    def __init__(self, patterns: Mapping[str, str]) -> None:
        self._cutters = {key: cutter(pattern) for key, pattern in patterns.items()}

    def cut_key_fields(self) -> bool:
        """Return whether one is of a key field."""
        return not self._cutters.keys().isdisjoint(_KEYS)

    def cut(self, found: dict[str, Any]) -> dict[str, Any]:
        """Leave of the texts in `found` what the patterns do."""
        for key, cutter_of_key in self._cutters.items():
            text = found.get(key)
            if not isinstance(text, str):
                continue
            cut = cutter_of_key(text)
            if cut is not None:
                found[key] = cut
            elif key not in REQUIRED:
                found[key] = None
        return found


class JsonMapping:
    """Any JSON: one msgspec type is made of the paths, so what nobody asked for is skipped."""

    def __init__(self, name: str, settings: MappingSettings) -> None:
        self.name = name
        self._settings = settings
        self._paths = {key: tuple(steps(path)) for key, path in settings.fields.items()}
        self.json_keys = keys_of(self._paths[key] for key in REQUIRED)
        self._optional = tuple(key for key in _MAY_BE if key in settings.fields)
        wanted = (*REQUIRED, *self._optional)
        self._key_fields = PathReader({key: self._paths[key] for key in wanted})
        self._lean = PathReader({key: self._paths[key] for key in REQUIRED})
        self._patterns = _Patterns(settings.patterns)
        self._constants = tuple(settings.constants.get(key) for key in _MAY_BE)
        constants = zip(_MAY_BE, self._constants, strict=True)
        scanned = FieldLayout(
            tuple((key, self._paths[key]) for key in wanted),
            tuple((key, text) for key, text in constants if text),
            empty_is_absent=True,
        )
        self.layout = None if self._patterns.cut_key_fields() else scanned

    def key_fields(self, value: Value, /) -> KeyFields:
        """See `Dialect`."""
        try:
            found = self._key_fields.read(value)
        except msgspec.ValidationError:
            # Only what cannot be done without makes a record no call: see dialect `ringfence`. Of
            # the others each is read by itself: one that makes no sense hides no other.
            found = self._lean.read(value)
            record = fields.members(value)
            for key in self._optional:
                found[key] = value_at(record, self._paths[key])
        self._patterns.cut(found)
        return KeyFields(
            found["call_id"],
            found["caller"],
            found["callee"],
            *(
                fields.text(found.get(key)) or constant
                for key, constant in zip(_MAY_BE, self._constants, strict=True)
            ),
        )

    def details(self, value: Value, /) -> Details:
        """See `Dialect`."""
        record = fields.members(value)
        found = {
            key: value_at(record, path) for key, path in self._paths.items() if key not in _KEYS
        }
        return _details({**self._settings.constants, **self._patterns.cut(found)}, self._settings)

    def started_at_s(self, value: Value, /) -> float | None:
        """See `Dialect`."""
        path = self._paths.get("started_at")
        if path is None:
            return _started_at_s(self._settings.constants, self._settings)
        found = {"started_at": value_at(fields.members(value), path)}
        return _started_at_s(self._patterns.cut(found), self._settings)

    def found(self, value: Value, /) -> Mapping[str, RecordField]:
        """See `Dialect`."""
        record = fields.members(value)
        places = self._settings.fields
        return {
            key: RecordField(places[key], value_at(record, path))
            for key, path in self._paths.items()
        }


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
        self._patterns = _Patterns(settings.patterns)

    def key_fields(self, value: Value, /) -> KeyFields:
        """See `Dialect`."""
        found = self._fields(value)
        return KeyFields(
            found["call_id"],
            found["caller"],
            found["callee"],
            *(fields.text(found.get(key)) for key in _MAY_BE),
        )

    def details(self, value: Value, /) -> Details:
        """See `Dialect`."""
        return _details(self._fields(value), self._settings)

    def started_at_s(self, value: Value, /) -> float | None:
        """See `Dialect`."""
        return _started_at_s(self._fields(value), self._settings)

    def found(self, value: Value, /) -> Mapping[str, RecordField]:
        """See `Dialect`."""
        cells = cells_of(value, self._settings.delimiter)
        return {
            key: RecordField(f"column {place}", cells[place] if place < len(cells) else None)
            for key, place in self._places.items()
        }

    def _fields(self, value: Value) -> dict[str, Any]:
        cells = cells_of(value, self._settings.delimiter)
        if len(cells) < self._least:
            raise NoCall(
                RejectReason.MISSING_FIELD, f"{len(cells)} columns where {self._least} are needed"
            )
        found: dict[str, Any] = dict(self._settings.constants)
        for key, place in self._places.items():
            found[key] = (cells[place] if place < len(cells) else "") or None
        if found["call_id"] is None:
            raise NoCall(RejectReason.MISSING_FIELD, "call_id is empty")
        return self._patterns.cut(found)
