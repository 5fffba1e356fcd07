"""The way that a person chose to read one version."""

import msgspec
import pytest

from stream.feeds.feed import Feed, ReadAs
from stream.feeds.formats.rows import ReadOptions

FEED = Feed(
    name="desk", list_name="TH/desk", owner="TH", contact="", format="text", header=("number",)
)


def test_it_replaces_how_rows_are_read_and_nothing_else() -> None:
    """Format, columns, region and days are the person's; list, limits and expiry the feed's."""
    how = ReadAs(
        format="csv",
        options=ReadOptions(columns={"number": "phone"}),
        region="TH",
        dates="day-month",
        expires_dates="month-day",
        buddhist=True,
    )
    read = how.over(FEED)
    assert (read.format, read.options.columns, read.header) == ("csv", {"number": "phone"}, ())
    assert (read.reading.region, read.reading.dates.order, read.reading.dates.buddhist) == (
        *("TH", "day-month"),
        True,
    )
    assert read.reading.dates.of("expires_at").order == "month-day"
    assert read.reading.expires_after_s == FEED.reading.expires_after_s
    assert (read.list_name, read.gate, read.name) == (FEED.list_name, FEED.gate, FEED.name)


def test_it_travels_as_json_and_is_strict() -> None:
    """A browser's reply gives the same reading; an unknown field is refused."""
    how = ReadAs(format="csv", options=ReadOptions(columns={"number": 2}), region="TH")
    text = msgspec.json.encode(how)
    assert msgspec.json.decode(text, type=ReadAs) == how
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'{"format": "csv", "list_name": "KH/scam"}', type=ReadAs)
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'{"format": "exe"}', type=ReadAs)
