"""Times that people type, as commands read them."""

import pytest
import typer

from stream.cli.common import moment_in, since_ms, until_ms
from stream.ops.clock import now_s

SECOND_MS = 1_795_615_200_000
"""2026-11-25T14:00:00Z."""


@pytest.mark.parametrize(
    ("text", "first_ms", "last_ms"),
    [
        ("2026-11-25T14:00:00Z", SECOND_MS, SECOND_MS + 999),
        ("2026-11-25 21:00:00+07:00", SECOND_MS, SECOND_MS + 999),
        ("2026-11-25T14:00", SECOND_MS, SECOND_MS + 999),
        ("2026-11-25T14:00:00.250Z", SECOND_MS + 250, SECOND_MS + 250),
        # Kafka takes no time before 1970, and Redis no such id.
        ("1969-12-31", 0, 999),
        ("0001-01-01T00:00:00+14:00", 0, 999),
        ("60000d", 0, 999),
        ("999999w", 0, 999),
    ],
)
def test_a_second_begins_at_its_first_millisecond_and_ends_at_its_last(
    text: str, first_ms: int, last_ms: int
) -> None:
    """All of a second that was typed counts, as the beginning and as the end."""
    assert (since_ms(text), moment_in(text)) == (first_ms, last_ms)


def test_a_span_is_so_long_ago() -> None:
    """`now` alone includes the second that runs."""
    before_ms = now_s() * 1000
    assert before_ms - 7_200_000 <= since_ms("2h") <= now_s() * 1000 - 7_200_000
    assert until_ms("now") > before_ms


@pytest.mark.parametrize("text", ["", "yesterday", "1764612000", "2026-13-01", "0d", "-1d", "now"])
def test_what_is_no_time_ends_with_2(text: str) -> None:
    """Each way to read one says what to write."""
    for read in (since_ms, moment_in):
        with pytest.raises(typer.Exit) as ended:
            read(text)
        assert ended.value.exit_code == 2
