"""Dialect `mapping:<name>`: any JSON, CSV or fixed columns by a table, see `mapping_settings`.

JSON is as fast as a switch's own dialect where the key fields have a path each: the kernels scan
it. A field that is joined, or chosen by another one's value, takes the slower way.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from stream.calls.call_batch import FIELDS, SIGNED, KeyFields
from stream.calls.dialects import fields
from stream.calls.dialects.columns import Cut, columns_cut
from stream.calls.dialects.dialect import (
    REQUIRED,
    Details,
    Dialect,
    FieldLayout,
    NoCall,
    Only,
    RecordField,
    Value,
)
from stream.calls.dialects.json_form import (
    Members,
    PathReader,
    keys_of,
    of_several,
    text_at,
    value_at,
    written,
)
from stream.calls.dialects.linear_patterns import cutter
from stream.calls.dialects.mapping_settings import DURATIONS, UNITS, MappingSettings, steps
from stream.core.model.call import RejectReason

Mappings = Mapping[str, MappingSettings]
Read = Callable[[Any], Any]
"""From a place to the value there; None: nothing."""
_KEYS = (*FIELDS, *SIGNED)
_MAY_BE = tuple(key for key in _KEYS if key not in REQUIRED)
"""Fields of `KeyFields` that a call may lack, in its order."""
_FILTERED = "`only` in the mapping says which records are calls"


def _details(found: Mapping[str, Any], settings: MappingSettings) -> Details:
    return Details(
        started_at_s=_started_at_s(found.get("started_at"), settings),
        stage=fields.stage(found.get("stage")),
        carrier=fields.text(found.get("carrier")),
        duration_s=fields.duration_s(found.get("duration_s"), DURATIONS[settings.duration]),
    )


def _started_at_s(said: Any, settings: MappingSettings) -> float | None:
    if settings.time in UNITS:
        return fields.counted_s(said, UNITS[settings.time])
    if settings.time:
        return fields.written_s(said, settings.time, settings.zone)
    return fields.moment_s(said, settings.zone)


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


def _said(value: Any) -> str:
    """Return the value at a deciding place, as a mapping writes it; "": nothing."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int) else ""


def _is_there(value: Any) -> bool:
    """Return whether a place says something; an empty text does not."""
    return value is not None and value != ""


class _Source:
    """Where one field of a call is: at one of `ways`, in all of `joined`, or where `by` says."""

    def __init__(self, key: str, settings: MappingSettings, place_of: Callable[[str], Any]) -> None:
        own = (settings.fields[key],) if key in settings.fields else ()
        self.ways = tuple(map(place_of, (*own, *settings.otherwise.get(key, ()))))
        self.joined = tuple(map(place_of, settings.joined.get(key, ())))
        (self._by, chosen), *_ = (*settings.choose.get(key, {}).items(), ("", {}))
        self._by_place = place_of(self._by) if chosen else None
        self._chosen = {value: place_of(place) for value, place in chosen.items()}

    @property
    def is_plain(self) -> bool:
        """Return whether the first of `ways` is where it usually is."""
        return not self.joined and not self._chosen

    def all(self) -> Iterator[Any]:
        """Yield the places that every record has, which this may ask for."""
        yield from (*self.ways[:1], *self.joined, *self._chosen.values())
        if self._chosen:
            yield self._by_place

    def places(self, read: Read) -> tuple[Any, ...]:
        """Return the places to look at in this record, in order. Raises NoCall: none is chosen."""
        if not self._chosen:
            return self.joined or self.ways
        place = self._chosen.get(_said(read(self._by_place)))
        if place is not None:
            return (place,)
        if not self.ways:
            choices = ", ".join(map(repr, self._chosen))
            raise NoCall(
                RejectReason.WRONG_TYPE, f"{self._by} is none of {choices}: `choose` says no more"
            )
        return self.ways

    def value(self, read: Read) -> Any:
        """Return an optional field; None: it is not there."""
        try:
            places = self.places(read)
        except NoCall:
            return None
        if self.joined:
            parts = [_said(read(place)) for place in places]
            return "-".join(parts) if all(parts) else None
        return next((value for place in places if _is_there(value := read(place))), None)


