"""Times that a switch writes by the clock of its place, which goes forth and back."""

from datetime import UTC, datetime

from hypothesis import example, given
from hypothesis import strategies as st

from stream.calls.dialects.fields import moment_s
from stream.core.model.time_zones import zone_named

ZONES = [
    "Europe/London",
    "America/New_York",
    "America/Santiago",
    "Africa/Casablanca",  # goes back for a month of each year
    "Australia/Lord_Howe",  # half an hour
    "Pacific/Apia",  # a day of 2011 did not happen
    "Asia/Bangkok",  # never changes
]
BEGIN, END = (int(datetime(year, 1, 2, tzinfo=UTC).timestamp()) for year in (2000, 2099))


def written(at_s: float, zone: str) -> str:
    """The moment as a switch of that place writes it."""
    return datetime.fromtimestamp(at_s, zone_named(zone)).strftime("%Y-%m-%d %H:%M:%S")


@given(st.sampled_from(ZONES), st.integers(BEGIN, END))
@example("Europe/London", 1792890000)  # 2026-10-25 01:00 UTC: 01:00 for the second time
@example("Europe/London", 1792886400)
@example("Australia/Lord_Howe", 1775314800)
@example("Pacific/Apia", 1325239200)
def test_what_a_switch_writes_is_the_moment_or_its_first(zone: str, at_s: int) -> None:
    """The clock shows it then; of a time that comes twice the first counts."""
    text = written(at_s, zone)
    read_s = moment_s(text, zone_named(zone))
    assert read_s is not None
    assert read_s <= at_s
    assert written(read_s, zone) == text


@given(
    st.sampled_from(ZONES),
    st.datetimes(datetime(2000, 1, 2), datetime(2099, 1, 2)),  # noqa: DTZ001 - local times
)
@example("Europe/London", datetime(2026, 3, 29, 1, 30))  # noqa: DTZ001
@example("Pacific/Apia", datetime(2011, 12, 30, 12, 0))  # noqa: DTZ001
def test_a_time_that_the_place_never_had_is_read_near_it(zone: str, local: datetime) -> None:
    """A switch whose clock was not put forward in time: its records are at most a day off."""
    read_s = moment_s(f"{local:%Y-%m-%d %H:%M:%S}", zone_named(zone))
    assert read_s is not None
    away = zone_named(zone).utcoffset(local)
    assert away is not None
    plain_s = local.replace(tzinfo=UTC, microsecond=0).timestamp() - away.total_seconds()
    assert abs(read_s - plain_s) <= 86_400
