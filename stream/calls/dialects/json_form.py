"""JSON dialects by a table: where a switch writes each field, and what a call looks like there.

Of a field's paths the first that is there counts. The fast way and the scan look at the first path
of each alone; a record that lacks one is read the slower way, which finds the same in others.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from stream.calls.batch import Glance
from stream.calls.dialects import fields
from stream.calls.dialects.dialect import REQUIRED, Details, Found, Layout, NoCall, Only, Value
from stream.calls.dialects.paths import Members, Path, Reader, keys_of, raw_at, value_at, written
from stream.calls.dialects.switch import SwitchSettings
from stream.core.model.call import RejectReason, Stage

Paths = tuple[Path, ...]


def paths(*written_: str) -> Paths:
    """`paths("params.callid", "callid")`: no key of these switches has a dot."""
    return tuple(tuple(one.split(".")) for one in written_)


def always_end(_: Members) -> Stage:
    """The switch writes a record when the call is over."""
    return Stage.END


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonForm:
    """What one kind of switch writes. `missing` says by field what to do where it is not there.

    `local_times`: times are of the switch's zone and do not say it. `channels`: the trunk is in
    the name of an Asterisk channel. `stage` is asked with the whole record.
    """

    call_id: Paths
    caller: Paths
    callee: Paths
    started_at: Paths
    duration_s: Paths = ()
    trunk: Paths = ()
    only: Only | None = None
    stage: Callable[[Members], Stage] = always_end
    local_times: bool = False
    channels: bool = False
    missing: Mapping[str, str] = field(default_factory=dict)


class JsonDialect:
    """A dialect that a `JsonForm` describes."""

    def __init__(self, name: str, form: JsonForm, switch: SwitchSettings) -> None:
        self.name = name
        self._form = form
        self._zone = switch.zone
        self._constant = switch.trunk or None
        self._ways: dict[str, Paths] = {key: getattr(form, key) for key in REQUIRED}
        self._trunk_ways = () if switch.trunk else form.trunk
        first = {key: ways[0] for key, ways in self._ways.items()}
        self.json_keys = keys_of(first.values())
        if self._trunk_ways:
            first["trunk"] = self._trunk_ways[0]
        self.layout: Layout | None = Layout(
            tuple(first.items()),
            (("trunk", switch.trunk),) if switch.trunk else (),
            empty_is_absent=True,
            only=form.only,
            channels=form.channels and bool(self._trunk_ways),
        )
        self._reader = Reader(first | ({"only": form.only.path} if form.only else {}))

    def glance(self, value: Value, /) -> Glance:
        """See `Dialect`."""
        try:
            found = self._reader.read(value)
        except msgspec.ValidationError:
            return self._slow(fields.members(value))
        if self._form.only is not None:
            self._form.only.check(found["only"])
        trunk = self._trunk(found.get("trunk"))
        return Glance(found["call_id"], found["caller"], found["callee"], trunk)

    def _slow(self, record: Members) -> Glance:
        """The same where something is not as it usually is."""
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
        return Glance(found["call_id"], found["caller"], found["callee"], trunk)

    def _text(self, record: Members, key: str) -> str | None:
        """A required field by the first of its paths that is there; a whole number is its digits.

        A call id that is null is not there.
        """
        for path in self._ways[key]:
            raw = raw_at(record, path)
            if raw is None:
                continue
            value = fields.read(raw, msgspec.UNSET)
            if value is None and key == "call_id":
                continue
            if value is None or isinstance(value, str):
                return value
            if isinstance(value, int) and not isinstance(value, bool):
                return str(value)
            raise NoCall(RejectReason.WRONG_TYPE, f"{written(path)} is neither text nor null")
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
            duration_s=fields.duration_s(self._first(record, form.duration_s)),
        )

    def started_at_s(self, value: Value, /) -> float | None:
        """See `Dialect`."""
        return self._started(fields.members(value))

    def _started(self, record: Members) -> float | None:
        """By the first of its paths that says a time: a `0` stands for none."""
        for path in self._form.started_at:
            moment = fields.moment_s(value_at(record, path), self._zone)
            if moment is not None:
                return moment
        return None

    def found(self, value: Value, /) -> Mapping[str, Found]:
        """See `Dialect`."""
        record = fields.members(value)
        form = self._form
        ways = self._ways | {
            "trunk": self._trunk_ways, "started_at": form.started_at, "duration_s": form.duration_s,
        }  # fmt: skip
        return {key: _found(record, there) for key, there in ways.items() if there}


def _found(record: Members, ways: Paths) -> Found:
    for path in ways:
        raw = value_at(record, path)
        if raw is not None:
            return Found(written(path), raw)
    return Found(" or ".join(map(written, ways)), None)
