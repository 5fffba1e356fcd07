"""Prefixes and ranges: what a text means, how a range is cut, what is too short to be listed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.numbers.prefix_entries import (
    PIECES_MAX,
    STRICT,
    PrefixFault,
    PrefixRules,
    country_of,
    cut,
    read_entries,
)

RULES = PrefixRules(9, {"KH": 7, "TH": 7, "US": 8, "FR": 5, "SG": 7})


@pytest.mark.parametrize(
    ("text", "region", "entry"),
    [
        ("+8552390*", None, "+8552390*"),
        ("+855 23-90 *", None, "+8552390*"),
        ("008552390*", None, "+8552390*"),
        ("+8552390####", None, "+8552390*"),
        ("0239 0xxxx", "KH", "+8552390*"),
        ("0812345*", "TH", "+66812345*"),
        ("0812345*", "th", "+66812345*"),
        ("812345*", "TH", "+66812345*"),
        ("+660812345*", None, "+66812345*"),
        ("2025550*", "US", "+12025550*"),
        ("33899######", "FR", "+33899*"),
        ("+33899######", None, "+33899*"),
        ("+85523900000-+85523900999", None, "+85523900*"),
        ("+855 23 900 000 - +855 23 900 999", None, "+85523900*"),
        ("+85523900000–+85523900999", None, "+85523900*"),
        ("+85523900123-+85523900123", None, "+85523900123"),
        ("0812345000-0812345999", "TH", "+66812345*"),
    ],
)
def test_spellings_of_one_entry(text, region, entry):
    """However a prefix or a whole block is written, it is the one entry that it means."""
    assert read_entries(text, region, RULES) == (entry,)


@pytest.mark.parametrize(
    ("text", "region", "fault"),
    [
        ("0*", "TH", PrefixFault.PREFIX_TOO_SHORT),
        ("00*", "TH", PrefixFault.BAD_PREFIX),
        ("00*", None, PrefixFault.NO_COUNTRY),
        ("030*", "DE", PrefixFault.PREFIX_TOO_SHORT),
        ("030*", None, PrefixFault.NO_COUNTRY),
        ("0043*", None, PrefixFault.PREFIX_TOO_SHORT),
        ("+43*", None, PrefixFault.PREFIX_TOO_SHORT),
        ("02*", "TH", PrefixFault.PREFIX_TOO_SHORT),
        ("+668*", None, PrefixFault.PREFIX_TOO_SHORT),
        ("+668123*", None, PrefixFault.PREFIX_TOO_SHORT),
        ("+1*", None, PrefixFault.PREFIX_TOO_SHORT),
        ("*", None, PrefixFault.BAD_PREFIX),
        ("+*", None, PrefixFault.BAD_PREFIX),
        ("+999123456*", None, PrefixFault.BAD_PREFIX),
        ("+668123456789012*", None, PrefixFault.BAD_PREFIX),
        ("66812345*", "TH", PrefixFault.BAD_PREFIX),
        ("6591*", "SG", PrefixFault.BAD_PREFIX),
        ("33899######", None, PrefixFault.NO_COUNTRY),
        ("+33899#########", None, PrefixFault.BAD_PREFIX),
        ("+85523900999-+85523900000", None, PrefixFault.BAD_PREFIX),
        ("+85523900000-+855239001000", None, PrefixFault.BAD_PREFIX),
        ("+66999999990-+67000000009", None, PrefixFault.BAD_PREFIX),
        ("+85523900000-+x", None, PrefixFault.BAD_PREFIX),
        ("0812345000-0812345999", None, PrefixFault.NO_COUNTRY),
        ("+85520000000-+85599999999", None, PrefixFault.RANGE_TOO_WIDE),
        ("+66812000001-+66812999998", None, PrefixFault.RANGE_TOO_WIDE),
    ],
)
def test_what_can_not_be_listed_says_why(text, region, fault):
    """`0`, `00`, `030`, `0043` for everyone, whole countries, guesses and nonsense are refused."""
    assert read_entries(text, region, RULES) is fault


@pytest.mark.parametrize(
    "text",
    ["", "+66812345678", "081-234-5678", "*21*0812345678#", "KBank*", "Max", "1155", "#", "-"],
)
def test_what_is_no_prefix_is_left_to_others(text):
    """A number, a name, a service code: neither prefix nor range, and not refused as one."""
    assert read_entries(text, "TH", RULES) is None


def test_no_rule_lets_a_whole_country_be_listed():
    """Even where one digit is allowed, a prefix is longer than the country's code."""
    lax = PrefixRules(1, {})
    assert lax.too_short("+66*")
    assert lax.too_short("+1*")
    assert lax.too_short("+855*")
    assert not lax.too_short("+662*")
    assert STRICT.too_short("+8552390*")


@pytest.mark.parametrize(
    ("prefix", "country"),
    [
        ("+8552390*", "KH"),
        ("+662*", "TH"),
        ("+12025550*", "US"),
        ("+14165550*", "CA"),
        ("+18765550*", "JM"),
        ("+77012345*", "KZ"),
        ("+79012345*", "RU"),
        ("+447700900*", "GB"),
        ("+999123456*", None),
    ],
)
def test_the_country_of_a_prefix(prefix, country):
    """Also where countries share a code, a prefix lies where its numbers do."""
    assert country_of(prefix) == country


def test_reasons_say_what_to_do():
    """A person reads the reason: each names a form to write or a setting to change."""
    assert all("+" in f.value or "prefix_digits_min" in f.value for f in PrefixFault)


numbers = st.integers(0, 99_999)


@given(numbers, numbers)
def test_a_range_is_cut_into_what_it_holds(one, other):
    """Every number of the range begins like just one piece, no other number does; few pieces."""
    low, high = sorted((one, other))
    pieces = cut(f"+855239{low:05d}", f"+855239{high:05d}")
    held: list[int] = []
    for piece in pieces:
        digits = piece.removesuffix("*").removeprefix("+855239")
        rest = 10 ** (5 - len(digits))
        held += range(int(digits or 0) * rest, (int(digits or 0) + 1) * rest)
    assert held == list(range(low, high + 1))
    assert len(pieces) <= 90 <= PIECES_MAX


@given(st.text() | st.text("0123456789+*#-x ()", max_size=40), st.sampled_from([None, "TH", "US"]))
def test_any_text_is_entries_or_a_fault_or_nothing(text, region):
    """Whatever stands in a cell: entries that are long enough, a reason, or left to others."""
    found = read_entries(text, region, RULES)
    if isinstance(found, tuple):
        assert 1 <= len(found) <= PIECES_MAX
        assert all(entry.startswith("+") and len(entry) <= 16 for entry in found)
        assert not any(entry.endswith("*") and RULES.too_short(entry) for entry in found)
