"""Time zones as configuration names them. Pure."""

from datetime import UTC, timedelta, timezone


def zone_of(offset: str) -> timezone:
    """The time zone that `offset` names: `+07:00`, `-03:30`, `Z`. Raises ValueError for others."""
    if offset == "Z":
        return UTC
    sign, clock = offset[:1], offset[1:]
    hours, colon, minutes = clock.partition(":")
    if sign not in ("+", "-") or not colon or not (hours + minutes).isdecimal() or len(clock) != 5:
        raise ValueError(f"a UTC offset is written like +07:00 or Z, not {offset!r}")
    away = timedelta(hours=int(hours), minutes=int(minutes))
    return timezone(-away if sign == "-" else away)
