import pytest

from stream.insight.report.figure_catalogue import Unit, Want
from stream.insight.report.words import (
    change,
    country_name,
    duration,
    in_sentence,
    listed,
    scrubbed,
    share,
    shown,
    tied,
)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((0, "0 s"), (0.24, "0.24 s"), (1.25, "1.2 s"), (9.96, "10 s"), (119.4, "119 s")),
        *((119.6, "2 min"), (200, "3 min 20 s"), (3599.6, "1 h"), (3600, "1 h")),
        *((4 * 3600, "4 h"), (4 * 3600 + 300, "4 h 5 min"), (172_799, "2 days")),
        *((86_400, "24 h"), (2 * 86_400 + 3 * 3600, "2 days 3 h"), (30 * 86_400, "30 days")),
    ],
)
def test_a_time_has_at_most_two_units(seconds, text):
    """Times have units that people use, and never read `1 min 60 s`."""
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("part", "text"),
    [
        *((1, "100 %"), (0.99999, "99.9 %"), (0.9971, "99.7 %"), (0.5, "50.0 %")),
        *((0.0004, "below 0.1 %"), (0, "0 %"), (0.001, "0.1 %")),
    ],
)
def test_all_is_said_of_all_alone(part, text):
    """A share is rounded down: 100 % means that nothing was late."""
    assert share(part) == text


def test_what_was_not_measured_is_no_zero():
    """Nothing stands for a figure that nobody counted, whatever its unit; 0 stands for 0."""
    assert {shown(None, unit) for unit in Unit} == {"not measured"}
    assert shown(0, Unit.CALLS) == "0"
    assert shown(1234567, Unit.CALLS) == "1,234,567"


@pytest.mark.parametrize(
    ("value", "before", "unit", "want", "text"),
    [
        (112, 100, Unit.CALLS, Want.NEITHER, "+12 %"),
        (50, 100, Unit.SECONDS, Want.LESS, "\N{MINUS SIGN}50 %, better"),
        (104, 100, Unit.SECONDS, Want.LESS, "+4 %"),
        (300, 100, Unit.SECONDS, Want.LESS, "3.0 times, worse"),
        (5, 0, Unit.CALLS, Want.LESS, "+5, worse"),
        (3, 5, Unit.APPEALS, Want.LESS, "\N{MINUS SIGN}2, better"),
        (50, 0, Unit.CALLS, Want.LESS, "before: none, worse"),
        (0, 50, Unit.CALLS, Want.NEITHER, "down to none"),
        (0.98, 0.99, Unit.SHARE, Want.MORE, "\N{MINUS SIGN}1.0 points, worse"),
        (0.99001, 0.99, Unit.SHARE, Want.MORE, "about the same"),
        (7, 7, Unit.CALLS, Want.MORE, "the same"),
        (None, 7, Unit.CALLS, Want.MORE, ""),
        (7, None, Unit.CALLS, Want.MORE, ""),
    ],
)
def test_a_change_says_whether_it_is_good(value, before, unit, want, text):
    """Better and worse are words, not colours; nothing is compared with what is not known."""
    assert change(value, before, unit, want) == text


def test_countries_have_their_names():
    """People read Cambodia; what is no country, or not known, stays as it is written."""
    assert [country_name(code) for code in ("KH", "TL", "ASEAN", "ITU", "XX")] == [
        *("Cambodia", "Timor-Leste", "ASEAN", "ITU", "XX")
    ]
    assert (in_sentence("PH"), in_sentence("US"), in_sentence("KH")) == (
        *("the Philippines", "the United States", "Cambodia"),
    )
    assert listed(["a", "b", "c"]) == "a, b and c"


@pytest.mark.parametrize(
    "text",
    ["call +447700900123", "+44 7700 900 123", "(0)23-900-123-4", "a1b2c3d4e5f60718", "+85523900"],
)
def test_what_could_be_a_number_is_left_out(text):
    """Whatever a partner writes into a message, no number and no fingerprint comes through."""
    assert "(left out)" in scrubbed(text)
    assert not any(len(word) > 4 and word.strip("+").isdigit() for word in scrubbed(text).split())


def test_a_day_is_no_number():
    """Days, and what is short, are left as they are; what is long is cut."""
    text = "KH/enforcement/TH-national/2026-11-03.json: line 12, 204 rows"
    assert scrubbed(text) == text
    assert len(scrubbed("x" * 1000)) < 400


def test_a_figure_stays_with_its_unit():
    """No line ends between a figure and its unit."""
    assert tied("within 4 h, 99.7 % of 3 changes") == (
        "within 4\N{NO-BREAK SPACE}h, 99.7\N{NO-BREAK SPACE}% of 3\N{NO-BREAK SPACE}changes"
    )
