"""What a dialect promises."""

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
