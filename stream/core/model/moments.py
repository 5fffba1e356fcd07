"""Moments as text: RFC 3339, read and written the same way all over the product. Pure."""

from datetime import UTC, datetime, tzinfo
from functools import lru_cache

from stream.core.model.agreement import FOREVER
from stream.core.model.entry import NEVER

_MS_MIN = 0
_MS_MAX = 253_402_300_799_999
"""The last millisecond of the year 9999: RFC 3339 has four digits for a year."""


def rfc3339(at_s: int) -> str | None:
    """Return seconds since the epoch as `2026-01-31T12:00:00Z`; None: never (NEVER or FOREVER)."""
    return None if at_s == NEVER or at_s >= FOREVER else f"{_second(at_s)}Z"


def rfc3339_ms(at_ms: int) -> str:
    """Return milliseconds since the epoch as `2026-01-31T12:00:00.000Z`.

    Clamped to the years that RFC 3339 can write: a switch's clock must not stop a block.
    """
    seconds, milliseconds = divmod(min(max(at_ms, _MS_MIN), _MS_MAX), 1000)
    return f"{_second(seconds)}.{milliseconds:03d}Z"


@lru_cache(maxsize=4096)
def _second(at_s: int) -> str:
    """Return the part up to the second. Decisions of one batch mostly share it, hence the cache."""
    return datetime.fromtimestamp(at_s, UTC).isoformat()[:19]


def read_ms(text: str) -> int | None:
    """Return milliseconds since the epoch of a moment with its zone; None: it names none.

    Decisions of one batch mostly have the same moments, hence the cache; it keeps no long text.
    """
    return _read_ms(text) if len(text) <= _USUAL_LENGTH_MAX else _read_ms.__wrapped__(text)


_USUAL_LENGTH_MAX = 35
"""With nanoseconds and an offset."""


@lru_cache(maxsize=4096)
def _read_ms(text: str) -> int | None:
    moment = read_rfc3339(text, None)
    return None if moment is None else int(moment.timestamp() * 1000)


def read_rfc3339(text: str, zone: tzinfo | None = UTC) -> datetime | None:
    """Return the moment that `text` names, also in the wider ISO 8601; None: it names none.

    `zone` is that of a text without one. With None such a text names no moment.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is not None:
        return moment
    return None if zone is None else moment.replace(tzinfo=zone)
