"""The number column: its values, and the numbers that they stand for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.model.entry import PREFIX_MARK, code_of, text_of
from stream.core.numbers.codes import codes_of, texts_of

DIGITS = st.integers(1, 10**15 - 1)
CODES = DIGITS | st.integers(1, 10**14 - 1).map(lambda digits: digits | PREFIX_MARK)


@given(st.lists(CODES, max_size=20))
def test_texts_and_codes_are_each_others(codes):
    """Numbers and prefix entries come back as they were, one by one and in columns."""
    column = np.array(codes, np.uint64)
    texts = texts_of(column)
    assert [text.decode() for text in texts.tolist()] == [text_of(code) for code in codes]
    assert [code_of(text.decode()) for text in texts.tolist()] == codes
    assert codes_of(texts).tolist() == codes
    assert text_of(0) is None


def test_a_prefix_and_the_number_of_its_digits_are_two_things():
    """`+8552390*` is not `+8552390`."""
    assert code_of("+8552390*") == code_of("+8552390") | PREFIX_MARK


@pytest.mark.parametrize(
    "text",
    ["", "+", "66", "+*", "*", "+0812345678", "+66 1", "+1234567890123456", "+123456789012345*",
     "+66**", "+\u0661\u0662", "-66", "+66x"],
)  # fmt: skip
def test_other_texts_have_no_code(text):
    """Only `+` and digits, and a prefix of at most 14 of them, can stand in the column."""
    with pytest.raises(ValueError, match="neither"):
        code_of(text)
