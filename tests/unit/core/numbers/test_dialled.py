"""Digits as each country dials them, against phonenumbers: its reading, or no number at all."""

import re
from functools import cache
from itertools import product

import phonenumbers
import pytest
from phonenumbers import PhoneMetadata, PhoneNumberFormat, PhoneNumberType

from stream.core.numbers.number import Kind, parse

REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)
KINDS = (PhoneNumberType.FIXED_LINE, PhoneNumberType.MOBILE, PhoneNumberType.TOLL_FREE)
ABROAD = ["AU", "BR", "CA", "CN", "DE", "EG", "FR", "GB", "ID", "IN", "IS", "IT", "JP", "KE", "KH",
          "KR", "LA", "MM", "MX", "MY", "NG", "NU", "PH", "RU", "SG", "TH", "US", "VN",
          "ZA"]  # fmt: skip


def e164(reading):
    """A number as text."""
    return phonenumbers.format_number(reading, PhoneNumberFormat.E164)


def metadata(region):
    """A region's plan in phonenumbers."""
    held = PhoneMetadata.metadata_for_region(region)
    assert held is not None, "it is one of those that phonenumbers knows"
    assert held.general_desc is not None, "each has one"
    return held


@cache
def examples(region):
    """Numbers that the region's plan assigns."""
    found = (phonenumbers.example_number_for_type(region, kind) for kind in KINDS)
    return [one for one in found if one is not None]


@cache
def prefixes(region):
    """The digits, up to five, that may be dialled there before an international number."""
    pattern = metadata(region).international_prefix or "(?!)"
    whole = re.compile(pattern)
    digits = ("".join(each) for size in range(1, 5) for each in product("0123456789", repeat=size))
    found = [text for text in digits if whole.fullmatch(text)]
    return found[:: max(1, len(found) // 12)]


def theirs(text, region):
    """The reading of phonenumbers; None: no number that a plan assigns."""
    try:
        reading = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return None
    return e164(reading) if phonenumbers.is_valid_number(reading) else None


def other_reading(text, region):
    """Our readings that differ from phonenumbers', where its number is assigned."""
    number = parse(text, region)
    # Theirs takes 0.1 ms, so it is asked only where ours is a number.
    expected = theirs(text, region) if number.kind is Kind.E164 else None
    if expected is None or number.text == expected:
        return None
    home = f"+{phonenumbers.country_code_for_region(region)}"
    if text.startswith("00") and number.text.startswith(home):
        return None  # 00 and the region's own code: nobody dials a carrier's prefix to be at home
    if number.text == f"+{text}" and text.startswith(home[1:]) and theirs(number.text, None):
        return None  # the region's own code, and an assigned number: decision 0262
    return f"{text} in {region}: {number.text}, phonenumbers {expected}"


@pytest.mark.parametrize("region", REGIONS)
def test_a_number_abroad_as_it_is_dialled_is_that_number_or_none(region):
    """After each prefix that the country knows, and after 00; never another number."""
    wrong: list[str] = []
    read = 0
    for prefix in {*prefixes(region), "00"}:
        for reading in (one for abroad in ABROAD for one in examples(abroad)):
            text = prefix + e164(reading)[1:]
            wrong += filter(None, [other_reading(text, region)])
            read += prefix != "00" and parse(text, region).text == e164(reading)
    assert not wrong
    assert read > 20 or not [one for one in prefixes(region) if one != "00"]


@pytest.mark.parametrize("region", REGIONS)
def test_a_national_number_is_read_as_its_country_dials_it(region):
    """With the trunk prefix and without, with the country code and without, and cut to what is
    dialled within an area: phonenumbers' reading, or none.
    """
    held = metadata(region)
    wrong: list[str] = []
    for reading in examples(region):
        national = phonenumbers.national_significant_number(reading)
        forms = {
            national,
            e164(reading)[1:],
            (held.national_prefix or "") + national,
            "0" + national,
            phonenumbers.format_number(reading, PhoneNumberFormat.NATIONAL),
            *(national[-size:] for size in held.general_desc.possible_length_local_only),
            *(national[:size] for size in range(7, len(national))),
            *(national + "12345"[:size] for size in (1, 2, 3)),
        }
        wrong += [one for text in forms if (one := other_reading(text, region))]
        assert parse(national, region).text == e164(reading)
    assert not wrong


@pytest.mark.parametrize("region", REGIONS)
def test_what_is_dialled_within_an_area_is_no_number_of_another_country(region):
    """A number without its area code, as it is dialled there, names no foreign subscriber."""
    held = metadata(region)
    sizes = [size for size in held.general_desc.possible_length_local_only if size > 6]
    for reading, size in product(examples(region), sizes):
        local = phonenumbers.national_significant_number(reading)[-size:]
        number = parse(local, region)
        own = e164(phonenumbers.parse(local, region)) if local.isdigit() else ""
        assert number.kind is not Kind.E164 or number.text == own, (local, number)


@pytest.mark.parametrize(
    ("text", "region", "expected"),
    [
        ("0011447700900101", "AU", "+447700900101"),
        ("0011 354 555 1234", "AU", "+3545551234"),
        ("009447700900101", "NG", "+447700900101"),
        ("0012025550123", "TH", "+12025550123"),
        ("0066812345678", "TH", "+66812345678"),
        ("006623111234", "TH", "+6623111234"),
        ("00 1 81 3 1234 5678", "TH", "+81312345678"),
        ("85523900123", "TH", "+85523900123"),
        ("447700900101", "TH", "+447700900101"),
        ("810447700900101", "RU", "+447700900101"),
        ("00912025550123", "TH", None),
        ("00912025550123", "NG", None),
        ("00819012345678", "TH", None),
        ("3101237", "CA", None),
        ("5551234", "US", None),
        ("6834123", "CA", None),
        ("6812345", "TH", None),
        ("0000", "TH", None),
    ],
)
def test_readings(text, region, expected):
    """The spellings that the issue found, and their relatives."""
    number = parse(text, region)
    assert (number.text if number.kind is Kind.E164 else None) == expected


@pytest.mark.parametrize(
    ("text", "prefix", "expected"),
    [
        ("00912025550123", "00", "+912025550123"),
        ("00912025550123", "009", "+12025550123"),
        ("sip:00912025550123@192.0.2.1;user=phone", "00", "+912025550123"),
        ("0812345678", "00", "+66812345678"),
        ("001", "00", "001"),
    ],
)
def test_a_known_prefix_leaves_no_doubt(text, prefix, expected):
    """Where the operator says what the switch writes, that is what counts."""
    assert parse(text, "TH", prefix).text == expected


@pytest.mark.parametrize("region", [None, "MX", "TH"])
@pytest.mark.parametrize("text", ["+5215555501234", "+52 1 55 5550 1234", "005215555501234"])
def test_the_old_prefix_of_mexican_mobiles_is_left_out(text, region) -> None:
    """The 1 of before 2019; phonenumbers finds no possible number in it."""
    assert parse(text, region).text == "+525555501234"
    assert parse("+5211555501234", region).kind is Kind.INVALID
