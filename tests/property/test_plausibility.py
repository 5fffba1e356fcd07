"""Blocks that are not given out, in columns, against phonenumbers, one number at a time."""

import random

import numpy as np
import phonenumbers
from hypothesis import given
from hypothesis import strategies as st

from stream.core.numbers.number import Kind, parse_many
from stream.core.numbers.numbering import tables
from stream.core.numbers.plausibility import in_unassigned_block, same_numbers, short_numbers

CODES = sorted({blocks.code for blocks in tables().blocks})
KNOWN = {region for code in CODES for region in phonenumbers.region_codes_for_country_code(code)}


def unassigned(texts):
    """`in_unassigned_block` of texts."""
    return in_unassigned_block(parse_many(texts, lambda _: None)).tolist()


@given(
    st.lists(
        st.builds(
            "+{}{}".format,
            st.sampled_from([*CODES, 44, 49]),
            st.from_regex("[0-9]{6,12}", fullmatch=True),
        ),
        max_size=50,
    )
)
def test_no_valid_number_is_in_an_unassigned_block(texts):
    """Numbers that phonenumbers holds valid are assigned; of other countries nothing is said."""
    for text, is_in in zip(texts, unassigned(texts), strict=True):
        if is_in:
            number = phonenumbers.parse(text)
            assert number.country_code in CODES
            assert not phonenumbers.is_valid_number(number)


def test_examples_of_every_country_and_kind_are_given_out():
    """Phonenumbers' own example numbers: fixed, mobile, toll-free and the rest."""
    numbers = [
        phonenumbers.example_number_for_type(region, kind)
        for region in sorted(KNOWN)
        for kind in phonenumbers.PhoneNumberType.values()
    ]
    texts = [
        phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
        for number in numbers
        if number is not None
    ]
    assert len(texts) > 100
    assert not any(unassigned(texts))


def test_a_block_is_unassigned_just_where_no_number_of_it_is_valid():
    """Whole blocks looked through: one is found to be unassigned in which nothing is valid."""
    rnd = random.Random(7)
    blocks = {"+6671": 11, "+6681": 11, "+8551": 11, "+1911": 11, "+6531": 10, "+8617": 13}
    found = {}
    for block, digits in blocks.items():
        texts = [
            block + "".join(rnd.choice("0123456789") for _ in range(digits + 1 - len(block)))
            for _ in range(300)
        ]
        valid = [phonenumbers.is_valid_number(phonenumbers.parse(text)) for text in texts]
        said = np.array(unassigned(texts))
        assert not (said & valid).any()
        found[block] = (bool(said.all()), any(valid))
    assert found["+6671"] == (True, False)
    assert found["+1911"] == (True, False)
    assert found["+6681"] == (False, True)
    assert all(is_unassigned != is_used for is_unassigned, is_used in found.values())


def test_numbers_alone_and_together():
    """Withheld numbers are nobody's: two of them are not the same; three and four digits count."""
    callers = parse_many(["+66812345678", None, "191", "1155", "11111"], lambda _: "TH")
    callees = parse_many(["+66812345678", None, "191", "1155", "+66812345679"], lambda _: "TH")
    assert same_numbers(callers, callees).tolist() == [True, False, False, False, False]
    assert short_numbers(callers) == [2, 3]
    assert Kind.INVALID not in callers.kinds
