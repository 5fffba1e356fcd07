"""JSON: fields by the keys that lead to them, and dialects by a table of such paths.

Of a field's paths the first counts that says something, else the first that is there. The fast way
and the scan read only the first path of each. A record in which that one is missing or empty is
read the slower way, which finds the same at other paths.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from operator import attrgetter
from typing import Any

import msgspec

from stream.calls.call_batch import SIGNED, KeyFields
from stream.calls.dialects import fields
from stream.calls.dialects.dialect import (
    REQUIRED,
    Details,
    FieldLayout,
    NoCall,
    Only,
    RecordField,
    SwitchSettings,
    Value,
)
from stream.core.model.call import RejectReason, Stage

DEPTH_MAX = 200
"""Objects and arrays in one another; what is deeper is refused, so that what was read once can be
read again from anywhere."""
# A text without an end reaches to the end: else each quote in it would be tried as a beginning.
_TEXT = re.compile(rb'"[^"\\]*+(?>(?:\\.[^"\\]*+)*)(?:"|\\?\Z)', re.DOTALL)
_BRACKET = re.compile(rb"[][{}]")

Path = tuple[str, ...]
Paths = tuple[Path, ...]
Members = Mapping[str, msgspec.Raw]
"""Of a JSON object, not read yet."""
_TYPES: Mapping[str, Any] = {"call_id": str, "caller": str | None, "callee": str | None}


def brackets(value: bytes | memoryview) -> int:
    """Count the opening brackets, those in texts too."""
    held = bytes(value)
    return held.count(b"[") + held.count(b"{")


def depth(value: bytes | memoryview) -> int:
    """Return how deep the objects and arrays of a decoded record lie in one another."""
    level = deepest = 0
    for bracket in _BRACKET.findall(_TEXT.sub(b"", value)):
        level += 1 if bracket in b"[{" else -1
        deepest = max(deepest, level)
    return deepest


def too_deep(value: bytes | memoryview) -> bool:
    """Return whether decoded JSON is nested deeper than it may be."""
    return brackets(value) > DEPTH_MAX and depth(value) > DEPTH_MAX


def raw_at(record: Members, path: Sequence[str]) -> msgspec.Raw | None:
    """Return the value at `path`, not read yet; None: there is none."""
    *parents, last = path
    for step in parents:
        record = fields.members(record[step]) if step in record else {}
    return record.get(last)


def value_at(record: Members, path: Sequence[str], unreadable: Any = None) -> Any:
    """Return the value at `path`: None also without one, `unreadable` for what cannot be kept."""
    raw = raw_at(record, path)
    return None if raw is None else fields.read(raw, unreadable)


def text_at(
    record: Members, paths: Iterable[tuple[str, ...]], key: str
) -> str | msgspec.UnsetType | None:
    """Return a required field by the first of `paths` that says something; of an int its digits.

    Without one a number is null or empty, as at the first path that is there. UNSET: there is none;
    of call ids also null is none, but an empty text is one. Raises NoCall if the first that is
    there is of another type.
    """
    found: str | msgspec.UnsetType | None = msgspec.UNSET
    for path in paths:
        raw = raw_at(record, path)
        if raw is None:
            continue
        value = fields.read(raw, msgspec.UNSET)
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if isinstance(value, str) and (value or key == "call_id"):
            return value
        if found is not msgspec.UNSET or (value is None and key == "call_id"):
            continue
        if value is not None and value != "":
            raise NoCall(RejectReason.WRONG_TYPE, f"{written(path)} is neither text nor null")
        found = value
    return found


def of_several(ways: Mapping[str, Sequence[Any]]) -> tuple[str, ...]:
    """Return the parties that may be at several places: the first may be empty."""
    return tuple(key for key in ("caller", "callee") if len(ways[key]) > 1)


def keys_of(paths: Iterable[Path]) -> tuple[str, ...]:
    """Return every key on the ways to `paths`; one that several share counts once."""
    ways = {path[:depth] for path in paths for depth in range(1, len(path) + 1)}
    return tuple(sorted(way[-1] for way in ways))


def written(path: Path) -> str:
    r"""Write a path as configuration and messages do: `params.callid`; a dot in a key is `\.`."""
    return ".".join(step.replace(".", "\\.") for step in path)


class PathReader:
    """Reads fields of a call by their paths, through one msgspec type that is nested as they are.

    Those of `REQUIRED` must be there, and text. Attributes of that type are numbered (`a0`,
    `a1`...): a JSON key need not be an identifier.
    """

    def __init__(self, paths: Mapping[str, Path]) -> None:
        self._keys = tuple(paths)
        self._numbers = count()
        self._attribute_of: dict[Path, str] = {}
        root: dict[str, Any] = {}
        for key, path in paths.items():
            node = root
            *parents, last = path
            for step in parents:
                node = node.setdefault(step, {})
            node[last] = key
        self._decode = msgspec.json.Decoder(self._struct(root, ())).decode
        self._values_of = attrgetter(*(self._dotted(path) for path in paths.values()))

    def read(self, value: Value) -> dict[str, Any]:
        """Read the fields by name; raise what msgspec raises."""
        return dict(zip(self._keys, self._values_of(self._decode(value)), strict=True))

    def _dotted(self, path: Path) -> str:
        return ".".join(self._attribute_of[path[: depth + 1]] for depth in range(len(path)))

    def _struct(self, node: Mapping[str, Any], above: Path) -> type[msgspec.Struct]:
        """Make the struct of one object: `node` maps its keys to fields or nested objects."""
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


def paths(*written_: str) -> Paths:
    """`paths("params.callid", "callid")`: no key of these switches has a dot."""
    return tuple(tuple(one.split(".")) for one in written_)


def always_end(_: Members) -> Stage:
    """Return the end: the switch writes a record when the call is over."""
    return Stage.END


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonForm:
    """The fields that one kind of switch writes. `missing` says by field what to do without it.

    `local_times`: times are of the switch's zone and do not say it. `channels`: the trunk is in
    the name of an Asterisk channel. `stage` is asked with the whole record. `duration` reads the
    seconds of the value at `duration_s`.
    """

    call_id: Paths
    caller: Paths
    callee: Paths
    started_at: Paths
    duration_s: Paths = ()
    trunk: Paths = ()
    verstat: Paths = ()
    attestation: Paths = ()
    passport: Paths = ()
    only: Only | None = None
    stage: Callable[[Members], Stage] = always_end
    local_times: bool = False
    channels: bool = False
    duration: Callable[[Any], float | None] = fields.duration_s
    missing: Mapping[str, str] = field(default_factory=dict)


class JsonDialect:
    """A dialect that a `JsonForm` describes."""

    def __init__(self, name: str, form: JsonForm, switch: SwitchSettings) -> None:
        self.name = name
        self._form = form
        self._zone = switch.zone
        self._constant = switch.trunk or None
        self._ways: dict[str, Paths] = {key: getattr(form, key) for key in REQUIRED}
        self._of_several = of_several(self._ways)
        self._trunk_ways = () if switch.trunk else form.trunk
        first = {key: ways[0] for key, ways in self._ways.items()}
        self.json_keys = keys_of(first.values())
        if self._trunk_ways:
            first["trunk"] = self._trunk_ways[0]
        self._signed = {key: ways for key in SIGNED if (ways := getattr(form, key))}
        first |= {key: ways[0] for key, ways in self._signed.items()}
        self.layout: FieldLayout | None = FieldLayout(
            tuple(first.items()),
            (("trunk", switch.trunk),) if switch.trunk else (),
            empty_is_absent=True,
            only=form.only,
            channels=form.channels and bool(self._trunk_ways),
            parties_elsewhere=bool(self._of_several),
        )
        self._reader = PathReader(first | ({"only": form.only.path} if form.only else {}))

    def key_fields(self, value: Value, /) -> KeyFields:
        """See `Dialect`."""
        try:
            found = self._reader.read(value)
        except msgspec.ValidationError:
            return self._slow(fields.members(value))
        if not all(found[key] for key in self._of_several):
            return self._slow(fields.members(value))
        if self._form.only is not None:
            self._form.only.check(found["only"])
        trunk = self._trunk(found.get("trunk"))
        return KeyFields(
            found["call_id"],
            found["caller"],
            found["callee"],
            trunk,
            None,
            *(fields.text(found.get(key)) for key in SIGNED),
        )

    def _slow(self, record: Members) -> KeyFields:
        """Read a record in which something is not as it usually is."""
        if not record:
            raise NoCall(RejectReason.WRONG_TYPE, "no JSON object with something in it")
        only = self._form.only
        if only is not None:
            only.check(value_at(record, only.path, msgspec.UNSET))
        found = {key: self._text(record, key) for key in REQUIRED}
        if found["call_id"] is None:
            place = written(self._ways["call_id"][0])
            raise NoCall(RejectReason.MISSING_FIELD, f"{place} is null{self._help('call_id')}")
        trunk = self._trunk(self._first(record, self._trunk_ways))
        signed = {key: fields.text(self._first(record, ways)) for key, ways in self._signed.items()}
        return KeyFields(found["call_id"], found["caller"], found["callee"], trunk, **signed)

    def _text(self, record: Members, key: str) -> str | None:
        """Read a required field; see `text_at`. Raises NoCall where it is not there."""
        found = text_at(record, self._ways[key], key)
        if found is not msgspec.UNSET:
            return found
        places = " and ".join(written(path) for path in self._ways[key])
        raise NoCall(RejectReason.MISSING_FIELD, f"{places} missing{self._help(key)}")

    def _help(self, key: str) -> str:
        text = self._form.missing.get(key)
        return f": {text}" if text else ""

    def _first(self, record: Members, ways: Paths) -> Any:
        return next((value for path in ways if (value := value_at(record, path)) is not None), None)

    def _trunk(self, said: Any) -> str | None:
        if self._constant:
            return self._constant
        return fields.trunk_of(said) if self._form.channels else fields.text(said)

    def details(self, value: Value, /) -> Details:
        """See `Dialect`."""
        record, form = fields.members(value), self._form
        return Details(
            started_at_s=self._started(record),
            stage=form.stage(record),
            carrier=None,
            duration_s=form.duration(self._first(record, form.duration_s)),
        )

    def started_at_s(self, value: Value, /) -> float | None:
        """See `Dialect`."""
        return self._started(fields.members(value))

    def _started(self, record: Members) -> float | None:
        """Read the first of its paths that holds a time: a `0` means none."""
        for path in self._form.started_at:
            moment = fields.moment_s(value_at(record, path), self._zone)
            if moment is not None:
                return moment
        return None

    def found(self, value: Value, /) -> Mapping[str, RecordField]:
        """See `Dialect`."""
        record = fields.members(value)
        form = self._form
        ways = self._ways | {
            "trunk": self._trunk_ways, "started_at": form.started_at, "duration_s": form.duration_s,
            **self._signed,
        }  # fmt: skip
        return {key: _found(record, there) for key, there in ways.items() if there}


def _found(record: Members, ways: Paths) -> RecordField:
    for path in ways:
        raw = value_at(record, path)
        if raw is not None and raw != "":
            return RecordField(written(path), raw)
    return RecordField(" or ".join(map(written, ways)), None)
