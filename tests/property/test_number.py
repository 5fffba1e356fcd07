"""Laws of reading numbers that hold for any text."""

import re

import phonenumbers
from hypothesis import example, given
from hypothesis import strategies as st

from stream.core.numbers.e164 import E164_DIGITS_MAX
from stream.core.numbers.emergency import EmergencyNumbers
from stream.core.numbers.number import Kind, masked, parse, parse_many, region_of

EMERGENCY = EmergencyNumbers({})
CODES = sorted(phonenumbers.COUNTRY_CODE_TO_REGION_CODE)

regions = st.sampled_from(["TH", "US", "GB", "CN", "JP", "IT", "DE", "AR", "BR", "XX", "", None])
plus_numbers = st.builds(
    lambda code, rest: f"+{code}{rest}",
    st.sampled_from(CODES) | st.integers(0, 999),
    st.text("0123456789", max_size=16),
)
pieces = st.sampled_from(
    [
        "sip:", "sips:", "tel:", "@", "host", ";", "phone-context=", "+66", "%2B", "%", "<", ">",
        '"', " ", "-", ".", "(", ")", "+", "00", "0", "812345678", "1155", "Ann", "anonymous",
        "\u200e",
        "\n", "\0", "٦", "６", "x", ":", "?", "urn:service:sos",
        "191",
    ]
)  # fmt: skip
texts = st.one_of(
    st.text(),
    plus_numbers,
    st.text("0123456789+ -()", max_size=20),
    st.lists(pieces, max_size=8).map("".join),
    st.text(st.characters(codec=None), max_size=20),
)

around = st.text(st.characters(exclude_categories=["Nd"]), max_size=70)


def possible(text):
    """Return if phonenumbers holds the `+` number possible, and not only when dialled locally."""
    try:
        reading = phonenumbers.parse(text)
    except phonenumbers.NumberParseException:
        return False
    if phonenumbers.is_possible_number_with_reason(reading) != 0:
        return False
    return len(e164(reading)) <= E164_DIGITS_MAX + 1


def e164(reading):
    return phonenumbers.format_number(reading, phonenumbers.PhoneNumberFormat.E164)


@given(texts, regions)
def test_any_text_is_read(text, region):
    """Any text gives a value of a known kind; only E164 begins with `+` and digits."""
    number = parse(text, region)
    if number.kind is Kind.E164:
        assert number.text[0] == "+"
        assert number.text[1:].isascii()
        assert number.text[1:].isdigit()
        assert len(number.text) <= E164_DIGITS_MAX + 1
    region_of(number.text)


@given(texts, regions, regions)
@example("+6600812345678", "TH", None)
@example("+551590011234567", "BR", None)
def test_read_twice(text, region, other):
    """A number that was read reads as itself, wherever it goes."""
    number = parse(text, region)
    if number.kind is Kind.E164:
        assert number == parse(number.text, other)


@given(plus_numbers)
def test_agrees_with_phonenumbers(text):
    """A `+` number is E.164 just when phonenumbers holds it possible, and is written as there.

    Not taken, though: what is possible only when dialled locally, more than 15 digits, and a
    number that phonenumbers would change again when it read its own E.164 form.
    """
    number = parse(text, None)
    if not possible(text):
        assert number.kind is Kind.INVALID
        return
    once = e164(phonenumbers.parse(text))
    if possible(once) and e164(phonenumbers.parse(once)) == once:
        assert (number.kind, number.text) == (Kind.E164, once)
    else:
        assert number.kind is Kind.INVALID


@given(st.lists(texts | st.none()), regions)
@example([None, "", None, "a\nb", "\n"], "TH")
@example(["+66812345678\0", "+66812345678", "+6681234567812345"], "TH")
def test_many_as_one(batch, region):
    """A batch says of each row what `parse` says of it alone."""
    numbers = parse_many(batch, lambda _row: region)
    assert len(numbers) == len(batch)
    for row, text in enumerate(batch):
        number = parse(text, region)
        assert number.kind == numbers.kinds[row]
        assert number.text == numbers.text(row)
        expected = number.text.encode() if number.kind is Kind.E164 else b""
        assert expected == numbers.e164[row]


@example("10>0000010", "TH")  # the end of a masked number may happen to be another number's digits
@given(texts, regions)
def test_masked_hides_the_number(text, region):
    """Neither the text nor what was read of it shows a whole number in a log line.

    Digits that are left are at most four, and the end of a number: they lie beside its stars.
    """
    number = parse(text, region)
    for shown in (masked(text), masked(number.text)):
        assert shown.isprintable()
        assert number.kind is not Kind.E164 or number.text.removeprefix("+") not in shown
        for left in re.finditer(r"\d(?:[ \t\-.()/]*\d)*", shown):
            before, after = shown[: left.start()], shown[left.end() :]
            assert before.endswith("***") or after.startswith("***")
            assert sum(map(str.isdecimal, left.group())) <= 4


@given(st.text("0123456789", min_size=1), around, around)
def test_masked_hides_digits(digits, before, after):
    """No text around them lets digits through whole."""
    assert digits not in masked(before + digits + after)


@given(texts, regions)
def test_emergency_never_fails(text, region):
    """Any text as a callee is judged; what is for help in a region is so on an unknown trunk."""
    if EMERGENCY.is_emergency(text, region):
        assert EMERGENCY.is_emergency(text, None)