class JsonMapping:
    """Any JSON: one msgspec type is made of the paths, so other members are skipped."""

    def __init__(self, name: str, settings: MappingSettings) -> None:
        self.name = name
        self._settings = settings
        self._sources = {key: _Source(key, settings, _path) for key in settings.placed}
        required = {key: self._sources[key] for key in REQUIRED}
        self.json_keys = keys_of(path for source in required.values() for path in source.all())
        self._optional = tuple(key for key in _MAY_BE if key in settings.placed)
        self._patterns = _Patterns(settings.patterns)
        self._constants = tuple(settings.constants.get(key) for key in _MAY_BE)
        self._only = tuple(
            Only(_path(place), tuple(filter(None, values)), "" in values, _FILTERED)
            for place, values in settings.only.items()
        )
        self._of_several = of_several({key: source.ways for key, source in required.items()})
        self.layout = self._layout()
        placed = self.layout.paths if self.layout else ()
        usual = {key: self._sources[key].ways[0] for key, _ in placed}
        if self.layout and self._only:
            usual["only"] = self._only[0].path
        self._reader = PathReader(usual) if usual else None

    def _layout(self) -> FieldLayout | None:
        """Return where the scan finds the key fields; None: not at one path each."""
        wanted = {key: self._sources[key] for key in (*REQUIRED, *self._optional)}
        if not all(source.is_plain for source in wanted.values()) or len(self._only) > 1:
            return None
        if any(len(wanted[key].ways) > 1 for key in self._optional):
            return None
        paths = {key: source.ways[0] for key, source in wanted.items()}
        told = [*paths.values(), *(one.path for one in self._only)]
        if any(one != two and one[: len(two)] == two for one in told for two in told):
            return None
        if len(set(told)) < len(told) or self._patterns.cut_key_fields():
            return None
        constants = zip(_MAY_BE, self._constants, strict=True)
        return FieldLayout(
            tuple(paths.items()),
            tuple((key, text) for key, text in constants if text),
            empty_is_absent=True,
            only=self._only[0] if self._only else None,
            parties_elsewhere=bool(self._of_several),
        )

    def key_fields(self, value: Value, /) -> KeyFields:
        """See `Dialect`."""
        if self._reader is None:
            return self._slow(value)
        try:
            found = self._reader.read(value)
        except msgspec.ValidationError:
            return self._slow(value)
        if not all(found[key] for key in self._of_several):
            return self._slow(value)
        if self._only:
            _check(self._only[0], found["only"])
        return self._of(found)

    def _of(self, found: Mapping[str, Any]) -> KeyFields:
        return KeyFields(
            found["call_id"],
            found["caller"],
            found["callee"],
            *(
                fields.text(found.get(key)) or constant
                for key, constant in zip(_MAY_BE, self._constants, strict=True)
            ),
        )

    def _slow(self, value: Value) -> KeyFields:
        """Read a record in which something is not as it usually is.

        Only what cannot be done without makes a record no call: an odd trunk hides no caller.
        """
        record = fields.members(value)
        if not record:
            raise NoCall(RejectReason.WRONG_TYPE, "no JSON object with something in it")
        for only in self._only:
            _check(only, value_at(record, only.path, msgspec.UNSET))
        found = {key: self._text(record, key) for key in REQUIRED}
        for key in self._optional:
            found[key] = self._sources[key].value(_reader_of(record))
        return self._of(self._patterns.cut(found))

    def _text(self, record: Members, key: str) -> str | None:
        """Read a required field; of an int its digits. A call id that is null is not there."""
        source = self._sources[key]
        places = source.places(_reader_of(record))
        if source.joined:
            parts = [_said(value_at(record, path)) for path in places]
            if all(parts):
                return "-".join(parts)
            places = tuple(path for path, part in zip(places, parts, strict=True) if not part)
        else:
            found = text_at(record, places, key)
            if found is not msgspec.UNSET:
                return found
        missing = " and ".join(map(written, places))
        raise NoCall(RejectReason.MISSING_FIELD, f"{missing} missing: {key} is there")

    def details(self, value: Value, /) -> Details:
        """See `Dialect`."""
        read = _reader_of(fields.members(value))
        found = {
            key: source.value(read) for key, source in self._sources.items() if key not in _KEYS
        }
        return _details({**self._settings.constants, **self._patterns.cut(found)}, self._settings)

    def started_at_s(self, value: Value, /) -> float | None:
        """See `Dialect`."""
        source = self._sources.get("started_at")
        if source is None:
            return _started_at_s(self._settings.constants.get("started_at"), self._settings)
        found = {"started_at": source.value(_reader_of(fields.members(value)))}
        return _started_at_s(self._patterns.cut(found)["started_at"], self._settings)

    def found(self, value: Value, /) -> Mapping[str, RecordField]:
        """See `Dialect`."""
        read = _reader_of(fields.members(value))
        return {key: _found(source, read, written) for key, source in self._sources.items()}


