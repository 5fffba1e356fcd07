"""The promises of a dialect, and the settings of the switch whose records it reads."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any, ClassVar, NamedTuple, Protocol

from stream.calls.call_batch import KeyFields
from stream.calls.dialects import fields
from stream.core.model.call import Call, RejectReason, Stage
from stream.core.model.time_zones import zone_named

Value = bytes | memoryview


class NoCall(ValueError):
    """The bytes are no call of this dialect. `detail` never quotes them: it may hold numbers."""

    def __init__(self, reason: RejectReason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


REQUIRED = ("call_id", "caller", "callee")
"""The fields without which a record is no call; a call id may not be null either."""


class RecordField(NamedTuple):
    """One field of a record: its place, and the value there (None: nothing)."""

    place: str
    raw: Any


@dataclass(frozen=True, slots=True)
class Only:
    """Only records with one of the texts `allowed` at `path` are calls.

    `may_be_absent`: so are those without it. `otherwise` says of others what to do about them.
    A record is of another event if it says so by a text; else it may be a call that is damaged.
    """

    path: tuple[str, ...]
    allowed: tuple[str, ...]
    may_be_absent: bool
    otherwise: str

    def check(self, said: Any) -> None:
        """Raise NoCall unless `said` is what a call says there."""
        if said in self.allowed if isinstance(said, str) else said is None and self.may_be_absent:
            return
        reason, what = RejectReason.OTHER_EVENT, f"is not {' or '.join(self.allowed)}"
        if said is None:
            reason, what = RejectReason.MISSING_FIELD, "is missing"
        elif not isinstance(said, str):
            reason = RejectReason.WRONG_TYPE
        raise NoCall(reason, f"{'.'.join(self.path)} {what}: {self.otherwise}")


PARTS = (
    *("method", "reference", "exchange", "caller_type", "callee_type", "caller_served"),
    *("callee_served", "caller_uri", "callee_uri", "unusual"),
)
"""Members of records of TS 32.298, from which their fields are written; see `FieldLayout`."""
Step = str | tuple[str, ...]
"""A key, or several of which an object has one at most."""


@dataclass(frozen=True, slots=True)
class FieldLayout:
    """Places of the key fields in the records of a JSON dialect, for the scan.

    `paths` has the keys that lead to each field, with no field inside another; `constants` what
    fields without a path are in every call. `empty_is_absent`: an optional text that is empty is
    none. `channels`: the trunk is within the name of an Asterisk channel, see `fields.trunk_of`.
    `lists` are keys of which the object may be alone in an array. `parties_elsewhere`: a record in
    which a party is missing, or both are the same, says them in other places too. `encoded` are
    fields that may be URL-encoded. `in_parts`: fields are also written from the values at the paths
    of `PARTS`, see `kernels.charging_fields`. Then paths may have several keys in one step, and the
    first of several objects in an array counts.
    """

    paths: tuple[tuple[str, tuple[Step, ...]], ...]
    constants: tuple[tuple[str, str], ...] = ()
    empty_is_absent: bool = False
    only: Only | None = None
    channels: bool = False
    lists: tuple[str, ...] = ()
    parties_elsewhere: bool = False
    encoded: tuple[str, ...] = ()
    in_parts: bool = False


@dataclass(frozen=True, slots=True)
class CellLayout:
    """Columns of the key fields in the records of a CSV dialect, for the scan.

    `columns` has the column of each field that the records have; those of `call_id` and the rest
    are explained at `csv_form.CsvForm`. What the scan refuses is not wrong, only unusual.
    """

    columns: tuple[tuple[str, int], ...]
    columns_min: int
    started_at: int
    sure: int
    words: tuple[str, ...]
    id_bytes_min: int
    linked_from: int
    constants: tuple[tuple[str, str], ...] = ()
    channels: bool = False
    empty_is_absent: ClassVar[bool] = True
    only: ClassVar[None] = None


class Details(NamedTuple):
    """The fields of a call besides its key fields; see `Call`."""

    started_at_s: float | None
    stage: Stage
    carrier: str | None
    duration_s: float | None


def whole(call_fields: KeyFields, details: Details) -> Call:
    """Put a `Call` together of key fields and details; nothing else does."""
    return Call(
        call_id=call_fields.call_id,
        caller=call_fields.caller,
        callee=call_fields.callee,
        started_at_s=details.started_at_s,
        stage=details.stage,
        ingress=fields.ingress(call_fields.ingress),
        trunk=call_fields.trunk,
        carrier=details.carrier,
        duration_s=details.duration_s,
    )


@dataclass(frozen=True, slots=True)
class SwitchSettings:
    """One table `[switches.<name>]`: what the records of a switch do not say themselves.

    `time_zone`: of times that the switch writes without one. `trunk`: a name of `[trunks]`, which
    says the country and the side of the border of all its calls; empty: as each record says.
    """

    time_zone: str = ""
    trunk: str = ""

    def __post_init__(self) -> None:
        if self.time_zone:
            try:
                zone_named(self.time_zone)
            except ValueError as error:
                raise ValueError(f"time_zone: {error}") from error

    @property
    def zone(self) -> tzinfo | None:
        """The time zone; None: not known."""
        return zone_named(self.time_zone) if self.time_zone else None


UNSET = SwitchSettings()


class Dialect(Protocol):
    """Reads the records of one kind of switch. Immutable, so one serves all batches."""

    @property
    def name(self) -> str:
        """The name in the configuration."""

    @property
    def json_keys(self) -> tuple[str, ...]:
        """JSON keys that every call holds, as often as they are listed here; empty for other forms.

        An object that gives one of them twice is refused: another reader might take the other
        value. (`from.number` and `to.number` make `from`, `to`, `number`, `number`.)
        """

    @property
    def layout(self) -> FieldLayout | CellLayout | None:
        """Places of the key fields for the scan; None where records are of another form."""

    def key_fields(self, value: Value, /) -> KeyFields:
        """Read the few fields that deciding needs.

        Raises `NoCall`, `msgspec.DecodeError`, `UnicodeDecodeError` or `RecursionError`, and
        nothing else, whatever the bytes are.
        """

    def details(self, value: Value, /) -> Details:
        """Read the rest of a call; only of a value that `key_fields` accepted, and never raise.

        It decides nothing: `key_fields` alone says what is a call, and who calls whom. So no record
        is a call for one step and none for the next. Optional fields that make no sense are None.
        """

    def started_at_s(self, value: Value, /) -> float | None:
        """`details(value).started_at_s`, alone: every decision that counts asks for it."""

    def found(self, value: Value, /) -> Mapping[str, RecordField]:
        """Return the fields as they stand in `value`, for people; raise as `key_fields` does."""


class Transcoded(ABC):
    """A dialect whose records are those of `inner` in a binary encoding.

    The decoder turns them into `text` first, and reads that as any record of `inner`. `has_ids`:
    records name a schema, perhaps in a header (`encodings.schema_ids`).
    """

    has_ids = False
    json_keys = ()
    layout = None

    def __init__(self, name: str, inner: Dialect) -> None:
        self.name = name
        self.inner = inner

    @abstractmethod
    def text(self, value: Value, /) -> bytes:
        """Return the record as `inner` reads it; the same for the same value. Raises NoCall."""

    def key_fields(self, value: Value, /) -> KeyFields:
        """See `Dialect`."""
        return self.inner.key_fields(self.text(value))

    def details(self, value: Value, /) -> Details:
        """See `Dialect`."""
        return self.inner.details(self.text(value))

    def started_at_s(self, value: Value, /) -> float | None:
        """See `Dialect`."""
        return self.inner.started_at_s(self.text(value))

    def found(self, value: Value, /) -> Mapping[str, RecordField]:
        """See `Dialect`."""
        return self.inner.found(self.text(value))


WIRE_HEAD = 5
"""Bytes before the data in the wire format of Confluent's schema registry."""


def schema_number(value: Value) -> int | None:
    """Return the id of the schema that a record names; None: it is not in the wire format."""
    if len(value) <= WIRE_HEAD or value[0] != 0:
        return None
    return int.from_bytes(value[1:WIRE_HEAD])
