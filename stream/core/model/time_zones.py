"""Time zones as configuration names them. Pure, but for the zone files that Python reads."""

from datetime import UTC, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError


def zone_of(offset: str) -> timezone:
    """Return the time zone of an offset: `+07:00`, `-03:30`, `Z`. Raises ValueError for others."""
    if offset == "Z":
        return UTC
    sign, clock = offset[:1], offset[1:]
    hours, colon, minutes = clock.partition(":")
    if sign not in ("+", "-") or not colon or not (hours + minutes).isdecimal() or len(clock) != 5:
        raise ValueError(f"a UTC offset is written like +07:00 or Z, not {offset!r}")
    away = timedelta(hours=int(hours), minutes=int(minutes))
    return timezone(-away if sign == "-" else away)


def zone_named(name: str) -> tzinfo:
    """Return the time zone of a place (`Asia/Bangkok`, IANA) or of an offset (`+07:00`, `Z`).

    Only a place knows of summer time. A local time that a change of the clock makes happen twice is
    read as the first. Raises ValueError, which says how zones are written.
    """
    if name[:1] in ("Z", "+", "-"):
        return zone_of(name)
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(
            f"a time zone is written like Asia/Bangkok, +07:00 or Z, not {name!r}"
        ) from error
