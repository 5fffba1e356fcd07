"""Texts that people write: what is kept can be shown, and what cannot is an error."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.model.free_text import cleaned, line_of
from stream.lists.store.heads import By


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", ""),
        ("  a\tb\r\n c ", "a b c"),
        ("โรงพยาบาล ១២៣ कखग", "โรงพยาบาล ១២៣ कखग"),
        ("ភាសា\u200bខ្មែរ", "ភាសា\u200bខ្មែរ"),
        ("a\u2028b\u00a0c", "a b c"),
    ],
)
def test_honest_texts_are_taken(text: str, line: str) -> None:
    """On one line; scripts keep what joins and parts their letters."""
    assert line_of(text, "the reason", 50) == line


@pytest.mark.parametrize(
    "char", ["\0", "\x1b", "\x07", "\x7f", "\x9b", "\u202e", "\u2066", "\ud800"]
)
def test_what_is_not_to_be_seen_is_refused(char: str) -> None:
    """Control characters, overrides of the direction and half a character, with the place."""
    with pytest.raises(ValueError, match=f"U\\+{ord(char):04X}, at 3"):
        line_of(f"ab{char}c", "the reason", 50)
    assert cleaned(f"ab{char}c") == "ab\ufffdc"
    assert By(f"a{char}", f"b{char}") == By("a\ufffd", "b\ufffd")


def test_a_long_text_is_told_with_both_lengths() -> None:
    """The limit, and what came."""
    with pytest.raises(ValueError, match="the reason has 1,001 characters; at most 1000 are kept"):
        line_of("x" * 1001, "the reason", 1000)


@given(st.text(max_size=80))
def test_whatever_is_cleaned_is_taken(text: str) -> None:
    """Cleaning never fails, and leaves nothing that would be refused."""
    line = line_of(cleaned(text), "it", 80)
    assert not any(unicodedata.category(char) in {"Cc", "Cs"} for char in line)
    assert cleaned(line) == line
