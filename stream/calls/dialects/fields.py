"""Reading optional fields of a call: what makes no sense is None, and nothing here raises."""

import math
from datetime import UTC, datetime, timezone
from typing import Any

import msgspec

from stream.core.call import Ingress, Stage

_MS_FROM = 1e11
"""Epoch numbers from here on are milliseconds: as seconds they would lie beyond the year 5000."""

_STAGES = {stage.value: stage for stage in Stage}
_INGRESSES = {ingress.value: ingress for ingress in Ingress}


_decode = msgspec.json.Decoder().decode
_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def read(raw: msgspec.Raw) -> Any:
    """What JSON says that was skipped so far; None for what can not be kept, such as 1e999."""
    try:
        return _decode(raw)
    except msgspec.DecodeError:
        return None


def members(raw: bytes | memoryview | msgspec.Raw) -> dict[str, msgspec.Raw]:
    """The members of a JSON object, not read yet; none if it is something else."""
    try:
        return _decode_object(raw)
    except msgspec.ValidationError:
        return {}


def text(value: Any) -> str | None:
    """A text that says something."""
    return value if isinstance(value, str) and value else None


def number(value: Any) -> float | None:
    """A finite number, also where it is written as text."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        read = float(value)
    except OverflowError:  # an int of more than 308 digits
        return None
    return read if math.isfinite(read) else None


def duration_s(value: Any) -> float | None:
    """Seconds, none of them negative."""
    seconds = number(value)
    return seconds if seconds is not None and seconds >= 0 else None


def stage(value: Any) -> Stage:
    """The stage; a record that does not say is one of a finished call."""
    return _STAGES.get(value, Stage.END) if isinstance(value, str) else Stage.END


def ingress(value: Any) -> Ingress:
    """Where the call came in, as its record says."""
    return _INGRESSES.get(value, Ingress.UNKNOWN) if isinstance(value, str) else Ingress.UNKNOWN


def epoch_s(value: Any, *, written: str | None = None, zone: timezone = UTC) -> float | None:
    """Seconds since the epoch, from RFC 3339 text or an epoch in seconds or milliseconds.

    `written` is a strptime format for text of another form; `zone` is that of text without one.
    """
    seconds = number(value)
    if seconds is not None and written is None:
        if seconds >= _MS_FROM:
            seconds /= 1000
        return seconds if 0 <= seconds < _MS_FROM else None
    if not isinstance(value, str):
        return None
    try:
        moment = (
            datetime.strptime(value, written)  # noqa: DTZ007 - the zone follows below
            if written
            else datetime.fromisoformat(value)
        )
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=zone)
        seconds = moment.timestamp()
    except (ValueError, OverflowError):
        return None
    return seconds if seconds >= 0 else None
