"""Numbers that a caller's text may be read as: the usual ones quickly, the doubtful ones all."""

import pytest

from stream.core.numbers import caller_readings
from stream.core.numbers.caller_readings import read_caller, readings_of
from stream.core.numbers.number import Kind

INDIA, AMERICA = "+912025550123", "+12025550123"


@pytest.mark.parametrize(
    ("text", "region", "prefix", "number"),
    [
        ("+66812345678", None, "", "+66812345678"),
        ("sip:+66812345678@h.example:5060;user=phone", None, "", "+66812345678"),
        ("0812345678", "TH", "", "+66812345678"),
        ("812345678", "TH", "", "+66812345678"),
        ("sip:0812345678@192.0.2.1", "TH", "", "+66812345678"),
        ("tel:0812345678", "TH", "", "+66812345678"),
        ("85523900123", "TH", "", "+85523900123"),
        ("0066812345678", "TH", "", "+66812345678"),
        ("00912025550123", "TH", "00", INDIA),
        ("00912025550123", "TH", "009", AMERICA),
    ],
)
def test_usual_callers_are_read_at_once(text, region, prefix, number, monkeypatch):
    """A text that is one number to everybody is not taken apart: nearly all calls are such."""

    def never(_: str) -> None:
        raise AssertionError("taken apart")

    monkeypatch.setattr(caller_readings, "uris_in", never)
    found = readings_of(text, region, prefix)
    assert (found.numbers, found.guesses, found.whole) == ((number,), (), True)


@pytest.mark.parametrize("text", ["0812345678", "081-234 5678", "0066812345678"])
def test_usual_callers_in_brackets_are_not_dug_in(text, monkeypatch):
    """Nor is what a name and parameters stand around."""

    def never(*_: object) -> None:
        raise AssertionError("dug in")

    monkeypatch.setattr(caller_readings, "_dug_out", never)
    found = readings_of(f'"A" <sip:{text}@h.example>;tag=1', "TH")
    assert (found.numbers, found.guesses) == (("+66812345678",), ())


@pytest.mark.parametrize("form", ["{}", "sip:{}@h.example", '"A" <sip:{}@h.example>;tag=1'])
def test_digits_that_two_plans_read_are_asked_as_both(form):
    """The reading that a plan assigns is the caller, the other one a guess: lists alone count."""
    found = readings_of(form.format("12016161015"), "CN")
    assert (found.numbers, found.guesses) == (("+12016161015",), ("+8612016161015",))
    found = readings_of(form.format("00919876543210"), "TH")
    assert (found.numbers, found.guesses) == (("+919876543210",), ("+19876543210",))


@pytest.mark.parametrize("form", ["{}", "sip:{}@h.example", '"A" <sip:{}@h.example>;tag=1'])
def test_digits_of_which_nobody_knows_which_number_is_meant_are_guesses(form):
    """Two plans assign them: both are asked, none is the caller, and nothing is disguised."""
    found = readings_of(form.format("00912025550123"), "TH")
    assert found.first.kind is Kind.INVALID
    assert (found.numbers, sorted(found.guesses)) == ((), [AMERICA, INDIA])
    assert read_caller(form.format("00912025550123"), "TH").kind is Kind.INVALID
