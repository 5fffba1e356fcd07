"""What a dialect promises."""

from dataclasses import dataclass
from typing import Protocol

from stream.calls.batch import Glance
from stream.core.call import Call, RejectReason

Value = bytes | memoryview


class NoCall(ValueError):
    """The bytes are no call of this dialect. `detail` never quotes them: it may hold numbers."""

    def __init__(self, reason: RejectReason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


REQUIRED = ("call_id", "caller", "callee")
"""The fields without which a record is no call; a call id may not be null either."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a JSON dialect has the fields of a `Glance`, for the scan.

    `paths` has the keys that lead to each field, with no field inside another; `constants` what
    fields without a path are in every call. `empty_is_absent`: an optional text that is empty
    is none.
    """

    paths: tuple[tuple[str, tuple[str, ...]], ...]
    constants: tuple[tuple[str, str], ...] = ()
    empty_is_absent: bool = False


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

    def call(self, value: Value, /) -> Call:
        """The whole call; only for a value that `glance` accepted, and then never raises.

        Optional fields that make no sense are None.
        """
        ...

    def started_at_s(self, value: Value, /) -> float | None:
        """`call(value).started_at_s`, without the rest: every decision that counts asks for it."""
        ...
