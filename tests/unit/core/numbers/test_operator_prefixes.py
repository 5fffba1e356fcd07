"""Promises of `core.numbers.operator_prefixes`: what stands before a number, and who it is."""

import pytest

from stream.core.numbers.caller_readings import read_caller
from stream.core.numbers.number import Kind, parse_many
from stream.core.numbers.operator_prefixes import Mark, mark_of, without_marks

MARKED = [
    ("+698812345678", Mark.ROAMING, "+66812345678"),
    ("+698 081-234-5678", Mark.ROAMING, "+66812345678"),
    ("sip:+698812345678@ims.example;user=phone", Mark.ROAMING, "+66812345678"),
    ("00698812345678", Mark.ROAMING, "+66812345678"),
    ("+69766812345678", Mark.VOIP_FROM_ABROAD, "+66812345678"),
    ("+697447700900123", Mark.VOIP_FROM_ABROAD, "+447700900123"),
    ("+6971", Mark.VOIP_FROM_ABROAD, None),
]


@pytest.mark.parametrize(("text", "mark", "behind"), MARKED)
def test_the_number_behind_a_mark_is_the_callers(text, mark, behind):
    """However a Thai switch writes it; where nothing behind is a number, it stays none."""
    numbers = without_marks(parse_many([text], lambda _: "TH"), lambda _: "TH")
    assert numbers.marks == {0: mark}
    kind = Kind.E164 if behind else Kind.INVALID
    assert (numbers.kinds[0], numbers.text(0)) == (kind, behind or text)


@pytest.mark.parametrize(
    ("text", "behind"),
    [
        ("6976621234567", "+6621234567"),
        ("006976621234567", "+6621234567"),
        ("0069766812345678", "+66812345678"),
        ("6976591234567", "+6591234567"),
        ("6976738123456", "+6738123456"),
        ("00697447700900123", "+447700900123"),
        ("sip:6976621234567@ims.example", "+6621234567"),
    ],
)
def test_a_mark_without_plus_is_no_part_of_a_longer_number(text, behind):
    """They were read as numbers of Thailand, Mongolia and Qatar that no plan assigns."""
    callers = parse_many([text], lambda _: "TH", read=read_caller)
    numbers = without_marks(callers, lambda _: "TH")
    assert (numbers.marks, numbers.text(0)) == ({0: Mark.VOIP_FROM_ABROAD}, behind)


@pytest.mark.parametrize(
    "text", ["69712345678901234", "006984520123456", "0697123456", "697123456"]
)
def test_an_assigned_number_and_one_without_a_number_behind_stay(text):
    """Also those are what they were: 006 and 98 is a call to Iran through a carrier."""
    alone = parse_many([text], lambda _: "TH")
    callers = parse_many([text], lambda _: "TH", read=read_caller)
    assert callers.text(0) == alone.text(0)


@pytest.mark.parametrize("text", [text for text, *_ in MARKED])
def test_elsewhere_a_mark_is_a_country_code_that_nobody_has(text):
    """On a trunk of another country it says nothing."""
    numbers = parse_many([text], lambda _: "LA")
    assert without_marks(numbers, lambda _: "LA") is numbers
    assert not numbers.e164[0]


@pytest.mark.parametrize("text", ["+66981234567", "+6612345678901697", "697", "KBank697", "+6956"])
def test_what_merely_holds_the_digits_is_not_marked(text):
    """A mark stands where the country code would."""
    numbers = parse_many([text], lambda _: "TH")
    assert without_marks(numbers, lambda _: "TH").marks == {}
    if numbers.kinds[0] == Kind.INVALID:
        assert mark_of(text, "TH") is None
