"""The allowlist: what is never blocked."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.model.allowlist import NOBODY, AllowEntry, Allowlist

NOW_S = 1_800_000_000


def allowed(text: str, expires_at_s: int = 0) -> AllowEntry:
    return AllowEntry(text, "hospital", "ops@carrier", NOW_S - 60, expires_at_s)


def test_a_number_is_found_exactly():
    """An allowed number is found; its neighbour is not."""
    allow = Allowlist.of([allowed("+447700900123")])
    assert allow.find("+447700900123", NOW_S) == allowed("+447700900123")
    assert allow.find("+447700900124", NOW_S) is None


@pytest.mark.parametrize(
    ("longer", "named"),
    [
        (allowed("+4477009001*"), "+4477009001*"),
        (allowed("+447700900123"), "+447700900123"),
        (allowed("+4477009001*", expires_at_s=NOW_S), "+44770*"),
    ],
    ids=["a longer prefix", "the number itself", "an expired prefix"],
)
def test_the_longest_live_entry_is_the_one_named(longer, named):
    """Of several that hold a number, the longest that has not expired is its reason."""
    found = Allowlist.of([allowed("+44770*"), longer]).find("+447700900123", NOW_S)
    assert found is not None
    assert found.text == named


def test_expiry_is_looked_at_when_asked():
    """The second its expiry is reached an entry allows no more."""
    exact = Allowlist.of([allowed("+447700900123", expires_at_s=NOW_S)])
    assert exact.find("+447700900123", NOW_S - 1) is not None
    assert exact.find("+447700900123", NOW_S) is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("+66*", "shorter than 4 digits"),
        ("0812345678", "neither an E.164 number"),
        ("+", "neither an E.164 number"),
        ("+66x2", "neither an E.164 number"),
        ("+1234567890123456", "more than the 15 digits"),
        ("+٦٦٨١٢٣", "neither an E.164 number"),
    ],
)
def test_what_would_allow_too_much_or_nothing_is_refused(text, why):
    """A prefix that allows a country, and a text that is no number, say what is wrong."""
    with pytest.raises(ValueError, match=why):
        allowed(text)


def test_entries_are_listed_in_order():
    """Numbers before prefixes, each sorted; a repeated text counts once."""
    allow = Allowlist.of([allowed("+66212*"), allowed("+662"), allowed("+661"), allowed("+661")])
    assert [entry.text for entry in allow.entries()] == ["+661", "+662", "+66212*"]
    assert len(allow) == 3
    assert len(NOBODY) == 0


few_digits = st.text("019", min_size=4, max_size=15)


@given(
    st.lists(st.tuples(few_digits, st.booleans(), st.sampled_from([0, NOW_S, NOW_S + 1]))),
    st.lists(few_digits | st.text("019", max_size=3)),
)
def test_a_batch_is_allowed_as_each_of_its_numbers_is(entries, asked):
    """Numbers and prefixes in and beside each other, live and expired: `find` for each says it."""
    allow = Allowlist.of(
        allowed(f"+{digits}{'*' * prefix}", expires_at_s)
        for digits, prefix, expires_at_s in entries
    )
    near = [digits[: len(digits) - cut] for digits, _, _ in entries for cut in (0, 1)]
    texts = ["", *(f"+{digits}" for digits in [*asked, *near, *(n[:14] + "1" for n in near)])]
    found = allow.allowed(np.array(texts, "S16"), NOW_S)
    assert found.tolist() == [allow.find(text, NOW_S) is not None for text in texts]
