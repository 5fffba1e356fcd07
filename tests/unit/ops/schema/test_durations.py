"""Spans of time as people write them."""

import pytest

from stream.ops.schema.durations import seconds_of, spelled, wait_of


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10d", 864_000), ("12h", 43_200), ("30m", 1800), ("5s", 5), ("1w", 604_800), (" 2H ", 7200)]
    + [(text, None) for text in ("", "0s", "10", "d", "1.5h", "-1d", "10 d", "9999999s", "200ms")],
)
def test_a_span_is_a_number_and_a_unit(text, seconds):
    """Whole numbers of seconds to weeks; anything else is no span."""
    assert seconds_of(text) == seconds


@pytest.mark.parametrize(
    ("text", "seconds"), [("200ms", 0.2), ("50ms", 0.05), ("49ms", None), ("xms", None), ("5s", 5)]
)
def test_a_wait_may_be_below_a_second(text, seconds):
    """A value that is read several times a second is given in milliseconds, not too few."""
    assert wait_of(text) == seconds


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.2, "200 ms"),
        (45, "45 s"),
        (900, "15 min"),
        (7200, "2 h"),
        (864_000, "10 days"),
    ],
)
def test_a_span_is_spelled_for_people(seconds, text):
    """The unit is the one that a person would choose."""
    assert spelled(seconds) == text
