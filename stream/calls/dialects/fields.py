"""Reading optional fields of a call: what makes no sense is None, and nothing here raises."""

import math
import re
from datetime import UTC, datetime, tzinfo
from typing import Any

import msgspec

from stream.core.model.call import Ingress, Stage
from stream.core.model.moments import read_rfc3339

_MS_FROM = 1e11
"""Epoch numbers from here on are milliseconds: as seconds they would lie beyond the year 5000."""
_US_FROM = 1e14
"""And microseconds from here on."""
EARLIEST_S = 946_684_800
LATEST_S = 4_102_444_800
"""2000 and 2100: a time outside them comes from a switch whose clock is wrong."""

UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")
_CLOCK = re.compile(r"(\d{1,4}):([0-5]?\d):([0-5]?\d(?:\.\d{1,6})?)", re.ASCII)
_STAGES = {stage.value: stage for stage in Stage}
_INGRESSES = {ingress.value: ingress for ingress in Ingress}
_decode = msgspec.json.Decoder().decode
_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_array = msgspec.json.Decoder(list[msgspec.Raw]).decode


def read(raw: msgspec.Raw, otherwise: Any = None) -> Any:
    """Read JSON that was skipped so far; give `otherwise` for what cannot be kept, such as 1e999.

    Where null, or nothing, says something of its own, that must not be None.
    """
    try:
        return _decode(raw)
    except msgspec.DecodeError:
        return otherwise


def members(raw: bytes | memoryview | msgspec.Raw) -> dict[str, msgspec.Raw]:
    """Return the members of a JSON object, not read yet; none if it is something else."""
    try:
        return _decode_object(raw)
    except msgspec.ValidationError:
        return {}


def items(raw: msgspec.Raw) -> list[msgspec.Raw]:
    """Return the items of a JSON array, not read yet; none if it is something else."""
    try:
        return _decode_array(raw)
    except msgspec.ValidationError:
        return []


def text(value: Any) -> str | None:
    """Return a text that is not empty, else None."""
    return value if isinstance(value, str) and value else None


def number(value: Any) -> float | None:
    """Return a finite number, also where it is written as text."""
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


def duration_s(value: Any, unit: float = 1.0) -> float | None:
    """Return seconds that are not negative, else None; also of `1:02:03`, hours to seconds.

    `unit` is the number of units that are a second.
    """
    if isinstance(value, str) and (clock := _CLOCK.fullmatch(value)):
        hours, minutes, seconds = clock.groups()
        return 3600 * int(hours) + 60 * int(minutes) + float(seconds)
    seconds = number(value)
    return seconds / unit if seconds is not None and seconds >= 0 else None


def stage(value: Any) -> Stage:
    """Return the stage; a record that does not say is one of a finished call."""
    return _STAGES.get(value, Stage.END) if isinstance(value, str) else Stage.END


def ingress(value: Any) -> Ingress:
    """Return where the call came in, as its record says."""
    return _INGRESSES.get(value, Ingress.UNKNOWN) if isinstance(value, str) else Ingress.UNKNOWN


def epoch_s(value: Any) -> float | None:
    """Return seconds since the epoch, from RFC 3339 text (UTC if it says no zone) or an epoch."""
    # Nearly all are dates. To hear from `float` that one is no number takes as long as to read it.
    seconds = None if _is_dated(value) else number(value)
    if seconds is not None:
        if seconds >= _MS_FROM:
            seconds /= 1000
        return seconds if 0 <= seconds < _MS_FROM else None
    if not isinstance(value, str):
        return None
    seconds = _clock_s(value, UTC)
    return seconds if seconds is not None and seconds >= 0 else None


def _is_dated(value: Any) -> bool:
    """Return whether a text begins as `2026-11-25` does. No number has these two dashes."""
    return isinstance(value, str) and value[4:5] == value[7:8] == "-"


def _bounded(seconds: float | None) -> float | None:
    """Return a time of 2000 to 2100, else None."""
    return seconds if seconds is not None and EARLIEST_S <= seconds < LATEST_S else None


def counted_s(value: Any, unit: float) -> float | None:
    """Return seconds since the epoch from a count of which `unit` are a second, as `moment_s`."""
    count = number(value)
    return None if count is None else _bounded(count / unit)


def written_s(value: Any, written: str, zone: tzinfo | None) -> float | None:
    """Return seconds since the epoch of a text in a strptime format, as `moment_s`.

    RFC 3339 with its zone is read beside any format: it has one meaning.
    """
    if not isinstance(value, str):
        return None
    seconds = strictly_written_s(value, written, zone)
    return _bounded(_clock_s(value, None)) if seconds is None else seconds


def strictly_written_s(value: str, written: str, zone: tzinfo | None) -> float | None:
    """Return seconds since the epoch of a text in a strptime format and nothing else."""
    try:
        moment = datetime.strptime(value, written)  # noqa: DTZ007 - the zone follows
    except ValueError:
        return None
    if moment.tzinfo is None:
        if zone is None:
            return None
        moment = moment.replace(tzinfo=zone)
    return _bounded(moment.timestamp())


def moment_s(value: Any, zone: tzinfo | None) -> float | None:
    """Return seconds since the epoch as a switch writes them, of 2000 to 2100, else None.

    An epoch in seconds, milliseconds or microseconds, as a number or text, or a date and time (ISO
    8601, `2026-11-25 08:02:03`). `zone` applies to a time without one; with None, nothing is
    guessed.
    """
    seconds = None if _is_dated(value) else number(value)
    if seconds is not None:
        seconds /= 1e6 if seconds >= _US_FROM else 1e3 if seconds >= _MS_FROM else 1
    elif isinstance(value, str):
        seconds = _clock_s(value, zone)
    return _bounded(seconds)


def _clock_s(value: str, zone: tzinfo | None) -> float | None:
    moment = read_rfc3339(value, zone)
    return None if moment is None else moment.timestamp()


def trunk_of(channel: Any) -> str | None:
    """Return the trunk in the name of an Asterisk channel, `PJSIP/carrier-a-0000002a`.

    The text after the first `/`, up to the last `-`; all of it if those are missing.
    """
    if not isinstance(channel, str):
        return None
    name = channel[channel.find("/") + 1 :]
    end = name.rfind("-")
    return name[: end if end >= 0 else None] or None
