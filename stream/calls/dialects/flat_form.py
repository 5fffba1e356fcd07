"""Records of named values without depth, as JSON, text or CSV, and dialects by a table of names.

Of a field's names the first that says something counts: a PBX writes an empty `did` where another
column has the number. So nothing here rides the scan; each record is read by itself.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Any

import msgspec

from stream.calls.call_batch import KeyFields
from stream.calls.dialects import fields
from stream.calls.dialects.dialect import Details, NoCall, RecordField, SwitchSettings, Value
from stream.core.model.call import RejectReason, Stage

Names = tuple[str, ...]
Attributes = Mapping[str, Any]
"""Values of one record by name; only names that the form reads need be there."""
Reader = Callable[[Value, frozenset[str]], Attributes]
"""Reads the wanted attributes of a record. Raises what `Dialect.key_fields` may raise."""
_ESCAPED = b"\\u00"
"""May hide a letter of a key."""


def read_member(raw: msgspec.Raw) -> Any:
    """Read a member; UNSET for what cannot be kept, such as 1e999.

    It is not null: a called number that is hidden so is not withheld.
    """
    return fields.read(raw, msgspec.UNSET)


def read_object(
    value: Value,
    wanted: frozenset[str],
    many: frozenset[str] = frozenset(),
    read: Callable[[msgspec.Raw], Any] = read_member,
) -> dict[str, Any]:
    """Read the wanted members of a JSON object, each by `read`.

    A wanted one that is given twice is refused, but for those of `many`: of them the last counts.
    """
    record = fields.members(value)
    if not record:
        raise NoCall(RejectReason.WRONG_TYPE, "no JSON object with something in it")
    held = bytes(value)
    found = {name: read(raw) for name, raw in record.items() if name in wanted}
    if _ESCAPED in held or any(held.count(b'"%b"' % name.encode()) > 1 for name in found):
        _refuse_twice(held, wanted - many)
    return found


def _refuse_twice(held: bytes, wanted: frozenset[str]) -> None:
    """Raise NoCall where the outermost object has a wanted key twice."""
    outermost: list[str] = []

    def look(pairs: list[tuple[str, Any]]) -> None:
        # Inner objects come first; the last call is the outermost one's.
        outermost[:] = [name for name, _ in pairs]

    # `len` reads numbers: Python refuses integers of more than 4,300 digits, and none is needed.
    try:
        json.loads(held.decode(), object_pairs_hook=look, parse_int=len, parse_float=len)
    except json.JSONDecodeError as error:
        raise NoCall(RejectReason.NOT_JSON, error.msg) from error
    for name in wanted:
        if outermost.count(name) > 1:
            raise NoCall(RejectReason.DUPLICATE_KEY, f"{name} is given twice")


def read_block(value: Value, wanted: frozenset[str], separator: str) -> Attributes:
    """Read the wanted attributes of lines `Name: value`. One that is given twice is refused."""
    found: dict[str, Any] = {}
    for line in str(value, "utf-8").split("\n"):
        name, apart, text = line.partition(separator)
        if not apart or name not in wanted:
            continue
        if name in found:
            raise NoCall(RejectReason.DUPLICATE_KEY, f"{name} is given twice")
        found[name] = text.strip()
    return found


def text_of(value: Any) -> str | None:
    """Return a text that is not empty, or the digits of an int; else None."""
    if isinstance(value, str):
        return value or None
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def first_text(record: Attributes, names: Names) -> str | None:
    """Return the first of `names` that says something."""
    return next((text for name in names if (text := text_of(record.get(name)))), None)


def no_check(_: Attributes) -> None:
    """Take each record for one of a call."""


def at_end(_: Attributes) -> Stage:
    """Return the end: the switch writes a record when the call is over."""
    return Stage.END


@dataclass(frozen=True, slots=True, kw_only=True)
class FlatForm:
    """The names that one kind of switch writes. `also` are wanted besides the fields.

    `check` raises NoCall for records of something else than a call. `started` reads the time of
    a record in the switch's zone; None: the first of `started_at` that is one. `call_id_of` makes
    the id of several attributes. `withheld`: without a caller's name the caller is withheld.
    """

    read: Reader
    call_id: Names
    caller: Names
    callee: Names
    started_at: Names
    duration_s: Names = ()
    trunk: Names = ()
    also: Names = ()
    check: Callable[[Attributes], None] = no_check
    stage: Callable[[Attributes], Stage] = at_end
    started: Callable[[Attributes, tzinfo | None], float | None] | None = None
    call_id_of: Callable[[Attributes], str | None] | None = None
    withheld: bool = False
    channels: bool = False
    missing: Mapping[str, str] = field(default_factory=dict)


class FlatDialect:
    """A dialect that a `FlatForm` describes."""

    json_keys = ()  # `read` refuses a wanted key that is given twice
    layout = None

    def __init__(self, name: str, form: FlatForm, switch: SwitchSettings) -> None:
        self.name = name
        self._form = form
        self._zone = switch.zone
        self._constant = switch.trunk or None
        self._wanted = frozenset((
            *form.call_id, *form.caller, *form.callee, *form.started_at, *form.duration_s,
            *form.trunk, *form.also,
        ))  # fmt: skip

    def key_fields(self, value: Value, /) -> KeyFields:
        """See `Dialect`."""
        record = self._form.read(value, self._wanted)
        self._form.check(record)
        call_id = self._call_id(record)
        if call_id is None:
            raise self._missing("call_id", self._form.call_id)
        caller, callee = self._party(record, "caller"), self._party(record, "callee")
        return KeyFields(call_id, caller, callee, self._trunk(record))

    def _call_id(self, record: Attributes) -> str | None:
        if self._form.call_id_of is not None:
            return self._form.call_id_of(record)
        return first_text(record, self._form.call_id)

    def _party(self, record: Attributes, key: str) -> str | None:
        """Return a number; None: its name is there without a value. Raises NoCall without."""
        names: Names = getattr(self._form, key)
        text = first_text(record, names)
        if text is not None or (key == "caller" and self._form.withheld):
            return text
        there = [name for name in names if name in record]
        if not there:
            raise self._missing(key, names)
        if not all(record[name] is None or record[name] == "" for name in there):
            raise NoCall(RejectReason.WRONG_TYPE, f"{there[0]} is neither text nor null")
        return None

    def _missing(self, key: str, names: Names) -> NoCall:
        help_ = self._form.missing.get(key)
        text = f"{' and '.join(names)} missing{f': {help_}' if help_ else ''}"
        return NoCall(RejectReason.MISSING_FIELD, text)

    def _trunk(self, record: Attributes) -> str | None:
        if self._constant:
            return self._constant
        text = first_text(record, self._form.trunk)
        return fields.trunk_of(text) if self._form.channels else text

    def details(self, value: Value, /) -> Details:
        """See `Dialect`."""
        record, form = self._form.read(value, self._wanted), self._form
        spans = (fields.duration_s(record.get(name)) for name in form.duration_s)
        return Details(
            started_at_s=self._started(record),
            stage=form.stage(record),
            carrier=None,
            duration_s=next((span for span in spans if span is not None), None),
        )

    def started_at_s(self, value: Value, /) -> float | None:
        """See `Dialect`."""
        return self._started(self._form.read(value, self._wanted))

    def _started(self, record: Attributes) -> float | None:
        if self._form.started is not None:
            seconds = self._form.started(record, self._zone)
            is_time = seconds is not None and fields.EARLIEST_S <= seconds < fields.LATEST_S
            return seconds if is_time else None
        moments = (fields.moment_s(record.get(name), self._zone) for name in self._form.started_at)
        return next((moment for moment in moments if moment is not None), None)

    def found(self, value: Value, /) -> Mapping[str, RecordField]:
        """See `Dialect`."""
        record, form = self._form.read(value, self._wanted), self._form
        form.check(record)
        ways = {
            "call_id": form.call_id, "caller": form.caller, "callee": form.callee,
            "trunk": () if self._constant else form.trunk,
            "started_at": form.started_at, "duration_s": form.duration_s,
        }  # fmt: skip
        return {key: _found(record, names) for key, names in ways.items() if names}


def _found(record: Attributes, names: Names) -> RecordField:
    for name in names:
        if record.get(name) not in (None, "", msgspec.UNSET):
            return RecordField(name, record[name])
    return RecordField(" or ".join(names), None)
