"""National numbers read quickly mean what `number.parse` says they mean."""

from itertools import product

import phonenumbers
from hypothesis import example, given
from hypothesis import strategies as st

from stream.core.numbers.national import national_reader
from stream.core.numbers.number import Kind, parse

REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)
SIMPLE = [region for region in REGIONS if national_reader(region) is not None]


def prefix_of(region: str) -> str:
    held = phonenumbers.PhoneMetadata.metadata_for_region(region)
    return str(held.national_prefix) if held is not None else ""


digits = st.text("0123456789", min_size=6, max_size=13)


@given(st.sampled_from(SIMPLE), st.sampled_from(["national", "code", "none"]), digits)
@example("TH", "national", "812345678")
@example("TH", "code", "812345678")
def test_what_is_read_quickly_is_what_is_read_slowly(region, begins, rest):
    """In every region that is read so, with its prefix, with its code, or with neither."""
    number = phonenumbers.country_code_for_region(region)
    prefix = prefix_of(region)
    text = {"national": prefix, "code": str(number), "none": ""}[begins] + rest
    reader = national_reader(region)
    assert reader is not None
    found = reader(text)
    if found is not None:
        assert parse(text, region) == parse(found, None)
        assert parse(text, region).kind is Kind.E164
        assert parse(text, region).text == found


def test_example_numbers_of_each_region():
    """The numbers that phonenumbers itself gives as examples, of every kind: most are read so."""
    asked = read = 0
    for region, kind in product(SIMPLE, phonenumbers.PhoneNumberType.values()):
        held = phonenumbers.example_number_for_type(region, kind)
        reader = national_reader(region)
        if held is None or reader is None:
            continue
        national = phonenumbers.national_significant_number(held)
        for text in (prefix_of(region) + national, f"{held.country_code}{national}", national):
            found = reader(text)
            asked, read = asked + 1, read + (found is not None)
            assert found is None or found == parse(text, region).text
    assert read > asked / 2


def test_the_regions_that_matter_are_read_so():
    """Thailand and its neighbours; regions that share a code, like the US, never are."""
    assert {"TH", "KH", "LA", "VN", "MM", "MY"} <= set(SIMPLE)
    assert not {"US", "CA", "GB", "IT", "KZ", "RU"} & set(SIMPLE)
    reader = national_reader("TH")
    assert reader is not None
    assert reader("0812345678") == reader("66812345678") == "+66812345678"
    assert reader("812345678") is None
