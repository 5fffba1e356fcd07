"""Patterns of mappings: linear on either engine, and the same answer from both."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.calls.dialects.linear_patterns import cutter, is_plainly_linear
from tests.growth.attacks import attacks
from tests.growth.measured import grows
from tests.support.examples import examples

chars = st.sampled_from(["a", "b", r"\d", "[^@]", "[ab]", "@", ".", r"\s", r"\w", "-", "[^a]"])
repeated = st.builds("{}{}".format, chars, st.sampled_from(["", "", "*", "+", "?", "{2,9}", "*?"]))
grouped = st.builds("({})".format, repeated) | st.builds("(?:{}{})?".format, chars, chars)
chosen = st.builds("(?:{}|{})".format, chars, repeated)
patterns = st.lists(repeated | grouped | chosen, min_size=1, max_size=6).map(
    lambda parts: "^" + "".join(parts)
)

KNOWN = (
    r"^(?:sip:)?([^@;]+)",
    r"^([a-z]+)-",
    r"^(?:\+|00)?(\d+)(?:@.*)?$",
    r"(\d{7,15})",
    r"(?:^|:)(\d+)@",
    r"^a*(b)?",
    r"a|(b)",
    r"\D+\Z",
    r"[^\d]+",
)
texts = st.text(st.sampled_from("ab0123456789٤๑+-@:; sipé"), max_size=30)


@given(patterns)
@settings(max_examples=60, deadline=None)
def test_what_is_plainly_linear_is_linear(pattern: str) -> None:
    """No text makes `re` take more than linear time for a pattern whose form proves it."""
    if is_plainly_linear(pattern):
        read = re.compile(pattern)
        assert grows(read.search, attacks(read), is_bytes=False) is None


@given(patterns)
@examples(100)
def test_any_such_pattern_is_taken(pattern: str) -> None:
    """A pattern without look-around and back-references is taken by one of the engines."""
    assert cutter(pattern)("") in {None, ""}


@pytest.mark.parametrize("pattern", KNOWN)
@given(text=texts)
def test_both_engines_say_the_same(pattern: str, text: str) -> None:
    """The part of a line that counts does not depend on the engine, for digits of any script."""
    found = re.search(pattern, text)
    group = 1 if re.compile(pattern).groups else 0
    expected = found[group] if found else None
    assert cutter(pattern)(text) == expected
    # In a group that is there twice nothing is proved, so RE2 takes it.
    assert cutter(f"(?:{pattern}){{1}}")(text) == expected


def test_a_pattern_that_neither_takes_is_refused() -> None:
    """Look-around that is not linear by its form is refused, with what to write instead."""
    with pytest.raises(ValueError, match=r"exponential time.*Write it without look-around"):
        cutter(r"(?<=sip:)(\w+\.?)+@")
    with pytest.raises(ValueError, match="no regular expression"):
        cutter("(")


@pytest.mark.parametrize(
    ("pattern", "plain"),
    [
        (r"^(?:sip:)?([^@;]+)", True),
        (r"^([a-z]+)-", True),
        (r"^(\d+)-(\d+)$", True),
        (r"^(?:\+|00)?(\d+)(?:@.*)?$", False),  # of what an optional part repeats nothing is proved
        (r"^\d+\d", False),
        (r"^[^@]*+@", True),
        (r"([^@]+)", False),  # it may begin anywhere
        (r"^(a+)+$", False),
        (r"(?i)^a", False),
        ("", False),
    ],
)
def test_what_a_form_proves(pattern: str, plain: bool) -> None:
    """Usual patterns of mappings stay on the engine that is quick for short texts."""
    assert is_plainly_linear(pattern) is plain
