"""What a dialect promises."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from stream.calls.batch import Glance
from stream.calls.dialects import fields
from stream.core.model.call import Call, RejectReason, Stage

Value = bytes | memoryview


class NoCall(ValueError):
    """The bytes are no call of this dialect. `detail` never quotes them: it may hold numbers."""

    def __init__(self, reason: RejectReason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


REQUIRED = ("call_id", "caller", "callee")
"""The fields without which a record is no call; a call id may not be null either."""


class Found(NamedTuple):
    """One field as a record has it: where it stands, and what stands there (None: nothing)."""

    place: str
    raw: Any


@dataclass(frozen=True, slots=True)
class Only:
    """Only records with one of the texts `allowed` at `path` are calls.

    `may_be_absent`: so are those without it. `otherwise` says of others what to do about them.
    """

    path: tuple[str, ...]
    allowed: tuple[str, ...]
    may_be_absent: bool
    otherwise: str

    def check(self, said: Any) -> None:
        """Raise NoCall unless `said` is what a call says there."""
        if said in self.allowed if isinstance(said, str) else said is None and self.may_be_absent:
            return
        where = ".".join(self.path)
        what = "is missing" if said is None else f"is not {' or '.join(self.allowed)}"
        raise NoCall(RejectReason.OTHER_EVENT, f"{where} {what}: {self.otherwise}")


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a JSON dialect has the fields of a `Glance`, for the scan.

    `paths` has the keys that lead to each field, with no field inside another; `constants` what
    fields without a path are in every call. `empty_is_absent`: an optional text that is empty
    is none. `channels`: the trunk is within the name of an Asterisk channel, see `fields.trunk_of`.
    """

    paths: tuple[tuple[str, tuple[str, ...]], ...]
    constants: tuple[tuple[str, str], ...] = ()
    empty_is_absent: bool = False
    only: Only | None = None
    channels: bool = False


class Details(NamedTuple):
    """What a record says of its call besides the fields of a `Glance`; see `Call`."""

    started_at_s: float | None
    stage: Stage
    carrier: str | None
    duration_s: float | None


def whole(glance: Glance, details: Details) -> Call:
    """The call that key fields and details make: the only place where a `Call` is put together."""
    return Call(
        call_id=glance.call_id,
        caller=glance.caller,
        callee=glance.callee,
        started_at_s=details.started_at_s,
        stage=details.stage,
        ingress=fields.ingress(glance.ingress),
        trunk=glance.trunk,
        carrier=details.carrier,
        duration_s=details.duration_s,
    )


class Dialect(Protocol):
    """Reads the records of one kind of switch. Immutable, so one serves all batches."""

    @property
    def name(self) -> str:
        """The name in the configuration."""
        ...

    @property
    def json_keys(self) -> tuple[str, ...]:
        """JSON keys that every call holds, as often as they stand here; empty for other forms.

        An object that gives one of them twice is refused: another reader might take the other
        value. (`from.number` and `to.number` make `from`, `to`, `number`, `number`.)
        """
        ...

    @property
    def layout(self) -> Layout | None:
        """Where a scan finds what `glance` gives; None where records are of another form."""
        ...

    def glance(self, value: Value, /) -> Glance:
        """The few fields that deciding needs.

        Raises `NoCall`, `msgspec.DecodeError`, `UnicodeDecodeError` or `RecursionError`, and
        nothing else, whatever the bytes are.
        """
        ...

    def details(self, value: Value, /) -> Details:
        """The rest of a call; only for a value that `glance` accepted, and then never raises.

        It decides nothing: `glance` alone says what is a call, and who calls whom. So no record is
        a call for one step and none for the next. Optional fields that make no sense are None.
        """
        ...

    def started_at_s(self, value: Value, /) -> float | None:
        """`details(value).started_at_s`, alone: every decision that counts asks for it."""
        ...

    def found(self, value: Value, /) -> Mapping[str, Found]:
        """The fields of a call as they stand in `value`, for people; raises as `glance` does."""
        ...