def _check(only: Only, said: Any) -> None:
    """Raise NoCall unless `said` makes a record a call; an empty text is as good as none."""
    if isinstance(said, int):
        said = _said(said)
    only.check(None if said == "" else said)


def _path(place: str) -> tuple[str, ...]:
    return tuple(steps(place))


def _reader_of(record: Members) -> Read:
    return lambda path: value_at(record, path)


def _found(source: _Source, read: Read, called: Callable[[Any], str]) -> RecordField:
    try:
        places = source.places(read)
    except NoCall:
        return RecordField("no place is chosen", None)
    if not source.joined:
        places = next(((one,) for one in places if _is_there(read(one))), places[:1])
    return RecordField(" and ".join(map(called, places)), source.value(read))


class ColumnsMapping:
    """One line per record, cut into columns by `columns.columns_cut`."""

    json_keys = ()
    layout = None

    def __init__(self, name: str, settings: MappingSettings) -> None:
        self.name = name
        self._settings = settings
        self._cut: Cut = columns_cut(settings)
        self._sources = {key: _Source(key, settings, settings.column) for key in settings.placed}
        # Most fields have one column, which is read without a call.
        self._plain = tuple(
            (key, source.ways[0])
            for key, source in self._sources.items()
            if source.is_plain and len(source.ways) == 1
        )
        plain = {key for key, _ in self._plain}
        self._others = tuple(
            (key, source) for key, source in self._sources.items() if key not in plain
        )
        self._chosen = tuple(self._sources[key] for key in REQUIRED if key in settings.choose)
        asked = [place for key in REQUIRED for place in self._sources[key].all()]
        self._least = max(1 + max(asked), settings.columns_min)
        self._header = tuple(
            (place, settings.columns[place]) for place in asked if place < len(settings.columns)
        )
        self._first = self._header[0][0] if self._header else 0
        self._first_name = self._header[0][1] if self._header else None
        self._only = tuple(
            (settings.column(place), place, frozenset(values))
            for place, values in settings.only.items()
        )
        self._patterns = _Patterns(settings.patterns)

    def key_fields(self, value: Value, /) -> KeyFields:
        """See `Dialect`."""
        cells = self._cells(value)
        for source in self._chosen:
            source.places(_cell_reader(cells))
        found = self._fields(cells)
        if not found["call_id"]:
            raise NoCall(RejectReason.MISSING_FIELD, "call_id is empty")
        return KeyFields(
            found["call_id"],
            found["caller"],
            found["callee"],
            *(fields.text(found.get(key)) for key in _MAY_BE),
        )

    def details(self, value: Value, /) -> Details:
        """See `Dialect`."""
        return _details(self._fields(self._cells(value)), self._settings)

    def started_at_s(self, value: Value, /) -> float | None:
        """See `Dialect`."""
        return _started_at_s(self._fields(self._cells(value)).get("started_at"), self._settings)

    def found(self, value: Value, /) -> Mapping[str, RecordField]:
        """See `Dialect`."""
        read = _cell_reader(self._cells(value))
        return {key: _found(source, read, _column) for key, source in self._sources.items()}

    def _cells(self, value: Value) -> list[str]:
        """Return the cells of a line that is a call's. Raises NoCall."""
        cells = self._cut(value)
        for place, name, allowed in self._only:
            said = cells[place] if place < len(cells) else ""
            if said not in allowed:
                wanted = " or ".join(text or "empty" for text in sorted(allowed))
                text = f"column {name} is not {wanted}: {_FILTERED}"
                # The last cell of too short a line may be torn.
                whole = place < len(cells) - 1 or len(cells) >= self._least
                raise NoCall(
                    RejectReason.OTHER_EVENT if whole else RejectReason.MISSING_FIELD, text
                )
        if len(cells) < self._least:
            text = f"{len(cells)} columns where {self._least} are needed"
            raise NoCall(RejectReason.MISSING_FIELD, text)
        # The first alone is nearly always another text, which costs less than a look at all.
        if cells[self._first] == self._first_name and all(
            cells[place] == name for place, name in self._header
        ):
            raise NoCall(RejectReason.OTHER_EVENT, "the line has the columns' names")
        return cells

    def _fields(self, cells: list[str]) -> dict[str, Any]:
        found: dict[str, Any] = dict(self._settings.constants)
        count = len(cells)
        for key, place in self._plain:
            found[key] = (cells[place] if place < count else "") or None
        for key, source in self._others:
            found[key] = source.value(_cell_reader(cells))
        return self._patterns.cut(found)


