"""STIX patterns are read as the numbers they mean, or not at all."""

import pytest
from stix2patterns.v21.pattern import Pattern

from stream.feeds.formats.stix import Meaning, read_pattern

V = "phone-number:value"
ONE = f"[{V} = '+447700900123']"


@pytest.mark.parametrize(
    ("pattern", "numbers"),
    [
        (ONE, ["+447700900123"]),
        ("[ phone-number:number = '+447700900123' ]", ["+447700900123"]),
        (f"[{V} = '1' OR {V} = '2'] OR [{V} = '3']", ["1", "2", "3"]),
        (f"[{V} = '1' OR ipv4-addr:value = '198.51.100.1']", ["1"]),
        (rf"[{V} = 'a\'b\\c']", [r"a'b\c"]),
        ("[domain-name:value = 'example.net']", []),
        ("[file:hashes.'SHA-256' = 'aa' AND file:size > 3]", []),
    ],
)
def test_equality_and_or_are_numbers(pattern, numbers):
    """Each number of a pattern that is equality, joined by OR, is read; other things are none."""
    Pattern(pattern)  # the standard's own grammar knows it
    assert read_pattern(pattern) == Meaning(tuple(numbers))


@pytest.mark.parametrize(
    "pattern",
    [
        f"[{V} = '1' AND ipv4-addr:value = '198.51.100.1']",
        "[phone-number:number = '1' AND phone-number:country = 'GB']",
        f"[{V} LIKE '+4477%']",
        f"[{V} MATCHES '^\\\\+44']",
        f"[{V} IN ('1', '2')]",
        f"[NOT {V} = '1']",
        f"[{V} != '1']",
        f"[{V} > '1']",
        f"{ONE} AND {ONE}",
        f"{ONE} FOLLOWEDBY {ONE}",
        f"{ONE} WITHIN 300 SECONDS",
        f"{ONE} REPEATS 5 TIMES",
        f"({ONE} OR {ONE})",
        f"[{V} = 447700900123]",
        f"[{V} = '1'",
        f"[{V} = '1']]",
        f"[{V}] = '1'",
        f"{V}",
        f"[{V} = '1' OR]",
        f"[{V} = '" + "1" * 70_000 + "']",
    ],
)
def test_anything_else_about_numbers_is_not_guessed(pattern):
    """A pattern that says more, or is broken, is never read as if it said less."""
    assert read_pattern(pattern) == Meaning((), readable=False)