def _cell_reader(cells: list[str]) -> Read:
    count = len(cells)
    return lambda place: (cells[place] or None) if place < count else None


def _column(place: int) -> str:
    return f"column {place}"


class KindsMapping:
    """Records of several kinds: the value at one place says which mapping reads each."""

    layout = None

    def __init__(self, name: str, settings: MappingSettings, mappings: Mappings) -> None:
        self.name = name
        ((self._place, by_value),) = settings.kinds.items()
        for which in by_value.values():
            if which not in mappings or mappings[which].kinds:
                raise ValueError(f"kinds names no table [mappings.{which}] without kinds")
        self._kinds = {value: made(name, mappings[which]) for value, which in by_value.items()}
        self.json_keys = tuple(
            sorted({key for dialect in self._kinds.values() for key in dialect.json_keys})
        )
        self._path = _path(self._place)
        self._cut = None if settings.format == "json" else columns_cut(settings)
        self._column = 0 if settings.format == "json" else settings.column(self._place)

    def _dialect(self, value: Value) -> Dialect:
        if self._cut is None:
            said = _said(value_at(fields.members(value), self._path))
            whole = bool(said)
        else:
            cells = self._cut(value)
            said = cells[self._column] if self._column < len(cells) else ""
            whole = self._column < len(cells) - 1  # the last cell may be torn
        dialect = self._kinds.get(said)
        if dialect is None:
            where = self._place if self._cut is None else f"column {self._place}"
            text = f"{where} is not {' or '.join(self._kinds)}: `kinds` says which are calls"
            raise NoCall(RejectReason.OTHER_EVENT if whole else RejectReason.MISSING_FIELD, text)
        return dialect

    def key_fields(self, value: Value, /) -> KeyFields:
        """See `Dialect`."""
        return self._dialect(value).key_fields(value)

    def details(self, value: Value, /) -> Details:
        """See `Dialect`."""
        return self._dialect(value).details(value)

    def started_at_s(self, value: Value, /) -> float | None:
        """See `Dialect`."""
        return self._dialect(value).started_at_s(value)

    def found(self, value: Value, /) -> Mapping[str, RecordField]:
        """See `Dialect`."""
        return self._dialect(value).found(value)


def made(name: str, settings: MappingSettings) -> Dialect:
    """Return the dialect of a mapping that names no others."""
    return (JsonMapping if settings.format == "json" else ColumnsMapping)(name, settings)


def mapped(name: str, which: str, mappings: Mappings) -> Dialect:
    """Return the dialect `name` of the mapping `which`. Raises ValueError: there is none."""
    if which not in mappings:
        there = ", ".join(mappings) or "there is none"
        raise ValueError(f"names no table [mappings.{which}]; known: {there}")
    settings = mappings[which]
    return KindsMapping(name, settings, mappings) if settings.kinds else made(name, settings)
